package ldapdisco

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Query selects computers. What is empty does not narrow; a computer has to fit all that is not. Patterns know * and ?
// and no case, and are held against the account's name and the DNS name.
type Query struct {
	Bases  []string // distinguished names of OUs; empty: the directory's BaseDN
	Filter string   // LDAP, besides
	Names  []string // patterns
	Groups []string // names or distinguished names; members of their groups count too
	OS     []string // patterns for operatingSystem: Windows Server 2022*
	SPNs   []string // patterns for service principals: MSSQLSvc/*

	Include []string // names: these too; one that the directory does not have is reported
	// What is excluded wins over everything, and is reported as a Problem.
	Exclude       []string // patterns
	ExcludeBases  []string // distinguished names of OUs
	ExcludeGroups []string // names or distinguished names; members of their groups count too

	StaleAfter time.Duration // without a sign of life for so long; 0: never mind
	Now        time.Time     // what StaleAfter counts from
}

func (q Query) validate() error {
	if q.Filter != "" {
		if _, err := ldap.CompileFilter(bracketed(q.Filter)); err != nil {
			return &misnamed{hinted{fmt.Sprintf("the filter %s is not valid: %v", q.Filter, err), "a filter looks like (operatingSystemVersion=10.0*) or (&(description=a*)(location=Paris))"}}
		}
	}
	if q.StaleAfter > 0 && q.Now.IsZero() {
		return errors.New("StaleAfter is given without Now")
	}
	return nil
}

// staleBefore is the time that the last sign of life must not lie before; zero: any.
func (q Query) staleBefore() time.Time {
	if q.StaleAfter <= 0 {
		return time.Time{}
	}
	return q.Now.Add(-q.StaleAfter)
}

// names tells if the query takes the computer by its name.
func (q Query) names(c Computer) bool {
	if len(q.Names) == 0 && len(q.Include) == 0 {
		return true
	}
	_, ok := c.matches(q.Names)
	return ok || c.listed(q.Include) >= 0
}

// matches gives the pattern that fits the computer.
func (c Computer) matches(patterns []string) (string, bool) {
	for _, p := range patterns {
		if like(p, c.Name) || c.DNSHostName != "" && like(p, c.DNSHostName) {
			return p, true
		}
	}
	return "", false
}

// listed finds the computer in a list of names, -1 if it is not there.
func (c Computer) listed(names []string) int {
	for i, n := range names {
		if strings.EqualFold(n, c.Name) || strings.EqualFold(n, c.Account) || c.DNSHostName != "" && strings.EqualFold(n, c.DNSHostName) {
			return i
		}
	}
	return -1
}

// computersOnly leaves out managed service accounts, whose class derives from computer.
const computersOnly = "(objectCategory=computer)"

// maxNameTerms is how many names go into the filter; with more, the names are looked at here alone.
const maxNameTerms = 100

// filter is what the server can decide; it lets through at least what the query takes.
func (q Query) filter(groups []group) string {
	parts := []string{computersOnly}
	if q.Filter != "" {
		parts = append(parts, bracketed(q.Filter))
	}
	if n := len(q.Names) + len(q.Include); n > 0 && n <= maxNameTerms {
		parts = append(parts, q.nameFilter())
	}
	if len(groups) > 0 {
		parts = append(parts, groupFilter(groups))
	}
	if len(q.OS) > 0 {
		var any []string
		for _, p := range q.OS {
			any = append(any, "(operatingSystem="+substrings(p)+")")
		}
		parts = append(parts, oneOf(any))
	}
	if len(q.SPNs) > 0 {
		var any []string
		for _, p := range q.SPNs {
			any = append(any, "(servicePrincipalName="+substrings(p)+")")
		}
		parts = append(parts, oneOf(any))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "(&" + strings.Join(parts, "") + ")"
}

// bracketed adds the brackets that are often left away around a single comparison.
func bracketed(filter string) string {
	if strings.HasPrefix(filter, "(") {
		return filter
	}
	return "(" + filter + ")"
}

func (q Query) nameFilter() string {
	var any []string
	for _, p := range q.Names {
		any = append(any, "(sAMAccountName="+substrings(p+"$")+")", "(dNSHostName="+substrings(p)+")")
	}
	for _, n := range q.Include {
		n = ldap.EscapeFilter(n)
		any = append(any, "(sAMAccountName="+n+")", "(sAMAccountName="+n+"$)", "(dNSHostName="+n+")")
	}
	return oneOf(any)
}

func oneOf(filters []string) string {
	if len(filters) == 1 {
		return filters[0]
	}
	return "(|" + strings.Join(filters, "") + ")"
}

// substrings writes a pattern as the value of a filter. LDAP has no ?, so it becomes *, and like decides afterwards.
func substrings(pattern string) string {
	parts := strings.FieldsFunc(pattern, func(r rune) bool { return r == '*' || r == '?' })
	if len(parts) == 0 {
		return "*"
	}
	for i := range parts {
		parts[i] = ldap.EscapeFilter(parts[i])
	}
	s := strings.Join(parts, "*")
	if strings.ContainsAny(pattern[:1], "*?") {
		s = "*" + s
	}
	if strings.ContainsAny(pattern[len(pattern)-1:], "*?") {
		s += "*"
	}
	return s
}

// like matches a pattern with * and ? without regard to case.
func like(pattern, name string) bool {
	p, n := []rune(strings.ToLower(pattern)), []rune(strings.ToLower(name))
	pi, ni, star, mark := 0, 0, -1, 0
	for ni < len(n) {
		switch {
		case pi < len(p) && p[pi] == '*':
			star, mark = pi, ni
			pi++
		case pi < len(p) && (p[pi] == '?' || p[pi] == n[ni]):
			pi++
			ni++
		case star >= 0:
			mark++
			pi, ni = star+1, mark
		default:
			return false
		}
	}
	for pi < len(p) && p[pi] == '*' {
		pi++
	}
	return pi == len(p)
}

// group is a group of the query that was found.
type group struct{ dn, rid string }

// groups finds the groups of the query. One that does not exist is an error: it would select nothing, or too much.
func (d *Directory) groups(ctx context.Context, names []string) ([]group, error) {
	var found []group
	for _, name := range names {
		g, err := d.group(ctx, name)
		if err != nil {
			return nil, err
		}
		found = append(found, g)
	}
	return found, nil
}

func (d *Directory) group(ctx context.Context, name string) (group, error) {
	op := "find the group " + name
	q := query{op: op, base: d.root.base, scope: ldap.ScopeWholeSubtree, attrs: []string{"objectSid"},
		filter: fmt.Sprintf("(&(objectCategory=group)(|(sAMAccountName=%[1]s)(cn=%[1]s)))", ldap.EscapeFilter(name))}
	if _, err := ldap.ParseDN(name); err == nil && strings.Contains(name, "=") {
		q.base, q.scope, q.filter = name, ldap.ScopeBaseObject, "(objectClass=group)"
	}
	found, err := d.all(ctx, q)
	if err != nil {
		return group{}, err
	}
	if len(found) != 1 {
		return group{}, d.fail(op, &misnamed{hinted{fmt.Sprintf("the domain has %d groups of this name", len(found)), "give the group's distinguished name"}})
	}
	g := group{dn: found[0].DN}
	if sid, err := parseSID(found[0].bytes("objectSid")); err == nil {
		g.rid = relativeID(sid)
	}
	return g, nil
}

const inChain = "1.2.840.113556.1.4.1941" // LDAP_MATCHING_RULE_TRANSITIVE_EVAL, [MS-ADTS] 3.1.1.3.4.4.3

// groupFilter includes the primary group, which memberOf does not show.
func groupFilter(groups []group) string {
	var any []string
	for _, g := range groups {
		any = append(any, "(memberOf:"+inChain+":="+ldap.EscapeFilter(g.dn)+")")
		if g.rid != "" {
			any = append(any, "(primaryGroupID="+g.rid+")")
		}
	}
	return oneOf(any)
}
