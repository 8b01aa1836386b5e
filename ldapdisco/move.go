package ldapdisco

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// link is the connection that is used now.
func (d *Directory) link() *link {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

const (
	maxMoves = 5 // of one search: one that every server drops comes to an end
	maxTried = 8 // servers at one move: a domain may have hundreds, and a firewall that swallows before all of them
)

// mayMove reports whether another server may do better after this error. A search moves once for each server at most.
func (d *Directory) mayMove(ctx context.Context, err error, moves int) bool {
	if ctx.Err() != nil || moves >= min(len(d.servers), maxMoves) {
		return false
	}
	if errors.Is(err, errClosed) {
		return true // a single server, too: what lies between may have dropped the connection
	}
	var ours *Error
	return len(d.servers) > 1 && (ofThisServer(err) || errors.As(err, &ours) && slices.Contains(codesOfServer, ours.Code))
}

func ofThisServer(err error) bool {
	for _, e := range []error{errSilent, errNoPaging, errEndless, errTooMany} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// codesOfServer are results that speak of the server, not of what was asked: a cookie that it lost is answered with 12.
var codesOfServer = []int{ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultUnavailableCriticalExtension}

// move connects to the next server after the one that was lost, to that one again at last. Of many who lost it at the same
// time, one does. The error is why, with what was lost before it.
func (d *Directory) move(ctx context.Context, lost *link, why error) error {
	d.moving.Lock()
	defer d.moving.Unlock()
	if d.link() != lost {
		return nil
	}
	if d.isClosed() {
		return why
	}
	lost.close()
	at := slices.Index(d.servers, lost.server)
	problems := []error{why}
	for i := range min(len(d.servers), maxTried) {
		s := d.servers[(at+1+i)%len(d.servers)]
		l, err := d.cfg.open(ctx, s)
		if err == nil && !strings.EqualFold(l.root.base, d.root.base) {
			l.close()
			err = &Error{Op: "take over", Server: s.url, Err: &hinted{fmt.Sprintf("it serves %s, not %s", l.root.base, d.root.base), "name controllers of one domain alone"}}
		}
		if err == nil {
			d.cfg.Log.Warn("the domain controller was lost, another takes over", "lost", lost.server.url, "server", s.url, "error", why)
			return d.use(l)
		}
		problems = append(problems, err)
		if !d.cfg.another(ctx, err) {
			break
		}
	}
	return errors.Join(problems...)
}

func (d *Directory) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

func (d *Directory) use(l *link) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		l.close()
		return failed(l.server.url, "take over", errClosed)
	}
	d.now = l
	return nil
}

// given is which entries a list has given: by objectGUID, which all controllers have the same, else by name. An entry
// costs it sixteen bytes and what a map adds.
type given map[[16]byte]struct{}

// without leaves out the entries that were given before, and notes the others.
func (g given) without(page []entry) []entry {
	return slices.DeleteFunc(page, func(e entry) bool {
		var key [16]byte
		if id := e.bytes("objectGUID"); len(id) == len(key) {
			key = [16]byte(id)
		} else {
			sum := sha256.Sum256([]byte(strings.ToLower(e.DN)))
			key = [16]byte(sum[:])
		}
		_, before := g[key]
		g[key] = struct{}{}
		return before
	})
}
