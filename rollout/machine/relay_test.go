package machine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"wavelock/pki"
	"wavelock/pki/adcstest"
	"wavelock/rollout"
)

// The host makes the request, somebody carries it to the CA, the host takes the answer; no file is left.
func TestKeyAndRequestAreMadeOnTheHost(t *testing.T) {
	b := setup(t)
	m := b.open()
	defer m.Close()
	res, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepRequest, Template: "WinRMHTTPS"})
	if err != nil {
		t.Fatal(err)
	}
	r := res.Request
	if _, err := pki.CheckRequest(r.CSR, string(b.host.ID), 0); err != nil || r.Template != "WinRMHTTPS" || r.Made.IsZero() {
		t.Fatal(r, err)
	}
	if r.Certificate, err = b.ca.Issue(t.Context(), adcstest.Request{Account: "WEB01$", FQDN: string(b.host.ID), Template: r.Template, CSR: r.CSR}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is there already
		res, err = m.Do(t.Context(), rollout.Step{Kind: rollout.StepAccept, Request: r})
		if err != nil || res.Thumbprint != pki.ThumbprintOf(r.Certificate) {
			t.Fatal(res, err)
		}
	}
	if !slices.ContainsFunc(res.Seen.Certificates.Value, func(c pki.Certificate) bool { return c.Thumbprint == res.Thumbprint && c.HasKey }) {
		t.Fatal("it is not in the store")
	}
	other, err := b.ca.Issue(t.Context(), adcstest.Request{Account: "WEB01$", FQDN: string(b.host.ID), Template: r.Template, CSR: r.CSR})
	if err != nil {
		t.Fatal(err)
	}
	// Its request is used up: the host has no key for it any more.
	_, err = m.Do(t.Context(), rollout.Step{Kind: rollout.StepAccept, Request: &rollout.CertRequest{Certificate: other}})
	var f *rollout.Failure
	if !errors.As(err, &f) || f.Reason != rollout.ReasonEnrollFailed || !strings.Contains(err.Error(), "0x80092004") {
		t.Fatal(err)
	}
	if files := b.win.Files(); len(files) != 0 {
		t.Fatalf("left behind: %q", files)
	}
}

func TestWhatIsNotAcceptedIsNotSent(t *testing.T) {
	b := setup(t)
	for _, r := range []*rollout.CertRequest{nil, {}, {Certificate: make([]byte, pki.MaxCertificate+1)}} {
		m := b.open()
		if _, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepAccept, Request: r}); err == nil || m.Requests() != 0 {
			t.Errorf("%v after %d requests", err, m.Requests())
		}
		m.Close()
	}
	odd := b.host
	odd.ID = `web01" & calc & ".corp.example`
	m, err := b.fleet.Open(t.Context(), odd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepRequest}); err == nil || m.Requests() != 0 {
		t.Errorf("%v after %d requests", err, m.Requests())
	}
}
