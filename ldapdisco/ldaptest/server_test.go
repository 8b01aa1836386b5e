package ldaptest_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"wavelock/ldapdisco/ldaptest"
	"wavelock/ldapdisco/logon/logontest"
)

const (
	user     = "svc-discover"
	password = "Pässw0rd.1"
	base     = "DC=corp,DC=example"
)

func start(t testing.TB, with ...func(*ldaptest.Config)) *ldaptest.Server {
	t.Helper()
	accounts := logontest.NewDirectory("CORP", "corp.example")
	accounts.Add(user, password)
	cfg := ldaptest.Config{Directory: accounts}
	for _, f := range with {
		f(&cfg)
	}
	s, err := ldaptest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func furnished(t testing.TB, with ...func(*ldaptest.Config)) *ldaptest.Server {
	t.Helper()
	s := start(t, with...)
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "ldif", "corp.ldif"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.LDIF(string(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

func tlsConfig(s *ldaptest.Server) *tls.Config {
	return &tls.Config{RootCAs: s.Roots(), ServerName: s.Host()}
}

// connect is go-ldap alone, without any of our client.
func connect(t testing.TB, s *ldaptest.Server) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL("ldaps://"+s.SecureAddr(), ldap.DialWithTLSConfig(tlsConfig(s)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Bind(`CORP\`+user, password); err != nil {
		t.Fatal(err)
	}
	return c
}

func search(c *ldap.Conn, at string, scope int, filter string, attrs []string, controls ...ldap.Control) (*ldap.SearchResult, error) {
	return c.Search(ldap.NewSearchRequest(at, scope, ldap.NeverDerefAliases, 0, 0, false, filter, attrs, controls))
}

func names(r *ldap.SearchResult) string {
	var all []string
	for _, e := range r.Entries {
		all = append(all, strings.TrimSuffix(e.GetAttributeValue("sAMAccountName"), "$"))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestFilters(t *testing.T) {
	c := connect(t, furnished(t))
	const computer = "(objectCategory=computer)"
	for filter, want := range map[string]string{
		"(sAMAccountName=web01$)":                                     "WEB01",
		"(SAMACCOUNTNAME=WEB0*$)":                                     "WEB01 WEB02 WEB03",
		"(dNSHostName=*02.corp.*)":                                    "SQL02 WEB02 WS002",
		"(dNSHostName=w*0*1*)":                                        "GHOST01 WEB01 WS001",
		"(&" + computer + "(!(dNSHostName=*)))":                       "NODNS01",
		"(userAccountControl:1.2.840.113556.1.4.803:=2)":              "GHOST01 WS002",
		"(userAccountControl:1.2.840.113556.1.4.804:=67117056)":       "DC1 RODC1", // 0x04002000
		"(primaryGroupID>=516)":                                       "DC1 RODC1",
		"(&" + computer + "(lastLogonTimestamp<=134154144000000000))": "OLD01",
		"(|(cn=SQLCLU)(name=sql01))":                                  "SQL01 SQLCLU",
		"(memberOf=CN=Web Servers,OU=Groups,DC=corp,DC=example)":      "WEB01 WEB02",
		"(&" + computer + "(memberOf:1.2.840.113556.1.4.1941:=cn=ring 1, ou=groups, dc=corp, dc=example))": "CA01 SQL01 WEB01 WEB02",
		"(member:1.2.840.113556.1.4.1941:=CN=CA01,OU=Infra,OU=Servers,DC=corp,DC=example)":                 "Cycle Front Servers Ring 1",
		"(memberOf=*Web*)":                                                 "", // no substrings of distinguished names
		"(objectSid=" + ldaptest.SID(4006) + ")":                           "Empty (none)",
		"(cn=Empty \\28none\\29)":                                          "Empty (none)",
		"(operatingSystem~=ubuntu)":                                        "LINUX01",
		"(&(objectClass=msDS-GroupManagedServiceAccount)" + computer + ")": "gmsa-odd",
		"(distinguishedName=CN=ODD\\5c, COMMA,OU=Odd\\5c, Names \\5c#1,DC=corp,DC=example)": "ODDCOMMA",
	} {
		r, err := search(c, base, ldap.ScopeWholeSubtree, filter, []string{"sAMAccountName"})
		if err != nil {
			t.Errorf("%s: %v", filter, err)
		} else if got := names(r); got != want {
			t.Errorf("%s: %s, want %s", filter, got, want)
		}
	}
}

func TestScopes(t *testing.T) {
	c := connect(t, furnished(t))
	for _, tc := range []struct {
		at    string
		scope int
		want  int
	}{
		{"OU=Servers," + base, ldap.ScopeBaseObject, 1}, {"OU=Servers," + base, ldap.ScopeSingleLevel, 3}, {"OU=Servers," + base, ldap.ScopeWholeSubtree, 16},
		{"CN=Partitions,CN=Configuration," + base, ldap.ScopeSingleLevel, 1},
	} {
		r, err := search(c, tc.at, tc.scope, "(objectClass=*)", []string{"1.1"})
		if err != nil || len(r.Entries) != tc.want {
			t.Errorf("%s, scope %d: %d entries, want %d, %v", tc.at, tc.scope, len(r.Entries), tc.want, err)
		}
		for _, e := range r.Entries {
			if len(e.Attributes) != 0 {
				t.Errorf("1.1 gave %v", e.Attributes)
			}
		}
	}
	r, err := search(c, base, ldap.ScopeWholeSubtree, "(objectClass=pKIEnrollmentService)", nil)
	if err != nil || len(r.Entries) != 0 || len(r.Referrals) != 3 {
		t.Errorf("the configuration partition shows in the domain: %d entries, %d referrals, %v", len(r.Entries), len(r.Referrals), err)
	}
}

func TestErrorsOfADirectory(t *testing.T) {
	s := furnished(t)
	c := connect(t, s)
	for what, tc := range map[string]struct {
		err  func() error
		code uint16
		text string
	}{
		"no such object": {func() error { _, err := search(c, "OU=X,OU=Servers,"+base, 0, "(a=*)", nil); return err }, 32, "best match of:\n\t'ou=servers,dc=corp,dc=example'"},
		"elsewhere":      {func() error { _, err := search(c, "DC=other", 0, "(a=*)", nil); return err }, 10, "RefErr"},
		"write":          {func() error { return c.Del(ldap.NewDelRequest("OU=Servers,"+base, nil)) }, 50, "INSUFF_ACCESS_RIGHTS"},
		"critical control": {func() error {
			_, err := search(c, base, 0, "(a=*)", nil, ldap.NewControlString("1.2.3.4", true, ""))
			return err
		}, 12, "Error processing control"},
		"a cookie of nobody": {func() error {
			p := ldap.NewControlPaging(10)
			p.SetCookie([]byte("forged"))
			_, err := search(c, base, 2, "(objectClass=*)", nil, p)
			return err
		}, 12, "Error processing control"},
		"unknown rule": {func() error { _, err := search(c, base, 2, "(cn:1.2.3:=x)", nil); return err }, 2, "matching rule"},
		"anonymous": {func() error {
			p, err := ldap.DialURL("ldap://" + s.Addr())
			if err != nil {
				return err
			}
			defer p.Close()
			if err := p.UnauthenticatedBind("someone"); err != nil {
				return fmt.Errorf("AD grants that as anonymous: %w", err)
			}
			_, err = search(p, base, 0, "(a=*)", nil)
			return err
		}, 1, "successful bind must be completed"},
		"password in clear": {func() error {
			p, err := ldap.DialURL("ldap://" + s.Addr())
			if err != nil {
				return err
			}
			defer p.Close()
			return p.Bind(`CORP\`+user, password)
		}, 8, "turn on integrity checking"},
	} {
		err := tc.err()
		if !ldap.IsErrorWithCode(err, tc.code) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v, want %d with %q", what, err, tc.code, tc.text)
		}
	}
}

func TestLimits(t *testing.T) {
	s := start(t)
	if err := s.AddMachines("OU=Fleet", 1200, func(i int) ldaptest.Machine {
		return ldaptest.Machine{Name: fmt.Sprintf("M%04d", i)}
	}); err != nil {
		t.Fatal(err)
	}
	var members []string
	for i := range 1700 {
		members = append(members, fmt.Sprintf("CN=M%04d,OU=Fleet,%s", i, base))
	}
	group, err := s.AddGroup("Everything", "OU=Groups", members...)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, s)
	r, err := search(c, base, 2, "(objectCategory=computer)", []string{"cn"})
	if !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) || len(r.Entries) != 1000 {
		t.Errorf("without paging: %d entries, %v", len(r.Entries), err)
	}
	r, err = c.SearchWithPaging(ldap.NewSearchRequest(base, 2, 0, 0, 0, false, "(objectCategory=computer)", []string{"cn"}, nil), 5000)
	if err != nil || len(r.Entries) != 1201 {
		t.Errorf("paged: %d entries, %v", len(r.Entries), err)
	}
	for asked, want := range map[string]string{
		"member": "member;range=0-1499 1500", "member;range=1500-*": "member;range=1500-* 200", "member;range=0-9": "member;range=0-9 10", "member;range=10-1699": "member;range=10-1509 1500",
	} {
		r, err := search(c, group, 0, "(objectClass=*)", []string{asked})
		if err != nil || len(r.Entries) != 1 || len(r.Entries[0].Attributes) != 1 {
			t.Fatalf("%s: %v, %v", asked, r, err)
		}
		a := r.Entries[0].Attributes[0]
		if got := fmt.Sprintf("%s %d", a.Name, len(a.Values)); got != want {
			t.Errorf("%s gave %s, want %s", asked, got, want)
		}
	}
	r, err = search(c, "CN=M0007,OU=Fleet,"+base, 0, "(objectClass=*)", []string{"memberOf", "canonicalName", "objectGUID", "name"})
	if err != nil || r.Entries[0].GetAttributeValue("memberOf") != group || r.Entries[0].GetAttributeValue("canonicalName") != "corp.example/Fleet/M0007" ||
		len(r.Entries[0].GetRawAttributeValue("objectGUID")) != 16 || r.Entries[0].GetAttributeValue("name") != "M0007" {
		t.Errorf("%v, %v", r, err)
	}
}

func TestSecurityDescriptors(t *testing.T) {
	s := furnished(t)
	c := connect(t, s)
	const at = "CN=WinRMHTTPS,CN=Certificate Templates,CN=Public Key Services,CN=Services,CN=Configuration," + base
	for flags, want := range map[int32]int{-1: 0, 7: 20, 15: 0} {
		var controls []ldap.Control
		if flags >= 0 {
			controls = append(controls, &ldap.ControlMicrosoftSDFlags{Criticality: true, ControlValue: flags})
		}
		r, err := search(c, at, 0, "(objectClass=*)", []string{"nTSecurityDescriptor"}, controls...)
		if err != nil || len(r.Entries[0].GetRawAttributeValue("nTSecurityDescriptor")) != want {
			t.Errorf("flags %d: %v, %v", flags, r, err)
		}
	}
}

func TestChanges(t *testing.T) {
	s := furnished(t)
	c := connect(t, s)
	const web = "CN=WEB01,OU=Web,OU=Servers," + base
	if err := s.Set(web, "dNSHostName", "new.corp.example"); err != nil {
		t.Fatal(err)
	}
	if err := s.Set("CN=Web Servers,OU=Groups,"+base, "member"); err != nil {
		t.Fatal(err)
	}
	r, err := search(c, web, 0, "(objectClass=*)", nil)
	if err != nil || r.Entries[0].GetAttributeValue("dNSHostName") != "new.corp.example" || len(r.Entries[0].GetAttributeValues("memberOf")) != 0 {
		t.Errorf("%v, %v", r, err)
	}
	if err := s.Remove(web); err != nil {
		t.Fatal(err)
	}
	if _, err := search(c, web, 0, "(objectClass=*)", nil); !ldap.IsErrorWithCode(err, 32) {
		t.Errorf("%v", err)
	}
	if err := s.Add(ldaptest.Entry{DN: "cn=web02, ou=Web, OU=Servers, " + base}); err == nil {
		t.Error("an entry was added twice")
	}
}

// TestLdapsearch has OpenLDAP's client read the server, over StartTLS and in pages.
func TestLdapsearch(t *testing.T) {
	bin := peer(t, "ldapsearch", "ldap-utils")
	s := furnished(t)
	for _, args := range [][]string{{"-H", "ldap://" + s.Addr(), "-ZZ"}, {"-H", "ldaps://" + s.SecureAddr()}} {
		args = append(args, "-x", "-D", user+"@corp.example", "-w", password, "-b", base, "-E", "pr=5/noprompt", "-LLL", "-o", "ldif-wrap=no", "(&(objectCategory=computer)(sAMAccountName=WEB*))", "dNSHostName")
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "LDAPTLS_REQCERT=never")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Count(string(out), "dNSHostName: web0") != 3 {
			t.Errorf("%v: %v\n%s", args[:2], err, out)
		}
	}
}

// TestLdapsearchSealed has MIT Kerberos and Cyrus SASL log on, and read sealed answers on 389.
func TestLdapsearchSealed(t *testing.T) {
	ldapsearch := peer(t, "ldapsearch", "ldap-utils")
	kinit := peer(t, "kinit", "krb5-user")
	accounts := logontest.NewDirectory("CORP", "corp.example")
	accounts.Add(user, "Passw0rd.1")
	kdc, err := logontest.StartKDC(accounts)
	if err != nil {
		t.Fatal(err)
	}
	defer kdc.Close()
	s := furnished(t, func(c *ldaptest.Config) { c.Directory, c.Keytab = accounts, kdc.Register("ldap/localhost") })
	dir := t.TempDir()
	conf := "[libdefaults]\n default_realm = CORP.EXAMPLE\n dns_lookup_kdc = false\n dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 1\n" +
		"[realms]\n CORP.EXAMPLE = {\n  kdc = " + kdc.Addr() + "\n }\n[domain_realm]\n localhost = CORP.EXAMPLE\n"
	if err := os.WriteFile(filepath.Join(dir, "krb5.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(stdin, bin string, args ...string) (string, error) {
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "KRB5_CONFIG="+filepath.Join(dir, "krb5.conf"), "KRB5CCNAME=FILE:"+filepath.Join(dir, "cc"))
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("Passw0rd.1\n", kinit, user); err != nil {
		t.Fatalf("kinit: %v\n%s", err, out)
	}
	_, port, _ := net.SplitHostPort(s.Addr())
	for _, mech := range []string{"GSSAPI", "GSS-SPNEGO"} {
		out, err := run("", ldapsearch, "-H", "ldap://localhost:"+port, "-N", "-Y", mech, "-b", base, "-E", "pr=5/noprompt", "-LLL", "(&(objectCategory=computer)(sAMAccountName=WEB*))", "dNSHostName")
		if err != nil || strings.Count(out, "dNSHostName: web0") != 3 || !strings.Contains(out, "SASL SSF: 256") {
			t.Errorf("%s: %v\n%s", mech, err, out)
		}
	}
}

// peer finds a program of somebody else.
func peer(t *testing.T, program, pkg string) string {
	t.Helper()
	bin, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
			t.Fatalf("WAVELOCK_REQUIRE_PEERS is set, but %s is not installed (%s)", program, pkg)
		}
		t.Skipf("%s is not installed (%s)", program, pkg)
	}
	return bin
}

func TestGarbageEndsTheConnectionAlone(t *testing.T) {
	s := start(t)
	for _, b := range []string{"\x00", "GET / HTTP/1.1\r\n\r\n", "\x30\x84\xff\xff\xff\xff", "\x30\x80\x00\x00", "\x30\x05\x02\x01\x01\x7f\x00", "\x30\x09\x02\x01\x01\x63\x04\x04\x00\x0a\x00"} {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte(b))
		c.(*net.TCPConn).CloseWrite()
		c.Read(make([]byte, 100))
		c.Close()
	}
	connect(t, s)
}

func TestBadLDIFNamesItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"dn: a=b\ncn x\n":               "line 2",
		"cn: x\n":                       "line 1",
		"dn: a=b\ncn: x\ndn: c=d\n":     "line 3",
		"dn: a=b\ncn:: !!\n":            "line 2",
		"dn: a=b\nchangetype: modify\n": "line 2",
	} {
		if _, err := ldaptest.ParseLDIF(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	all, err := ldaptest.ParseLDIF(strings.NewReader("# c\nversion: 1\n\ndn:: QT1i\ncn: lo\n ng\ncn:: w6k=\r\n\n\ndn: c=d\n"))
	if err != nil || len(all) != 2 || all[0].DN != "A=b" || !slices.Equal(all[0].Values("CN"), []string{"long", "é"}) {
		t.Errorf("%v, %v", all, err)
	}
}

func TestAHundredThousandComputersAreCheap(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	s := start(t)
	const n = 100_000
	if err := s.AddMachines("OU=Fleet", n, func(i int) ldaptest.Machine {
		return ldaptest.Machine{Name: fmt.Sprintf("M%06d", i), DNSHostName: fmt.Sprintf("m%06d.corp.example", i)}
	}); err != nil {
		t.Fatal(err)
	}
	c := connect(t, s)
	r, err := search(c, fmt.Sprintf("CN=M%06d,OU=Fleet,%s", n-1, base), 0, "(objectClass=*)", []string{"dNSHostName"})
	if err != nil || len(r.Entries) != 1 {
		t.Errorf("%v, %v", r, err)
	}
	r, err = search(c, base, 2, "(sAMAccountName=M054321$)", []string{"dNSHostName"})
	if err != nil || names(r) != "" || len(r.Entries) != 1 {
		t.Errorf("%v, %v", r, err)
	}
}

func FuzzServer(f *testing.F) {
	s := start(f)
	f.Add([]byte("\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"))
	f.Add([]byte("\x30\x25\x02\x01\x02\x63\x20\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\x87\x0bobjectClass\x30\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(b)
		c.(*net.TCPConn).CloseWrite()
		for buf := make([]byte, 4096); err == nil; {
			_, err = c.Read(buf)
		}
	})
}
