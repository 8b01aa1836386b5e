package machine

import (
	"context"
	"errors"
	"net"

	"wavelock/ldapdisco/logon"
	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/wsman"
)

// quotaFaults are those that pass when others have finished: too many shells or
// operations of this user.
var quotaFaults = []uint32{0x803381A5, 0x803381A6, 0x80338048}

// judge turns an error of a step into a failure with a reason. Otherwise is the
// reason where the error itself does not tell one.
func (m *Machine) judge(step rollout.StepKind, otherwise rollout.Reason, err error) error {
	var done *rollout.Failure
	if errors.As(err, &done) {
		return done
	}
	f := &rollout.Failure{Host: m.host.ID, Step: step, Reason: otherwise, Err: err, Unsure: step.Writes() && wsman.OutcomeUnknown(err)}
	var (
		fault    *wsman.Fault
		auth     *wsman.AuthError
		dial     *wsman.DialError
		problem  *pki.Problem
		tlsErr   *wsman.TLSError
		transfer *wsman.TransportError
		dns      *net.DNSError
	)
	switch {
	case errors.As(err, &problem):
		f.Reason = rollout.Reason(problem.Code)
	case errors.As(err, &fault):
		m.judgeFault(f, fault)
	case errors.As(err, &auth):
		f.Reason = rollout.ReasonLogonRefused
		if kdc := new(logon.Error); !auth.Refused() && errors.As(err, &kdc) && kdc.NoTicket() {
			f.Reason, f.Transient = rollout.ReasonNoTicket, kdc.Silent()
		}
	case errors.As(err, &tlsErr):
		f.Reason, f.Transient = rollout.ReasonTLSFailed, true
	case errors.As(err, &dial):
		f.Reason, f.Transient = rollout.ReasonUnreachable, true
	case errors.As(err, &dns):
		f.Reason, f.Transient = rollout.ReasonNoName, true
	case errors.Is(err, context.DeadlineExceeded):
		f.Reason, f.Transient, f.Unsure = rollout.ReasonTimeout, true, step.Writes()
	case errors.As(err, &transfer):
		f.Reason, f.Transient = rollout.ReasonUnreachable, true
	}
	return f
}

func (m *Machine) judgeFault(f *rollout.Failure, fault *wsman.Fault) {
	switch {
	case fault.IsAccessDenied():
		f.Reason = rollout.ReasonAccessDenied
	case fault.IsGPOControlled():
		f.Reason = rollout.ReasonGPOListener
	case fault.IsTimedOut():
		f.Reason, f.Transient = rollout.ReasonTimeout, true
	default:
		for _, code := range quotaFaults {
			if fault.Has(code) {
				f.Reason, f.Transient = rollout.ReasonQuota, true
			}
		}
	}
}

// fail is a failure that this package found out itself.
func (m *Machine) fail(step rollout.StepKind, r rollout.Reason, err error) error {
	return &rollout.Failure{Host: m.host.ID, Step: step, Reason: r, Err: err}
}
