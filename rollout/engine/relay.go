package engine

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
)

// Issuer carries requests to a CA. Errors are *rollout.Failure; any other error is taken for a CA that cannot be asked.
type Issuer interface {
	// Submit carries the request of a host to the CA or, where the request has a number already, asks that CA what
	// became of it.
	Submit(ctx context.Context, host rollout.Host, r rollout.CertRequest) (Issued, error)
}

// Issued is the answer of a CA. Nothing of it has been checked.
type Issued struct {
	CA          string
	Number      uint32
	Certificate []byte // DER; empty while the request waits for a CA manager
	Chain       []byte // PKCS #7 in DER, or nothing
}

// relay is the step that happens on no host: the request goes to the CA and its answer is judged as if anybody could
// have written it, both before anything is asked and before anything is given to the host.
func (w *worker) relay(ctx context.Context, host rollout.Host, step rollout.Step) (rollout.Result, error) {
	fail := func(reason rollout.Reason, transient bool, err error) (rollout.Result, error) {
		return rollout.Result{}, &rollout.Failure{Host: host.ID, Step: step.Kind, Reason: reason, Transient: transient, Err: err}
	}
	if w.Issuer == nil || step.Request == nil {
		return fail(rollout.ReasonInternal, false, errors.New("there is no way to a CA"))
	}
	csr, err := pki.CheckRequest(step.Request.CSR, string(host.ID), 0)
	if err != nil {
		return fail(rollout.ReasonEnrollRequest, false, err)
	}
	got, err := w.Issuer.Submit(ctx, host, *step.Request)
	var failure *rollout.Failure
	switch {
	case errors.As(err, &failure):
		return rollout.Result{}, failure
	case err != nil:
		return fail(rollout.ReasonCAUnavailable, true, err)
	}
	r := *step.Request
	r.CA, r.Number = got.CA, got.Number
	if len(got.Certificate) == 0 {
		return rollout.Result{Request: &r}, nil
	}
	if err := w.judge(got, csr, host, w.Now()); err != nil {
		return fail(rollout.ReasonEnrollAnswer, false, err)
	}
	r.Certificate = got.Certificate
	return rollout.Result{Request: &r}, nil
}

// judge asks of an answer what pki.VerifyIssued asks, and that the certificate is one that the host would be given.
func (w *worker) judge(got Issued, csr *x509.CertificateRequest, host rollout.Host, now time.Time) error {
	leaf, err := pki.ParseIssued(got.Certificate)
	if err != nil {
		return err
	}
	var others []*x509.Certificate
	if len(got.Chain) > 0 {
		certs, err := pki.ParseChain(got.Chain)
		if err != nil {
			return err
		}
		if _, others, err = pki.LeafOf(certs, csr.PublicKey); err != nil {
			return err
		}
	}
	roots, err := w.Plan.RootPool()
	if err != nil {
		return err
	}
	if _, err = pki.VerifyIssued(leaf, others, pki.Issued{Key: csr.PublicKey, Name: string(host.ID), SID: host.SID, Roots: roots}, now); err != nil {
		return err
	}
	facts := pki.Facts(leaf)
	facts.HasKey = true // which stays on the host, and signed the request
	req := pki.Requirement{Name: string(host.ID), MinLeft: w.Plan.Policy.MinLeft.D(), Issuers: w.Plan.Policy.Issuers}
	if choice := pki.Choose([]pki.Certificate{facts}, req, now); choice.Certificate == nil {
		return fmt.Errorf("the certificate is not fit for the listener: %s", choice.Why())
	}
	return nil
}
