package machine_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"wavelock/pki"
	"wavelock/pki/adcstest"
	"wavelock/pki/revocation"
	"wavelock/rollout"
	"wavelock/rollout/machine"
	"wavelock/rollout/machinetest"
)

// served is a secured computer whose CA has a web server, proved with the policy of revocation.
func served(t *testing.T, hard bool) *bench {
	t.Helper()
	var handler http.Handler
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(web.Close)
	ca, err := adcstest.New(adcstest.Config{Templates: []adcstest.Template{{Name: "WinRMHTTPS", OID: "1.3.6.1.4.1.311.21.8.1.2.3"}}, Web: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	handler = ca.Handler()
	b := setupWith(t, ca, machine.Config{Revocation: forgetful{web.Client()}, HardFail: hard})
	b.want(rollout.ActSecure, rollout.Passed)
	return b
}

// forgetful keeps no answer.
type forgetful struct{ client *http.Client }

func (f forgetful) Check(ctx context.Context, chain []*x509.Certificate) error {
	return revocation.New(revocation.Config{HTTP: f.client, Timeout: 5 * time.Second, Now: time.Now}).Check(ctx, chain)
}

// presented is what the computer presents now.
func (b *bench) presented() (der []byte, thumb pki.Thumbprint) {
	b.t.Helper()
	c, err := tls.Dial("tcp", b.win.Address(5986), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	der = c.ConnectionState().PeerCertificates[0].Raw
	return der, pki.ThumbprintOf(der)
}

// bind has the computer present a certificate that the CA makes now, with its faults.
func (b *bench) bind() pki.Thumbprint {
	b.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "web01.corp.example"}}, key)
	if err != nil {
		b.t.Fatal(err)
	}
	der, err := b.ca.Issue(b.t.Context(), adcstest.Request{Account: "WEB01$", FQDN: "web01.corp.example", Template: "WinRMHTTPS", CSR: csr})
	if err != nil {
		b.t.Fatal(err)
	}
	b.win.Bind(der, key)
	return pki.ThumbprintOf(der)
}

// prove makes the proof of what is presented now, and answers why not.
func (b *bench) prove(want pki.Thumbprint) (*rollout.Proof, rollout.Reason) {
	b.t.Helper()
	m := b.open()
	defer m.Close()
	res, err := m.Do(b.t.Context(), rollout.Step{Kind: rollout.StepProve, Port: 5986, Thumbprint: want})
	var f *rollout.Failure
	switch {
	case err == nil:
		return res.Proof, ""
	case !errors.As(err, &f):
		b.t.Fatalf("%v is no failure", err)
	}
	if f.Reason.Hint() == "" {
		b.t.Errorf("%s has no hint: %v", f.Reason, err)
	}
	return nil, f.Reason
}

// Every way in which a server can be broken has a reason of its own in the proof, from certificate to list.
func TestBrokenServersHaveReasonsOfTheirOwn(t *testing.T) {
	seen := map[rollout.Reason]string{}
	broken := func(name string, want rollout.Reason, b *bench, cert pki.Thumbprint) {
		t.Helper()
		p, got := b.prove(cert)
		if got != want {
			t.Errorf("%s: %q, want %s; %+v", name, got, want, p)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%s and %s are both %s", name, other, got)
		}
		seen[got] = name
	}
	for fault, want := range map[adcstest.Fault]rollout.Reason{
		adcstest.WrongName: rollout.ReasonWrongName, adcstest.Expired: rollout.ReasonExpired, adcstest.NotYetValid: rollout.ReasonNotYetValid,
		adcstest.NoServerAuth: rollout.ReasonWrongUsage, adcstest.OtherCA: rollout.ReasonMissingLink,
		adcstest.WebDown: rollout.ReasonRevocationUnreachable, adcstest.CRLMissing: rollout.ReasonRevocationHTTPStatus, adcstest.CRLGarbage: rollout.ReasonCRLMalformed,
		adcstest.CRLOther: rollout.ReasonCRLIssuer, adcstest.CRLForged: rollout.ReasonCRLSignature, adcstest.CRLStale: rollout.ReasonCRLStale, adcstest.DeltaMismatch: rollout.ReasonDeltaBase,
	} {
		b := served(t, true)
		b.ca.Set(fault, true)
		broken(string(fault), want, b, b.bind())
	}
	b := served(t, true)
	der, thumb := b.presented()
	if err := b.ca.Revoke(der, 1); err != nil {
		t.Fatal(err)
	}
	broken("revoked", rollout.ReasonRevoked, b, thumb)
	b = served(t, true)
	b.win.Set(machinetest.WrongCertificate)
	broken("self-signed", rollout.ReasonSelfSigned, b, thumb)
	b = served(t, true)
	broken("another certificate", rollout.ReasonThumbprintDiffers, b, b.bind()) // a good one, but not the one that the listener has
	if len(seen) < 12 {
		t.Errorf("%d reasons", len(seen))
	}
}

func TestDoubtAboutRevocationIsWrittenDown(t *testing.T) {
	b := served(t, false)
	der, thumb := b.presented()
	if p, reason := b.prove(thumb); reason != "" || p.Revocation != "good" {
		t.Fatalf("%s %+v", reason, p)
	}
	b.ca.Set(adcstest.CRLStale, true)
	if p, reason := b.prove(thumb); reason != "" || p.Revocation != string(rollout.ReasonCRLStale) {
		t.Errorf("%s %+v", reason, p)
	}
	b.ca.Set(adcstest.CRLStale, false)
	if err := b.ca.Revoke(der, 1); err != nil {
		t.Fatal(err)
	}
	if _, reason := b.prove(thumb); reason != rollout.ReasonRevoked {
		t.Errorf("revoked, and doubt would be allowed: %q", reason)
	}
}

// A certificate that the CA took back is seen at the next look, whatever else the computer says, and a renewal puts another
// in its place.
func TestARevokedCertificateIsRenewed(t *testing.T) {
	b := served(t, false)
	due := func() (rollout.Due, bool) {
		t.Helper()
		m := b.open()
		defer m.Close()
		res, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepInspect, Brief: true})
		if err != nil || res.Seen == nil {
			t.Fatal(err)
		}
		return b.policy.NeedsRenewal(b.host, *res.Seen, time.Now())
	}
	if why, is := due(); is {
		t.Fatalf("due before: %+v", why)
	}
	der, old := b.presented()
	if err := b.ca.Revoke(der, 1); err != nil {
		t.Fatal(err)
	}
	b.ca.Set(adcstest.CRLStale, true)
	if why, is := due(); is {
		t.Errorf("nobody can know, and it is due: %+v", why)
	}
	b.ca.Set(adcstest.CRLStale, false)
	if why, is := due(); !is || why.Reason != rollout.ReasonRevoked {
		t.Fatalf("%v %+v", is, why)
	}
	b.want(rollout.ActRenew, rollout.Passed)
	if _, thumb := b.presented(); thumb == old {
		t.Error("the revoked certificate is presented still")
	}
	if why, is := due(); is {
		t.Errorf("due again: %+v", why)
	}
}
