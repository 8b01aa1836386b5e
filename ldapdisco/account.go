package ldapdisco

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Account is a user as the directory knows it.
type Account struct {
	Name   string   // CORP\name
	DN     string   // distinguished name
	Groups []string // SIDs of all its groups, nested ones and the primary group included
}

// Self is the account that this session logged on with, as the server says (RFC 4532): a name that was typed may be
// another's in this domain. An account of another domain is an error.
func (d *Directory) Self(ctx context.Context) (Account, error) {
	const op = "ask who we are"
	said, err := d.link().whoAmI(ctx)
	if err != nil {
		return Account{}, d.fail(op, err)
	}
	a := Account{Name: strings.TrimPrefix(said.AuthzID, "u:")}
	domain, name, found := strings.Cut(a.Name, `\`)
	if !found || name == "" {
		return a, d.fail(op, fmt.Errorf("the server answers %q", said.AuthzID))
	}
	ours, err := d.all(ctx, query{op: op, base: "CN=Partitions," + d.root.config, scope: ldap.ScopeSingleLevel, attrs: []string{"nETBIOSName"},
		filter: "(&(objectClass=crossRef)(nCName=" + ldap.EscapeFilter(d.root.base) + ")(nETBIOSName=" + ldap.EscapeFilter(domain) + "))"})
	if err != nil {
		return a, err
	}
	if len(ours) != 1 {
		return a, d.fail(op, &hinted{fmt.Sprintf("%s is of another domain", a.Name), "use an account of the domain itself"})
	}
	users, err := d.all(ctx, query{op: op, base: d.root.base, scope: ldap.ScopeWholeSubtree, attrs: []string{"distinguishedName"},
		filter: "(&(objectClass=user)(sAMAccountName=" + ldap.EscapeFilter(name) + "))"})
	if err != nil {
		return a, err
	}
	if len(users) != 1 {
		return a, d.fail(op, fmt.Errorf("the domain has %d accounts %s", len(users), a.Name))
	}
	a.DN = users[0].DN
	a.Groups, err = d.GroupSIDs(ctx, a.DN)
	return a, err
}

// whoAmI gives up in time: the library would wait for the answer for ever. The connection is of no use then.
func (l *link) whoAmI(ctx context.Context) (*ldap.WhoAmIResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.cfg.Timeout, errSilent)
	defer cancel()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, l.close)
	said, err := l.ldap.WhoAmI(nil)
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return said, err
}

// In reports whether the account is in one of the groups, given by name or distinguished name.
func (d *Directory) In(ctx context.Context, a Account, groups []string) (bool, error) {
	for _, name := range groups {
		g, err := d.group(ctx, name)
		if err != nil {
			return false, err
		}
		e, err := d.entry(ctx, "read the group "+name, g.dn, "objectSid")
		if err != nil {
			return false, err
		}
		sid, err := parseSID(e.bytes("objectSid"))
		if err != nil {
			return false, d.fail("read the group "+name, err)
		}
		if slices.ContainsFunc(a.Groups, func(s string) bool { return strings.EqualFold(s, sid) }) {
			return true, nil
		}
	}
	return false, nil
}
