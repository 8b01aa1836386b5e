package machine

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
)

// printedKey is what certutil -v -store My prints of a key, as findstr lets it through.
func printedKey(sddl string) string { return "\r\n  " + sddl + "\r\n" }

func TestClientKeys(t *testing.T) {
	t.Parallel()
	const system, granted = "D:PAI(A;;GAGR;;;BA)(A;;GAGR;;;SY)", "D:PAI(A;;GAGR;;;SY)(A;;0x80120089;;;NS)"
	a := pki.Certificate{Thumbprint: "AA", Subject: "CN=a", Issuer: "CN=Issuing"}
	b := pki.Certificate{Thumbprint: "BB", Subject: "CN=b", Issuer: "CN=Other"}
	for name, tc := range map[string]struct {
		answers, cas []string
		want         []rollout.ClientKey
	}{
		"of the CA alone":            {[]string{printedKey(system), printedKey(granted)}, []string{"CN=Issuing"}, []rollout.ClientKey{{Thumbprint: "AA", Subject: "CN=a", ACL: system}}},
		"of a root that issued none": {[]string{printedKey(system), printedKey(granted)}, []string{"CN=Root"}, []rollout.ClientKey{{Thumbprint: "AA", Subject: "CN=a", ACL: system}, {Thumbprint: "BB", Subject: "CN=b", ACL: granted}}},
		"of a CA nobody knows":       {[]string{printedKey(granted), printedKey(granted)}, nil, []rollout.ClientKey{{Thumbprint: "AA", Subject: "CN=a", ACL: granted}, {Thumbprint: "BB", Subject: "CN=b", ACL: granted}}},
		"no list":                    {[]string{"\r\n", printedKey("D:(A;;")}, []string{"CN=Issuing", "CN=Other"}, []rollout.ClientKey{{Thumbprint: "AA", Subject: "CN=a", Why: "certutil -v printed no list of rights for it"}, {Thumbprint: "BB", Subject: "CN=b", Why: "certutil -v printed no list of rights for it"}}},
		"two lists":                  {[]string{printedKey(system) + printedKey(granted), printedKey("O:SY")}, []string{"CN=Issuing"}, []rollout.ClientKey{{Thumbprint: "AA", Subject: "CN=a", Why: "certutil -v printed more than one list of rights"}}},
		"the same twice":             {[]string{printedKey(system) + printedKey(system)}, []string{"CN=Issuing"}, []rollout.ClientKey{{Thumbprint: "AA", Subject: "CN=a", ACL: system}}},
		"one that was not asked":     {[]string{printedKey(system)}, []string{"CN=Other"}, []rollout.ClientKey{{Thumbprint: "BB", Subject: "CN=b", Why: "the computer has 2 certificates, and only 1 were looked at"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := clientKeys([]pki.Certificate{a, b}, tc.answers, tc.cas); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestCertificatesThatAClientMayShow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	fit := pki.Certificate{Thumbprint: "AA", HasKey: true, ClientAuth: true, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	with := func(change func(*pki.Certificate)) pki.Certificate {
		c := fit
		change(&c)
		return c
	}
	newer := with(func(c *pki.Certificate) { c.Thumbprint, c.NotBefore = "BB", now })
	got := shown([]pki.Certificate{fit, newer, with(func(c *pki.Certificate) { c.HasKey = false }), with(func(c *pki.Certificate) { c.ClientAuth = false }), with(func(c *pki.Certificate) { c.Archived = true }),
		with(func(c *pki.Certificate) { c.NotAfter = now }), with(func(c *pki.Certificate) { c.NotBefore = now.Add(1) }), with(func(c *pki.Certificate) { c.Thumbprint = "" })}, now)
	if !reflect.DeepEqual(got, []pki.Certificate{newer, fit}) {
		t.Errorf("%+v", got)
	}
}

// A host that needs no key is not asked for any: the door here is none.
func TestKeysAreAskedForWhereOneIsNeeded(t *testing.T) {
	t.Parallel()
	m := &Machine{cfg: Config{Now: time.Now}}
	byKerberos := rollout.Saw(rollout.Uses{Forwards: []rollout.Forwarding{{Server: "wec1", HTTPS: true}, {Server: "wec1", ByCertificate: true, IssuerCA: issuer}, {Unclear: "x"}}})
	byCertificate := rollout.Saw(rollout.Uses{Forwards: []rollout.Forwarding{{Server: "wec1", HTTPS: true, ByCertificate: true}}})
	for name, tc := range map[string]struct {
		o     rollout.Observation
		wrong bool
	}{
		"by Kerberos, or over HTTP": {rollout.Observation{Uses: byKerberos}, false},
		"no certificates":           {rollout.Observation{Uses: byCertificate, Certificates: rollout.Saw[[]pki.Certificate](nil)}, false},
		"uses not read":             {rollout.Observation{Uses: rollout.Unseen[rollout.Uses]("denied")}, true},
		"certificates not read":     {rollout.Observation{Uses: byCertificate, Certificates: rollout.Unseen[[]pki.Certificate]("denied")}, true},
	} {
		if keys, err := m.readClientKeys(context.Background(), nil, tc.o); len(keys) > 0 || (err != nil) != tc.wrong {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
	}
}

func TestTheLongestQuestionFits(t *testing.T) {
	t.Parallel()
	if n := len(keysLine(slices.Repeat([]pki.Thumbprint{issuer}, mostIssuers), slices.Repeat([]pki.Thumbprint{issuer}, mostKeys))); n > 8150 {
		t.Errorf("a line of %d characters", n)
	}
}

func TestIssuerNames(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Issuing", Organization: []string{"Corp"}}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	blob := property(propCertificate, der)
	answer := "\r\n" + hive + `SOFTWARE\Microsoft\SystemCertificates\CA\Certificates\AA` + "\r\n    Blob    REG_BINARY    " + strings.ToUpper(hex.EncodeToString(blob)) + "\r\n"
	if got := issuerNames([]string{"\r\n", answer, answer, strings.Replace(answer, "REG_BINARY    ", "REG_BINARY    FF", 1)}); !reflect.DeepEqual(got, []string{ca.Subject}) || ca.Subject == "" {
		t.Errorf("%q", got)
	}
}

// FuzzKeyAnswer: what is taken for a list of rights is one, and stands in a line of its own.
func FuzzKeyAnswer(f *testing.F) {
	f.Add("Subject:\r\n    O=Example D:\r\n  D:PAI(A;;GAGR;;;BA)\r\n\r\n    Allow Full Control\tBUILTIN\\Administrators\r\n")
	f.Add("D:\r\nO:SYD:(A;;GA;;;WD)")
	f.Fuzz(func(t *testing.T, answer string) {
		acl, why := sddlIn(answer)
		if (acl == "") != (why != "") {
			t.Fatalf("%q, %q", acl, why)
		}
		if acl == "" {
			return
		}
		if _, err := pki.ParseSDDL(acl); err != nil || !strings.Contains("\n"+strings.ReplaceAll(strings.ReplaceAll(answer, " ", ""), "\r", ""), strings.ReplaceAll(strings.ReplaceAll(acl, " ", ""), "\r", "")) {
			t.Fatalf("%q: %v", acl, err)
		}
	})
}
