package machinetest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// felt is how one fault shows: what a look at the computer says without it, and with it.
type felt struct {
	look          func(*testing.T, *Host) string
	healthy, sick string
}

// knocks asks for the computer's identity over HTTP.
func knocks(t *testing.T, h *Host) string {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.Address(5985)+"/wsman", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("WSMANIDENTIFY", "unauthenticated")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	switch {
	case err == nil:
		resp.Body.Close()
		return resp.Status
	case strings.Contains(err.Error(), "refused"):
		return "refused"
	case ctx.Err() != nil:
		return "silence"
	}
	return err.Error()
}

// codeFor answers a command line's exit code.
func codeFor(line string) func(*testing.T, *Host) string {
	return func(t *testing.T, h *Host) string {
		return fmt.Sprintf("%#x", uint32(client{t: t, h: h}.cmd(line).code))
	}
}

// deletesHTTP deletes the HTTP listener, and tells what became of the answer and the doors.
func deletesHTTP(until func(*Host) bool) func(*testing.T, *Host) string {
	return func(t *testing.T, h *Host) string {
		listenHTTPS(t, h)
		h.mu.Lock()
		booted := h.booted
		h.mu.Unlock()
		_, _, reset := h.soap(as("admin"), []byte(`<s:Envelope xmlns:s="x"><s:Header><Action>transfer/Delete</Action><ResourceURI>`+nsConfig+
			`/listener</ResourceURI><SelectorSet><Selector Name="Address">*</Selector><Selector Name="Transport">HTTP</Selector></SelectorSet></s:Header><s:Body/></s:Envelope>`))
		await(t, func() bool { return until(h) })
		h.mu.Lock()
		rebooted := !h.booted.Equal(booted)
		h.mu.Unlock()
		return fmt.Sprintf("reset %v, reboot %v, HTTP %v, HTTPS %v", reset, rebooted, h.HTTPOpen(), h.HTTPSOpen())
	}
}

func gone(h *Host) bool { return !h.HTTPOpen() }

// osValue is a property of Win32_OperatingSystem.
func osValue(t *testing.T, h *Host, name string) string {
	all := client{t: t, h: h}.list(nsWMI+"root/cimv2/*", "select * from Win32_OperatingSystem")
	if len(all) != 1 {
		t.Fatalf("%d operating systems", len(all))
	}
	v := all[0].child(name)
	if d := v.child("Datetime"); d != nil {
		v = d
	}
	return v.raw()
}

// runsTasks registers a task that says nothing of batteries and one that may run on them, and tells which of them ran.
func runsTasks(t *testing.T, h *Host) string {
	text := func(delay, settings, name string) string {
		return `<Task xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"><Triggers><RegistrationTrigger><Delay>` + delay + `</Delay></RegistrationTrigger></Triggers>` + settings +
			`<Actions><Exec><Command>%SystemRoot%\System32\reg.exe</Command><Arguments>add "HKLM\SOFTWARE\t" /v ` + name + ` /t REG_DWORD /d 1 /f</Arguments></Exec></Actions></Task>`
	}
	ran := func(name string) (ok bool) {
		h.Registry(func(r *Registry) { _, ok = r.Num(`SOFTWARE\t`, name) })
		return ok
	}
	h.mu.Lock()
	before := len(h.timers)
	if code := h.registerTask(`\silent`, text("PT0S", "", "silent"), false); code != 0 {
		t.Fatalf("%#x", code)
	}
	if code := h.registerTask(`\allowed`, text("PT1S", "<Settings><DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries></Settings>", "allowed"), false); code != 0 {
		t.Fatalf("%#x", code)
	}
	timers := len(h.timers) - before
	h.mu.Unlock()
	if timers == 0 {
		return "none will start"
	}
	await(t, func() bool { return ran("allowed") }) // it comes a second later
	return fmt.Sprintf("silent %v, allowed %v", ran("silent"), ran("allowed"))
}

var everyFault = map[Fault]felt{
	Off:  {knocks, "200 OK", "refused"},
	Hang: {knocks, "200 OK", "silence"},
	Slow: {func(t *testing.T, h *Host) string {
		began := time.Now()
		knocks(t, h)
		// How long it takes without the fault depends on who else is at work here; so much is for the fault alone to say.
		h.mu.Lock()
		defer h.mu.Unlock()
		return fmt.Sprintf("slow %v", h.has(Slow) && time.Since(began) >= 300*time.Millisecond)
	}, "slow false", "slow true"},
	AccessDenied: {func(t *testing.T, h *Host) string {
		_, code := client{t: t, h: h}.call("transfer/Get", nsConfig+"/service", nil, "")
		return fmt.Sprint(code)
	}, "0", "5"},
	Quota: {func(t *testing.T, h *Host) string {
		c := client{t: t, h: h}
		const shell = `<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>`
		_, first := c.call("transfer/Create", nsShell+"/cmd", nil, shell)
		_, second := c.call("transfer/Create", nsShell+"/cmd", nil, shell)
		return fmt.Sprintf("%#x %#x", first, second)
	}, "0x0 0x0", "0x803381a5 0x0"},
	WrongHost: {func(t *testing.T, h *Host) string {
		return strings.TrimSpace(client{t: t, h: h}.cmd("hostname").stdout)
	}, "web01", "someoneelse"},
	ClockSkew: {func(t *testing.T, h *Host) string {
		at, err := time.Parse(time.RFC3339, osValue(t, h, "LocalDateTime"))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("ahead %v", time.Until(at) > 5*time.Minute)
	}, "ahead false", "ahead true"},
	GPOListener: {func(t *testing.T, h *Host) string {
		_, code := client{t: t, h: h}.call("transfer/Put", nsConfig+"/listener", onHTTP, listenerBody("Port", fmt.Sprint(h.cfg.HTTPPort)))
		return fmt.Sprintf("%#x", code)
	}, "0x0", "0x8033808a"},
	HTTPClient: {func(t *testing.T, h *Host) string {
		return fmt.Sprint(len(client{t: t, h: h}.list(nsWMI+"root/StandardCimv2/*", "select * from MSFT_NetTCPConnection")))
	}, "0", "1"},
	WrongCertificate: {func(t *testing.T, h *Host) string {
		der := listenHTTPS(t, h)
		conn, err := tls.Dial("tcp", h.Address(5986), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return fmt.Sprintf("its own %v", string(conn.ConnectionState().PeerCertificates[0].Raw) == string(der))
	}, "its own true", "its own false"},
	CutHTTPS:         {deletesHTTP(gone), "reset false, reboot false, HTTP false, HTTPS true", "reset true, reboot false, HTTP false, HTTPS false"},
	ResetAfterDelete: {deletesHTTP(gone), "reset false, reboot false, HTTP false, HTTPS true", "reset true, reboot false, HTTP false, HTTPS true"},
	RebootOnDelete: {deletesHTTP(func(h *Host) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.doors["HTTP"] == nil && h.doors["HTTPS"] != nil && (!h.has(RebootOnDelete) || time.Since(h.booted) < time.Hour)
	}), "reset false, reboot false, HTTP false, HTTPS true", "reset true, reboot true, HTTP false, HTTPS true"},
	PortOpenLie: {func(t *testing.T, h *Host) string {
		listenHTTPS(t, h)
		c := client{t: t, h: h}
		c.must("transfer/Delete", nsConfig+"/listener", onHTTP, "")
		await(t, func() bool { return gone(h) })
		conn, err := net.Dial("tcp", h.Address(5985))
		if err == nil {
			conn.Close()
		}
		return fmt.Sprintf("%d listener, answers %v", len(c.list(nsConfig+"/listener", "")), err == nil)
	}, "1 listener, answers false", "1 listener, answers true"},
	PortShared: {func(t *testing.T, h *Host) string {
		listenHTTPS(t, h)
		c := client{t: t, h: h}
		c.must("transfer/Delete", nsConfig+"/listener", onHTTP, "")
		await(t, func() bool { return gone(h) })
		resp, err := http.Post("http://"+h.Address(5985)+"/wsman", "", nil)
		if err != nil {
			return fmt.Sprintf("%d listener, nobody answers", len(c.list(nsConfig+"/listener", "")))
		}
		resp.Body.Close()
		return fmt.Sprintf("%d listener, answers %d", len(c.list(nsConfig+"/listener", "")), resp.StatusCode)
	}, "1 listener, nobody answers", "1 listener, answers 404"},
	PolicyRefresh: {func(t *testing.T, h *Host) string {
		client{t: t, h: h}.must("transfer/Delete", nsConfig+"/listener", onHTTP, "")
		refreshed := func() (on bool) {
			h.Registry(func(r *Registry) { _, on = r.Num(policyKey, "AllowAutoConfig") })
			return on
		}
		await(t, func() bool { return gone(h) || refreshed() })
		h.mu.Lock()
		waiting := len(h.timers) > 0
		h.mu.Unlock()
		if waiting {
			await(t, refreshed)
		}
		return fmt.Sprintf("back %v", h.HTTPOpen())
	}, "back false", "back true"},
	TaskDead:      {runsTasks, "silent true, allowed true", "none will start"},
	OnBattery:     {runsTasks, "silent true, allowed true", "silent false, allowed true"},
	EnrollDenied:  {codeFor("certreq -enroll -machine -q WinRMHTTPS"), "0x0", "0x80094012"},
	EnrollPending: {codeFor("certreq -enroll -machine -q WinRMHTTPS"), "0x0", "0x5"},
	EnrollFailed:  {codeFor("certreq -enroll -machine -q WinRMHTTPS"), "0x0", "0x800706ba"},
	DiskFull:      {codeFor(`reg add HKLM\SOFTWARE\x /v y /t REG_SZ /d z /f`), "0x0", "0x1"},
	FirewallStopped: {func(t *testing.T, h *Host) string {
		return codeFor(`netsh advfirewall firewall add rule name="x" dir=in action=allow protocol=TCP localport=5986`)(t, h) + " " +
			client{t: t, h: h}.list(nsWMI+"root/cimv2/*", "select State from Win32_Service where Name='mpssvc'")[0].text("State")
	}, "0x0 Running", "0x1 Stopped"},
	Localised:   {regSays, "ERROR: " + regNotFound, "FEHLER: Der angegebene Registrierungsschl\u00fcssel bzw. Wert wurde nicht gefunden."},
	Japanese:    {regSays, "ERROR: " + regNotFound, "\u30a8\u30e9\u30fc: \u6307\u5b9a\u3055\u308c\u305f\u30ec\u30b8\u30b9\u30c8\u30ea \u30ad\u30fc\u307e\u305f\u306f\u5024\u304c\u898b\u3064\u304b\u308a\u307e\u305b\u3093\u3067\u3057\u305f"},
	RuleIgnored: {codeFor(`netsh advfirewall firewall add rule name="x" dir=in action=allow protocol=TCP localport=5986 && reg query "HKLM\` + firewallKey + `\FirewallRules" | findstr /l /c:"Name=x|"`), "0x0", "0x1"},
}

func regSays(t *testing.T, h *Host) string {
	return strings.TrimSpace(client{t: t, h: h}.cmd(`reg query HKLM\SOFTWARE\nothing`).stderr)
}

// A listener that comes back gets its port, whoever answers there: http.sys shares it.
func TestAListenerComesBackToItsPort(t *testing.T) {
	t.Parallel()
	for _, f := range []Fault{PortOpenLie, PortShared} {
		h := newHost(t)
		listenHTTPS(t, h)
		h.Set(f)
		c := client{t: t, h: h}
		c.must("transfer/Delete", nsConfig+"/listener", onHTTP, "")
		await(t, func() bool { return gone(h) })
		c.must("transfer/Create", nsConfig+"/listener", onHTTP, listenerBody())
		if !h.HTTPOpen() || len(c.list(nsConfig+"/listener", "")) != 2 {
			t.Errorf("%s: the listener is back: %v, and %d are listed", f, h.HTTPOpen(), len(c.list(nsConfig+"/listener", "")))
		}
	}
}

func TestEveryFaultIsFelt(t *testing.T) {
	t.Parallel()
	for _, f := range Faults {
		x, ok := everyFault[f.Name]
		if !ok {
			t.Errorf("%s: nobody looks whether it does anything", f.Name)
			continue
		}
		t.Run(string(f.Name), func(t *testing.T) {
			t.Parallel()
			enroll := func(c *Config) {
				c.Enroll = func(_ context.Context, r EnrollRequest) ([]byte, error) {
					der, _ := newCertificate(t, r.FQDN)
					return der, nil
				}
			}
			if got := x.look(t, newHost(t, enroll)); got != x.healthy {
				t.Errorf("without: %q, want %q", got, x.healthy)
			}
			h := newHost(t, enroll)
			h.Set(f.Name)
			if got := x.look(t, h); got != x.sick {
				t.Errorf("with %s: %q, want %q", f.Doc, got, x.sick)
			}
		})
	}
}
