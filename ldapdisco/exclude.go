package ldapdisco

import (
	"context"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// exclusions are what a query leaves out: the computers are listed, with the reason, and not managed.
type exclusions struct {
	patterns []string
	under    []string          // canonical names of OUs, in lower case
	members  map[string]string // of excluded groups, by distinguished name in lower case, with the group
}

// findExclusions asks for the members of the excluded groups, nested ones and those whose primary group it is included,
// in the whole domain: a query may select what does not lie below the configured base.
func (d *Directory) findExclusions(ctx context.Context, q Query) (exclusions, error) {
	x := exclusions{patterns: q.Exclude, members: map[string]string{}}
	for _, dn := range q.ExcludeBases {
		name := strings.ToLower(canonical(dn))
		if name == "" { // it would exclude nothing
			return x, d.fail("exclude "+dn, &misnamed{hinted{"it is no distinguished name", codeHints[ldap.LDAPResultInvalidDNSyntax]}})
		}
		x.under = append(x.under, name)
	}
	for _, name := range q.ExcludeGroups {
		g, err := d.group(ctx, name)
		if err != nil {
			return x, err
		}
		members := query{op: "list the excluded computers in " + name, base: d.root.base, scope: ldap.ScopeWholeSubtree,
			filter: "(&" + computersOnly + groupFilter([]group{g}) + ")", attrs: []string{"1.1"}}
		for page, err := range d.pages(ctx, members) {
			if err != nil {
				return x, err
			}
			for _, e := range page {
				x.members[strings.ToLower(e.DN)] = name
			}
		}
	}
	return x, nil
}

// why says what excludes the computer; empty: nothing does.
func (x exclusions) why(c Computer, dn string) string {
	if p, ok := c.matches(x.patterns); ok {
		return "excluded by " + p
	}
	if len(x.under) > 0 {
		ou := strings.ToLower(canonical(parentDN(dn)))
		for _, base := range x.under {
			if ou == base || strings.HasPrefix(ou, base+"/") {
				return "excluded with " + base
			}
		}
	}
	if g, ok := x.members[strings.ToLower(dn)]; ok {
		return "excluded as a member of " + g
	}
	return ""
}
