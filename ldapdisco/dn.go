package ldapdisco

import (
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// parentDN is the name without its first part.
func parentDN(dn string) string {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			return dn[i+1:]
		}
	}
	return ""
}

// Canonical writes a distinguished name the way canonicalName does: corp.example/Servers/Web. It is empty for what is
// no distinguished name.
func Canonical(dn string) string { return canonical(dn) }

// canonical writes OU=Web,OU=Servers,DC=corp,DC=example as corp.example/Servers/Web, a slash in a name as \/, the way
// canonicalName does. What is no distinguished name gives nothing.
func canonical(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return ""
	}
	var domain, path []string
	for _, rdn := range parsed.RDNs {
		for _, a := range rdn.Attributes {
			if strings.EqualFold(a.Type, "DC") {
				domain = append(domain, clean(a.Value))
				continue
			}
			path = append(path, "/"+strings.ReplaceAll(clean(a.Value), "/", `\/`))
		}
	}
	var b strings.Builder
	b.WriteString(strings.Join(domain, "."))
	for i := len(path) - 1; i >= 0; i-- {
		b.WriteString(path[i])
	}
	return b.String()
}

// canonicals remembers the last container, since entries of one come together.
type canonicals struct{ dn, name string }

func (c *canonicals) of(dn string) string {
	if dn != c.dn {
		c.dn, c.name = dn, canonical(dn)
	}
	return c.name
}

// firstName is the value of the first part: Web of OU=Web,OU=Servers,...
func firstName(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 || len(parsed.RDNs[0].Attributes) == 0 {
		return ""
	}
	return clean(parsed.RDNs[0].Attributes[0].Value)
}

// topmost leaves out bases that lie below others, so that nothing is found twice.
func topmost(bases []string) []string {
	parsed := make([]*ldap.DN, len(bases))
	for i, b := range bases {
		parsed[i], _ = ldap.ParseDN(b)
	}
	var top []string
	for i, b := range bases {
		covered := false
		for j := range bases {
			if i == j || parsed[i] == nil || parsed[j] == nil {
				continue
			}
			covered = covered || parsed[j].AncestorOfFold(parsed[i]) || j < i && parsed[j].EqualFold(parsed[i])
		}
		if !covered {
			top = append(top, b)
		}
	}
	return top
}
