package ldapdisco

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Domain is the domain and its network.
type Domain struct {
	DNSName     string       `json:"dnsName"`
	NetBIOSName string       `json:"netbiosName"`
	BaseDN      string       `json:"baseDN"`
	SID         string       `json:"sid"`
	Others      []string     `json:"others,omitempty"` // DNS names of the forest's other domains, of which nothing is read
	Controllers []Controller `json:"controllers"`
	Sites       []string     `json:"sites"`
	Subnets     []Subnet     `json:"subnets"` // the narrowest first
}

// Controller is a domain controller of the domain.
type Controller struct {
	DNSHostName string `json:"dnsHostName"`
	Site        string `json:"site"`

	computer string // distinguished name of its account
}

// Subnet says which site a network belongs to.
type Subnet struct {
	Prefix netip.Prefix `json:"prefix"`
	Site   string       `json:"site"`
}

// SiteOf is the site of the narrowest subnet with the address, empty if there is none.
func (d Domain) SiteOf(addr netip.Addr) string {
	for _, s := range d.Subnets {
		if s.Prefix.Contains(addr.Unmap()) {
			return s.Site
		}
	}
	return ""
}

// Domain reads the names of the domain, its controllers, and the sites of the forest.
func (d *Directory) Domain(ctx context.Context) (Domain, error) {
	base, err := d.entry(ctx, "read the domain", d.root.base, "objectSid")
	if err != nil {
		return Domain{}, err
	}
	dom := Domain{BaseDN: d.root.base, DNSName: canonical(d.root.base)}
	dom.SID, _ = parseSID(base.bytes("objectSid"))
	refs, err := d.all(ctx, query{op: "read the domain's names", base: "CN=Partitions," + d.root.config, scope: ldap.ScopeSingleLevel,
		filter: "(&(objectClass=crossRef)(nETBIOSName=*))", attrs: []string{"nCName", "nETBIOSName", "dnsRoot"}}) // which domains have, and other partitions have not
	if err != nil {
		return Domain{}, err
	}
	for _, e := range refs {
		name := cmp.Or(e.text("dnsRoot"), canonical(e.text("nCName")))
		if !strings.EqualFold(e.text("nCName"), d.root.base) {
			dom.Others = append(dom.Others, name)
			continue
		}
		dom.NetBIOSName, dom.DNSName = e.text("nETBIOSName"), cmp.Or(name, dom.DNSName)
	}
	slices.Sort(dom.Others)
	if dom.Controllers, err = d.controllers(ctx); err != nil {
		return Domain{}, err
	}
	err = d.network(ctx, &dom)
	return dom, err
}

// controllers are the servers of all sites whose account is in this domain.
func (d *Directory) controllers(ctx context.Context) ([]Controller, error) {
	found, err := d.all(ctx, query{op: "list the domain controllers", base: "CN=Sites," + d.root.config, scope: ldap.ScopeWholeSubtree,
		filter: "(objectClass=server)", attrs: []string{"dNSHostName", "serverReference"}})
	if err != nil {
		return nil, err
	}
	var all []Controller
	for _, e := range found {
		c := Controller{DNSHostName: e.text("dNSHostName"), computer: e.text("serverReference")}
		if c.computer == "" || !strings.HasSuffix(strings.ToLower(c.computer), ","+strings.ToLower(d.root.base)) {
			continue // of another domain, or what a removed controller left behind
		}
		c.Site = firstName(parentDN(parentDN(e.DN))) // CN=DC1,CN=Servers,CN=London,CN=Sites,...
		all = append(all, c)
	}
	return all, nil
}

func (d *Directory) network(ctx context.Context, dom *Domain) error {
	found, err := d.all(ctx, query{op: "list the sites", base: "CN=Sites," + d.root.config, scope: ldap.ScopeWholeSubtree,
		filter: "(|(objectClass=site)(objectClass=subnet))", attrs: []string{"objectClass", "cn", "siteObject"}})
	if err != nil {
		return err
	}
	for _, e := range found {
		if site := e.text("siteObject"); site != "" {
			if p, err := netip.ParsePrefix(e.text("cn")); err == nil {
				dom.Subnets = append(dom.Subnets, Subnet{p.Masked(), firstName(site)})
			}
		} else if slices.ContainsFunc(e.texts("objectClass"), func(c string) bool { return strings.EqualFold(c, "site") }) {
			dom.Sites = append(dom.Sites, e.text("cn"))
		}
	}
	slices.Sort(dom.Sites)
	slices.SortStableFunc(dom.Subnets, func(a, b Subnet) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return nil
}

// GroupSIDs are the groups in the token of an account, nested ones and the primary group included. The well-known
// groups that everybody is in are not among them.
func (d *Directory) GroupSIDs(ctx context.Context, dn string) ([]string, error) {
	op := "read the groups of " + clean(dn)
	e, err := d.entry(ctx, op, dn, "tokenGroups")
	if err != nil {
		return nil, err
	}
	var sids []string
	for _, b := range e.allBytes("tokenGroups") {
		sid, err := parseSID(b)
		if err != nil {
			return nil, d.fail(op, err)
		}
		sids = append(sids, sid)
	}
	return sids, nil
}
