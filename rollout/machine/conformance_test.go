package machine_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout"
	"wavelock/rollout/machine"
	"wavelock/rollout/wsman"
)

// The conformance suite says what this program relies on in Windows, one subtest a
// fact. It always runs against the simulated computer. With an address it runs
// against a real one, where it only reads:
//
//	WAVELOCK_TEST_HOST=host.corp.example WAVELOCK_TEST_USER='CORP\admin' WAVELOCK_TEST_PASSWORD_FILE=pw \
//	    go test ./rollout/machine -run Conformance -v
//
//	WAVELOCK_TEST_CA_FILE   PEM of the roots: HTTPS is used, and the host's certificate is proved
//	WAVELOCK_TEST_PORT      the port, when it is not 5985 or, with roots, 5986
//	WAVELOCK_TEST_ADDRESS   the address, when the name does not resolve here
//	WAVELOCK_TEST_WRITES=1  writes, too: below HKLM\SOFTWARE\wavelock-test, firewall rules called wavelock-test-...
//	WAVELOCK_TEST_TASKS=1   and scheduled tasks in the folder \wavelock-test\, which are deleted again
//
// Listeners are never touched on a real host. A user of the form admin@CORP.EXAMPLE
// logs on with Kerberos, CORP\admin with NTLM, and windows is the account that runs
// this, on Windows.
type subject struct {
	fleet         *machine.Fleet
	host          rollout.Host
	target        wsman.Target
	writes, tasks bool
	real          bool
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("simulated", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		s := subject{fleet: b.fleet, host: b.host, writes: true, tasks: true,
			target: wsman.Target{Host: string(b.host.ID), Address: b.win.Address(5985), Login: logon.NTLM("CORP", "admin", "Passw0rd.1"), Timeout: 5 * time.Second}}
		conform(t, s)
		t.Run("over HTTPS", func(t *testing.T) {
			b.want(rollout.ActSecure, rollout.Passed)
			s.target.Address = b.win.Address(5986)
			s.target.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
			for _, der := range [][]byte{b.ca.Root(), b.ca.Issuing()} {
				c, err := x509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				s.target.TLS.RootCAs.AddCert(c)
			}
			conform(t, s)
		})
	})
	if host := os.Getenv("WAVELOCK_TEST_HOST"); host != "" {
		t.Run(host, func(t *testing.T) { conform(t, realHost(t, host)) })
	}
}

// realHost is what the environment says of a host.
func realHost(t *testing.T, name string) subject {
	t.Helper()
	login := testLogin(t)
	var err error
	_, domain, _ := strings.Cut(name, ".")
	s := subject{real: true, writes: os.Getenv("WAVELOCK_TEST_WRITES") == "1", tasks: os.Getenv("WAVELOCK_TEST_TASKS") == "1",
		host: rollout.Host{ID: rollout.HostID(name), Domain: domain}}
	ports := map[bool]int{false: 5985, true: 5986}
	roots := testRoots(t)
	if p := os.Getenv("WAVELOCK_TEST_PORT"); p != "" {
		if ports[roots != nil], err = strconv.Atoi(p); err != nil {
			t.Fatalf("WAVELOCK_TEST_PORT: %v", err)
		}
	}
	address := testAddress(t, name)
	s.target = wsman.Target{Host: name, Address: netip.AddrPortFrom(address, uint16(ports[roots != nil])).String(), Login: login, Timeout: 30 * time.Second}
	if roots != nil {
		s.target.TLS = &tls.Config{RootCAs: roots}
	} else {
		roots = x509.NewCertPool()
	}
	s.fleet, err = machine.New(machine.Config{Login: func(rollout.Host) logon.Login { return login }, Roots: roots, HTTPPort: ports[false], HTTPSPort: ports[true],
		Resolve: func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{address}, nil }, Now: time.Now, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testLogin(t *testing.T) logon.Login {
	t.Helper()
	file, user := os.Getenv("WAVELOCK_TEST_PASSWORD_FILE"), os.Getenv("WAVELOCK_TEST_USER")
	if user == "windows" {
		l, err := logon.LoggedOn()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	if file == "" || user == "" {
		t.Fatal("WAVELOCK_TEST_HOST needs WAVELOCK_TEST_USER and WAVELOCK_TEST_PASSWORD_FILE, too")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	password := logon.Secret(bytes.TrimRight(text, "\r\n"))
	if name, realm, ok := strings.Cut(user, "@"); ok {
		l, err := logon.Kerberos(logon.KerberosConfig{Realm: strings.ToUpper(realm), User: name, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	domain, name, ok := strings.Cut(user, `\`)
	if !ok {
		domain, name = "", user
	}
	return logon.NTLM(domain, name, password)
}

func testRoots(t *testing.T) *x509.CertPool {
	t.Helper()
	file := os.Getenv("WAVELOCK_TEST_CA_FILE")
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", file)
	}
	return pool
}

func testAddress(t *testing.T, name string) netip.Addr {
	t.Helper()
	text := os.Getenv("WAVELOCK_TEST_ADDRESS")
	if text == "" {
		all, err := net.DefaultResolver.LookupHost(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		text = all[0]
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// conform runs all of it. Nothing here may depend on what the host is used for.
func conform(t *testing.T, s subject) {
	t.Helper()
	session, err := wsman.Open(t.Context(), s.target)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	c := conformance{subject: s, s: session}
	t.Run("Service", c.service)
	t.Run("Listeners", c.listeners)
	t.Run("Faults", c.faults)
	t.Run("WMI", c.wmi)
	t.Run("Registry", c.registry)
	t.Run("Shell", c.shell)
	t.Run("Requests", c.requests)
	if s.target.TLS == nil {
		t.Run("Clear text", c.clearText)
	}
	t.Run("Observation", c.observation)
	if s.writes {
		t.Run("Writes to the registry", c.registryWrites)
		t.Run("Writes to the firewall", c.firewallWrites)
	}
	if s.tasks {
		t.Run("Tasks", c.scheduledTasks)
	}
}

type conformance struct {
	subject
	s *wsman.Session
}

// query is the result of a WQL query.
func (c conformance) query(t *testing.T, namespace, wql string) []*wsman.Element {
	t.Helper()
	var all []*wsman.Element
	for e, err := range c.s.Enumerate(t.Context(), wsman.WMI(namespace, "*"), wsman.Query{WQL: wql}) {
		if err != nil {
			t.Fatalf("%s: %v", wql, err)
		}
		all = append(all, e)
	}
	return all
}

// run is one line in a shell of its own.
func (c conformance) run(t *testing.T, line string) wsman.Result {
	t.Helper()
	return c.feed(t, line, nil)
}

func (c conformance) feed(t *testing.T, line string, stdin []byte) wsman.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute) // cleaning up goes on when the test has ended
	defer cancel()
	sh, err := c.s.Shell(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer sh.Close(ctx)
	res, err := sh.Run(ctx, line, stdin)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return res
}

// want compares what a line came to; texts of Windows are localised and not looked at.
func (c conformance) want(t *testing.T, line string, code int, stdout string) {
	t.Helper()
	if r := c.run(t, line); r.ExitCode != code || string(r.Stdout) != stdout {
		t.Errorf("%s: %d %q %q, want %d %q", line, r.ExitCode, r.Stdout, r.Stderr, code, stdout)
	}
}

// invoke calls a static method of WMI.
func (c conformance) invoke(t *testing.T, class wsman.Resource, method string, in ...wsman.Field) (*wsman.Element, error) {
	t.Helper()
	return c.s.Invoke(t.Context(), class, method, in...)
}

const hklm = "2147483650"

var stdRegProv = wsman.WMI("root/default", "StdRegProv")

// reg calls StdRegProv and answers ReturnValue with the rest.
func (c conformance) reg(t *testing.T, method, path, name string, more ...wsman.Field) (code string, out *wsman.Element) {
	t.Helper()
	in := append([]wsman.Field{{Name: "hDefKey", Value: hklm}, {Name: "sSubKeyName", Value: path}}, more...)
	if name != "" {
		in = append(in, wsman.Field{Name: "sValueName", Value: name})
	}
	out, err := c.invoke(t, stdRegProv, method, in...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return out.Value("ReturnValue"), out
}

func (c conformance) wantReg(t *testing.T, want, method, path, name string, more ...wsman.Field) *wsman.Element {
	t.Helper()
	code, out := c.reg(t, method, path, name, more...)
	if code != want {
		t.Errorf("%s %s %s: ReturnValue %s, want %s", method, path, name, code, want)
	}
	return out
}

// unique names what a run writes.
func unique(prefix string) string {
	return fmt.Sprintf("wavelock-test-%s-%d", prefix, time.Now().UnixNano())
}
