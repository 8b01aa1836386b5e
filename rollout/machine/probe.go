package machine

import (
	"context"
	"errors"

	"wavelock/pki"
	"wavelock/rollout"
)

// Probe makes the proof of HTTPS from where it runs, without an expectation of which
// certificate there is: what is on the wire has to be what the listener and http.sys
// have. Nothing is changed, and the HTTP port is not touched. Errors are *rollout.Failure.
func (m *Machine) Probe(ctx context.Context) (rollout.Proof, error) {
	fail := func(err error) (rollout.Proof, error) {
		return rollout.Proof{}, m.judge(rollout.StepProve, rollout.ReasonProtocol, err)
	}
	if err := m.resolve(ctx); err != nil {
		return fail(err)
	}
	d, err := m.fresh(ctx, rollout.HTTPS)
	if err != nil {
		return fail(err)
	}
	cs := d.session.TLSState()
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return fail(m.fail(rollout.StepProve, rollout.ReasonTLSFailed, errors.New("the connection has no TLS")))
	}
	d, p, err := m.prove(ctx, rollout.Step{Kind: rollout.StepProve, Port: m.cfg.HTTPSPort, Thumbprint: pki.ThumbprintOf(cs.PeerCertificates[0].Raw)})
	if err != nil {
		return p, m.judge(rollout.StepProve, rollout.ReasonProtocol, err)
	}
	peers, err := m.readPeers(ctx, d.session)
	if err != nil { // the proof holds; under which address it was made is another question
		m.cfg.Log.Info("the host does not tell our address", "host", m.host.ID, "err", err)
	}
	for _, peer := range peers {
		if peer.Self && peer.Port == m.cfg.HTTPSPort {
			p.From = peer.Address
		}
	}
	return p, nil
}

// Reached says how far the way to the HTTPS port goes from here, in words: a probe
// that fails is told apart by where it ended.
func (m *Machine) Reached(ctx context.Context) string {
	if m.resolve(ctx) != nil {
		return "its name does not resolve here"
	}
	switch door := m.tryTLS(ctx); door.State {
	case rollout.DoorOpen:
		return "TCP and TLS get through"
	case rollout.DoorRefused:
		return "the port refuses connections"
	default:
		return "nothing answers: the host is off, or something on the way drops the packets"
	}
}
