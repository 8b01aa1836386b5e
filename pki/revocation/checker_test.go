package revocation_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wavelock/pki/adcstest"
	"wavelock/pki/revocation"
)

const fqdn = "web01.corp.example"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// bench is a CA with its web server, a chain of it, and the clock of all.
type bench struct {
	ca    *adcstest.CA
	web   *httptest.Server
	now   time.Time
	leaf  []byte
	chain []*x509.Certificate
}

func setup(t *testing.T, responder bool) *bench {
	t.Helper()
	b := &bench{now: noon}
	var handler http.Handler
	b.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	b.web.Config.ErrorLog = nil
	t.Cleanup(func() { b.web.CloseClientConnections(); b.web.Close() })
	ca, err := adcstest.New(adcstest.Config{Clock: func() time.Time { return b.now }, Web: b.web.URL, Responder: responder,
		Keys: adcstest.NewKeyPool(adcstest.P256, 0), Templates: []adcstest.Template{{Name: "WinRMHTTPS"}}})
	if err != nil {
		t.Fatal(err)
	}
	b.ca, handler = ca, ca.Handler()
	b.leaf = b.issue(t)
	for _, der := range append([][]byte{b.leaf}, ca.ChainOf(b.leaf)...) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		b.chain = append(b.chain, c)
	}
	return b
}

func (b *bench) issue(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: fqdn}}, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := b.ca.Issue(t.Context(), adcstest.Request{Account: "WEB01$", FQDN: fqdn, Template: "WinRMHTTPS", CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (b *bench) checker(change ...func(*revocation.Config)) *revocation.Checker {
	cfg := revocation.Config{Now: func() time.Time { return b.now }, Timeout: 5 * time.Second, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	for _, c := range change {
		c(&cfg)
	}
	return revocation.New(cfg)
}

func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *revocation.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T %v", err, err)
	}
	if e.Hint() == "" || e.Subject == "" || e.Reason() != e.Code || e.Revoked() != (e.Code == revocation.CodeRevoked) {
		t.Errorf("%+v has hint %q", e, e.Hint())
	}
	return e.Code
}

func TestAGoodChain(t *testing.T) {
	for _, responder := range []bool{false, true} {
		b := setup(t, responder)
		if err := b.checker().Check(t.Context(), b.chain); err != nil {
			t.Errorf("responder %v: %v", responder, err)
		}
	}
}

// Every broken server has a reason of its own. Where there is a responder it is asked alone: the lists are good.
func TestBrokenServersAreToldApart(t *testing.T) {
	seen := map[string]adcstest.Fault{}
	for fault, want := range map[adcstest.Fault]string{
		adcstest.WebDown:       revocation.CodeUnreachable,
		adcstest.WebMute:       revocation.CodeTimeout,
		adcstest.CRLMissing:    revocation.CodeHTTPStatus,
		adcstest.CRLHuge:       revocation.CodeTooLarge,
		adcstest.CRLGarbage:    revocation.CodeCRLMalformed,
		adcstest.CRLOther:      revocation.CodeCRLIssuer,
		adcstest.CRLForged:     revocation.CodeCRLSignature,
		adcstest.CRLStale:      revocation.CodeCRLStale,
		adcstest.CRLFuture:     revocation.CodeCRLFuture,
		adcstest.CRLPartial:    revocation.CodeCRLScope,
		adcstest.DeltaMismatch: revocation.CodeDeltaBase,
		adcstest.OCSPGarbage:   revocation.CodeOCSPMalformed,
		adcstest.OCSPTryLater:  revocation.CodeOCSPRefused,
		adcstest.OCSPForged:    revocation.CodeOCSPSignature,
		adcstest.OCSPOther:     revocation.CodeOCSPOther,
		adcstest.OCSPStale:     revocation.CodeOCSPStale,
		adcstest.OCSPFuture:    revocation.CodeOCSPFuture,
		adcstest.OCSPReplay:    revocation.CodeOCSPNonce,
		adcstest.OCSPUnknown:   revocation.CodeOCSPUnknown,
	} {
		t.Run(string(fault), func(t *testing.T) {
			responder := strings.HasPrefix(string(fault), "ocsp-")
			b := setup(t, responder)
			b.ca.Set(fault, true)
			chain := b.chain
			if responder { // without the lists to fall back on
				leaf := *b.chain[0]
				leaf.CRLDistributionPoints = nil
				chain = []*x509.Certificate{&leaf, b.chain[1], b.chain[2]}
			}
			c := b.checker(func(cfg *revocation.Config) {
				if fault == adcstest.WebMute {
					cfg.Timeout = 200 * time.Millisecond
				}
			})
			got := code(t, c.Check(t.Context(), chain))
			if got != want {
				t.Fatalf("%s, want %s: %v", got, want, c.Check(t.Context(), chain))
			}
			if other, twice := seen[got]; twice {
				t.Errorf("%s is also the reason of %s", got, other)
			}
			seen[got] = fault
			if responder { // with them, the doubt is gone
				if err := b.checker().Check(t.Context(), b.chain); err != nil {
					t.Errorf("the list was not asked: %v", err)
				}
			}
		})
	}
	if len(seen) < 12 {
		t.Errorf("%d reasons", len(seen))
	}
}

func TestRevokedIsSaid(t *testing.T) {
	for _, responder := range []bool{false, true} {
		b := setup(t, responder)
		if err := b.ca.Revoke(b.leaf, 1); err != nil {
			t.Fatal(err)
		}
		// The base list does not have it yet, the delta list and the responder do.
		if got := code(t, b.checker().Check(t.Context(), b.chain)); got != revocation.CodeRevoked {
			t.Errorf("responder %v, before the base list is published: %q", responder, got)
		}
		b.ca.Publish()
		if got := code(t, b.checker().Check(t.Context(), b.chain)); got != revocation.CodeRevoked {
			t.Errorf("responder %v, after: %q", responder, got)
		}
		if err := b.ca.Revoke(b.leaf, 8); err != nil { // a hold is taken back
			t.Fatal(err)
		}
		if err := b.checker().Check(t.Context(), b.chain); err != nil {
			t.Errorf("responder %v, taken back: %v", responder, err)
		}
	}
}

// A doubt about the leaf must not hide that the CA above it was revoked, and the other way round.
func TestRevokedComesBeforeDoubt(t *testing.T) {
	b := setup(t, true)
	if err := b.ca.Revoke(b.leaf, 1); err != nil {
		t.Fatal(err)
	}
	b.ca.Set(adcstest.OCSPStale, true)
	if got := code(t, b.checker().Check(t.Context(), b.chain)); got != revocation.CodeRevoked {
		t.Error(got)
	}
	b.ca.Set(adcstest.OCSPStale, false)
	b.ca.Set(adcstest.CRLMissing, true) // the issuing CA's own list is not there, the leaf is revoked by OCSP
	if got := code(t, b.checker().Check(t.Context(), b.chain)); got != revocation.CodeRevoked {
		t.Error(got)
	}
}

func TestAnswersAreKeptAsLongAsTheyMayBe(t *testing.T) {
	b := setup(t, false)
	c := b.checker()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := c.Check(t.Context(), b.chain); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c.Asked() != 3 { // base, delta, and the root's
		t.Errorf("%d requests for 50 proofs", c.Asked())
	}
	b.now = b.now.Add(59 * time.Minute)
	if err := c.Check(t.Context(), b.chain); err != nil || c.Asked() != 3 {
		t.Errorf("%d requests, %v", c.Asked(), err)
	}
	b.now = b.now.Add(time.Minute)
	if err := c.Check(t.Context(), b.chain); err != nil || c.Asked() != 6 {
		t.Errorf("an hour later %d requests, %v", c.Asked(), err)
	}
	b.ca.Set(adcstest.WebDown, true)
	b.now = b.now.Add(time.Hour)
	for range 5 { // one that failed is left alone for a moment
		if got := code(t, c.Check(t.Context(), b.chain)); got != revocation.CodeUnreachable {
			t.Error(got)
		}
	}
	if c.Asked() != 8 {
		t.Errorf("%d requests to a server that is down", c.Asked())
	}
	b.ca.Set(adcstest.WebDown, false)
	b.now = b.now.Add(31 * time.Second)
	if err := c.Check(t.Context(), b.chain); err != nil {
		t.Error(err)
	}
}

func TestListsOfTheDirectory(t *testing.T) {
	b := setup(t, false)
	leaf := *b.chain[0]
	leaf.CRLDistributionPoints = leaf.CRLDistributionPoints[:1]
	if !strings.HasPrefix(leaf.CRLDistributionPoints[0], "ldap:///CN=") {
		t.Fatal(leaf.CRLDistributionPoints)
	}
	chain := []*x509.Certificate{&leaf, b.chain[1], b.chain[2]}
	if got := code(t, b.checker().Check(t.Context(), chain)); got != revocation.CodeNoSource {
		t.Errorf("without a directory: %q", got)
	}
	list, err := b.ca.List(false)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		values [][]byte
		err    error
		want   string
	}{
		"the list":           {[][]byte{list}, nil, ""},
		"none yet":           {[][]byte{{0}}, nil, revocation.CodeHTTPStatus},
		"no value":           {nil, nil, revocation.CodeHTTPStatus},
		"a broken one":       {[][]byte{list[:50]}, nil, revocation.CodeCRLMalformed},
		"no directory":       {nil, errors.New("it is off"), revocation.CodeUnreachable},
		"not asked for":      {nil, errors.ErrUnsupported, revocation.CodeNoSource},
		"a directory sleeps": {nil, context.DeadlineExceeded, revocation.CodeTimeout},
	} {
		asked := ""
		err := b.checker(func(cfg *revocation.Config) {
			cfg.LDAP = func(_ context.Context, url string) ([][]byte, error) {
				asked = url
				return c.values, c.err
			}
		}).Check(t.Context(), chain)
		if got := code(t, err); got != c.want || asked != leaf.CRLDistributionPoints[0] {
			t.Errorf("%s: %q, want %q; asked %s", name, got, c.want, asked)
		}
	}
}

func TestANonceMayBeRequired(t *testing.T) {
	b := setup(t, true)
	same := func(cfg *revocation.Config) { cfg.RequireNonce = true }
	if err := b.checker(same).Check(t.Context(), b.chain); err != nil {
		t.Error(err)
	}
	broken := func(cfg *revocation.Config) { cfg.Rand = bytes.NewReader(nil) }
	leaf := *b.chain[0]
	leaf.CRLDistributionPoints = nil
	if got := code(t, b.checker(broken).Check(t.Context(), []*x509.Certificate{&leaf, b.chain[1]})); got != revocation.CodeNoSource {
		t.Error(got)
	}
}

func TestACertificateWithoutSources(t *testing.T) {
	b := setup(t, false)
	leaf := *b.chain[0]
	for _, points := range [][]string{nil, {"ftp://ca01.corp.example/list.crl"}, {"file://ca01/list.crl"}} {
		leaf.CRLDistributionPoints = points
		if got := code(t, b.checker().Check(t.Context(), []*x509.Certificate{&leaf, b.chain[1]})); got != revocation.CodeNoSource {
			t.Errorf("%q: %q", points, got)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	leaf.CRLDistributionPoints = []string{"http://" + l.Addr().String() + "/list.crl"}
	if got := code(t, b.checker().Check(t.Context(), []*x509.Certificate{&leaf, b.chain[1]})); got != revocation.CodeUnreachable {
		t.Error(got)
	}
	if err := b.checker().Check(t.Context(), b.chain[2:]); err != nil {
		t.Errorf("a root alone: %v", err)
	}
}

// openssl reads the lists and asks the responder that this package is tested against.
func TestOpenSSLTakesTheFake(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip("openssl is not here")
	}
	b := setup(t, true)
	b.now = time.Now()
	b.leaf = b.issue(t)
	dir := t.TempDir()
	write := func(name string, typ string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	leaf, issuing, root := write("leaf.pem", "CERTIFICATE", b.leaf), write("issuing.pem", "CERTIFICATE", b.ca.Issuing()), write("root.pem", "CERTIFICATE", b.ca.Root())
	for _, want := range []string{"good", "revoked"} {
		out, err := exec.CommandContext(t.Context(), openssl, "ocsp", "-issuer", issuing, "-cert", leaf, "-url", b.web.URL+"/ocsp", "-CAfile", root, "-verify_other", issuing, "-no_proxy", "*").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Response verify OK") || !strings.Contains(string(out), "leaf.pem: "+want) || strings.Contains(string(out), "nonce") {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := b.ca.Revoke(b.leaf, 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, delta := range []bool{false, true} {
		list, err := b.ca.List(delta)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), openssl, "crl", "-in", write("list.pem", "X509 CRL", list), "-CAfile", issuing, "-noout", "-text").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "verify OK") || strings.Contains(string(out), "Delta CRL Indicator") != delta || strings.Contains(string(out), "Freshest CRL") == delta {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}
