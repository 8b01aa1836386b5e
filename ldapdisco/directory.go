package ldapdisco

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Directory is a domain that answers: a connection to one of its controllers, and to the next one of the configuration
// when that fails. It is safe for concurrent use.
type Directory struct {
	cfg     Config
	servers []server
	root    rootDSE

	mu     sync.Mutex // guards now and closed
	now    *link
	closed bool
	moving sync.Mutex // held while another server is connected
}

// rootDSE is what the server says of itself, [MS-ADTS] 3.1.1.3.2.
type rootDSE struct {
	base, config string // defaultNamingContext, configurationNamingContext
}

// Close ends the connection.
func (d *Directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.now.close()
	return nil
}

// Server is the URL of the server that is asked now.
func (d *Directory) Server() string { return d.link().server.url }

// BaseDN is where Computers begins when a query names no base.
func (d *Directory) BaseDN() string {
	if d.cfg.BaseDN != "" {
		return d.cfg.BaseDN
	}
	return d.root.base
}

func (d *Directory) fail(op string, err error) error { return failed(d.Server(), op, err) }

// Time is the controller's clock, [MS-ADTS] 3.1.1.3.2.5, in whole seconds.
func (d *Directory) Time(ctx context.Context) (time.Time, error) {
	const op = "read the clock of the directory"
	e, err := d.entry(ctx, op, "", "currentTime")
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse("20060102150405.0Z", e.text("currentTime"))
	if err != nil {
		return time.Time{}, d.fail(op, fmt.Errorf("%q is no time", clean(e.text("currentTime"))))
	}
	return t, nil
}

// query is one search.
type query struct {
	op     string // for errors: "list the templates"
	base   string
	scope  int
	filter string
	attrs  []string
	sd     bool // security descriptors are wanted, without the audit part

	given given // entries that are not given again; nil: each search has its own
}

// entry reads one entry, of the next server where this one is lost.
func (d *Directory) entry(ctx context.Context, op, dn string, attrs ...string) (entry, error) {
	for moves := 0; ; moves++ {
		l := d.link()
		e, err := l.entry(ctx, dn, attrs...)
		if err == nil {
			return e, nil
		}
		if err = failed(l.server.url, op, err); !d.mayMove(ctx, err, moves) {
			return entry{}, err
		}
		if lost := d.move(ctx, l, err); lost != nil {
			return entry{}, lost
		}
	}
}

// all collects a small search. A base that does not exist holds nothing.
func (d *Directory) all(ctx context.Context, q query) ([]entry, error) {
	var found []entry
	for page, err := range d.pages(ctx, q) {
		var ours *Error
		if errors.As(err, &ours) && ours.Code == ldap.LDAPResultNoSuchObject {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		found = append(found, page...)
	}
	return found, nil
}

// whole is all, with every value of every attribute.
func (d *Directory) whole(ctx context.Context, q query) ([]entry, error) {
	found, err := d.all(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, e := range found {
		if err := d.complete(ctx, q.op, e); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// pages gives the result page by page, in memory one at a time. Only a page with the server's word that it is the last
// ends it well. Where the server is lost on the way, the list is begun again at the next one, since a cookie and an order are
// one server's own; what was given already is left out.
func (d *Directory) pages(ctx context.Context, q query) iter.Seq2[[]entry, error] {
	return func(yield func([]entry, error) bool) {
		if q.given == nil {
			q.given = given{}
		}
		for moves := 0; ; moves++ {
			l := d.link()
			more, err := l.list(ctx, q, func(page []entry) bool {
				page = q.given.without(page)
				return len(page) == 0 || yield(page, nil)
			})
			if err == nil || !more {
				return
			}
			if !d.mayMove(ctx, err, moves) {
				yield(nil, err)
				return
			}
			if lost := d.move(ctx, l, err); lost != nil {
				yield(nil, lost)
				return
			}
		}
	}
}

func (q query) request(paging *ldap.ControlPaging) *ldap.SearchRequest {
	var controls []ldap.Control
	if paging != nil {
		controls = append(controls, paging)
	}
	if q.sd {
		// owner, group and DACL; asking for the SACL gives an ordinary account nothing at all ([MS-ADTS] 3.1.1.3.4.1.11)
		controls = append(controls, &ldap.ControlMicrosoftSDFlags{Criticality: true, ControlValue: 7})
	}
	return ldap.NewSearchRequest(q.base, q.scope, ldap.NeverDerefAliases, 0, 0, false, q.filter, q.attrs, controls)
}
