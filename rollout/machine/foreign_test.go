package machine_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"

	"wavelock/pki"
	"wavelock/pki/adcstest"
	"wavelock/rollout"
	"wavelock/rollout/machine"
	"wavelock/rollout/machinetest"
)

// withForest is a computer whose certificates are judged by the CAs that the directory has.
func withForest(t *testing.T) *bench {
	t.Helper()
	ca := newCA(t)
	issuing, err := x509.ParseCertificate(ca.Issuing())
	if err != nil {
		t.Fatal(err)
	}
	return setupWith(t, ca, machine.Config{Issuing: []*x509.Certificate{issuing}})
}

// foreign is a certificate for the computer, valid for twenty years, of a CA that nobody trusts, and its key.
func foreign(t *testing.T) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	other, err := adcstest.New(adcstest.Config{Templates: []adcstest.Template{{Name: "Agent", Validity: 20 * 365 * 24 * time.Hour}}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "web01.corp.example"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := other.Issue(t.Context(), adcstest.Request{Account: "WEB01$", FQDN: "web01.corp.example", Template: "Agent", CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// An agent of another product has a certificate with the computer's name that is valid longer than any of ours: neither
// goal takes it.
func TestAForeignCertificateIsNotTaken(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]rollout.ActionKind{"secure": rollout.ActSecure, "renew": rollout.ActRenew} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := withForest(t)
			der, key := foreign(t)
			if act == rollout.ActRenew {
				b.want(rollout.ActSecure, rollout.Passed)
				b.want(rollout.ActClose, rollout.Passed)
				b.policy.MinLeft, b.policy.RenewBefore = 0, rollout.Duration(10*365*24*time.Hour) // ours is due, the foreign one would not be
			}
			b.win.Install(der, key)
			end, steps := b.drive(act, nothing)
			if _, now := b.presented(); now == pki.ThumbprintOf(der) || !b.win.HTTPSOpen() {
				t.Errorf("%s (%s: %s) after %v: the foreign certificate is presented", end.Outcome, end.Reason, end.Detail, steps)
			}
			if act == rollout.ActSecure && end.Outcome != rollout.Passed {
				t.Errorf("%s (%s: %s) after %v", end.Outcome, end.Reason, end.Detail, steps)
			}
			if act == rollout.ActRenew {
				b.doors(false, true) // and HTTP does not come back for it
			}
		})
	}
}

// A listener that has such a certificate is due, and gets one of ours.
func TestAForeignCertificateIsDue(t *testing.T) {
	t.Parallel()
	b := withForest(t)
	b.want(rollout.ActSecure, rollout.Passed)
	der, key := foreign(t)
	b.win.Bind(der, key)
	b.win.Registry(func(r *machinetest.Registry) {
		r.SetText(`SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Listener\*+HTTPS`, "certThumbprint", string(pki.ThumbprintOf(der)))
	})
	seen := b.observe()
	if due, is := b.policy.NeedsRenewal(b.host, *seen, time.Now()); !is || due.Reason != rollout.ReasonUntrusted {
		t.Errorf("due %v: %+v", is, due)
	}
	if end, steps := b.drive(rollout.ActRenew, nothing); end.Outcome != rollout.Passed {
		t.Errorf("%s (%s: %s) after %v", end.Outcome, end.Reason, end.Detail, steps)
	}
	if _, now := b.presented(); now == pki.ThumbprintOf(der) {
		t.Error("it has it still")
	}
}
