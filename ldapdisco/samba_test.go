package ldapdisco_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/logon"
)

// samba is a Samba domain controller made and seeded by samba-dc.sh, named by its environment.
type samba struct {
	addr, fqdn, domain, realm string
	roots                     *x509.CertPool
}

func sambaDC(t testing.TB) samba {
	t.Helper()
	if os.Getenv("SAMBA_DC_DIR") == "" {
		if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
			t.Fatal("WAVELOCK_REQUIRE_PEERS is set, but no Samba domain controller is named by SAMBA_DC_DIR and its like")
		}
		t.Skip("no Samba domain controller is named by SAMBA_DC_DIR and its like; samba-dc.sh env prints them")
	}
	s := samba{addr: os.Getenv("SAMBA_DC_ADDR"), fqdn: os.Getenv("SAMBA_DC_FQDN"), domain: os.Getenv("SAMBA_DC_DOMAIN"), realm: os.Getenv("SAMBA_DC_REALM")}
	pem, err := os.ReadFile(os.Getenv("SAMBA_DC_CA"))
	if err != nil {
		t.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	if !s.roots.AppendCertsFromPEM(pem) {
		t.Fatal("there is no certificate in SAMBA_DC_CA")
	}
	return s
}

// config reaches the controller by its name without a resolver.
func (s samba) config(scheme string) ldapdisco.Config {
	return ldapdisco.Config{URLs: []string{scheme + "://" + s.fqdn}, Roots: s.roots, Timeout: 10 * time.Second,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(s.addr, port))
		}}
}

const (
	sambaUser     = "svc-discover"
	sambaPassword = "Passw0rd.Disc1"
)

func (s samba) kerberos(t *testing.T) logon.Login {
	t.Helper()
	l, err := logon.Kerberos(logon.KerberosConfig{User: sambaUser, Realm: s.realm, Password: sambaPassword, KDCs: []string{s.addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestSambaLogon(t *testing.T) {
	s := sambaDC(t)
	simple := &ldapdisco.Simple{User: s.domain + `\` + sambaUser, Password: sambaPassword}
	cases := map[string]func() ldapdisco.Config{
		"simple over LDAPS": func() ldapdisco.Config { c := s.config("ldaps"); c.Simple = simple; return c },
		"simple over StartTLS": func() ldapdisco.Config {
			c := s.config("ldap")
			c.Simple, c.StartTLS = simple, true
			return c
		},
		"NTLM sealed on 389": func() ldapdisco.Config {
			c := s.config("ldap")
			c.Login = logon.NTLM(s.domain, sambaUser, sambaPassword)
			return c
		},
		"Kerberos sealed on 389": func() ldapdisco.Config { c := s.config("ldap"); c.Login = s.kerberos(t); return c },
	}
	for name, config := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := ldapdisco.Dial(t.Context(), config())
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			n := 0
			for c, err := range d.Computers(t.Context(), ldapdisco.Query{Names: []string{"HOST?"}}) {
				if err != nil {
					t.Fatal(err)
				}
				if c.GUID == "" || c.SID == "" || c.Problem != nil {
					t.Errorf("%+v", c)
				}
				n++
			}
			if n != 5 {
				t.Errorf("%d test hosts, want 5", n)
			}
		})
	}
}

// TestSambaOverTLS takes either verdict of Samba 4.17, which refuses every SASL bind inside TLS while it requires strong
// authentication, and of 4.22, which wants our channel binding. SAMBA_DC_BINDING=enforced says that it is the second.
func TestSambaOverTLS(t *testing.T) {
	s := sambaDC(t)
	enforced := os.Getenv("SAMBA_DC_BINDING") == "enforced"
	for name, login := range map[string]logon.Login{"NTLM": logon.NTLM(s.domain, sambaUser, sambaPassword), "Kerberos": s.kerberos(t)} {
		for way, set := range map[string]func(*ldapdisco.Config){
			"LDAPS":    func(c *ldapdisco.Config) {},
			"StartTLS": func(c *ldapdisco.Config) { c.URLs, c.StartTLS = []string{"ldap://" + s.fqdn}, true },
		} {
			c := s.config("ldaps")
			c.Login = login
			set(&c)
			d, err := ldapdisco.Dial(t.Context(), c)
			var e *ldapdisco.Error
			switch {
			case err == nil:
				t.Logf("%s over %s: accepted with channel binding", name, way)
				d.Close()
			case errors.As(err, &e) && e.Code == 8 && !enforced:
				t.Logf("%s over %s: this release refuses it: %v", name, way, err)
			default:
				t.Errorf("%s over %s: %v", name, way, err)
			}
		}
	}
}

// TestSambaBinding: who breaks TLS open between us and a controller that demands channel binding gets no logon out of ours.
func TestSambaBinding(t *testing.T) {
	s := sambaDC(t)
	if os.Getenv("SAMBA_DC_BINDING") != "enforced" {
		t.Skip("this release of Samba takes any channel binding")
	}
	relay := newRelay(t, net.JoinHostPort(s.addr, "636"), s.roots)
	for name, login := range map[string]logon.Login{"NTLM": logon.NTLM(s.domain, sambaUser, sambaPassword), "Kerberos": s.kerberos(t)} {
		c := s.config("ldaps")
		c.Login, c.Roots = login, relay.roots
		c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, relay.addr)
		}
		_, err := ldapdisco.Dial(t.Context(), c)
		var e *ldapdisco.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "channel binding") || !strings.Contains(e.Hint(), "breaking TLS open") {
			t.Errorf("%s through a TLS proxy: %v", name, err)
		}
	}
}

func TestSambaRefusals(t *testing.T) {
	s := sambaDC(t)
	for _, tc := range []struct{ user, password, want string }{
		{sambaUser, "wrong", "user name or the password is wrong"},
		{"ghost", "x", "user name or the password is wrong"},
		{"old.admin", "Passw0rd.Old1", "disabled"},
		{"expired.user", "Passw0rd.Exp1", "expired"},
		{"mustchange", "Passw0rd.Must1", "must be changed"},
	} {
		for scheme, set := range map[string]func(*ldapdisco.Config){
			"ldaps": func(c *ldapdisco.Config) {
				c.Simple = &ldapdisco.Simple{User: tc.user + "@" + strings.ToLower(s.realm), Password: logon.Secret(tc.password)}
			},
			"ldap": func(c *ldapdisco.Config) { c.Login = logon.NTLM(s.domain, tc.user, logon.Secret(tc.password)) },
		} {
			c := s.config(scheme)
			set(&c)
			_, err := ldapdisco.Dial(t.Context(), c)
			var e *ldapdisco.Error
			if !errors.As(err, &e) || !e.Logon() || !strings.Contains(err.Error(), tc.want) || e.Hint() == "" {
				t.Errorf("%s, %s: %v", scheme, tc.user, err)
			}
		}
	}
}

func sambaDirectory(t *testing.T) *ldapdisco.Directory {
	t.Helper()
	s := sambaDC(t)
	c := s.config("ldap")
	c.Login, c.PageSize = logon.NTLM(s.domain, sambaUser, sambaPassword), 100
	d, err := ldapdisco.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func list(t *testing.T, d *ldapdisco.Directory, q ldapdisco.Query) map[string]ldapdisco.Computer {
	t.Helper()
	all := map[string]ldapdisco.Computer{}
	for c, err := range d.Computers(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := all[c.Name]; twice && (c.Problem == nil || c.Problem.Code != ldapdisco.DuplicateDNSName) {
			t.Errorf("%s came twice", c.Name)
		}
		all[c.Name] = c
	}
	return all
}

func TestSambaComputers(t *testing.T) {
	d := sambaDirectory(t)
	all := list(t, d, ldapdisco.Query{StaleAfter: 90 * 24 * time.Hour, Now: time.Now()})
	if len(all) < 500 {
		t.Fatalf("%d computers, the script seeds at least 500", len(all))
	}
	for name, problem := range map[string]string{
		"NODNS01": ldapdisco.NoDNSName, "SQLCLU01": ldapdisco.ClusterName, "LINUX01": ldapdisco.NotWindows,
		"NETAPP01": ldapdisco.NotWindows, "GOLDIMAGE01": ldapdisco.Disabled, "HOST1": "", "DC1": ldapdisco.NotWindows, // it runs Samba
	} {
		c, ok := all[name]
		got := ""
		if c.Problem != nil {
			got = c.Problem.Code
		}
		if name == "NODNS01" && got == ldapdisco.Stale { // it never logged on either
			got = problem
		}
		if !ok || got != problem {
			t.Errorf("%s: %+v, want problem %q", name, c.Problem, problem)
		}
	}
	for _, account := range []string{"gmsa-web", "msa-old"} {
		if _, ok := all[account]; ok {
			t.Errorf("the service account %s is taken for a computer", account)
		}
	}
	if dc := all["DC1"]; !slices.Contains(dc.Roles, ldapdisco.RoleDomainController) || dc.Site == "" || dc.OU != "corp.example/Domain Controllers" {
		t.Errorf("%+v", dc)
	}
	if c := all["ODDCOMMA"]; c.OU != "corp.example/Odd, Names #1" {
		t.Errorf("canonical OU %q", c.OU)
	}
	if c := all["MUENCHEN01"]; c.OU != "corp.example/Übersee" {
		t.Errorf("canonical OU %q", c.OU)
	}
	sql := 0
	for _, c := range all {
		if slices.Contains(c.Roles, ldapdisco.RoleSQL) {
			sql++
		}
	}
	if sql == 0 {
		t.Error("no SQL server was recognised")
	}
}

func TestSambaQueries(t *testing.T) {
	d := sambaDirectory(t)
	web := list(t, d, ldapdisco.Query{Groups: []string{"GG-Web-Servers"}})
	nested := list(t, d, ldapdisco.Query{Groups: []string{"CN=DL-Managed-Servers,OU=Groups,DC=corp,DC=example"}})
	if len(web) == 0 || len(nested) <= len(web) || nested["HOST1"].Name == "" {
		t.Errorf("%d in the group, %d with the nested ones", len(web), len(nested))
	}
	for name := range web {
		if _, ok := nested[name]; !ok {
			t.Errorf("%s is in the inner group and not in the outer", name)
		}
	}
	if n := len(list(t, d, ldapdisco.Query{Groups: []string{"Domain Controllers"}})); n != 1 {
		t.Errorf("%d computers with the primary group Domain Controllers, want 1", n)
	}
	ous := []string{"OU=Servers,DC=corp,DC=example", "ou=web,ou=servers,dc=corp,dc=example"} // the second lies in the first
	for name, c := range list(t, d, ldapdisco.Query{Bases: ous, OS: []string{"windows server 20*"}}) {
		if !strings.HasPrefix(c.OU, "corp.example/Servers/") || !strings.HasPrefix(c.OS, "Windows Server 20") {
			t.Errorf("%s: %s, %s", name, c.OU, c.OS)
		}
	}
	for _, err := range d.Computers(t.Context(), ldapdisco.Query{Bases: []string{"OU=Nowhere,DC=corp,DC=example"}}) {
		var e *ldapdisco.Error
		if !errors.As(err, &e) || e.Code != 32 || e.Hint() == "" {
			t.Errorf("an OU that does not exist: %v", err)
		}
	}
}

func TestSambaServices(t *testing.T) {
	d := sambaDirectory(t)
	ctx := t.Context()
	cas, err := d.Authorities(ctx)
	if err != nil || len(cas) != 2 || !slices.Contains(cas[0].Templates, "CORP-WinRM") {
		t.Errorf("authorities %+v, %v", cas, err)
	}
	roots, err := d.Roots(ctx)
	if err != nil || len(roots.Authorities) != 1 || len(roots.Intermediates) != 2 || len(roots.NTAuth) != 1 {
		t.Errorf("roots %d, %d, %d: %v", len(roots.Authorities), len(roots.Intermediates), len(roots.NTAuth), err)
	}
	for _, der := range roots.Trusted() {
		if c, err := x509.ParseCertificate(der); err != nil || !c.IsCA {
			t.Errorf("%v", err)
		}
	}
	templates, err := d.Templates(ctx)
	i := slices.IndexFunc(templates, func(t ldapdisco.Template) bool { return t.Name == "CORP-WinRM" })
	if err != nil || len(templates) < 11 || i < 0 {
		t.Fatalf("%d templates: %v", len(templates), err)
	}
	w := templates[i]
	if w.NameFlags != 0x18000000 || w.Validity != 730*24*time.Hour || w.Overlap != 42*24*time.Hour || w.MinimalKeySize != 2048 ||
		len(w.SecurityDescriptor) < 20 || w.SecurityDescriptor[0] != 1 || len(w.EKUs) != 1 || w.SchemaVersion != 4 {
		t.Errorf("%+v", w)
	}
	if j := slices.IndexFunc(templates, func(t ldapdisco.Template) bool { return t.Name == "User" }); j < 0 || templates[j].NameFlags != 0xa6000000 {
		t.Error("a negative flag was not read as unsigned")
	}
	domain, err := d.Domain(ctx)
	if err != nil || domain.NetBIOSName != "CORP" || domain.DNSName != "corp.example" || len(domain.Controllers) != 1 || len(domain.Sites) < 4 || len(domain.Subnets) != 4 {
		t.Errorf("%+v, %v", domain, err)
	}
	principals, err := d.Principals(ctx)
	if err != nil {
		t.Error(err)
	}
	for c, err := range d.Computers(ctx, ldapdisco.Query{Names: []string{"HOST?"}}) {
		if others := principals.Conflicts(c, 5985, 5986); err != nil || len(others) > 0 {
			t.Errorf("%s: %+v, %v", c.Name, others, err)
		}
	}
	sids, err := d.GroupSIDs(ctx, "CN=HOST1,OU=Test Hosts,DC=corp,DC=example")
	if err != nil || !slices.Contains(sids, domain.SID+"-515") {
		t.Errorf("token groups %v, %v", sids, err)
	}
}
