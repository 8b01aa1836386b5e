package machine_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"sync"
	"testing"

	"wavelock/rollout"
	"wavelock/rollout/machine"
	"wavelock/rollout/machinetest"
)

// rsaKey is one for all computers of these tests: Windows' templates have RSA, and making a key takes its time.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// What is asked of Windows is there from Server 2012 R2 to 2025 and on Windows 10 and 11, whatever they differ in: the schema of the
// firewall's rules, the built-in ones, the values of a listener, TLS 1.3 and the suites of 1.2, which PowerShell there is.
func TestEveryWindows(t *testing.T) {
	t.Parallel()
	type want struct {
		build, product    int
		tls, shell, older string
		cipher            string // part of its name
	}
	wants := map[string]want{
		"Windows Server 2012 R2": {9600, 3, "TLS 1.2", "4.0", "2.0", "ECDHE_RSA_WITH_AES_128_CBC_SHA"},
		"Windows Server 2016":    {14393, 3, "TLS 1.2", "5.1.14393.0", "2.0", "ECDHE_RSA_WITH_AES_128_GCM"},
		"Windows Server 2019":    {17763, 3, "TLS 1.2", "5.1.17763.1", "2.0", "ECDHE_RSA_WITH_AES_128_GCM"},
		"Windows Server 2022":    {20348, 3, "TLS 1.3", "5.1.20348.1", "2.0", "TLS_AES_128_GCM"},
		"Windows Server 2025":    {26100, 3, "TLS 1.3", "5.1.26100.1", "", "TLS_AES_128_GCM"},
		"Windows 10":             {19045, 1, "TLS 1.2", "5.1.19041.1", "2.0", "ECDHE_RSA_WITH_AES_128_GCM"},
		"Windows 11":             {22631, 1, "TLS 1.3", "5.1.22621.1", "2.0", "TLS_AES_128_GCM"},
		"no PowerShell":          {26100, 3, "TLS 1.3", "", "", "TLS_AES_128_GCM"},
	}
	releases := machinetest.Releases
	for _, r := range releases {
		if r.Name == "Windows Server 2025" {
			r.Name, r.Shell = "no PowerShell", ""
			releases = append(releases[:len(releases):len(releases)], r)
		}
	}
	for _, r := range releases {
		w, ok := wants[r.Name]
		if !ok {
			t.Errorf("%s: nobody says what is wanted of it", r.Name)
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			b := setupWith(t, newCA(t), machine.Config{}, func(c *machinetest.Config) {
				c.Release = r
				c.NewKey = func() (crypto.Signer, error) { return rsaKey() }
			})
			m := b.open()
			defer m.Close()
			res, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepInspect})
			if err != nil {
				t.Fatal(err)
			}
			o := res.Seen
			if s := o.System.Value; s.Build != w.build || s.Product != w.product || !strings.Contains(s.Caption, strings.TrimSuffix(r.Name, " R2")) && w.shell != "" {
				t.Errorf("system: %+v %s", s, o.System.Why)
			}
			if p := o.Posture.Value; !o.Posture.Known || p.PowerShell != w.shell || p.OldPowerShell != w.older {
				t.Errorf("PowerShell %q and %q: %s", p.PowerShell, p.OldPowerShell, o.Posture.Why)
			}
			if f := o.Firewall.Value; f.Total != 400 || len(f.Rules) != 2 || f.Rules[0].Policy || len(f.Rules[0].Only) != 0 {
				t.Errorf("firewall: %+v %s", f, o.Firewall.Why)
			}
			if ls := o.Listeners.Value; len(ls) != 1 || ls[0].Transport != rollout.HTTP || !ls[0].Enabled || ls[0].Port != 5985 {
				t.Errorf("listeners: %+v", ls)
			}
			b.want(rollout.ActSecure, rollout.Passed)
			p, err := m.Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if p.TLS != w.tls || !strings.Contains(p.Cipher, w.cipher) {
				t.Errorf("%s with %s, want %s with %s", p.TLS, p.Cipher, w.tls, w.cipher)
			}
			b.want(rollout.ActClose, rollout.Passed)
			b.doors(false, true)
			b.win.Registry(func(reg *machinetest.Registry) {
				for _, v := range reg.Values(`SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules`) {
					if strings.Contains(v.Text, "Name=wavelock-") && !strings.HasPrefix(v.Text, r.Schema+"|") {
						t.Errorf("a rule in another schema than %s: %s", r.Schema, v.Text)
					}
				}
			})
			b.want(rollout.ActRestore, rollout.Restored)
			b.doors(true, false)
		})
	}
}
