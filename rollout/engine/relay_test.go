package engine

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"
	"testing"
	"time"

	"wavelock/pki"
	"wavelock/pki/adcstest"
	"wavelock/rollout"
)

const relayed = rollout.HostID("web01.corp.example")

// counter is a CA behind an Issuer.
type counter struct {
	ca    *adcstest.CA
	err   error
	asked int
}

func (c *counter) Submit(ctx context.Context, host rollout.Host, r rollout.CertRequest) (Issued, error) {
	c.asked++
	if c.err != nil {
		return Issued{}, c.err
	}
	der, err := c.ca.Issue(ctx, adcstest.Request{Account: "svc", Template: r.Template, CSR: r.CSR})
	var pending *adcstest.Pending
	if errors.As(err, &pending) {
		return Issued{CA: c.ca.Name(), Number: uint32(pending.RequestID)}, nil
	}
	return Issued{CA: c.ca.Name(), Number: 7, Certificate: der}, err
}

func relayBench(t *testing.T, names ...string) (*worker, *counter, rollout.Step) {
	t.Helper()
	ca, err := adcstest.New(adcstest.Config{Templates: []adcstest.Template{{Name: "Relay", SuppliesSubject: true}}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, key)
	if err != nil {
		t.Fatal(err)
	}
	plan := &rollout.Plan{Policy: rollout.DefaultPolicy(), Roots: [][]byte{ca.Root(), ca.Issuing()}}
	c := &counter{ca: ca}
	w := &worker{Engine: New(Config{Plan: plan, Issuer: c, Now: time.Now})}
	return w, c, rollout.Step{Kind: rollout.StepSubmit, Request: &rollout.CertRequest{Template: "Relay", CSR: csr, Made: time.Now()}}
}

func TestAnAnswerOfTheCAIsJudged(t *testing.T) {
	for fault, reason := range map[adcstest.Fault]rollout.Reason{
		"":                    "",
		adcstest.WrongKey:     rollout.ReasonEnrollAnswer,
		adcstest.WrongName:    rollout.ReasonEnrollAnswer,
		adcstest.OtherCA:      rollout.ReasonEnrollAnswer,
		adcstest.Expired:      rollout.ReasonEnrollAnswer,
		adcstest.NotYetValid:  rollout.ReasonEnrollAnswer,
		adcstest.ShortLived:   rollout.ReasonEnrollAnswer,
		adcstest.NoServerAuth: rollout.ReasonEnrollAnswer,
		adcstest.NoCommonName: rollout.ReasonEnrollAnswer,
		adcstest.NoDNSName:    rollout.ReasonEnrollAnswer,
		adcstest.Garbage:      rollout.ReasonEnrollAnswer,
		adcstest.Deny:         rollout.ReasonCAUnavailable, // what is no failure of the core is one of the CA
	} {
		w, c, step := relayBench(t, string(relayed))
		if fault != "" {
			c.ca.Set(fault, true)
		}
		res, err := w.relay(t.Context(), rollout.Host{ID: relayed}, step)
		var f *rollout.Failure
		switch {
		case reason == "" && (err != nil || len(res.Request.Certificate) == 0 || len(step.Request.Certificate) != 0):
			t.Errorf("a good answer: %+v %v", res, err)
		case reason != "" && (!errors.As(err, &f) || f.Reason != reason || res.Request != nil):
			t.Errorf("%s: %+v %v", fault, res, err)
		}
	}
}

func TestARequestIsJudgedBeforeItIsSent(t *testing.T) {
	for _, names := range [][]string{{"dc1.corp.example"}, {string(relayed), "dc1.corp.example"}} {
		w, c, step := relayBench(t, names...)
		_, err := w.relay(t.Context(), rollout.Host{ID: relayed}, step)
		var f *rollout.Failure
		if !errors.As(err, &f) || f.Reason != rollout.ReasonEnrollRequest || c.asked != 0 {
			t.Errorf("%q was sent %d times: %v", names, c.asked, err)
		}
	}
}

func TestPendingIsNoCertificate(t *testing.T) {
	w, c, step := relayBench(t, string(relayed))
	c.ca.Set(adcstest.Pend, true)
	res, err := w.relay(t.Context(), rollout.Host{ID: relayed}, step)
	if err != nil || res.Request.Number == 0 || res.Request.CA == "" || len(res.Request.Certificate) != 0 {
		t.Fatalf("%+v %v", res, err)
	}
}

func TestFailuresOfTheWayToTheCA(t *testing.T) {
	w, c, step := relayBench(t, string(relayed))
	c.err = &rollout.Failure{Reason: rollout.ReasonEnrollDenied, Err: errors.New("no")}
	var f *rollout.Failure
	if _, err := w.relay(t.Context(), rollout.Host{ID: relayed}, step); !errors.As(err, &f) || f.Reason != rollout.ReasonEnrollDenied {
		t.Error(err)
	}
	c.err = errors.New("the wire is cut")
	if _, err := w.relay(t.Context(), rollout.Host{ID: relayed}, step); !errors.As(err, &f) || f.Reason != rollout.ReasonCAUnavailable || !f.Transient {
		t.Error(err)
	}
	w.Issuer = nil
	if _, err := w.relay(t.Context(), rollout.Host{ID: relayed}, step); !errors.As(err, &f) || f.Reason != rollout.ReasonInternal || !strings.Contains(err.Error(), "CA") {
		t.Error(err)
	}
	w, _, step = relayBench(t, string(relayed))
	w.Plan.Roots = [][]byte{[]byte("no certificate")}
	if _, err := w.relay(t.Context(), rollout.Host{ID: relayed}, step); !errors.As(err, &f) || f.Reason != rollout.ReasonEnrollAnswer {
		t.Error(err)
	}
	if pki.MaxRequest < len(step.Request.CSR) {
		t.Error("the request of the bench is too long")
	}
}
