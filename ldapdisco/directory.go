package ldapdisco

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Directory is a connection to one domain controller that is logged on. It is safe for concurrent use.
type Directory struct {
	cfg  Config
	url  string
	net  net.Conn
	ldap *ldap.Conn
	root rootDSE
}

// rootDSE is what the server says of itself, [MS-ADTS] 3.1.1.3.2.
type rootDSE struct {
	base, config string // defaultNamingContext, configurationNamingContext
	server       string // dnsHostName
}

// Close ends the connection.
func (d *Directory) Close() error {
	d.net.Close() // first, so that no write under way holds the library up
	d.ldap.Close()
	return nil
}

// Server is the URL of the server that is asked.
func (d *Directory) Server() string { return d.url }

// BaseDN is where Computers begins when a query names no base.
func (d *Directory) BaseDN() string {
	if d.cfg.BaseDN != "" {
		return d.cfg.BaseDN
	}
	return d.root.base
}

func (d *Directory) fail(op string, err error) error { return failed(d.url, op, err) }

func (d *Directory) readRoot(ctx context.Context) error {
	const op = "read the root of the directory"
	e, err := d.entry(ctx, op, "", "defaultNamingContext", "configurationNamingContext", "dnsHostName")
	if err != nil {
		return err
	}
	d.root = rootDSE{e.text("defaultNamingContext"), e.text("configurationNamingContext"), e.text("dnsHostName")}
	if d.root.base == "" || d.root.config == "" {
		return d.fail(op, &hinted{"the server is no domain controller: it names no domain", "ask a domain controller of Active Directory"})
	}
	return nil
}

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
}

// entry reads one entry.
func (d *Directory) entry(ctx context.Context, op, dn string, attrs ...string) (entry, error) {
	q := query{op: op, base: dn, scope: ldap.ScopeBaseObject, filter: "(objectClass=*)", attrs: attrs}
	r, err := d.request(ctx, q.request(nil))
	if err != nil {
		return entry{}, d.fail(op, err)
	}
	if len(r.entries) != 1 {
		return entry{}, d.fail(op, &hinted{fmt.Sprintf("the server gave %d entries for one name", len(r.entries)), codeHints[ldap.LDAPResultNoSuchObject]})
	}
	return r.entries[0], nil
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

// maxEmptyPages ends a search that gives cookies and nothing else. A domain controller gives a few such pages when a
// filter takes it long.
const maxEmptyPages = 1000

var (
	errNoPaging = &hinted{"the server broke the list off: it did not say whether there is more", "try again, and if it recurs another domain controller"}
	errEndless  = &hinted{"the server gives empty pages without end", "try another domain controller"}
)

// pages gives the result page by page, in memory one at a time. Only a page with the server's word that it is the last
// ends it well.
func (d *Directory) pages(ctx context.Context, q query) iter.Seq2[[]entry, error] {
	return func(yield func([]entry, error) bool) {
		paging := ldap.NewControlPaging(d.cfg.PageSize)
		for n, empty := 1, 0; ; n++ {
			r, err := d.request(ctx, q.request(paging))
			if err == nil {
				err = r.next(paging)
			}
			if empty++; len(r.entries) > 0 {
				empty = 0
			}
			if err == nil && empty > maxEmptyPages {
				err = errEndless
			}
			if err != nil {
				yield(nil, d.fail(fmt.Sprintf("%s, page %d", q.op, n), err))
				return
			}
			if !yield(r.entries, nil) || len(paging.Cookie) == 0 {
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

// answer is one page.
type answer struct {
	entries  []entry
	controls []ldap.Control
}

// next moves the cookie on.
func (a answer) next(paging *ldap.ControlPaging) error {
	c, ok := ldap.FindControl(a.controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
	if !ok {
		return errNoPaging
	}
	paging.SetCookie(slices.Clone(c.Cookie))
	return nil
}

var (
	errTooMany = errors.New("the server sent more entries in one page than it was asked for")
	errSilent  = &hinted{"the server has not answered in time", "it may be overloaded or a firewall may have dropped the connection; try another domain controller"}
	errClosed  = errors.New("the connection was lost before the list was complete")
)

// request makes one search and collects its page: the library stalls every other request while entries wait for us.
func (d *Directory) request(ctx context.Context, r *ldap.SearchRequest) (answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(d.cfg.Timeout, func() { cancel(errSilent) })
	defer silence.Stop()
	var a answer
	found := d.ldap.SearchAsync(ctx, r, 64)
	for found.Next() {
		silence.Reset(d.cfg.Timeout)
		switch {
		case found.Entry() != nil:
			if a.entries = append(a.entries, entry{found.Entry()}); len(a.entries) > int(d.cfg.PageSize) {
				cancel(errTooMany)
			}
		case found.Referral() != "":
			d.continuation(found.Referral())
		}
		a.controls = append(a.controls, found.Controls()...)
	}
	switch {
	case ctx.Err() != nil:
		return answer{}, context.Cause(ctx)
	case found.Err() != nil && d.ldap.IsClosing():
		return answer{}, fmt.Errorf("%w: %w", errClosed, found.Err())
	case found.Err() != nil:
		return answer{}, found.Err()
	case d.ldap.IsClosing(): // the library then answers with nothing, and no error
		return answer{}, errClosed
	}
	return a, nil
}

// continuation is a part of the tree that another server holds. The domain's own partitions hold no computers.
func (d *Directory) continuation(url string) {
	lower := strings.ToLower(url)
	for _, own := range []string{"dc=domaindnszones,", "dc=forestdnszones,", "cn=configuration,"} {
		if strings.Contains(lower, own) {
			return
		}
	}
	d.cfg.Log.Warn("another domain lies below the searched one and is not followed", "server", d.url, "referral", url)
}
