package machine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/wsman"
)

// prove shows from outside that HTTPS works: a new TCP and TLS connection, the
// chain to the enterprise roots, name, usage and dates, one certificate on all
// four sides, and an authenticated call, bound to the TLS channel, that is
// answered by the host itself.
func (m *Machine) prove(ctx context.Context, step rollout.Step) (*door, rollout.Proof, error) {
	if err := m.resolve(ctx); err != nil {
		return nil, rollout.Proof{}, err
	}
	d, err := m.fresh(ctx, rollout.HTTPS)
	if err != nil {
		return nil, rollout.Proof{}, err
	}
	cs, chain := d.session.TLSState(), d.chain
	if cs == nil || len(chain) == 0 {
		return nil, rollout.Proof{}, m.fail(step.Kind, rollout.ReasonTLSFailed, errors.New("the connection has no TLS"))
	}
	revocation, err := m.revocation(ctx, step, chain)
	if err != nil {
		return nil, rollout.Proof{}, err
	}
	p := rollout.Proof{Revocation: revocation, At: m.cfg.Now().UTC(), Address: m.address(rollout.HTTPS), Name: string(m.host.ID), Issued: step.Thumbprint,
		Wire: pki.ThumbprintOf(chain[0].Raw), Chain: subjects(chain), NotAfter: chain[0].NotAfter,
		TLS: tls.VersionName(cs.Version), Cipher: tls.CipherSuiteName(cs.CipherSuite)}
	listeners, err := readListeners(ctx, d.session)
	if err != nil {
		return nil, p, err
	}
	for _, l := range listeners {
		if l.Transport == rollout.HTTPS && l.Enabled && l.Source != rollout.SourceCompatibility {
			p.Listener = l.Thumbprint
		}
	}
	if p.Bound, err = readBound(ctx, d.session, step.Port); err != nil {
		return nil, p, err
	}
	id, err := readIdentity(ctx, d.session)
	if err != nil {
		return nil, p, err
	}
	if p.Answered = id.FQDN; !strings.EqualFold(id.FQDN, string(m.host.ID)) {
		return nil, p, m.fail(step.Kind, rollout.ReasonWrongHost, fmt.Errorf("%s answers as %s", m.host.ID, id.FQDN))
	}
	if !p.Agree() {
		return nil, p, m.fail(step.Kind, rollout.ReasonThumbprintDiffers, fmt.Errorf("issued %s, listener %s, http.sys %s, on the wire %s",
			p.Issued.Short(), p.Listener.Short(), p.Bound.Short(), p.Wire.Short()))
	}
	d.proved, d.conn = true, d.session.Connections()
	m.seen.Listeners = rollout.Saw(listeners)
	return d, p, nil
}

// revocation asks whether the chain is still good, and answers what to write into the proof.
func (m *Machine) revocation(ctx context.Context, step rollout.Step, chain pki.Chain) (string, error) {
	if m.cfg.Revocation == nil {
		return "", nil
	}
	err := m.cfg.Revocation.Check(ctx, chain)
	if err == nil {
		return "good", nil
	}
	var said interface {
		Revoked() bool
		Reason() string
	}
	if !errors.As(err, &said) {
		return "", m.fail(step.Kind, rollout.ReasonInternal, err)
	}
	if !said.Revoked() && !m.cfg.HardFail {
		m.cfg.Log.Info("revocation is not known", "host", m.host.ID, "err", err)
		return said.Reason(), nil
	}
	return "", &rollout.Failure{Host: m.host.ID, Step: step.Kind, Reason: rollout.Reason(said.Reason()), Transient: !said.Revoked(), Err: err}
}

func subjects(chain []*x509.Certificate) []string {
	names := make([]string, len(chain))
	for i, c := range chain {
		names[i] = pki.DistinguishedName(c.RawSubject)
	}
	return names
}

// proveHTTPS is the step.
func (m *Machine) proveHTTPS(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	_, p, err := m.prove(ctx, step)
	if err != nil {
		return rollout.Result{}, err
	}
	return rollout.Result{Proof: &p, Seen: &rollout.Observation{Listeners: m.seen.Listeners}}, nil
}

// removeHTTP deletes the HTTP listener over the HTTPS session that was just
// proved, and over no other.
func (m *Machine) removeHTTP(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	d := m.doors[rollout.HTTPS]
	if d == nil || !d.proved || !d.session.Secure() {
		return rollout.Result{}, m.fail(step.Kind, rollout.ReasonUndoNotArmed, errors.New("HTTP is deleted over a proved HTTPS session only"))
	}
	defer d.session.Pin(d.conn)()
	if err := m.stillArmed(ctx, d, step); err != nil {
		return rollout.Result{}, err
	}
	err := d.session.Delete(ctx, listenerOf(rollout.HTTP))
	var fault *wsman.Fault
	if err != nil && (!errors.As(err, &fault) || !fault.IsNotFound()) {
		return rollout.Result{}, err
	}
	if d := m.doors[rollout.HTTP]; d != nil {
		d.shell = nil // there is no listener any more to ask for its end: its idle time-out ends it
	}
	if err := m.leave(rollout.HTTP); err != nil {
		m.cfg.Log.Debug("leave HTTP", "host", m.host.ID, "err", err)
	}
	// What the host lists now is read where it counts, by the proof that follows on a new connection.
	left := slices.DeleteFunc(slices.Clone(m.seen.Listeners.Value), func(l rollout.Listener) bool { return l.Transport == rollout.HTTP && l.Address == "*" })
	return rollout.Result{Seen: &rollout.Observation{Listeners: rollout.Saw(left)}}, nil
}

// proveClosed shows, on a new HTTPS connection, that HTTPS works without HTTP,
// and from outside that /wsman is not on the HTTP port any more. Where it never
// was, a filter may swallow the question, and where it is not to be removed there
// is nothing to show: then it is not asked.
func (m *Machine) proveClosed(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	d, p, err := m.prove(ctx, step)
	if err != nil {
		return rollout.Result{}, err
	}
	if step.Alone {
		p.Closed = true
		m.confirmed = d.session
		return rollout.Result{Proof: &p, Seen: &rollout.Observation{Listeners: m.seen.Listeners}}, nil
	}
	for _, l := range m.seen.Listeners.Value {
		if l.Transport == rollout.HTTP && l.Enabled && l.Source != rollout.SourceCompatibility {
			return rollout.Result{}, m.fail(step.Kind, rollout.ReasonHTTPStillOpen, fmt.Errorf("the host lists an HTTP listener on %d", l.Port))
		}
	}
	state, err := m.knock(ctx)
	switch state {
	case rollout.DoorRefused, rollout.DoorOther:
	case rollout.DoorOpen:
		return rollout.Result{}, m.fail(step.Kind, rollout.ReasonHTTPStillOpen, errors.New("/wsman still answers on the HTTP port"))
	default:
		// A service that is just closing the port resets connections: it is asked again.
		return rollout.Result{}, &rollout.Failure{Host: m.host.ID, Step: step.Kind, Reason: rollout.ReasonHTTPUncertain, Transient: true, Err: err}
	}
	p.Closed = true
	m.confirmed = d.session
	return rollout.Result{Proof: &p, Seen: &rollout.Observation{Listeners: m.seen.Listeners, HTTP: rollout.Door{State: state, Address: m.address(rollout.HTTP)}}}, nil
}

// knock asks for /wsman on the HTTP port, with an empty request and no
// credentials. http.sys shares the port with others, who answer 404 for it.
func (m *Machine) knock(ctx context.Context) (rollout.DoorState, error) {
	ctx, cancel := context.WithTimeout(ctx, min(m.cfg.Timeout, 5*time.Second))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.address(rollout.HTTP)+"/wsman", http.NoBody)
	if err != nil {
		return rollout.DoorUnknown, err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		return doorState(err), err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return rollout.DoorOther, nil
	}
	return rollout.DoorOpen, nil
}
