package ldapdisco_test

import (
	"fmt"
	"slices"
	"testing"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/ldaptest"
)

func TestServicePrincipalsThatAnotherObjectHas(t *testing.T) {
	computer := ldapdisco.Computer{DN: "CN=WEB01,OU=Servers,DC=corp,DC=example", Name: "WEB01", DNSHostName: "web01.corp.example",
		SPNs: []string{"HOST/WEB01", "HOST/web01.corp.example", "WSMAN/web01.corp.example"}}
	const other = "CN=svc-web,CN=Users,DC=corp,DC=example"
	for what, tc := range map[string]struct {
		spns []string // of the other
		own  []string // besides, of the computer
		want []string
	}{
		"nothing":                       {nil, nil, nil},
		"another name":                  {[]string{"HTTP/www.corp.example", "HTTP/web010.corp.example"}, nil, nil},
		"the full name":                 {[]string{"HTTP/web01.corp.example"}, nil, []string{"HTTP/web01.corp.example true"}},
		"in other letters":              {[]string{"http/WEB01.Corp.Example"}, nil, []string{"HTTP/web01.corp.example true"}},
		"with a service's name":         {[]string{"HTTP/web01.corp.example/portal"}, nil, []string{"HTTP/web01.corp.example true"}},
		"the short name":                {[]string{"HTTP/WEB01"}, nil, []string{"HTTP/WEB01 false"}},
		"the full name, with our port":  {[]string{"HTTP/web01.corp.example:5986"}, nil, []string{"HTTP/web01.corp.example:5986 false"}},
		"the short name, with our port": {[]string{"HTTP/web01:5985"}, nil, []string{"HTTP/WEB01:5985 false"}},
		"another port":                  {[]string{"HTTP/web01.corp.example:8080"}, nil, nil},
		"by WSMAN":                      {[]string{"WSMAN/web01.corp.example"}, nil, []string{"WSMAN/web01.corp.example true"}},
		"by HOST":                       {[]string{"HOST/web01.corp.example"}, nil, []string{"HOST/web01.corp.example true"}},
		"by HOST, with HTTP of its own": {[]string{"HOST/web01.corp.example"}, []string{"HTTP/web01.corp.example"}, nil},
		"by HTTP, which it has too":     {[]string{"HTTP/web01.corp.example"}, []string{"HTTP/web01.corp.example"}, []string{"HTTP/web01.corp.example true"}},
		"another service":               {[]string{"MSSQLSvc/web01.corp.example"}, nil, nil},
		"two":                           {[]string{"HTTP/web01", "HTTP/web01.corp.example"}, nil, []string{"HTTP/web01.corp.example true", "HTTP/WEB01 false"}},
	} {
		s := emptyDomain(t)
		c := computer
		c.SPNs = slices.Concat(computer.SPNs, tc.own)
		add(t, s, c.DN, "computer", c.SPNs)
		add(t, s, other, "user", tc.spns)
		cfg := sealed(s)
		cfg.BaseDN = "OU=Servers,DC=corp,DC=example" // the other one lies elsewhere
		p, err := dial(t, cfg).Principals(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range p.Conflicts(c, 5985, 5986) {
			got = append(got, fmt.Sprint(f.SPN, " ", f.Whole))
			if f.Owner != other {
				t.Errorf("%s: %s", what, f.Owner)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", what, got, tc.want)
		}
	}
}

// A web farm's account with thousands of principals: the server gives them in portions, and the last one counts, too.
func TestPrincipalsThatComeInPortions(t *testing.T) {
	s := emptyDomain(t)
	var spns []string
	for i := range 3200 {
		spns = append(spns, fmt.Sprintf("HTTP/site%04d.corp.example", i))
	}
	const farm = "CN=svc-farm,CN=Users,DC=corp,DC=example"
	add(t, s, farm, "user", append(spns, "HTTP/web01.corp.example"))
	p, err := dial(t, sealed(s)).Principals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"site0000.corp.example", "site1499.corp.example", "site1500.corp.example", "site3199.corp.example", "web01.corp.example"} {
		if got := p.Conflicts(ldapdisco.Computer{Name: "X", DNSHostName: host}); len(got) != 1 || got[0].Owner != farm {
			t.Errorf("%s: %+v", host, got)
		}
	}
}

func add(t *testing.T, s *ldaptest.Server, dn, class string, spns []string) {
	t.Helper()
	e := ldaptest.Entry{DN: dn}
	e.Put("objectClass", "top", "person", class)
	e.Put("objectCategory", map[string]string{"computer": "CN=Computer", "user": "CN=Person"}[class]+",CN=Schema,"+s.ConfigDN())
	if len(spns) > 0 {
		e.Put("servicePrincipalName", spns...)
	}
	if err := s.Add(e); err != nil {
		t.Fatal(err)
	}
}
