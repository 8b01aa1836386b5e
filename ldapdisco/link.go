package ldapdisco

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// link is a connection to one domain controller that is logged on.
type link struct {
	cfg    Config
	server server
	net    net.Conn
	ldap   *ldap.Conn
	root   rootDSE
}

func (l *link) close() {
	l.net.Close() // first, so that no write under way holds the library up
	l.ldap.Close()
}

func (l *link) readRoot(ctx context.Context) error {
	const op = "read the root of the directory"
	e, err := l.entry(ctx, "", "defaultNamingContext", "configurationNamingContext")
	if err != nil {
		return failed(l.server.url, op, err)
	}
	l.root = rootDSE{e.text("defaultNamingContext"), e.text("configurationNamingContext")}
	if l.root.base == "" || l.root.config == "" {
		return failed(l.server.url, op, &hinted{"the server is no domain controller: it names no domain", "ask a domain controller of Active Directory"})
	}
	return nil
}

func (l *link) entry(ctx context.Context, dn string, attrs ...string) (entry, error) {
	q := query{base: dn, scope: ldap.ScopeBaseObject, filter: "(objectClass=*)", attrs: attrs}
	r, err := l.request(ctx, q.request(nil))
	if err != nil {
		return entry{}, err
	}
	if len(r.entries) != 1 {
		return entry{}, &hinted{fmt.Sprintf("the server gave %d entries for one name", len(r.entries)), codeHints[ldap.LDAPResultNoSuchObject]}
	}
	return r.entries[0], nil
}

// maxEmptyPages ends a search that gives cookies and nothing else. A domain controller gives a few such pages when a
// filter takes it long.
const maxEmptyPages = 1000

var (
	errNoPaging = &hinted{"the server broke the list off: it did not say whether there is more", "try again, and if it recurs another domain controller"}
	errEndless  = &hinted{"the server gives empty pages without end", "try another domain controller"}
)

// list gives the pages of one search. More is false when the consumer wants no more.
func (l *link) list(ctx context.Context, q query, give func([]entry) bool) (more bool, err error) {
	paging := ldap.NewControlPaging(l.cfg.PageSize)
	for n, empty := 1, 0; ; n++ {
		r, err := l.request(ctx, q.request(paging))
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
			return true, failed(l.server.url, fmt.Sprintf("%s, page %d", q.op, n), err)
		}
		if !give(r.entries) {
			return false, nil
		}
		if len(paging.Cookie) == 0 {
			return true, nil
		}
	}
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
func (l *link) request(ctx context.Context, r *ldap.SearchRequest) (answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(l.cfg.Timeout, func() { cancel(errSilent) })
	defer silence.Stop()
	var a answer
	found := l.ldap.SearchAsync(ctx, r, 64)
	for found.Next() {
		silence.Reset(l.cfg.Timeout)
		switch {
		case found.Entry() != nil:
			if a.entries = append(a.entries, entry{found.Entry()}); len(a.entries) > int(l.cfg.PageSize) {
				cancel(errTooMany)
			}
		case found.Referral() != "":
			l.continuation(found.Referral())
		}
		a.controls = append(a.controls, found.Controls()...)
	}
	switch {
	case ctx.Err() != nil:
		return answer{}, context.Cause(ctx)
	case found.Err() != nil && (l.ldap.IsClosing() || lost(found.Err())):
		return answer{}, fmt.Errorf("%w: %w", errClosed, found.Err())
	case found.Err() != nil:
		return answer{}, found.Err()
	case l.ldap.IsClosing(): // the library then answers with nothing, and no error
		return answer{}, errClosed
	}
	return a, nil
}

// lost reports whether the connection failed, and not the search: the library has a type for what the server said, and for
// what it cannot send, such as a filter that is none.
func lost(err error) bool {
	var said *ldap.Error
	return !errors.As(err, &said) || said.ResultCode == ldap.ErrorNetwork
}

// continuation is a part of the tree that another server holds. The domain's own partitions hold no computers.
func (l *link) continuation(url string) {
	lower := strings.ToLower(url)
	for _, own := range []string{"dc=domaindnszones,", "dc=forestdnszones,", "cn=configuration,"} {
		if strings.Contains(lower, own) {
			return
		}
	}
	l.cfg.Log.Warn("another domain lies below the searched one and is not followed", "server", l.server.url, "referral", url)
}
