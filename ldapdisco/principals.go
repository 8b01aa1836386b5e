package ldapdisco

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Principals are who holds the service principals that WinRM's clients ask tickets for.
type Principals struct {
	holders map[string][]string // distinguished names, by the principal in lower case
}

// principalFilter takes every HTTP principal. HOST and WSMAN ones every computer has for itself: only those are looked at
// that something else has. Where no object has HTTP/name, HOST/name stands for it (sPNMappings, [MS-ADTS] 3.1.1.5.1.3).
const principalFilter = "(|(servicePrincipalName=HTTP/*)(&(|(servicePrincipalName=HOST/*)(servicePrincipalName=WSMAN/*))(!(objectCategory=computer))))"

// Principals asks the whole domain, whatever Computers begins with.
func (d *Directory) Principals(ctx context.Context) (Principals, error) {
	q := query{op: "list the HTTP service principals", base: d.root.base, scope: ldap.ScopeWholeSubtree, filter: principalFilter, attrs: []string{"servicePrincipalName"}}
	p := Principals{map[string][]string{}}
	found, err := d.whole(ctx, q)
	if err != nil {
		return p, err
	}
	for _, e := range found {
		for _, spn := range e.texts("servicePrincipalName") {
			p.add(spn, clean(e.DN))
		}
	}
	return p, nil
}

func (p Principals) add(spn, dn string) {
	class, rest, ok := strings.Cut(strings.ToLower(spn), "/")
	if !ok || class != "http" && class != "host" && class != "wsman" {
		return
	}
	name, _, _ := strings.Cut(rest, "/") // the name of a service may follow
	if key := class + "/" + name; !slices.Contains(p.holders[key], dn) {
		p.holders[key] = append(p.holders[key], dn)
	}
}

// Conflict is a service principal of a computer that another object has.
type Conflict struct {
	SPN   string `json:"spn"`
	Owner string `json:"owner"` // distinguished name
	// Whole says that the computer's full name is meant, as clients ask for it by default: by the short name or with a
	// port only some do.
	Whole bool `json:"whole"`
}

// Conflicts are the principals by which clients look for the computer's WinRM on these ports, and which another object has:
// they get a ticket that the computer cannot read, or none at all where it has the same one. Those by the full name come first.
func (p Principals) Conflicts(c Computer, ports ...int) []Conflict {
	if c.DNSHostName == "" {
		return nil
	}
	var all []Conflict
	for _, name := range []string{c.DNSHostName, c.Name} {
		forms := []string{name}
		for _, port := range ports {
			forms = append(forms, fmt.Sprintf("%s:%d", name, port))
		}
		for i, form := range forms {
			for _, class := range p.asked(c, form) {
				for _, dn := range p.holders[class+"/"+strings.ToLower(form)] {
					if !strings.EqualFold(dn, c.DN) {
						all = append(all, Conflict{strings.ToUpper(class) + "/" + form, dn, i == 0 && name == c.DNSHostName})
					}
				}
			}
		}
	}
	return all
}

// asked are the classes that decide who gets the ticket for HTTP/name, or for WSMAN/name: HOST counts only while nothing has
// the name itself.
func (p Principals) asked(c Computer, name string) []string {
	own := func(class string) bool {
		return slices.ContainsFunc(c.SPNs, func(spn string) bool { return strings.EqualFold(spn, class+"/"+name) })
	}
	classes := []string{"http", "wsman"}
	if !own("http") && len(p.holders["http/"+strings.ToLower(name)]) == 0 {
		classes = append(classes, "host")
	}
	return classes
}
