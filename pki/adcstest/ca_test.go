package adcstest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wavelock/pki"
	"wavelock/pki/adcstest"
)

const (
	fqdn    = "web01.corp.example"
	sid     = "S-1-5-21-1004336348-1177238915-682003330-1105"
	machine = "1.3.6.1.4.1.311.21.8.15138236.9336878.10046135"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	keys = adcstest.NewKeyPool(adcstest.P256, 4)
)

func config() adcstest.Config {
	return adcstest.Config{Clock: func() time.Time { return noon }, Keys: adcstest.NewKeyPool(adcstest.P256, 0), Templates: []adcstest.Template{
		{Name: "WinRMHTTPS", OID: machine},
		{Name: "Machine", ClientAuth: true},
		{Name: "Relay", OID: machine + ".1", SuppliesSubject: true, Enroll: []string{`CORP\svc-wavelock`}},
		{Name: "Pended", OID: machine + ".2", Pend: true},
	}}
}

func start(t *testing.T, change ...func(*adcstest.Config)) *adcstest.CA {
	t.Helper()
	cfg := config()
	for _, c := range change {
		c(&cfg)
	}
	ca, err := adcstest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// csr asks for the name that the host would like, which is not what it gets.
func csr(t testing.TB, key any, names ...string) []byte {
	t.Helper()
	template := &x509.CertificateRequest{DNSNames: names}
	if len(names) > 0 {
		template.Subject = pkix.Name{CommonName: names[0]}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func request(t testing.TB) adcstest.Request {
	t.Helper()
	key, err := keys.Key()
	if err != nil {
		t.Fatal(err)
	}
	return adcstest.Request{Account: `CORP\WEB01$`, FQDN: fqdn, SID: sid, Template: "WinRMHTTPS", CSR: csr(t, key, "dc01.corp.example")}
}

func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheAccountIsNamedAndNotTheRequest(t *testing.T) {
	ca := start(t)
	der, err := ca.Issue(t.Context(), request(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := pki.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if got.CommonName != fqdn || !slices.Equal(got.DNSNames, []string{fqdn}) || got.RequesterSID != sid || got.Template != machine ||
		got.Issuer != "CN=CORP-CA01-CA,DC=corp,DC=example" || !got.ServerAuth || got.ClientAuth || len(got.Serial) != 38 {
		t.Fatalf("%+v", got)
	}
	c := parse(t, der)
	if len(c.CRLDistributionPoints) != 2 || len(c.IssuingCertificateURL) != 2 ||
		c.CRLDistributionPoints[1] != "http://ca01.corp.example/CertEnroll/CORP-CA01-CA.crl" {
		t.Fatalf("%q %q", c.CRLDistributionPoints, c.IssuingCertificateURL)
	}
	got.HasKey = true
	if choice := pki.Choose([]pki.Certificate{got}, pki.Requirement{Name: fqdn, Issuers: []string{got.Issuer}}, noon); choice.Certificate == nil {
		t.Fatal(choice.Why())
	}
	chain := ca.ChainOf(der)
	if _, err := pki.VerifyPresented([]*x509.Certificate{c, parse(t, chain[0])}, ca.Roots(), fqdn, noon); err != nil || len(chain) != 2 {
		t.Fatal(len(chain), err)
	}
}

func TestATemplateOfVersionOneIsNamed(t *testing.T) {
	r := request(t)
	r.Template = "machine" // names of templates have no case
	der, err := start(t).Issue(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := pki.ParseCertificate(der); got.Template != "Machine" || !got.ClientAuth || !got.ServerAuth {
		t.Fatalf("%+v", got)
	}
}

func TestTheRelayTemplateTakesTheNamesOfTheRequest(t *testing.T) {
	r := request(t)
	key, _ := keys.Key()
	r.Template, r.Account, r.CSR = "Relay", `corp\SVC-wavelock`, csr(t, key, "web07.corp.example")
	der, err := start(t).Issue(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := pki.ParseCertificate(der); got.CommonName != "web07.corp.example" || got.RequesterSID != "" {
		t.Fatalf("%+v", got)
	}
}

func TestWhatTheCADenies(t *testing.T) {
	ca := start(t)
	key, _ := keys.Key()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil   func(*adcstest.Request)
		hresult uint32
	}{
		"no template is named":              {func(r *adcstest.Request) { r.Template = "" }, adcstest.NoTemplate},
		"a template that is not published":  {func(r *adcstest.Request) { r.Template = "WebServer" }, adcstest.UnsupportedTemplate},
		"an account without the right":      {func(r *adcstest.Request) { r.Template = "Relay" }, adcstest.TemplateDenied},
		"an account without dNSHostName":    {func(r *adcstest.Request) { r.FQDN = "" }, adcstest.DNSNameRequired},
		"no request at all":                 {func(r *adcstest.Request) { r.CSR = nil }, adcstest.BadASN1},
		"a request with a broken signature": {func(r *adcstest.Request) { r.CSR[len(r.CSR)-1] ^= 1 }, adcstest.BadSignature},
		"a key of 1024 bits":                {func(r *adcstest.Request) { r.CSR = csr(t, small, fqdn) }, adcstest.KeyTooShort},
		"far too long a request":            {func(r *adcstest.Request) { r.CSR = make([]byte, 1<<20) }, adcstest.BadRequest},
		"a relayed request without names": {func(r *adcstest.Request) {
			r.Template, r.Account, r.CSR = "Relay", "svc-wavelock", csr(t, key)
		}, adcstest.BadSubject},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t)
			c.spoil(&r)
			der, err := ca.Issue(t.Context(), r)
			var denied *adcstest.Denied
			if !errors.As(err, &denied) || denied.HRESULT != c.hresult || der != nil {
				t.Fatalf("%v", err)
			}
		})
	}
}

func TestPendingIsApprovedRefusedOrForgotten(t *testing.T) {
	now := noon
	ca := start(t, func(c *adcstest.Config) { c.Clock = func() time.Time { return now } })
	submit := func() int {
		t.Helper()
		r := request(t)
		r.Template = "Pended"
		_, err := ca.Issue(t.Context(), r)
		var pending *adcstest.Pending
		if !errors.As(err, &pending) {
			t.Fatal(err)
		}
		return pending.RequestID
	}
	a, b := submit(), submit()
	if a == b {
		t.Fatal("two requests have one number")
	}
	now = now.AddDate(1, 0, 0)
	var pending *adcstest.Pending
	if _, err := ca.Retrieve(t.Context(), a); !errors.As(err, &pending) || pending.RequestID != a {
		t.Fatal(err)
	}
	if err := errors.Join(ca.Approve(a), ca.Refuse(b)); err != nil {
		t.Fatal(err)
	}
	der, err := ca.Retrieve(t.Context(), a)
	if err != nil || parse(t, der).DNSNames[0] != fqdn {
		t.Fatal(err)
	}
	var denied *adcstest.Denied
	if _, err := ca.Retrieve(t.Context(), b); !errors.As(err, &denied) || denied.HRESULT != adcstest.AdminDenied {
		t.Fatal(err)
	}
	if _, err := ca.Retrieve(t.Context(), 4711); !errors.As(err, &denied) || denied.HRESULT != adcstest.PropertyEmpty {
		t.Fatal(err)
	}
	if err := ca.Approve(4711); !errors.As(err, &denied) {
		t.Fatal(err)
	}
}

func TestAManagerApprovesAfterAWhile(t *testing.T) {
	now := noon
	ca := start(t, func(c *adcstest.Config) { c.Clock, c.ApproveAfter = func() time.Time { return now }, time.Hour })
	ca.Set(adcstest.Pend, true)
	_, err := ca.Issue(t.Context(), request(t))
	var pending *adcstest.Pending
	if !errors.As(err, &pending) {
		t.Fatal(err)
	}
	if _, err := ca.Retrieve(t.Context(), pending.RequestID); !errors.As(err, &pending) {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if _, err := ca.Retrieve(t.Context(), pending.RequestID); err != nil {
		t.Fatal(err)
	}
}

// Every switch does to a certificate what its sentence says, and pki names it.
func TestEachFaultIsFoundOut(t *testing.T) {
	verify := map[adcstest.Fault]string{adcstest.WrongName: pki.CodeWrongName, adcstest.OtherCA: pki.CodeUntrusted, adcstest.Expired: pki.CodeExpired,
		adcstest.NotYetValid: pki.CodeNotYetValid, adcstest.NoServerAuth: pki.CodeWrongUsage, adcstest.NoDNSName: pki.CodeWrongName}
	choose := map[adcstest.Fault]string{adcstest.ShortLived: "expires-soon", adcstest.NoCommonName: pki.CodeWrongName}
	var wantKey *ecdsa.PublicKey
	differs := map[adcstest.Fault]func(*x509.Certificate, pki.Certificate) bool{
		adcstest.WrongKey: func(c *x509.Certificate, _ pki.Certificate) bool {
			return !c.PublicKey.(*ecdsa.PublicKey).Equal(wantKey)
		},
		adcstest.WrongSID: func(_ *x509.Certificate, f pki.Certificate) bool {
			return f.RequesterSID != sid && f.RequesterSID != ""
		},
		adcstest.NoSID: func(_ *x509.Certificate, f pki.Certificate) bool { return f.RequesterSID == "" },
	}
	for _, f := range adcstest.Faults {
		t.Run(f.Doc, func(t *testing.T) {
			ca := start(t, func(c *adcstest.Config) { c.SlowBy = time.Nanosecond })
			ca.Set(f.Name, true, "other.corp.example", fqdn)
			key, _ := keys.Key()
			wantKey = key.Public().(*ecdsa.PublicKey)
			r := request(t)
			r.CSR = csr(t, key)
			der, err := ca.Issue(t.Context(), r)
			switch f.Name {
			case adcstest.Pend, adcstest.Deny:
				if err == nil {
					t.Fatal("it was issued")
				}
				return
			case adcstest.Garbage:
				if _, err := pki.ParseCertificate(der); err == nil || len(der) == 0 {
					t.Fatal("it can be read")
				}
				return
			}
			c := parse(t, der)
			facts := pki.Facts(c)
			facts.HasKey = true
			_, problem := pki.VerifyPresented([]*x509.Certificate{c, parse(t, ca.ChainOf(der)[0])}, ca.Roots(), fqdn, noon)
			choice := pki.Choose([]pki.Certificate{facts}, pki.Requirement{Name: fqdn, MinLeft: 24 * time.Hour}, noon)
			var p *pki.Problem
			if errors.As(problem, &p) != (verify[f.Name] != "") || p != nil && p.Code != verify[f.Name] {
				t.Fatalf("verify: %v", problem)
			}
			if want := choose[f.Name]; want != "" && (choice.Certificate != nil || choice.Rejected[0].Code != want) {
				t.Fatalf("choose: %+v", choice)
			}
			if d := differs[f.Name]; d != nil && !d(c, facts) {
				t.Fatalf("%+v", facts)
			}
			if again := request(t); f.Name == adcstest.WrongName {
				again.FQDN = "web02.corp.example"
				if der, err := ca.Issue(t.Context(), again); err != nil || parse(t, der).DNSNames[0] != again.FQDN {
					t.Fatal("the fault met a computer that was not named", err)
				}
			}
		})
	}
}

func TestFaultsAreFoundByName(t *testing.T) {
	for _, f := range adcstest.Faults {
		if got, err := adcstest.ParseFault(string(f.Name)); err != nil || got != f.Name || f.Doc == "" || f.Doc[0] == ' ' {
			t.Errorf("%q %v", got, err)
		}
	}
	if _, err := adcstest.ParseFault("kind"); err == nil || !strings.Contains(err.Error(), "kind") {
		t.Error(err)
	}
}

func TestASlowCAHonoursTheContext(t *testing.T) {
	ca := start(t)
	ca.Set(adcstest.Slow, true)
	r := request(t)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if _, err := ca.Issue(t.Context(), r); err != nil || time.Since(began) != 2*time.Second {
			t.Fatal(time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ca.Issue(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	})
	ca.Set(adcstest.Slow, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ca.Issue(ctx, r); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestManyAskAtOnce(t *testing.T) {
	ca := start(t)
	r := request(t)
	var wg sync.WaitGroup
	serials := make([]string, 32)
	for i := range serials {
		wg.Go(func() {
			ca.Set(adcstest.NoSID, i%2 == 0)
			der, err := ca.Issue(t.Context(), r)
			if err == nil {
				c, _ := pki.ParseCertificate(der)
				serials[i] = c.Serial
			}
		})
	}
	wg.Wait()
	slices.Sort(serials)
	if len(slices.Compact(serials)) != 32 || serials[0] == "" {
		t.Fatal("a serial number was given twice, or a request failed")
	}
}

func TestKeysComeFromAPool(t *testing.T) {
	pool := adcstest.NewKeyPool(adcstest.RSA2048, 2)
	seen := map[any]bool{}
	for range 6 {
		key, err := pool.Key()
		if err != nil {
			t.Fatal(err)
		}
		if key.Public().(*rsa.PublicKey).N.BitLen() != 2048 {
			t.Fatal("a short key")
		}
		seen[key] = true
	}
	if len(seen) != 2 {
		t.Fatalf("%d keys", len(seen))
	}
	cfg := config()
	cfg.Keys = pool
	ca, err := adcstest.New(cfg)
	if err != nil || parse(t, ca.Issuing()).PublicKeyAlgorithm != x509.RSA || parse(t, ca.Root()).PublicKeyAlgorithm != x509.RSA {
		t.Fatal(err)
	}
}

func TestABadTemplateIsRefusedAtTheStart(t *testing.T) {
	for _, oid := range []string{"winrm", "1.3.6.1.4.1.311.99999999999999999999"} {
		if _, err := adcstest.New(adcstest.Config{Templates: []adcstest.Template{{Name: "Bad", OID: oid}}}); err == nil || !strings.Contains(err.Error(), "Bad") {
			t.Errorf("%s: %v", oid, err)
		}
	}
}
