package ldapdisco_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/ldaptest"
)

const day = 24 * time.Hour

func TestProblemsOfComputers(t *testing.T) {
	d := dial(t, sealed(domain(t)))
	all := list(t, d, ldapdisco.Query{StaleAfter: 90 * day, Now: now, Exclude: []string{"ws001*", "CA01.corp.example"}})
	want := map[string]string{
		"WEB01": "", "WEB02": "", "WEB03": "", "SQL01": "", "SQL02": "", "EX01": "", "HV01": "", "RODC1": "", "HYPERV": "", "DC1": "",
		"ODDCOMMA": "", "MUENCHEN01": "", "SLASH01": "", "BADUTF01": "",
		"CA01": ldapdisco.Excluded, "WS001": ldapdisco.Excluded, "WS002": ldapdisco.Disabled, "GHOST01": ldapdisco.Disabled, "OLD01": ldapdisco.Stale,
		"NEVER01": ldapdisco.Stale, "NODNS01": ldapdisco.NoDNSName, "SHORT01": ldapdisco.NoDNSName, "EVIL01": ldapdisco.NoDNSName, "NOOS01": ldapdisco.UnknownOS,
		"TWIN01": ldapdisco.DuplicateDNSName, "TWIN02": ldapdisco.DuplicateDNSName, "SQLCLU": ldapdisco.ClusterName, "LINUX01": ldapdisco.NotWindows,
		"gmsa-odd": ldapdisco.ManagedAccount,
	}
	for name, problem := range want {
		c, ok := all[name]
		got := ""
		if c.Problem != nil {
			got = c.Problem.Code
			if c.Problem.Detail == "" {
				t.Errorf("%s: problem %s without a sentence", name, got)
			}
		}
		if !ok || got != problem {
			t.Errorf("%s: problem %q, want %q", name, got, problem)
		}
	}
	for name := range all {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is no computer of the domain", name)
		}
	}
}

func TestRolesAndFacts(t *testing.T) {
	d := dial(t, sealed(domain(t)))
	all := list(t, d, ldapdisco.Query{})
	for name, want := range map[string][]ldapdisco.Role{
		"DC1": {ldapdisco.RoleDomainController}, "RODC1": {ldapdisco.RoleDomainController, ldapdisco.RoleReadOnlyDC},
		"CA01": {ldapdisco.RoleCA}, "SQL01": {ldapdisco.RoleClusterNode, ldapdisco.RoleSQL}, "SQL02": {ldapdisco.RoleSQL},
		"SQLCLU": {ldapdisco.RoleClusterName}, "EX01": {ldapdisco.RoleExchange}, "HV01": {ldapdisco.RoleHyperV}, "HYPERV": {ldapdisco.RoleExchange}, "WEB01": nil,
	} {
		if got := all[name].Roles; !slices.Equal(got, want) {
			t.Errorf("%s: roles %v, want %v", name, got, want)
		}
	}
	for name, ou := range map[string]string{
		"WEB01": "corp.example/Servers/Web", "ODDCOMMA": "corp.example/Odd, Names #1", "MUENCHEN01": "corp.example/Übersee",
		"SLASH01": `corp.example/Slash\/Mark`, "DC1": "corp.example/Domain Controllers",
	} {
		if got := all[name].OU; got != ou {
			t.Errorf("%s: OU %q, want %q", name, got, ou)
		}
	}
	c := all["WEB01"]
	if c.Account != "WEB01$" || c.DNSHostName != "web01.corp.example" || c.OSVersion != "10.0 (20348)" || !c.Enabled || len(c.GUID) != 36 || len(c.SPNs) != 2 ||
		!strings.HasPrefix(c.SID, "S-1-5-21-1004336348-1177238915-682003330-") || c.Created.Year() != 2024 ||
		c.LastSeen() != time.Date(2026, 11, 17, 0, 0, 0, 0, time.UTC) || !slices.Equal(c.MemberOf, []string{"CN=Web Servers,OU=Groups,DC=corp,DC=example"}) {
		t.Errorf("%+v", c)
	}
	if all["DC1"].Site != "Default-First-Site-Name" || all["SQLCLU"].Cluster != "SQLCLU" {
		t.Errorf("site %q, cluster %q", all["DC1"].Site, all["SQLCLU"].Cluster)
	}
}

func TestQueries(t *testing.T) {
	d := dial(t, sealed(domain(t)))
	const base = "DC=corp,DC=example"
	for what, tc := range map[string]struct {
		q    ldapdisco.Query
		want string
	}{
		"an OU":                        {ldapdisco.Query{Bases: []string{"OU=SQL,OU=Servers," + base}}, "SQL01 SQL02 SQLCLU"},
		"an OU and another within it":  {ldapdisco.Query{Bases: []string{"OU=Web,OU=Servers," + base, "ou=Web, ou=Servers, dc=corp, dc=example"}}, "WEB01 WEB02 WEB03"},
		"odd OUs":                      {ldapdisco.Query{Bases: []string{`OU=Odd\, Names \#1,` + base, "OU=Übersee," + base}}, "MUENCHEN01 ODDCOMMA"},
		"names":                        {ldapdisco.Query{Names: []string{"web*", "sql0?"}}, "GHOST01 SQL01 SQL02 WEB01 WEB02 WEB03"}, // the ghost by its DNS name
		"a DNS name":                   {ldapdisco.Query{Names: []string{"ws00?.corp.EXAMPLE"}}, "WS001 WS002"},
		"a name is no pattern inside":  {ldapdisco.Query{Names: []string{"WEB0"}}, ""},
		"a hostile name":               {ldapdisco.Query{Names: []string{"*)(objectClass=*"}}, ""},
		"an OS":                        {ldapdisco.Query{OS: []string{"windows 1? *"}}, "OLD01 WS001 WS002"},
		"a filter":                     {ldapdisco.Query{Filter: "(operatingSystemVersion=10.0 \\2817763\\29)"}, "SQL02"},
		"a filter without brackets":    {ldapdisco.Query{Filter: "operatingSystem=Ubuntu"}, "LINUX01"},
		"a group":                      {ldapdisco.Query{Groups: []string{"Web Servers"}}, "WEB01 WEB02"},
		"a group with groups":          {ldapdisco.Query{Groups: []string{"CN=Front Servers,OU=Groups," + base}}, "CA01 WEB01 WEB02"},
		"groups in a circle":           {ldapdisco.Query{Groups: []string{"Cycle"}}, "CA01 SQL01 WEB01 WEB02"},
		"a group with brackets":        {ldapdisco.Query{Groups: []string{"Empty (none)"}}, ""},
		"a primary group":              {ldapdisco.Query{Groups: []string{"Domain Controllers", "Read-only Domain Controllers"}}, "DC1 RODC1"},
		"a list":                       {ldapdisco.Query{Include: []string{"web01", "WS001$", "sql01.corp.example"}}, "SQL01 WEB01 WS001"},
		"a list besides patterns":      {ldapdisco.Query{Names: []string{"hv*"}, Include: []string{"web01"}}, "HV01 WEB01"},
		"all that it asks for at once": {ldapdisco.Query{Groups: []string{"Ring 1"}, Names: []string{"*01"}, OS: []string{"*2022*"}, Bases: []string{"OU=Servers," + base}}, "CA01 SQL01 WEB01"},
		"more names than fit a filter": {ldapdisco.Query{Include: append(numbered("NONE", 150), "WEB03")}, "WEB03"},
	} {
		all := list(t, d, tc.q)
		maps.DeleteFunc(all, func(_ string, c ldapdisco.Computer) bool {
			return c.Problem != nil && c.Problem.Code == ldapdisco.NotFound
		})
		if got := strings.Join(slices.Sorted(maps.Keys(all)), " "); got != tc.want {
			t.Errorf("%s: %s, want %s", what, got, tc.want)
		}
	}
}

func numbered(name string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s%03d", name, i))
	}
	return all
}

func TestExclusionsWinAndSayWhy(t *testing.T) {
	s := domain(t)
	inner, err := s.AddGroup("Frozen Web", "", "CN=WEB02,OU=Web,OU=Servers,"+s.BaseDN())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddGroup("Frozen", "", inner); err != nil {
		t.Fatal(err)
	}
	d := dial(t, sealed(s))
	plain := list(t, d, ldapdisco.Query{})
	if plain["WEB02"].Problem != nil || plain["WEB02"].DN != "CN=WEB02,OU=Web,OU=Servers,"+s.BaseDN() {
		t.Fatalf("%+v", plain["WEB02"])
	}
	all := list(t, d, ldapdisco.Query{Include: []string{"web01", "web02", "sql01", "dc1"}, Exclude: []string{"web01"}, ExcludeGroups: []string{"Frozen", "Domain Controllers"},
		ExcludeBases: []string{"ou=data, ou=servers, dc=corp, dc=example"}})
	for name, why := range map[string]string{"WEB01": "excluded by web01", "WEB02": "excluded as a member of Frozen", "DC1": "excluded as a member of Domain Controllers"} {
		if p := all[name].Problem; p == nil || p.Code != ldapdisco.Excluded || p.Detail != why {
			t.Errorf("%s: %+v, want %q", name, p, why)
		}
	}
	if ou := plain["SQL01"].OU; ou != "corp.example/Servers/Data" && all["SQL01"].Problem != nil {
		t.Errorf("SQL01 lies in %s: %+v", ou, all["SQL01"].Problem)
	}
	if ou := plain["WEB03"].OU; ou != "" {
		under := list(t, d, ldapdisco.Query{ExcludeBases: []string{parent(plain["WEB03"].DN)}})
		if p := under["WEB03"].Problem; p == nil || p.Detail != "excluded with "+strings.ToLower(ou) {
			t.Errorf("WEB03: %+v", p)
		}
	}
	for _, q := range []ldapdisco.Query{{ExcludeGroups: []string{"Nobody Knows"}}, {ExcludeBases: []string{"Servers"}}} {
		for _, err := range d.Computers(t.Context(), q) {
			var e *ldapdisco.Error
			if !errors.As(err, &e) || e.Hint() == "" {
				t.Errorf("%+v: %v", q, err)
			}
		}
	}
}

// The members of an excluded group are excluded wherever they lie: what is selected need not lie below the base.
func TestExclusionsReachBeyondTheBase(t *testing.T) {
	s := domain(t)
	if _, err := s.AddGroup("Frozen", "", "CN=WEB02,OU=Web,OU=Servers,"+s.BaseDN()); err != nil {
		t.Fatal(err)
	}
	cfg := sealed(s)
	cfg.BaseDN = "OU=Domain Controllers," + s.BaseDN()
	all := list(t, dial(t, cfg), ldapdisco.Query{Bases: []string{"OU=Web,OU=Servers," + s.BaseDN()}, ExcludeGroups: []string{"Frozen"}})
	if p := all["WEB02"].Problem; p == nil || p.Code != ldapdisco.Excluded || all["WEB01"].Problem != nil {
		t.Errorf("%+v, %+v", p, all["WEB01"].Problem)
	}
}

// parent is a distinguished name without its first part.
func parent(dn string) string { _, rest, _ := strings.Cut(dn, ","); return rest }

func TestSelectionByPrincipal(t *testing.T) {
	sql := list(t, dial(t, sealed(domain(t))), ldapdisco.Query{SPNs: []string{"mssqlsvc/*"}})
	if len(sql) != 2 || sql["SQL01"].Name == "" || sql["SQL02"].Name == "" {
		t.Errorf("with the principal of a database: %v", slices.Collect(maps.Keys(sql)))
	}
}

func TestWhatIsNamedAndMissingIsReported(t *testing.T) {
	d := dial(t, sealed(domain(t)))
	all := list(t, d, ldapdisco.Query{Include: []string{"WEB01", "WEB99", "gone.corp.example"}, Exclude: []string{"WEB01"}})
	if len(all) != 3 || all["WEB99"].Problem == nil || all["WEB99"].Problem.Code != ldapdisco.NotFound || all["gone.corp.example"].Problem == nil {
		t.Errorf("%v", all)
	}
	if p := all["WEB01"].Problem; p == nil || p.Code != ldapdisco.Excluded {
		t.Errorf("the exclusion does not win: %v", p)
	}
}

func TestQueriesThatCannotBe(t *testing.T) {
	d := dial(t, sealed(domain(t)))
	for what, tc := range map[string]struct {
		q    ldapdisco.Query
		want string
	}{
		"no such OU":       {ldapdisco.Query{Bases: []string{"OU=Nowhere,DC=corp,DC=example"}}, "No Such Object"},
		"another domain":   {ldapdisco.Query{Bases: []string{"DC=other,DC=example"}}, "Referral"},
		"no such group":    {ldapdisco.Query{Groups: []string{"Nobody"}}, "0 groups"},
		"no such group DN": {ldapdisco.Query{Groups: []string{"CN=Nobody,DC=corp,DC=example"}}, "0 groups"},
		"a bad filter":     {ldapdisco.Query{Filter: "(a=b"}, "not valid"},
		"no clock":         {ldapdisco.Query{StaleAfter: day}, "without Now"},
	} {
		n := 0
		for c, err := range d.Computers(t.Context(), tc.q) {
			n++
			var e *ldapdisco.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v, %v", what, c.Name, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d answers instead of one error", what, n)
		}
	}
}

func TestLongAttributesAreComplete(t *testing.T) {
	s := domain(t, func(c *ldaptest.Config) { c.MaxValRange = 7 })
	var spns []string
	for i := range 30 {
		spns = append(spns, fmt.Sprintf("HTTP/site%d.corp.example", i))
	}
	if err := s.Set("CN=WEB01,OU=Web,OU=Servers,DC=corp,DC=example", "servicePrincipalName", spns...); err != nil {
		t.Fatal(err)
	}
	d := dial(t, sealed(s))
	if got := list(t, d, ldapdisco.Query{Names: []string{"WEB01"}})["WEB01"].SPNs; !slices.Equal(got, spns) {
		t.Errorf("%d service principals, want %d: %v", len(got), len(spns), got)
	}
}

func TestServicesOfTheForest(t *testing.T) {
	d := dial(t, sealed(domain(t)))
	ctx := t.Context()
	cas, err := d.Authorities(ctx)
	if err != nil || len(cas) != 1 || cas[0].Name != "CORP Issuing CA" || cas[0].DNSHostName != "ca01.corp.example" ||
		!slices.Equal(cas[0].Templates, []string{"WinRMHTTPS", "Old"}) || len(cas[0].Certificates) != 1 || cas[0].Flags != 10 || len(cas[0].EnrollmentServers) != 1 {
		t.Errorf("%+v, %v", cas, err)
	}
	roots, err := d.Roots(ctx)
	if err != nil || len(roots.Trusted()) != 1 || len(roots.Intermediates) != 1 || len(roots.NTAuth) != 2 {
		t.Errorf("%+v, %v", roots, err)
	}
	templates, err := d.Templates(ctx)
	if err != nil || len(templates) != 3 {
		t.Fatalf("%d templates, %v", len(templates), err)
	}
	negative, old, good := templates[0], templates[1], templates[2]
	if good.Name != "WinRMHTTPS" || good.NameFlags != 0x18000000 || good.Flags != 0x20240 || good.PrivateKeyFlags != 0x1010000 || good.EnrollmentFlags != 0x20 ||
		good.Validity != 365*day || good.Overlap != 42*day || good.MinimalKeySize != 2048 || good.SchemaVersion != 2 || good.Revision != 100 ||
		len(good.SecurityDescriptor) != 20 || string(good.KeyUsage) != "\xa0\x00" || len(good.EKUs) != 1 || len(good.CSPs) != 1 || !strings.HasPrefix(good.OID, "1.3.6.1") {
		t.Errorf("%+v", good)
	}
	if negative.NameFlags != 0xa6000000 || negative.RASignatures != 1 || len(negative.RAPolicies) != 1 {
		t.Errorf("%+v", negative)
	}
	if old.SchemaVersion != 1 || old.Validity != 0 || old.Overlap <= 0 {
		t.Errorf("%+v", old)
	}
}

func TestDomainAndSites(t *testing.T) {
	d := dial(t, sealed(domain(t)))
	dom, err := d.Domain(t.Context())
	if err != nil || dom.SID != "S-1-5-21-1004336348-1177238915-682003330" || len(dom.Controllers) != 1 || dom.Controllers[0].DNSHostName != "dc1.corp.example" ||
		!slices.Equal(dom.Sites, []string{"Default-First-Site-Name", "London", "Paris"}) {
		t.Fatalf("%+v, %v", dom, err)
	}
	for addr, site := range map[string]string{"10.1.2.3": "London", "10.20.2.3": "Paris", "::ffff:10.20.2.3": "Paris", "fd00:20::1": "Paris", "192.0.2.1": ""} {
		if got := dom.SiteOf(netip.MustParseAddr(addr)); got != site {
			t.Errorf("%s: site %q, want %q", addr, got, site)
		}
	}
}

// The other domains of the forest are named; the partitions that are no domains are not.
func TestOtherDomainsAreNamed(t *testing.T) {
	s := domain(t)
	for name, ref := range map[string][2]string{"EU": {"DC=eu,DC=corp,DC=example", "eu.corp.example"}, "LAB": {"DC=lab,DC=test", "lab.test"}, "": {"DC=DomainDnsZones,DC=corp,DC=example", "DomainDnsZones.corp.example"}} {
		e := ldaptest.Entry{DN: "CN=ref-" + name + ",CN=Partitions," + s.ConfigDN()}
		e.Put("objectClass", "top", "crossRef")
		e.Put("nCName", ref[0])
		e.Put("dnsRoot", ref[1])
		if name != "" {
			e.Put("nETBIOSName", name)
		}
		if err := s.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	dom, err := dial(t, sealed(s)).Domain(t.Context())
	if err != nil || dom.DNSName != "corp.example" || dom.NetBIOSName != "CORP" || !slices.Equal(dom.Others, []string{"eu.corp.example", "lab.test"}) {
		t.Errorf("%+v, %v", dom, err)
	}
}

func TestGroupsInTheToken(t *testing.T) {
	d := dial(t, sealed(domain(t)))
	sids, err := d.GroupSIDs(t.Context(), "CN=WEB01,OU=Web,OU=Servers,DC=corp,DC=example")
	want := []string{ldaptest.SID(4001), ldaptest.SID(4002), ldaptest.SID(4003), ldaptest.SID(4004), ldaptest.SID(515)}
	slices.Sort(sids)
	slices.Sort(want)
	if err != nil || !slices.Equal(sids, want) {
		t.Errorf("%v, want %v, %v", sids, want, err)
	}
}

func TestADomainWithoutPKI(t *testing.T) {
	s := emptyDomain(t)
	d := dial(t, sealed(s))
	cas, err := d.Authorities(t.Context())
	if err != nil || len(cas) != 0 {
		t.Errorf("%v, %v", cas, err)
	}
	if roots, err := d.Roots(t.Context()); err != nil || len(roots.Trusted()) != 0 {
		t.Errorf("%v, %v", roots, err)
	}
}

// A SID or GUID that is none makes a computer that nothing is done to, and is no reason to lose the others.
func TestIdentifiersThatCannotBeRead(t *testing.T) {
	const dn = "CN=WEB01,OU=Web,OU=Servers,DC=corp,DC=example"
	for what, raw := range map[string]string{
		"too short": "\x01\x05\x00", "another revision": "\x02\x01\x00\x00\x00\x00\x00\x05\x12\x00\x00\x00", "more parts than there are": "\x01\x05\x00\x00\x00\x00\x00\x05\x15\x00\x00\x00",
		"too many parts": "\x01\xff\x00\x00\x00\x00\x00\x05" + strings.Repeat("\x00", 4*255), "a tail": "\x01\x01\x00\x00\x00\x00\x00\x05\x12\x00\x00\x00\x00", "nothing": "",
	} {
		s := domain(t)
		if err := s.Set(dn, "objectSid", raw); err != nil {
			t.Fatal(err)
		}
		all := list(t, dial(t, sealed(s)), ldapdisco.Query{})
		if p := all["WEB01"].Problem; p == nil || p.Code != ldapdisco.NoIdentity || len(all) < 20 || all["WEB02"].Problem != nil {
			t.Errorf("%s: %+v, %d computers", what, p, len(all))
		}
	}
}
