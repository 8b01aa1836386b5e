package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/wsman"
)

const (
	ownKey        = `SOFTWARE\wavelock`
	beforeKey     = ownKey + `\before`
	undoKey       = ownKey + `\undo`
	lastResort    = `\HTTP` // below it, the HTTP listener that a renewal falls back to
	lastResortKey = undoKey + lastResort
	listenerKey   = `SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Listener`
)

// Do performs one step. Errors are *rollout.Failure.
func (m *Machine) Do(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	do, otherwise := m.step(step.Kind)
	if do == nil {
		return rollout.Result{}, m.fail(step.Kind, rollout.ReasonInternal, fmt.Errorf("%q is no step", step.Kind))
	}
	res, err := do(ctx, step)
	if err != nil {
		return rollout.Result{}, m.judge(step.Kind, otherwise, err)
	}
	return res, nil
}

// step is what a step does, and its reason where an error tells none.
func (m *Machine) step(k rollout.StepKind) (func(context.Context, rollout.Step) (rollout.Result, error), rollout.Reason) {
	switch k {
	case rollout.StepInspect:
		return m.inspectStep, rollout.ReasonProtocol
	case rollout.StepSaveImage:
		return m.saveImage, rollout.ReasonImageFailed
	case rollout.StepEnroll:
		return m.enroll, rollout.ReasonEnrollFailed
	case rollout.StepRequest:
		return m.makeRequest, rollout.ReasonEnrollFailed
	case rollout.StepAccept:
		return m.accept, rollout.ReasonEnrollFailed
	case rollout.StepListen:
		return m.listen, rollout.ReasonListenerFailed
	case rollout.StepAllow:
		return m.allow, rollout.ReasonFirewallFailed
	case rollout.StepProve:
		return m.proveHTTPS, rollout.ReasonProtocol
	case rollout.StepArm:
		return m.arm, rollout.ReasonUndoNotArmed
	case rollout.StepNarrow:
		return m.narrow, rollout.ReasonNarrowFailed
	case rollout.StepProveNarrow:
		return m.proveNarrow, rollout.ReasonProtocol
	case rollout.StepWiden:
		return m.widen, rollout.ReasonFirewallFailed
	case rollout.StepRemoveHTTP:
		return m.removeHTTP, rollout.ReasonProtocol
	case rollout.StepProveClosed:
		return m.proveClosed, rollout.ReasonProtocol
	case rollout.StepDisarm:
		return m.disarm, rollout.ReasonProtocol
	case rollout.StepRestore:
		return m.putBack, rollout.ReasonRestoreFailed
	}
	return nil, ""
}

func (m *Machine) inspectStep(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	o, err := m.inspect(ctx, step.Brief)
	if err != nil {
		return rollout.Result{}, err
	}
	return rollout.Result{Seen: &o}, nil
}

// saveImage keeps the before-image on the host. One that is there already is the
// truth and stays.
func (m *Machine) saveImage(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	d, err := m.any(ctx)
	if err != nil {
		return rollout.Result{}, err
	}
	have, err := registry(ctx, d.session, "GetStringValue", beforeKey, "image")
	if err != nil {
		return rollout.Result{}, err
	}
	if have.Value("sValue") == "" {
		text, err := json.Marshal(step.Image)
		if err != nil {
			return rollout.Result{}, fmt.Errorf("write the before-image: %w", err)
		}
		if _, err := d.must(ctx, saveLine); err != nil {
			return rollout.Result{}, err
		}
		if _, err := registry(ctx, d.session, "SetStringValue", beforeKey, "image", wsman.Field{Name: "sValue", Value: string(text)}); err != nil {
			return rollout.Result{}, err
		}
		if have, err = registry(ctx, d.session, "GetStringValue", beforeKey, "image"); err != nil {
			return rollout.Result{}, err
		}
	}
	var kept rollout.BeforeImage
	if err := json.Unmarshal([]byte(have.Value("sValue")), &kept); err != nil {
		return rollout.Result{}, fmt.Errorf("read the before-image back: %w", err)
	}
	return rollout.Result{Seen: &rollout.Observation{Image: rollout.Saw(&kept)}}, nil
}

// allow adds the firewall rule for the HTTPS port, unless it is there.
func (m *Machine) allow(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	line, err := allowLine(step.Port, step.Sources, step.Profiles)
	if err != nil {
		return rollout.Result{}, err
	}
	d, err := m.any(ctx)
	if err != nil {
		return rollout.Result{}, err
	}
	rule, err := m.addRule(ctx, d, line)
	if err != nil {
		return rollout.Result{}, err
	}
	return rollout.Result{Seen: m.withRule(rule)}, nil
}

// enroll lets the computer itself ask its CA, as SYSTEM, by a one-shot task: on
// the wire the request then comes from the computer's account.
func (m *Machine) enroll(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	xml, err := enrollXML(step.Template)
	if err != nil {
		return rollout.Result{}, err
	}
	d, err := m.any(ctx)
	if err != nil {
		return rollout.Result{}, err
	}
	before := thumbprints(m.seen.Certificates.Value)
	if err := registerTask(ctx, d.session, enrollTask, xml); err != nil {
		return rollout.Result{}, err
	}
	defer m.dropTask(context.WithoutCancel(ctx), d.session, enrollTask)
	if err := startTask(ctx, d.session, enrollTask); err != nil {
		return rollout.Result{}, err
	}
	code, err := m.awaitTask(ctx, d.session, step)
	if err != nil {
		return rollout.Result{}, err
	}
	certs, err := m.readCertificates(ctx, d)
	if err != nil {
		return rollout.Result{}, err
	}
	res := rollout.Result{Seen: &rollout.Observation{Certificates: rollout.Saw(certs)}}
	for _, c := range certs {
		if !before[c.Thumbprint] {
			res.Thumbprint = c.Thumbprint
		}
	}
	if res.Thumbprint == "" {
		return rollout.Result{}, m.enrollFailure(step, code)
	}
	return res, nil
}

func thumbprints(certs []pki.Certificate) map[pki.Thumbprint]bool {
	set := map[pki.Thumbprint]bool{}
	for _, c := range certs {
		set[c.Thumbprint] = true
	}
	return set
}

// denials are the HRESULTs of a CA that says no, [MS-WCCE] and winerror.h.
var denials = map[uint32]string{
	0x80094800: "the template is not issued by this CA",
	0x80094012: "the permissions on the template do not allow this computer to enroll",
	0x80094011: "the permissions on the CA do not allow this computer to enroll",
	0x8009480F: "the computer object has no dNSHostName",
	0x80094811: "the key is shorter than the template asks for",
	0x80094014: "a CA manager denied the request",
}

// enrollFailure says why no certificate came. Whether certreq ends with 5 when a
// request is pending is not known for sure; 0 without a certificate is taken for it, too.
func (m *Machine) enrollFailure(step rollout.Step, code uint32) error {
	f := &rollout.Failure{Host: m.host.ID, Step: step.Kind, Reason: rollout.ReasonEnrollFailed, Err: fmt.Errorf("certreq ended with 0x%08x and no new certificate", code)}
	why, denied := denials[code]
	switch {
	case denied:
		f.Reason, f.Err = rollout.ReasonEnrollDenied, fmt.Errorf("0x%08x: %s", code, why)
	case code == 5 || code == 0:
		f.Reason, f.Err = rollout.ReasonEnrollPending, errors.New("certreq left no certificate and no error")
	case code == 0x800706BA:
		f.Transient, f.Err = true, errors.New("0x800706ba: the CA cannot be reached from the host")
	}
	return f
}

func (m *Machine) readCertificates(ctx context.Context, d *door) ([]pki.Certificate, error) {
	out, err := d.must(ctx, storeLine)
	if err != nil {
		return nil, err
	}
	return m.certificates(ctx, parseRegQuery(out))
}

// awaitTask waits for the end of the request and answers its exit code. A scheduler that does not start it
// soon will not: a CA's slowness comes later.
func (m *Machine) awaitTask(ctx context.Context, s *wsman.Session, step rollout.Step) (uint32, error) {
	begun := time.Now()
	for wait := 25 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for the task %s: %w", enrollTask, context.Cause(ctx))
		case <-time.After(wait):
		}
		code, err := taskResult(ctx, s, enrollTask)
		switch {
		case err != nil:
			return 0, err
		case code == taskNotYetRun && time.Since(begun) > m.patience():
			return 0, m.fail(step.Kind, rollout.ReasonSchedulerOff, fmt.Errorf("the task scheduler took a task and did not start it within %v", m.patience()))
		case code != taskRunning && code != taskNotYetRun:
			return code, nil
		}
	}
}
