package machine_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/wsman"
)

// service: what winrm/config says of itself.
func (c conformance) service(t *testing.T) {
	id, err := c.s.Identify(t.Context())
	if err != nil || id.Vendor != "Microsoft Corporation" || id.Protocol != "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" {
		t.Fatalf("%+v %v", id, err)
	}
	t.Logf("%s says %s", c.host.ID, id.Version)
	svc, err := c.s.Get(t.Context(), wsman.Config("service"))
	if err != nil {
		t.Fatal(err)
	}
	auth, err := c.s.Get(t.Context(), wsman.Config("service/auth"))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := c.s.Get(t.Context(), wsman.Config(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Basic", "Kerberos", "Negotiate", "Certificate", "CredSSP"} {
		v := strings.ToLower(auth.Value(name))
		if v != "true" && v != "false" || svc.Child("Auth").Value(name) != auth.Value(name) || whole.At("Service", "Auth").Value(name) != auth.Value(name) {
			t.Errorf("%s: %q alone, %q in the service, %q in all", name, v, svc.Child("Auth").Value(name), whole.At("Service", "Auth").Value(name))
		}
	}
	for _, name := range []string{"AllowUnencrypted", "IPv4Filter", "IPv6Filter", "EnableCompatibilityHttpListener", "EnableCompatibilityHttpsListener", "AllowRemoteAccess", "RootSDDL"} {
		if svc.Child(name) == nil {
			t.Errorf("the service has no %s", name)
		}
	}
	if level := auth.Value("CbtHardeningLevel"); level != "None" && level != "Relaxed" && level != "Strict" {
		t.Errorf("CbtHardeningLevel %q", level)
	}
	if kb, err := strconv.Atoi(whole.Value("MaxEnvelopeSizekb")); err != nil || kb < 32 {
		t.Errorf("MaxEnvelopeSizekb %q", whole.Value("MaxEnvelopeSizekb"))
	}
}

func (c conformance) listeners(t *testing.T) {
	n := 0
	for e, err := range c.s.Enumerate(t.Context(), wsman.Config("listener"), wsman.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if _, err := strconv.Atoi(e.Value("Port")); err != nil || e.Name != "Listener" || e.Space != wsman.Config("listener").URI || e.Value("Address") == "" || e.Value("URLPrefix") == "" || len(e.Values("ListeningOn")) == 0 {
			t.Errorf("%+v", e)
		}
		one, err := c.s.Get(t.Context(), wsman.Config("listener", wsman.Selector{Name: "Address", Value: e.Value("Address")}, wsman.Selector{Name: "Transport", Value: e.Value("Transport")}))
		if err != nil || one.Value("Port") != e.Value("Port") || one.Value("CertificateThumbprint") != e.Value("CertificateThumbprint") {
			t.Errorf("got by its selectors: %+v %v", one, err)
		}
	}
	if n == 0 {
		t.Error("there is no listener, and yet we are talking")
	}
	refs := 0
	for e, err := range c.s.Enumerate(t.Context(), wsman.Config("listener"), wsman.Query{EPR: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := e.Reference(); ok && len(r.Selectors) == 2 {
			refs++
		}
	}
	if refs != n {
		t.Errorf("%d listeners and %d references", n, refs)
	}
}

// faults: codes that the program decides on.
func (c conformance) faults(t *testing.T) {
	var f *wsman.Fault
	_, err := c.s.Get(t.Context(), wsman.Config("listener", wsman.Selector{Name: "Address", Value: "IP:192.0.2.77"}, wsman.Selector{Name: "Transport", Value: "HTTP"}))
	if !errors.As(err, &f) || !f.IsNotFound() {
		t.Errorf("a listener that is not there: %v", err)
	}
	_, err = c.s.Get(t.Context(), wsman.Config("listener", wsman.Selector{Name: "Nonsense", Value: "1"}))
	if !errors.As(err, &f) || f.IsNotFound() && f.IsInvalidSelectors() {
		t.Errorf("a wrong selector: %v", err)
	}
	for _, err := range c.s.Enumerate(t.Context(), wsman.WMI("root/cimv2", "*"), wsman.Query{WQL: "select * from Wavelock_Nothing"}) {
		if !errors.As(err, &f) || f.Code == 0 {
			t.Errorf("a class that is not there: %v", err)
		}
	}
	if _, err := c.invoke(t, stdRegProv, "Wavelock_Nothing"); !errors.As(err, &f) {
		t.Errorf("a method that is not there: %v", err)
	}
	sh, err := c.s.Shell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := sh.Run(t.Context(), "ver", nil); !errors.As(err, &f) || !f.IsInvalidSelectors() {
		t.Errorf("a shell that is closed: %v", err)
	}
}

func (c conformance) wmi(t *testing.T) {
	name, domain, _ := strings.Cut(string(c.host.ID), ".")
	sys := c.query(t, "root/cimv2", "select * from Win32_ComputerSystem")
	if len(sys) != 1 || !strings.EqualFold(sys[0].Value("DNSHostName"), name) || !strings.EqualFold(sys[0].Value("Domain"), domain) || !strings.EqualFold(sys[0].Value("PartOfDomain"), "true") {
		t.Errorf("computer: %+v", sys)
	}
	os := c.query(t, "root/cimv2", "select Version, BuildNumber, ProductType, LocalDateTime, LastBootUpTime from Win32_OperatingSystem")
	if len(os) != 1 || os[0].Value("Version") == "" || os[0].Value("BuildNumber") == "" || len(os[0].Value("ProductType")) != 1 || os[0].Value("LocalDateTime") == "" || os[0].Value("LastBootUpTime") == "" {
		t.Fatalf("system: %+v", os)
	}
	winrm := c.query(t, "root/cimv2", "select Name, State, StartMode from Win32_Service where Name='winrm'")
	if len(winrm) != 1 || winrm[0].Value("State") != "Running" || winrm[0].Value("StartMode") == "" {
		t.Errorf("WinRM: %+v", winrm)
	}
	all := c.query(t, "root/cimv2", "select Name from Win32_Service")
	if len(all) < 30 {
		t.Errorf("%d services", len(all))
	}
	if none := c.query(t, "root/cimv2", "select * from Win32_Service where Name='wavelock-nothing'"); len(none) != 0 {
		t.Errorf("%+v", none)
	}
	_, port, _ := net.SplitHostPort(c.target.Address)
	ours := 0
	for _, e := range c.query(t, "root/StandardCimv2", "select * from MSFT_NetTCPConnection where LocalPort="+port+" and State=5") {
		if e.Value("RemoteAddress") != "" && e.Value("RemotePort") == strconv.Itoa(int(c.s.LocalAddr().Port())) {
			ours++
		}
	}
	if ours != 1 && !c.real { // address translation hides it
		t.Errorf("our own connection was listed %d times", ours)
	}
	if g := c.query(t, "root/cimv2", "select Name, Domain, SID from Win32_Group where LocalAccount=TRUE and SID='S-1-5-32-544'"); len(g) != 1 && len(g) != 0 || len(g) == 1 && g[0].Value("Name") == "" {
		t.Errorf("the local administrators: %+v", g)
	} else {
		t.Logf("the group of local administrators was found %d times", len(g)) // a domain controller has none
	}
}

func (c conformance) registry(t *testing.T) {
	const version = `SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	if out := c.wantReg(t, "0", "GetStringValue", version, "ProductName"); !strings.HasPrefix(out.Value("sValue"), "Windows") {
		t.Errorf("%+v", out)
	}
	for _, missing := range []struct{ method, path, name string }{
		{"GetStringValue", version, "wavelock-nothing"}, {"GetStringValue", `SOFTWARE\wavelock-nothing`, "x"}, {"GetBinaryValue", version, "wavelock-nothing"},
		{"GetDWORDValue", version, "wavelock-nothing"},
	} {
		if code, out := c.reg(t, missing.method, missing.path, missing.name); code != "1" && code != "2" {
			t.Errorf("%+v: %s %+v", missing, code, out)
		}
	}
	c.wantReg(t, "2", "EnumKey", `SOFTWARE\wavelock-nothing`, "")
	const my = `SOFTWARE\Microsoft\SystemCertificates\MY\Certificates`
	keys := c.wantReg(t, "0", "EnumKey", my, "").Values("sNames")
	for _, k := range keys {
		if len(k) != 40 || strings.ToUpper(k) != k {
			t.Errorf("the key %q is no thumbprint", k)
		}
		if n := len(c.wantReg(t, "0", "GetBinaryValue", my+`\`+k, "Blob").Values("uValue")); n < 100 {
			t.Errorf("certificate %s has %d bytes", k, n)
		}
	}
	// The same by the other way, in one command.
	r := c.run(t, `reg query "HKLM\`+my+`" /s`)
	if got := bytes.Count(r.Stdout, []byte("REG_BINARY")); r.ExitCode != 0 && len(keys) > 0 || got != len(keys) {
		t.Errorf("reg query: code %d, %d certificates; StdRegProv has %d", r.ExitCode, got, len(keys))
	}
	const rules = `SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules`
	names := c.wantReg(t, "0", "EnumValues", rules, "").Values("sNames")
	if r := c.run(t, `reg query "HKLM\`+rules+`"`); bytes.Count(r.Stdout, []byte("REG_SZ")) != len(names) || len(names) < 20 {
		t.Errorf("%d rules by reg query, %d by StdRegProv", bytes.Count(r.Stdout, []byte("REG_SZ")), len(names))
	}
}

// shell: what cmd.exe makes of a line.
func (c conformance) shell(t *testing.T) {
	for line, want := range map[string]string{
		`echo hello`:                   "hello\r\n",
		`echo a^&b`:                    "a&b\r\n",
		`echo a& echo b`:               "a\r\nb\r\n",
		`(echo a& echo b) | findstr b`: "b\r\n",
		`cmd /c exit 3 || echo yes`:    "yes\r\n",
		`ver >nul && echo ok`:          "ok\r\n",
		`echo #x& reg query HKLM\SOFTWARE\wavelock-nothing 2>nul & echo #y`: "#x\r\n#y\r\n",
	} {
		c.want(t, line, 0, want)
	}
	c.want(t, `exit 7`, 7, "")
	c.want(t, `cmd /c exit 3 && echo no`, 3, "")
	if r := c.run(t, `reg query HKLM\SOFTWARE\wavelock-nothing`); r.ExitCode != 1 || len(r.Stderr) == 0 || len(r.Stdout) > 2 {
		t.Errorf("a key that is not there: %+v", r)
	}
	if r := c.run(t, "wavelock-nothing"); r.ExitCode != 1 && r.ExitCode != 9009 || len(r.Stderr) == 0 {
		t.Errorf("a command that is not there: %+v", r)
	}
	if r := c.feed(t, `findstr "^"`, []byte("one\r\ntwo\r\n")); r.ExitCode != 0 || string(r.Stdout) != "one\r\ntwo\r\n" {
		t.Errorf("stdin: %+v", r)
	}
	// More than any envelope holds comes in pieces.
	r := c.run(t, `reg query HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy /s`)
	if r.ExitCode != 0 || len(r.Stdout) < 20_000 {
		t.Errorf("code %d, %d bytes", r.ExitCode, len(r.Stdout))
	}
}

// requests: how many there are, [issue of speed].
func (c conformance) requests(t *testing.T) {
	s, err := wsman.Open(t.Context(), c.target)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cmd := func() {
		sh, err := s.Shell(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sh.Run(t.Context(), "ver", nil); err != nil {
			t.Fatal(err)
		}
		if err := sh.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cmd()
	if n := s.Requests(); n > 7 {
		t.Errorf("a command on a new connection took %d requests", n)
	}
	for what, x := range map[string]struct {
		most int
		do   func()
	}{
		"a command": {5, cmd},
		"Get":       {1, func() { s.Get(t.Context(), wsman.Config("service")) }},
		"Enumerate": {1, func() {
			for range s.Enumerate(t.Context(), wsman.Config("listener"), wsman.Query{}) {
			}
		}},
	} {
		before := s.Requests()
		x.do()
		if n := s.Requests() - before; n > x.most {
			t.Errorf("%s took %d requests, want %d", what, n, x.most)
		}
	}
	if s.Connections() != 1 || s.Handshakes() != 1 {
		t.Errorf("%d connections, %d logons", s.Connections(), s.Handshakes())
	}
}

// clearText: the HTTP listener takes nothing that is not sealed.
func (c conformance) clearText(t *testing.T) {
	post := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := post.Post("http://"+c.target.Address+"/wsman", "application/soap+xml;charset=UTF-8", strings.NewReader("<Envelope/>"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
	if resp.StatusCode != 401 || !strings.Contains(strings.Join(resp.Header.Values("WWW-Authenticate"), ","), "Negotiate") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	resp, err = post.Post("http://"+c.target.Address+"/wavelock-nothing", "text/plain", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("another path: %d", resp.StatusCode)
	}
}

// observation: the program itself sees everything, and writes nothing.
func (c conformance) observation(t *testing.T) {
	m, err := c.fleet.Open(t.Context(), c.host)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	res, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepInspect})
	if err != nil {
		t.Fatal(err)
	}
	o := res.Seen
	for what, unseen := range map[string]string{"identity": o.Identity.Why, "system": o.System.Why, "listeners": o.Listeners.Why, "service": o.Service.Why, "services": o.Services.Why,
		"peers": o.Peers.Why, "firewall": o.Firewall.Why, "certificates": o.Certificates.Why, "bindings": o.Bindings.Why, "policy": o.Policy.Why, "undo": o.Undo.Why, "image": o.Image.Why, "admins": o.Admins.Why} {
		if unseen != "" && (what != "admins" || o.System.Value.Product != 2) {
			t.Errorf("%s: %s", what, unseen)
		}
	}
	if !strings.EqualFold(o.Identity.Value.FQDN, string(c.host.ID)) || o.System.Value.Build == 0 || o.System.Value.Booted.IsZero() {
		t.Errorf("%+v %+v", o.Identity.Value, o.System.Value)
	}
	if len(o.Listeners.Value) == 0 || o.Firewall.Value.Total < 20 || len(o.Services.Value) == 0 {
		t.Errorf("%d listeners, %d rules, %d services", len(o.Listeners.Value), o.Firewall.Value.Total, len(o.Services.Value))
	}
	if len(o.Admins.Value) == 0 && o.System.Value.Product != 2 {
		t.Error("the group of administrators has no members")
	}
	self := 0
	for _, p := range o.Peers.Value {
		if p.Self {
			self++
		}
	}
	if self == 0 {
		t.Error("our own connection was not among the peers")
	}
	t.Logf("%d HTTP requests", m.Requests())
}
