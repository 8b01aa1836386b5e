package adcs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"os"

	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
	"wavelock/pki"
	"wavelock/pki/adcs"
	"wavelock/pki/adcstest"
)

const (
	fqdn     = "web01.corp.example"
	caHost   = "ca01.corp.example"
	password = "S3cret!pw"
	oid      = "1.3.6.1.4.1.311.21.8.15138236.9336878.10046135"
)

// domain is a CA that listens, and the KDC that knows it.
type domain struct {
	ca      *adcstest.CA
	service *adcstest.Service
	kdc     *logontest.KDC
	key     *ecdsa.PrivateKey
	csr     []byte
}

func start(t *testing.T) domain {
	t.Helper()
	accounts := logontest.NewDirectory("CORP", "corp.example")
	accounts.Add("svc-wavelock", password)
	accounts.Add("alice", password)
	accounts.Add("WEB01$", password)
	kdc, err := logontest.StartKDC(accounts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kdc.Close() })
	ca, err := adcstest.New(adcstest.Config{SlowBy: 100 * time.Millisecond, Templates: []adcstest.Template{
		{Name: "Relay", OID: oid, SuppliesSubject: true, Enroll: []string{"svc-wavelock"}},
		{Name: "Machine", OID: oid + ".1"},
		{Name: "Pended", OID: oid + ".2", SuppliesSubject: true, Pend: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	host := &logontest.Host{Directory: accounts, NetBIOSName: "CA01", DNSName: caHost, Keytab: kdc.Register("host/" + caHost)}
	s, err := ca.Serve(adcstest.Endpoint{Host: host, Account: func(user string) (adcstest.Account, bool) {
		if user == `CORP\WEB01$` {
			return adcstest.Account{FQDN: fqdn, SID: "S-1-5-21-1-2-3-1105"}, true
		}
		return adcstest.Account{}, false
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return domain{ca: ca, service: s, kdc: kdc, key: key, csr: csr(t, key, fqdn)}
}

func csr(t testing.TB, key any, names ...string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// dial leads every name to this computer: what a resolver does elsewhere.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
}

func (d domain) kerberos(user string) adcs.Config {
	return adcs.Config{Dial: dial, Timeout: 20 * time.Second, Kerberos: &logon.KerberosConfig{User: user, Realm: "CORP.EXAMPLE", Password: password, KDCs: []string{d.kdc.Addr()}}}
}

func ntlm(user string) adcs.Config {
	return adcs.Config{Dial: dial, Timeout: 20 * time.Second, NTLM: &adcs.NTLM{Domain: "CORP", User: user, Password: password}}
}

// at is the CA by its fixed port, or by the endpoint mapper.
func (d domain) at(fixed bool) adcs.CA {
	ca := adcs.CA{Name: d.ca.Name(), Host: caHost}
	if fixed {
		ca.Port = int(d.service.Addr().Port())
	} else {
		ca.Mapper = int(d.service.MapperAddr().Port())
	}
	return ca
}

func client(t testing.TB, cfg adcs.Config) *adcs.Client {
	t.Helper()
	c, err := adcs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestACertificateIsIssued(t *testing.T) {
	d := start(t)
	for name, cfg := range map[string]adcs.Config{"Kerberos": d.kerberos("svc-wavelock"), "NTLM, asked for": ntlm("svc-wavelock")} {
		for _, fixed := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", fixed port ", fixed), func(t *testing.T) {
				a, err := client(t, cfg).Submit(t.Context(), d.at(fixed), adcs.Request{Template: "Relay", CSR: d.csr, DC: "dc1.corp.example"})
				if err != nil || a.Pending || a.Request == 0 || a.Message != "Issued" {
					t.Fatalf("%+v %v", a, err)
				}
				leaf, err := pki.ParseIssued(a.Certificate)
				if err != nil {
					t.Fatal(err)
				}
				certs, err := pki.ParseChain(a.Chain)
				if err != nil || len(certs) != 3 {
					t.Fatal(len(certs), err)
				}
				_, others, err := pki.LeafOf(certs, d.key.Public())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := pki.VerifyIssued(leaf, others, pki.Issued{Key: d.key.Public(), Name: fqdn, Roots: d.ca.Roots()}, time.Now()); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// The caller of the connection is named, whatever the request says.
func TestTheCAKnowsWhoAsks(t *testing.T) {
	d := start(t)
	stolen := csr(t, d.key, "dc1.corp.example")
	a, err := client(t, d.kerberos("WEB01$")).Submit(t.Context(), d.at(true), adcs.Request{Template: "Machine", CSR: stolen})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := pki.ParseCertificate(a.Certificate)
	if err != nil || leaf.CommonName != fqdn || leaf.RequesterSID != "S-1-5-21-1-2-3-1105" {
		t.Fatalf("%+v %v", leaf, err)
	}
}

func TestPendingIsRetrievedByItsNumber(t *testing.T) {
	d := start(t)
	c := client(t, d.kerberos("svc-wavelock"))
	a, err := c.Submit(t.Context(), d.at(true), adcs.Request{Template: "Pended", CSR: d.csr})
	if err != nil || !a.Pending {
		t.Fatalf("%+v %v", a, err)
	}
	if again, err := c.Retrieve(t.Context(), d.at(true), a.Request); err != nil || !again.Pending || again.Request != a.Request {
		t.Fatalf("%+v %v", again, err)
	}
	_, err = client(t, d.kerberos("alice")).Retrieve(t.Context(), d.at(true), a.Request)
	if e := asError(t, err); e.Kind != adcs.Denied || e.HRESULT != adcstest.AccessDenied {
		t.Fatal(err)
	}
	if err := d.ca.Approve(int(a.Request)); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Retrieve(t.Context(), d.at(true), a.Request); err != nil || len(got.Certificate) == 0 {
		t.Fatalf("%+v %v", got, err)
	}
	b, err := c.Submit(t.Context(), d.at(true), adcs.Request{Template: "Pended", CSR: d.csr})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.ca.Refuse(int(b.Request)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Retrieve(t.Context(), d.at(true), b.Request)
	if e := asError(t, err); e.HRESULT != adcstest.AdminDenied || !strings.Contains(e.Hint(), "manager") {
		t.Fatal(err)
	}
}

func asError(t testing.TB, err error) *adcs.Error {
	t.Helper()
	var e *adcs.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T %v", err, err)
	}
	return e
}

// Every no is told apart, and has a hint.
func TestEveryRefusalIsTyped(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(*domain)
		config  func(*adcs.Config)
		ca      func(*adcs.CA)
		request func(*adcs.Request)
		kind    adcs.Kind
		hresult uint32
	}{
		"another name of the CA":         {ca: func(ca *adcs.CA) { ca.Name = "CORP-CA02-CA" }, kind: adcs.Denied, hresult: adcstest.BadRequest},
		"a template that is not there":   {request: func(r *adcs.Request) { r.Template = "WebServer" }, kind: adcs.Denied, hresult: adcstest.UnsupportedTemplate},
		"an account without the right":   {config: func(c *adcs.Config) { c.Kerberos.User = "alice" }, kind: adcs.Denied, hresult: adcstest.TemplateDenied},
		"an account that is no computer": {request: func(r *adcs.Request) { r.Template = "Machine" }, kind: adcs.Denied, hresult: adcstest.DNSNameRequired},
		"a request that is none":         {request: func(r *adcs.Request) { r.CSR = []byte{0x30, 0x80, 1} }, kind: adcs.Denied, hresult: adcstest.BadASN1},
		"no request":                     {request: func(r *adcs.Request) { r.CSR = nil }, kind: adcs.Denied, hresult: adcstest.BadASN1},
		"a wrong password, Kerberos":     {config: func(c *adcs.Config) { c.Kerberos.Password = "wrong" }, kind: adcs.Logon},
		"a KDC that is down":             {config: func(c *adcs.Config) { c.Kerberos.KDCs = []string{"127.0.0.1:1"} }, kind: adcs.Unreachable},
		"a wrong password, NTLM": {config: func(c *adcs.Config) {
			c.Kerberos, c.NTLM = nil, &adcs.NTLM{Domain: "CORP", User: "svc-wavelock", Password: "wrong"}
		}, kind: adcs.Logon},
		"a CA that is too busy":              {spoil: func(d *domain) { d.ca.Set(adcstest.Busy, true) }, kind: adcs.Busy},
		"a CA that is silent":                {spoil: func(d *domain) { d.ca.Set(adcstest.Mute, true) }, config: func(c *adcs.Config) { c.Timeout = time.Second }, kind: adcs.Timeout},
		"a connection that breaks":           {spoil: func(d *domain) { d.ca.Set(adcstest.Drop, true) }, kind: adcs.Unreachable},
		"a CA that is down":                  {spoil: func(d *domain) { d.service.Close() }, kind: adcs.Unreachable},
		"a CA that is down, by its mapper":   {spoil: func(d *domain) { d.service.Close() }, ca: func(ca *adcs.CA) { ca.Mapper, ca.Port = ca.Port, 0 }, kind: adcs.Unreachable},
		"a template that would be two lines": {request: func(r *adcs.Request) { r.Template = "Relay\nSAN:dns=dc1.corp.example" }, kind: adcs.Protocol},
		"an answer changed on the way":       {spoil: func(d *domain) { d.ca.Set(adcstest.Tamper, true) }, kind: adcs.Protocol},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			cfg, ca, r := d.kerberos("svc-wavelock"), d.at(true), adcs.Request{Template: "Relay", CSR: d.csr}
			if c.spoil != nil {
				c.spoil(&d)
			}
			if c.config != nil {
				c.config(&cfg)
			}
			if c.ca != nil {
				c.ca(&ca)
			}
			if c.request != nil {
				c.request(&r)
			}
			a, err := client(t, cfg).Submit(t.Context(), ca, r)
			if err == nil {
				t.Fatalf("%+v", a)
			}
			e := asError(t, err)
			if e.Kind != c.kind || e.HRESULT != c.hresult || e.Hint() == "" || e.Temporary() != (c.kind == adcs.Busy || c.kind == adcs.Timeout || c.kind == adcs.Unreachable) {
				t.Fatalf("%s 0x%08x %q: %v", e.Kind, e.HRESULT, e.Hint(), err)
			}
			if strings.Contains(err.Error(), password) {
				t.Fatal("the password is in the error")
			}
		})
	}
}

// A request of 23 KB and its answer need several fragments.
func TestALongRequestIsFragmented(t *testing.T) {
	d := start(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{fqdn}
	for i := range 500 {
		names = append(names, fmt.Sprintf("host-%04d.some-long-subdomain.corp.example", i))
	}
	long := csr(t, key, names...)
	for name, cfg := range map[string]adcs.Config{"Kerberos": d.kerberos("svc-wavelock"), "NTLM": ntlm("svc-wavelock")} {
		a, err := client(t, cfg).Submit(t.Context(), d.at(true), adcs.Request{Template: "Relay", CSR: long})
		if err != nil {
			t.Fatal(name, err)
		}
		if c, err := pki.ParseIssued(a.Certificate); err != nil || len(c.DNSNames) != 501 {
			t.Fatal(name, err)
		}
	}
}

// What go-msrpc lets pass under NTLM, the judgement of the certificate does not: that is why it has to follow.
func TestNTLMAnswersAreNotVerifiedByTheLibrary(t *testing.T) {
	d := start(t)
	d.ca.Set(adcstest.Tamper, true)
	a, err := client(t, ntlm("svc-wavelock")).Submit(t.Context(), d.at(true), adcs.Request{Template: "Relay", CSR: d.csr})
	if err == nil {
		t.Fatalf("the disposition was changed and %+v came out", a)
	}
	if e := asError(t, err); e.Kind != adcs.Denied || e.HRESULT != 2 {
		t.Fatalf("the library has begun to verify NTLM signatures: %v", err)
	}
}

func TestACAIsAskedByFewAtOnce(t *testing.T) {
	d := start(t)
	var now, most atomic.Int32
	cfg := d.kerberos("svc-wavelock")
	cfg.Parallel = 2
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		c, err := dial(ctx, network, address)
		if err != nil {
			now.Add(-1)
			return nil, err
		}
		return &counted{Conn: c, left: func() { now.Add(-1) }}, nil
	}
	d.ca.Set(adcstest.Slow, true)
	c := client(t, cfg)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Submit(t.Context(), d.at(true), adcs.Request{Template: "Relay", CSR: d.csr}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() != 2 {
		t.Fatalf("%d connections at once", most.Load())
	}
}

type counted struct {
	net.Conn
	once sync.Once
	left func()
}

func (c *counted) Close() error {
	c.once.Do(c.left)
	return c.Conn.Close()
}

func TestAnEndedContextEndsTheWait(t *testing.T) {
	d := start(t)
	d.ca.Set(adcstest.Mute, true)
	cfg := d.kerberos("svc-wavelock")
	cfg.Parallel = 1
	c := client(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range 2 { // the second waits for the slot of the first
		go func() {
			_, err := c.Submit(ctx, d.at(true), adcs.Request{Template: "Relay", CSR: d.csr})
			done <- err
		}()
	}
	cancel()
	for range 2 {
		if e := asError(t, <-done); e.Kind != adcs.Timeout {
			t.Error(e)
		}
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	both := ntlm("x")
	both.Kerberos = &logon.KerberosConfig{}
	negative := ntlm("x")
	negative.Parallel = -1
	for _, cfg := range []adcs.Config{{}, both, negative} {
		if _, err := adcs.New(cfg); err == nil {
			t.Errorf("%+v", cfg)
		}
	}
	missing := adcs.Config{Dial: dial, Kerberos: &logon.KerberosConfig{User: "svc", Realm: "CORP.EXAMPLE", Keytab: filepath.Join(t.TempDir(), "none")}}
	_, err := client(t, missing).Submit(t.Context(), adcs.CA{Name: "CA", Host: caHost, Port: 1}, adcs.Request{Template: "Relay"})
	if e := asError(t, err); e.Kind != adcs.Logon || !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// A CA that takes calls without packet privacy is told from one that refuses them, and nothing is asked for on the way.
func TestACallThatIsNotSealed(t *testing.T) {
	d := start(t)
	for _, taken := range []bool{false, true, false} {
		d.ca.Set(adcstest.NoPrivacy, taken)
		got, err := client(t, d.kerberos("svc-wavelock")).TakesUnsealed(t.Context(), d.at(!taken))
		if err != nil || got != taken {
			t.Errorf("taken %v, want %v: %v", got, taken, err)
		}
	}
	wrong := d.kerberos("svc-wavelock")
	wrong.Kerberos.Password = "wrong"
	for name, cfg := range map[string]adcs.Config{"NTLM": ntlm("svc-wavelock"), "a wrong password": wrong} {
		var e *adcs.Error
		if taken, err := client(t, cfg).TakesUnsealed(t.Context(), d.at(true)); taken || !errors.As(err, &e) || e.Kind != adcs.Logon {
			t.Errorf("%s: %v, %v", name, taken, err)
		}
	}
	gone := d.at(true)
	d.service.Close()
	var e *adcs.Error
	if _, err := client(t, d.kerberos("svc-wavelock")).TakesUnsealed(t.Context(), gone); !errors.As(err, &e) || e.Kind != adcs.Unreachable {
		t.Errorf("a CA that is gone: %v", err)
	}
}

// An answer of eight megabytes is left off long before its end, and said to be none.
func TestAnAnswerThatIsFarTooLarge(t *testing.T) {
	d := start(t)
	d.ca.Set(adcstest.Bomb, true)
	for name, cfg := range map[string]adcs.Config{"Kerberos": d.kerberos("svc-wavelock"), "NTLM": ntlm("svc-wavelock")} {
		a, err := client(t, cfg).Submit(t.Context(), d.at(true), adcs.Request{Template: "Relay", CSR: d.csr})
		var e *adcs.Error
		if !errors.As(err, &e) || e.Kind != adcs.Protocol || !strings.Contains(err.Error(), "bytes of answer") || e.Hint() == "" || a.Certificate != nil {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}
