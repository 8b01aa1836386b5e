package ldapdisco

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

var computerAttributes = []string{
	"objectClass", "objectGUID", "objectSid", "sAMAccountName", "dNSHostName", "operatingSystem", "operatingSystemVersion",
	"userAccountControl", "primaryGroupID", "servicePrincipalName", "memberOf", "lastLogonTimestamp", "pwdLastSet", "whenCreated",
}

// Computers gives the computers of the domain that the query takes, as the server sends them, one page in memory. An
// error is the last thing given, and means that the list is not complete. A domain controller that is lost on the way is
// none, while another of the configuration takes over.
//
// That two accounts have one DNS name is known when the second comes. The first is then given once more at the end, with
// the problem: of two computers with the same GUID the later one counts.
func (d *Directory) Computers(ctx context.Context, q Query) iter.Seq2[Computer, error] {
	return func(yield func(Computer, error) bool) {
		r, err := d.newReading(ctx, q)
		if err != nil {
			yield(Computer{}, err)
			return
		}
		given := given{} // of all bases together: one that is moved meanwhile from one to the other comes once
		for _, base := range r.bases {
			op := "list the computers"
			if base != d.root.base {
				op += " of " + base
			}
			q := r.query(base, op, computerAttributes)
			q.given = given
			for page, err := range d.pages(ctx, q) {
				if err == nil {
					err = d.finish(ctx, page)
				}
				if err != nil {
					yield(Computer{}, err)
					return
				}
				for _, e := range page {
					if c, ok := r.computer(e); ok && !yield(c, nil) {
						return
					}
				}
			}
		}
		if err := d.giveFirstTwins(ctx, r, yield); err != nil {
			if !errors.Is(err, errEnough) {
				yield(Computer{}, err)
			}
			return
		}
		for _, c := range r.missing() {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (d *Directory) finish(ctx context.Context, page []entry) error {
	for _, e := range page {
		if err := d.complete(ctx, "list the computers", e); err != nil {
			return err
		}
	}
	return nil
}

// reading is one enumeration under way.
type reading struct {
	q       Query
	bases   []string
	filter  string
	caHosts map[string]bool   // by DNS name in lower case
	sites   map[string]string // of domain controllers, by distinguished name in lower case
	twins   *twins
	exclude exclusions
	seen    []bool // of q.Include
	ou      canonicals
}

// newReading asks for all that a page of computers is judged by.
func (d *Directory) newReading(ctx context.Context, q Query) (*reading, error) {
	if err := q.validate(); err != nil {
		return nil, d.fail("select computers", err)
	}
	groups, err := d.groups(ctx, q.Groups)
	if err != nil {
		return nil, err
	}
	cas, err := d.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	controllers, err := d.controllers(ctx)
	if err != nil {
		return nil, err
	}
	r := &reading{q: q, bases: topmost(q.Bases), filter: q.filter(groups), caHosts: map[string]bool{}, sites: map[string]string{}, seen: make([]bool, len(q.Include))}
	if len(r.bases) == 0 {
		r.bases = []string{d.BaseDN()}
	}
	for _, ca := range cas {
		r.caHosts[strings.ToLower(ca.DNSHostName)] = true
	}
	for _, c := range controllers {
		r.sites[strings.ToLower(c.computer)] = c.Site
	}
	if r.exclude, err = d.findExclusions(ctx, q); err != nil {
		return nil, err
	}
	r.twins = newTwins()
	return r, nil
}

func (r *reading) query(base, op string, attrs []string) query {
	return query{op: op, base: base, scope: ldap.ScopeWholeSubtree, filter: r.filter, attrs: attrs}
}

// computer reads one entry; false if the query does not take it.
func (r *reading) computer(e entry) (Computer, bool) {
	c := newComputer(e, r.caHosts)
	if i := c.listed(r.q.Include); i >= 0 {
		r.seen[i] = true
	}
	if !r.q.names(c) || !r.takesOS(c) || !r.takesSPN(c) {
		return Computer{}, false
	}
	c.OU = r.ou.of(parentDN(e.DN))
	c.Site = r.sites[strings.ToLower(e.DN)]
	c.Problem = r.judge(c, e)
	return c, true
}

func (r *reading) takesOS(c Computer) bool {
	return len(r.q.OS) == 0 || slices.ContainsFunc(r.q.OS, func(p string) bool { return like(p, c.OS) })
}

func (r *reading) takesSPN(c Computer) bool {
	return len(r.q.SPNs) == 0 || slices.ContainsFunc(r.q.SPNs, func(p string) bool {
		return slices.ContainsFunc(c.SPNs, func(spn string) bool { return like(p, spn) })
	})
}

// missing are the names of the query that no computer had.
func (r *reading) missing() []Computer {
	var all []Computer
	for i, seen := range r.seen {
		if name := r.q.Include[i]; !seen {
			all = append(all, Computer{Name: strings.TrimSuffix(name, "$"), Problem: &Problem{NotFound, "the directory has no computer " + name + " among those selected"}})
		}
	}
	return all
}

// newComputer reads what the entry itself says.
func newComputer(e entry, caHosts map[string]bool) Computer {
	control := e.flags("userAccountControl")
	c := Computer{
		DN: clean(e.DN), Account: e.text("sAMAccountName"), DNSHostName: strings.TrimSuffix(e.text("dNSHostName"), "."),
		OS: e.text("operatingSystem"), OSVersion: e.text("operatingSystemVersion"),
		SPNs: e.texts("servicePrincipalName"), MemberOf: e.texts("memberOf"), Enabled: control&accountDisabled == 0,
		Created: e.generalizedTime("whenCreated"), LastLogon: e.fileTime("lastLogonTimestamp"), PasswordLastSet: e.fileTime("pwdLastSet"),
	}
	c.GUID, _ = parseGUID(e.bytes("objectGUID"))
	c.SID, _ = parseSID(e.bytes("objectSid"))
	c.Name = strings.TrimSuffix(c.Account, "$")
	c.Roles = rolesOf(c, control, e.number("primaryGroupID"), caHosts)
	if c.has(RoleClusterName) {
		c.Cluster = c.Name
	}
	return c
}

// judge gives the first reason not to manage it.
func (r *reading) judge(c Computer, e entry) *Problem {
	if why := r.exclude.why(c, e.DN); why != "" {
		return &Problem{Excluded, why}
	}
	for _, class := range e.texts("objectClass") {
		if strings.EqualFold(class, "msDS-GroupManagedServiceAccount") || strings.EqualFold(class, "msDS-ManagedServiceAccount") {
			return &Problem{ManagedAccount, "a managed service account, no computer"}
		}
	}
	if c.Enabled && r.alive(c) {
		r.twins.add(c)
	}
	if p := c.problem(r.q.staleBefore()); p != nil {
		return p
	}
	if n := r.twins.count(c.DNSHostName); n > 1 {
		return &Problem{DuplicateDNSName, fmt.Sprintf("%d enabled computer accounts have the DNS name %s; the directory does not tell which is the computer", n, c.DNSHostName)}
	}
	return nil
}

// problem looks at the computer alone.
func (c Computer) problem(staleBefore time.Time) *Problem {
	switch {
	case c.has(RoleClusterName):
		return &Problem{ClusterName, "the name of a failover cluster or of one of its services; the nodes have accounts of their own"}
	case !c.Enabled:
		return &Problem{Disabled, "the account is disabled"}
	case c.OS != "" && !isWindows(c.OS):
		return &Problem{NotWindows, "it runs " + c.OS}
	case !staleBefore.IsZero() && c.LastSeen().IsZero():
		return &Problem{Stale, "it has never logged on"}
	case !staleBefore.IsZero() && c.LastSeen().Before(staleBefore):
		return &Problem{Stale, "no sign of life since " + c.LastSeen().Format(time.DateOnly)}
	case c.GUID == "" || c.SID == "": // they tell it from others: a certificate's SID is compared with it
		return &Problem{NoIdentity, fmt.Sprintf("objectGUID %q, objectSid %q", c.GUID, c.SID)}
	case c.DNSHostName == "":
		return &Problem{NoDNSName, "the account has no dNSHostName"}
	case !isHostName(c.DNSHostName):
		return &Problem{NoDNSName, fmt.Sprintf("its dNSHostName %q is no full DNS name", c.DNSHostName)}
	case c.OS == "":
		return &Problem{UnknownOS, "the account does not tell the operating system; it may never have been joined"}
	}
	return nil
}

func isWindows(os string) bool {
	lower := strings.ToLower(os)
	for _, name := range []string{"windows", "hyper-v server", "azure stack hci"} {
		if strings.Contains(lower, name) {
			return true
		}
	}
	return false
}

// isHostName accepts full names of letters (of any script), digits, hyphens and underscores, RFC 1123 2.1 and what AD allows.
func isHostName(name string) bool {
	labels := strings.Split(name, ".")
	if len(labels) < 2 || len(name) > 253 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.HasPrefix(l, "-") || strings.ContainsFunc(l, notInHostName) {
			return false
		}
	}
	return true
}

func notInHostName(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	return !letter && (r < 0x80 || r == '\uFFFD')
}
