package machinetest

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var onHTTP, onHTTPS = map[string]string{"Address": "*", "Transport": "HTTP"}, map[string]string{"Address": "*", "Transport": "HTTPS"}

// listenerBody is an instance for Create and Put.
func listenerBody(fields ...string) string {
	var b strings.Builder
	b.WriteString(`<cfg:Listener xmlns:cfg="` + nsConfig + `/listener">`)
	for i := 0; i < len(fields); i += 2 {
		b.WriteString("<cfg:" + fields[i] + ">" + esc(fields[i+1]) + "</cfg:" + fields[i] + ">")
	}
	return b.String() + "</cfg:Listener>"
}

// The rules of [MS-WSMV] 3.1.4.1.29.5 and the codes of wsmerror.h.
func TestAnHTTPSListenerNeedsItsCertificate(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := client{t: t, h: h}
	good, key := newCertificate(t, testFQDN)
	h.Install(good, key)
	other, key2 := newCertificate(t, "other.corp.example")
	h.Install(other, key2)
	client, key3 := newCertificate(t, testFQDN, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	h.Install(client, key3)
	keyless, _ := newCertificate(t, testFQDN)
	h.Registry(func(r *Registry) {
		r.Set(myKey+`\`+thumbprint(keyless), Value{Name: "Blob", Type: Binary, Data: blobOf(keyless, "", false)})
	})
	uri := nsConfig + "/listener"
	for name, x := range map[string]struct {
		code   uint32
		fields []string
	}{
		"a certificate that is not in the store":    {0x80338082, []string{"Hostname", testFQDN, "CertificateThumbprint", strings.Repeat("AB", 20)}},
		"a certificate without its key":             {0x80338082, []string{"Hostname", testFQDN, "CertificateThumbprint", thumbprint(keyless)}},
		"a certificate of another name":             {0x803380E9, []string{"Hostname", testFQDN, "CertificateThumbprint", thumbprint(other)}},
		"a certificate that is not for servers":     {0x803380EE, []string{"Hostname", testFQDN, "CertificateThumbprint", thumbprint(client)}},
		"a host name that is not the certificate's": {0x803380E9, []string{"Hostname", "web01", "CertificateThumbprint", thumbprint(good)}},
		"no host name":                    {0x803380E9, []string{"CertificateThumbprint", thumbprint(good)}},
		"the address changed in the body": {0x803380ED, []string{"Address", "10.0.0.1", "Hostname", testFQDN, "CertificateThumbprint", thumbprint(good)}},
		"an element that nobody knows":    {0x80338040, []string{"Hostname", testFQDN, "CertificateThumbprint", thumbprint(good), "hostname", "x"}},
		"ListeningOn, which is computed":  {0x80338040, []string{"Hostname", testFQDN, "CertificateThumbprint", thumbprint(good), "ListeningOn", "127.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.t = t
			c.fails(x.code, "transfer/Create", uri, onHTTPS, listenerBody(x.fields...))
			if h.HTTPSOpen() || h.bound() != "" {
				t.Error("there is a listener all the same")
			}
		})
	}
	c.fails(0x803380EB, "transfer/Put", uri, onHTTP, listenerBody("CertificateThumbprint", thumbprint(good)))
	c.fails(0x80338000, "transfer/Get", uri, onHTTPS, "")
	c.fails(0x80338000, "transfer/Delete", uri, onHTTPS, "")
	c.fails(0x80338033, "transfer/Create", uri, onHTTP, listenerBody("Port", "5985"))
	c.fails(0x8033805B, "transfer/Get", uri, map[string]string{"Address": "*"}, "")

	c.must("transfer/Create", uri, onHTTPS, listenerBody("Hostname", testFQDN, "CertificateThumbprint", strings.ToLower(thumbprint(good))))
	if !h.HTTPSOpen() || h.bound() != thumbprint(good) {
		t.Errorf("open %v, bound to %q", h.HTTPSOpen(), h.bound())
	}
	l := c.must("transfer/Get", uri, onHTTPS, "").child("Listener")
	if l.text("CertificateThumbprint") != thumbprint(good) || l.text("Port") != fmt.Sprint(h.cfg.HTTPSPort) || l.text("Enabled") != "true" || l.text("URLPrefix") != "wsman" {
		t.Errorf("read back: %+v", l)
	}
	c.fails(0x80338033, "transfer/Create", uri, onHTTPS, listenerBody("Hostname", testFQDN, "CertificateThumbprint", thumbprint(good)))
	again, key4 := newCertificate(t, testFQDN)
	h.Install(again, key4)
	c.must("transfer/Put", uri, onHTTPS, listenerBody("Hostname", testFQDN, "CertificateThumbprint", thumbprint(again)))
	if h.bound() != thumbprint(again) {
		t.Error("Put does not bind anew")
	}
	c.must("transfer/Delete", uri, onHTTPS, "")
	if h.bound() != "" {
		t.Error("the binding is left")
	}
}

// Without a thumbprint the service looks for a certificate itself, "and if no such
// certificate can be found, the create MUST fail".
func TestTheServiceLooksForACertificate(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := client{t: t, h: h}
	c.fails(0x80338082, "transfer/Create", nsConfig+"/listener", onHTTPS, listenerBody("Hostname", testFQDN))
	der, key := newCertificate(t, testFQDN)
	h.Install(der, key)
	c.must("transfer/Create", nsConfig+"/listener", onHTTPS, listenerBody("Hostname", testFQDN))
	if h.bound() != thumbprint(der) {
		t.Errorf("bound to %q", h.bound())
	}
}

func TestAPortOfAnotherServiceIsNotTaken(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	der, key := newCertificate(t, testFQDN)
	h.Install(der, key)
	h.Registry(func(r *Registry) {
		r.Set(fmt.Sprintf(`%s\0.0.0.0:%d`, bindingKey, h.cfg.HTTPSPort), Value{Name: "AppId", Type: Binary, Data: guid("4dc3e181-e14b-4a21-b022-59fc669b0914")})
	})
	client{t: t, h: h}.fails(0x803380E8, "transfer/Create", nsConfig+"/listener", onHTTPS, listenerBody("Hostname", testFQDN, "CertificateThumbprint", thumbprint(der)))
}

func TestWhatAPolicySetsCannotBeChanged(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := client{t: t, h: h}
	h.Set(GPOListener)
	uri := nsConfig + "/listener"
	if l := c.must("transfer/Get", uri, onHTTP, "").child("Listener"); l.attr("Source") != "GPO" {
		t.Errorf("source %q", l.attr("Source"))
	}
	c.fails(0x8033808A, "transfer/Delete", uri, onHTTP, "")
	c.fails(0x8033808A, "transfer/Put", uri, onHTTP, listenerBody("Port", "5999"))
	if !h.HTTPOpen() {
		t.Error("the listener is gone")
	}

	h.Registry(func(r *Registry) { r.SetNum(policyKey, "AllowBasic", 0) })
	auth := nsConfig + "/service/auth"
	put := func(name, v string) string {
		return `<cfg:Auth xmlns:cfg="` + auth + `"><cfg:` + name + ">" + v + "</cfg:" + name + "></cfg:Auth>"
	}
	c.fails(0x8033808A, "transfer/Put", auth, nil, put("Basic", "true"))
	c.must("transfer/Put", auth, nil, put("Basic", "false")) // as it is
	c.must("transfer/Put", auth, nil, put("CbtHardeningLevel", "Strict"))
	c.fails(0x80338040, "transfer/Put", auth, nil, put("Basik", "false"))
	got := c.must("transfer/Get", auth, nil, "").child("Auth")
	if got.text("CbtHardeningLevel") != "Strict" || got.child("Basic").attr("Source") != "GPO" || got.child("Kerberos").attr("Source") != "" {
		t.Errorf("%+v", got)
	}
}

func TestOnlyAdministratorsMayDoAnything(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, uri := range []string{nsConfig + "/listener", nsWMI + "root/cimv2/Win32_Service", nsShell + "/cmd"} {
		client{t: t, h: h, user: `CORP\user`}.fails(5, "enumeration/Enumerate", uri, nil, fmt.Sprintf(enumerateBody, ""))
	}
	client{t: t, h: h, user: `CORP\Admin`}.must("enumeration/Enumerate", nsConfig+"/listener", nil, fmt.Sprintf(enumerateBody, ""))
}

func TestRequestsThatWindowsRefuses(t *testing.T) {
	t.Parallel()
	c := client{t: t, h: newHost(t)}
	c.fails(0x80338041, "enumeration/Enumerate", nsConfig+"/listener", nil, "")
	c.fails(0x80338013, "transfer/Rename", nsConfig+"/listener", onHTTP, "")
	c.fails(0x80338000, "transfer/Get", nsConfig+"/nothing", nil, "")
	c.fails(0x80338000, "transfer/Get", "http://example.com/resource", nil, "")
	c.fails(0x8033805B, nsShell+"/Receive", nsShell+"/cmd", map[string]string{"ShellId": "x"}, `<rsp:Receive><rsp:DesiredStream CommandId="y">stdout</rsp:DesiredStream></rsp:Receive>`)
	c.fails(0x80338031, "enumeration/Pull", nsConfig+"/listener", nil, `<n:Pull><n:EnumerationContext>uuid:1</n:EnumerationContext></n:Pull>`)
	for _, text := range []string{"", "<", "<s:Envelope/>", "no XML", `<s:Envelope xmlns:s="x"><s:Header/></s:Envelope>`, strings.Repeat("<a>", 200)} {
		if status, out, _ := c.h.soap(as("admin"), []byte(text)); status != 500 || !strings.Contains(out, "Fault") {
			t.Errorf("%.20q: %d %s", text, status, out)
		}
	}
}

// A computer answers no more than the smaller of both sides' MaxEnvelopeSize.
func TestEnvelopesKeepTheirSize(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(c *Config) { c.MaxEnvelope = 100_000 })
	c := client{t: t, h: h}
	for _, most := range []int{20_000, 60_000, 400_000} {
		c.envelope = most
		uri := nsWMI + "root/cimv2/Win32_Service"
		rounds, items := 0, 0
		_, out := c.raw("enumeration/Enumerate", uri, nil, fmt.Sprintf(enumerateBody, ""))
		for {
			rounds++
			items += strings.Count(out, "<p:Win32_Service ")
			if limit := min(most, 100_000); len(out) > limit {
				t.Errorf("an answer of %d bytes, the limit is %d", len(out), limit)
			}
			_, rest, more := strings.Cut(out, "<n:EnumerationContext>uuid:")
			if !more || strings.Contains(out, "EndOfSequence") {
				break
			}
			id, _, _ := strings.Cut(rest, "<")
			_, out = c.raw("enumeration/Pull", uri, nil, `<n:Pull><n:EnumerationContext>uuid:`+id+`</n:EnumerationContext><n:MaxElements>32000</n:MaxElements></n:Pull>`)
		}
		if items != 200 || most < 60_000 && rounds < 2 {
			t.Errorf("limit %d: %d services in %d rounds", most, items, rounds)
		}
	}
	// What cannot be divided is a fault: a certificate's bytes, one element each.
	c.envelope = 20_000
	var thumb string
	h.Registry(func(r *Registry) { thumb = r.Keys(myKey)[0] })
	in := `<p:GetBinaryValue_INPUT xmlns:p="` + nsWMI + `root/default/StdRegProv"><p:hDefKey>2147483650</p:hDefKey><p:sSubKeyName>` + myKey + `\` + thumb + `</p:sSubKeyName><p:sValueName>Blob</p:sValueName></p:GetBinaryValue_INPUT>`
	if status, out := c.raw(nsWMI+"root/default/StdRegProv/GetBinaryValue", nsWMI+"root/default/StdRegProv", nil, in); status == 200 && len(out) > 20_000 {
		t.Errorf("%d bytes were answered", len(out))
	}
	// A command's output comes in as many pieces as it takes.
	c.envelope = 30_000
	if r := c.cmd(`reg query HKLM\` + firewallKey + ` /s`); r.code != 0 || strings.Count(r.stdout, "Name=Feature") != 398 {
		t.Errorf("code %d, %d rules in %d bytes", r.code, strings.Count(r.stdout, "Name=Feature"), len(r.stdout))
	}
}

func TestEnumerationModes(t *testing.T) {
	t.Parallel()
	c := client{t: t, h: newHost(t)}
	listenHTTPS(t, c.h)
	for mode, want := range map[string][2]int{"EnumerateObject": {2, 0}, "EnumerateObjectAndEPR": {2, 2}, "EnumerateEPR": {0, 2}} {
		_, out := c.raw("enumeration/Enumerate", nsConfig+"/listener", nil, fmt.Sprintf(enumerateBody, "<w:EnumerationMode>"+mode+"</w:EnumerationMode>"))
		if got := [2]int{strings.Count(out, "<cfg:Listener "), strings.Count(out, `<w:Selector Name="Transport">`)}; got != want {
			t.Errorf("%s: %v, want %v", mode, got, want)
		}
	}
	// Without OptimizeEnumeration there is nothing but a context, and Pull gives the items.
	resp := c.must("enumeration/Enumerate", nsConfig+"/listener", nil, "<n:Enumerate/>").child("EnumerateResponse")
	if resp.child("Items") != nil || resp.text("EnumerationContext") == "" {
		t.Errorf("%+v", resp)
	}
	pull := `<n:Pull><n:EnumerationContext>` + resp.text("EnumerationContext") + `</n:EnumerationContext></n:Pull>`
	if got := c.must("enumeration/Pull", nsConfig+"/listener", nil, pull).child("PullResponse"); len(got.child("Items").Nodes) != 1 {
		t.Errorf("MaxElements is 1 unless it is said: %+v", got)
	}
	c.fails(0x80338031, "enumeration/Pull", nsConfig+"/listener", nil, pull) // used up
}

func TestWQL(t *testing.T) {
	t.Parallel()
	c := client{t: t, h: newHost(t)}
	for q, want := range map[string]int{
		"select * from Win32_Service":                                                 200,
		"SELECT Name FROM win32_service WHERE name='winrm'":                           1,
		`select Name, State from Win32_Service where Name="WinRM" or Name='Schedule'`: 2,
		"select * from Win32_Service where State='Running' and StartMode='Auto'":      -1,
		"select * from Win32_Service where Name like 'W%'":                            -1,
		"select * from Win32_Service where Name='nobody'":                             0,
		"select * from Win32_Service where (Name='WinRM' and State='Running')":        1,
		"select * from Win32_Service where Name <> 'WinRM'":                           199,
		"select * from Win32_Service where (Name='WinRM') or (Name='Schedule')":       2,
		"select * from Win32_OperatingSystem":                                         1,
	} {
		got := c.list(nsWMI+"root/cimv2/*", q)
		if want >= 0 && len(got) != want || want < 0 && (len(got) == 0 || len(got) == 200) {
			t.Errorf("%s: %d, want %d", q, len(got), want)
		}
		if strings.Contains(q, "Name, State") && (got[0].XMLName.Local != "XmlFragment" || len(got[0].Nodes) != 2) {
			t.Errorf("%s: %+v", q, got[0])
		}
	}
	for _, q := range []string{"select", "delete from Win32_Service", "select * from", "select * from Win32_Service where", "select * from Win32_Service where Name", "select * from Win32_Nothing",
		"select * from Win32_Service where Name='a' xor Name='b'", "select * from Win32_Service; select 1", "associators of {x}"} {
		if _, code := c.call("enumeration/Enumerate", nsWMI+"root/cimv2/*", nil, fmt.Sprintf(enumerateBody, `<w:Filter Dialect="http://schemas.microsoft.com/wbem/wsman/1/WQL">`+esc(q)+`</w:Filter>`)); code != 0x8033801A {
			t.Errorf("%s: 0x%08x", q, code)
		}
	}
	// Classes live in their namespaces.
	c.fails(0x8033801A, "enumeration/Enumerate", nsWMI+"root/cimv2/*", nil, fmt.Sprintf(enumerateBody, `<w:Filter>select * from MSFT_NetTCPConnection</w:Filter>`))
	if got := c.list(nsWMI+"root/StandardCimv2/*", "select * from MSFT_NetTCPConnection"); len(got) != 0 {
		t.Errorf("%d connections, nobody is connected", len(got))
	}
}

// The scheduler fires what is registered, when it is time, and after a restart.
func TestTasks(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := client{t: t, h: h}
	uri := nsWMI + "root/Microsoft/Windows/TaskScheduler/PS_ScheduledTask"
	task := func(triggers, actions string) string {
		return `<?xml version="1.0"?><Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"><Triggers>` + triggers +
			`</Triggers><Principals><Principal id="S"><UserId>S-1-5-18</UserId></Principal></Principals><Actions Context="S">` + actions + `</Actions></Task>`
	}
	register := func(name, xml string) uint32 {
		_, code := c.call(uri+"/RegisterByXml", uri, nil, `<p:RegisterByXml_INPUT xmlns:p="`+uri+`"><p:Force>false</p:Force><p:Xml>`+esc(xml)+`</p:Xml><p:TaskName>`+name+`</p:TaskName><p:TaskPath>\t\</p:TaskPath></p:RegisterByXml_INPUT>`)
		return code
	}
	mark := func(name string) string {
		return `<Exec><Command>%SystemRoot%\System32\reg.exe</Command><Arguments>add "HKLM\SOFTWARE\t" /v ` + name + ` /t REG_DWORD /d 1 /f</Arguments></Exec>`
	}
	ran := func(name string) (ok bool) {
		h.Registry(func(r *Registry) { _, ok = r.Num(`SOFTWARE\t`, name) })
		return ok
	}
	for xml, want := range map[string]uint32{
		"<Task/>": 0x8004131A, "no": 0x8004131A, task("", ""): 0x80041319,
		task(`<RegistrationTrigger><Delay>soon</Delay></RegistrationTrigger>`, mark("x")):                                                                0x80041318,
		strings.Replace(task("", mark("x")), `"1.0"`, `"1.0" encoding="UTF-8"`, 1):                                                                       0x8004131A,
		task(`<TimeTrigger><Enabled>true</Enabled></TimeTrigger>`, mark("x")):                                                                            0x80041319,
		task(`<TimeTrigger><StartBoundary>tomorrow</StartBoundary></TimeTrigger>`, mark("x")):                                                            0x80041318,
		task(`<TimeTrigger><StartBoundary>2020-01-01T00:00:00Z</StartBoundary><EndBoundary>2020-01-02T00:00:00Z</EndBoundary></TimeTrigger>`, mark("x")): 0x8004131E,
	} {
		if got := register("bad", xml); got != want {
			t.Errorf("%.120s: 0x%08x, want 0x%08x", xml, got, want)
		}
	}
	if code := register("later", task(`<RegistrationTrigger><Delay>PT1S</Delay></RegistrationTrigger>`, mark("later"))); code != 0 {
		t.Fatalf("0x%08x", code)
	}
	if code := register("later", task("", mark("x"))); code != 0x800700B7 {
		t.Errorf("twice: 0x%08x", code)
	}
	if code := register("boot", task(`<BootTrigger><Enabled>true</Enabled></BootTrigger>`, mark("boot"))); code != 0 {
		t.Fatalf("0x%08x", code)
	}
	if code := register("off", task(`<RegistrationTrigger><Enabled>false</Enabled></RegistrationTrigger>`, mark("off"))); code != 0 {
		t.Fatalf("0x%08x", code)
	}
	if ran("later") || ran("boot") {
		t.Error("a task ran too early")
	}
	await(t, func() bool { return ran("later") })
	if ran("boot") || ran("off") {
		t.Error("a task ran that had no reason to")
	}
	h.Reboot()
	await(t, func() bool { return ran("boot") })
	if names := h.TaskNames(); len(names) != 3 {
		t.Errorf("tasks: %v", names)
	}
	c.must("transfer/Delete", nsWMI+"root/Microsoft/Windows/TaskScheduler/MSFT_ScheduledTask", map[string]string{"TaskName": "boot", "TaskPath": `\t\`}, "")
	c.fails(0x80338000, "transfer/Delete", nsWMI+"root/Microsoft/Windows/TaskScheduler/MSFT_ScheduledTask", map[string]string{"TaskName": "boot", "TaskPath": `\t\`}, "")
	if names := h.TaskNames(); slices.Contains(names, `\t\boot`) {
		t.Errorf("tasks: %v", names)
	}
}

// await lets timers fire that cannot be driven by hand.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
	}
}
