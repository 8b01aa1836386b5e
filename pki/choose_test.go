package pki

import (
	"crypto/x509"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	web  = Requirement{Name: "web01.corp.example", MinLeft: 14 * 24 * time.Hour, Issuers: []string{"CN=CORP-CA01-CA, DC=corp, DC=example"}}
)

// fit is a certificate to which nothing can be objected.
func fit(n byte) Certificate {
	return Certificate{Thumbprint: Thumbprint(strings.Repeat(string("0123456789ABCDEF"[n%16]), 40)), Subject: "CN=web01.corp.example",
		CommonName: "web01.corp.example", DNSNames: []string{"web01.corp.example"}, Issuer: "CN=CORP-CA01-CA,DC=corp,DC=example",
		NotBefore: noon.AddDate(0, -1, 0), NotAfter: noon.AddDate(1, 0, 0), ServerAuth: true, KeyBits: 2048, KeyAlgorithm: "RSA",
		Signature: x509.SHA256WithRSA.String(), Template: "1.3.6.1.4.1.311.21.8.1", HasKey: true}
}

func TestChooseRejectsEachDefectByItsName(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Certificate, *Requirement)
		code  string // empty: fit
	}{
		"nothing is wrong":                        {func(*Certificate, *Requirement) {}, ""},
		"the key is not there":                    {func(c *Certificate, _ *Requirement) { c.HasKey = false }, "no-private-key"},
		"a renewal replaced it":                   {func(c *Certificate, _ *Requirement) { c.Archived = true }, "archived"},
		"it signed itself":                        {func(c *Certificate, _ *Requirement) { c.SelfSigned = true }, CodeSelfSigned},
		"it is for clients only":                  {func(c *Certificate, _ *Requirement) { c.ServerAuth = false }, CodeWrongUsage},
		"it is valid from tomorrow":               {func(c *Certificate, _ *Requirement) { c.NotBefore = noon.Add(time.Hour) }, CodeNotYetValid},
		"it expires this very moment":             {func(c *Certificate, _ *Requirement) { c.NotAfter = noon }, CodeExpired},
		"the CA took it back":                     {func(c *Certificate, _ *Requirement) { c.Revoked = "it was revoked on Monday" }, CodeRevoked},
		"it expires next week":                    {func(c *Certificate, _ *Requirement) { c.NotAfter = noon.AddDate(0, 0, 7) }, "expires-soon"},
		"it expires on the last allowed moment":   {func(c *Certificate, r *Requirement) { c.NotAfter = noon.Add(r.MinLeft) }, ""},
		"the common name is another's":            {func(c *Certificate, _ *Requirement) { c.CommonName = "web02.corp.example" }, CodeWrongName},
		"the common name is the short name":       {func(c *Certificate, _ *Requirement) { c.CommonName = "web01" }, CodeWrongName},
		"the common name is a wildcard":           {func(c *Certificate, _ *Requirement) { c.CommonName = "*.corp.example" }, CodeWrongName},
		"there is no common name, as on DCs":      {func(c *Certificate, _ *Requirement) { c.CommonName = "" }, CodeWrongName},
		"the common name differs in case":         {func(c *Certificate, _ *Requirement) { c.CommonName = "WEB01.Corp.Example" }, ""},
		"the required name ends in a dot":         {func(_ *Certificate, r *Requirement) { r.Name += "." }, ""},
		"the alternative name lacks it":           {func(c *Certificate, _ *Requirement) { c.DNSNames = []string{"web"} }, CodeWrongName},
		"there is no alternative name":            {func(c *Certificate, _ *Requirement) { c.DNSNames = nil }, CodeWrongName},
		"RSA of 1024 bits":                        {func(c *Certificate, _ *Requirement) { c.KeyBits = 1024 }, "weak-key"},
		"RSA of 2048 bits where 3072 are asked":   {func(_ *Certificate, r *Requirement) { r.MinKeyBits = 3072 }, "weak-key"},
		"ECDSA P-256 where RSA would need 3072":   {func(c *Certificate, r *Requirement) { c.KeyAlgorithm, c.KeyBits, r.MinKeyBits = "ECDSA", 256, 3072 }, ""},
		"ECDSA P-224":                             {func(c *Certificate, _ *Requirement) { c.KeyAlgorithm, c.KeyBits = "ECDSA", 224 }, "weak-key"},
		"a key that is not known":                 {func(c *Certificate, _ *Requirement) { c.KeyAlgorithm, c.KeyBits = "DSA", 0 }, "weak-key"},
		"signed with SHA-1 and RSA":               {func(c *Certificate, _ *Requirement) { c.Signature = x509.SHA1WithRSA.String() }, CodeWeakChain},
		"signed with SHA-1 and ECDSA":             {func(c *Certificate, _ *Requirement) { c.Signature = x509.ECDSAWithSHA1.String() }, CodeWeakChain},
		"signed with MD5":                         {func(c *Certificate, _ *Requirement) { c.Signature = x509.MD5WithRSA.String() }, CodeWeakChain},
		"signed with something unknown":           {func(c *Certificate, _ *Requirement) { c.Signature = x509.UnknownSignatureAlgorithm.String() }, CodeWeakChain},
		"signed with RSA-PSS and SHA-256":         {func(c *Certificate, _ *Requirement) { c.Signature = x509.SHA256WithRSAPSS.String() }, ""},
		"it is a CA's own":                        {func(c *Certificate, _ *Requirement) { c.IsCA = true }, "is-a-ca"},
		"another CA issued it":                    {func(c *Certificate, _ *Requirement) { c.Issuer = "CN=Other CA,DC=corp,DC=example" }, "other-issuer"},
		"any CA may have issued it":               {func(c *Certificate, r *Requirement) { c.Issuer, r.Issuers = "CN=Other CA", nil }, ""},
		"the CA's name is written in other case":  {func(c *Certificate, _ *Requirement) { c.Issuer = "cn=corp-ca01-ca,dc=CORP,dc=example" }, ""},
		"another template":                        {func(_ *Certificate, r *Requirement) { r.Template = "WinRMHTTPS" }, "other-template"},
		"the template that is asked for":          {func(c *Certificate, r *Requirement) { r.Template = c.Template }, ""},
		"two defects give the first in the order": {func(c *Certificate, _ *Requirement) { c.HasKey, c.NotAfter = false, noon }, "no-private-key"},
	} {
		t.Run(name, func(t *testing.T) {
			cert, req := fit(1), web
			c.spoil(&cert, &req)
			got := Choose([]Certificate{cert}, req, noon)
			if c.code == "" {
				if got.Certificate == nil || got.Certificate.Thumbprint != cert.Thumbprint || len(got.Rejected) != 0 {
					t.Fatalf("not chosen: %s", got.Why())
				}
				return
			}
			if got.Certificate != nil || len(got.Rejected) != 1 || got.Rejected[0].Code != c.code || got.Rejected[0].Detail == "" {
				t.Fatalf("want %s, got %+v", c.code, got)
			}
		})
	}
}

func TestChooseTakesTheLongestThenTheLowestThumbprint(t *testing.T) {
	short, low, high := fit(1), fit(2), fit(3)
	short.NotAfter = noon.AddDate(0, 3, 0)
	for range 20 {
		certs := []Certificate{short, low, high}
		rand.Shuffle(len(certs), func(i, j int) { certs[i], certs[j] = certs[j], certs[i] })
		got := Choose(certs, web, noon)
		if got.Certificate == nil || got.Certificate.Thumbprint != low.Thumbprint || len(got.Rejected) != 2 {
			t.Fatalf("%+v", got)
		}
	}
}

func TestChooseKeepsWhatTheListenerHas(t *testing.T) {
	short, long := fit(1), fit(2)
	short.NotAfter = noon.AddDate(0, 3, 0)
	req := web
	req.Prefer = short.Thumbprint
	if got := Choose([]Certificate{long, short}, req, noon); got.Certificate.Thumbprint != short.Thumbprint {
		t.Fatalf("%+v", got)
	}
	short.NotAfter = noon.AddDate(0, 0, 1)
	if got := Choose([]Certificate{long, short}, req, noon); got.Certificate.Thumbprint != long.Thumbprint {
		t.Fatalf("the preferred one is unfit, and yet: %+v", got)
	}
}

func TestWhyNamesTheNearestMissesFirst(t *testing.T) {
	certs := []Certificate{fit(1), fit(2), fit(3), fit(4), fit(5)}
	for i := range certs {
		certs[i].HasKey = false
	}
	certs[4].HasKey, certs[4].KeyBits = true, 1024
	why := Choose(certs, web, noon).Why()
	if !strings.HasPrefix(why, "55555555 weak-key") || !strings.HasSuffix(why, "and 2 more") {
		t.Fatal(why)
	}
	if got := Choose(nil, web, noon).Why(); got != "there is none" {
		t.Fatal(got)
	}
}

// Whatever the store holds: every candidate is chosen or rejected, exactly once,
// and the order of the store does not matter.
func TestChooseAccountsForEveryCandidate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var certs []Certificate
		for i := range rapid.IntRange(0, 12).Draw(t, "n") {
			c := fit(byte(i))
			c.HasKey = rapid.Bool().Draw(t, "key")
			c.NotAfter = noon.AddDate(0, 0, rapid.IntRange(-10, 40).Draw(t, "days"))
			c.IsCA = rapid.Bool().Draw(t, "ca")
			certs = append(certs, c)
		}
		got := Choose(certs, web, noon)
		total := len(got.Rejected)
		if got.Certificate != nil {
			total++
			if _, objects := reject(*got.Certificate, web, noon); objects {
				t.Fatal("an unfit certificate was chosen")
			}
		}
		if total != len(certs) {
			t.Fatalf("%d candidates, %d accounted for", len(certs), total)
		}
		slices.Reverse(certs)
		again := Choose(certs, web, noon)
		if (again.Certificate == nil) != (got.Certificate == nil) || got.Certificate != nil && again.Certificate.Thumbprint != got.Certificate.Thumbprint {
			t.Fatal("the order of the store matters")
		}
	})
}

func TestThumbprintsAreReadAsPeopleWriteThem(t *testing.T) {
	const want = Thumbprint("00112233445566778899AABBCCDDEEFF00112233")
	for in, want := range map[string]Thumbprint{
		"00112233445566778899aabbccddeeff00112233":                          want,
		"\u200e00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff 00 11 22 33": want,
		"00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33":       want,
		"0011": "", "": "", "g0112233445566778899aabbccddeeff00112233": "", strings.Repeat("0", 64): "",
	} {
		if got := ParseThumbprint(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
