package machine

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"wavelock/pki"
)

const (
	// askFor is how long a look waits for those who know what is revoked, all of them together.
	askFor = 15 * time.Second
	// mostAsked is of how many certificates of one computer it is asked.
	mostAsked = 16
)

// between are the CAs' certificates that help to build chains: those that the forest publishes, and those that the
// computer presented itself.
func (m *Machine) between() []*x509.Certificate {
	return slices.Concat(m.cfg.Issuing, m.wire[min(1, len(m.wire)):])
}

// judgeChains notes which of the certificates that a listener could have lead to no root of ours.
func (m *Machine) judgeChains(list []pki.Certificate, ders [][]byte) {
	if len(m.cfg.Issuing) == 0 {
		return
	}
	now := m.cfg.Now()
	for i := range list {
		if usable(list[i], now) {
			list[i].Untrusted = pki.Untrusted(ders[i], m.cfg.Roots, m.between(), now)
		}
	}
}

// askRevoked notes which certificates the CA is known to have taken back. Only those that a listener could have are asked
// about, through the intermediates that the computer presented itself; where nothing can be found out, nothing is noted:
// the proof says so.
func (m *Machine) askRevoked(ctx context.Context, list []pki.Certificate, ders [][]byte) {
	if m.cfg.Revocation == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	between := x509.NewCertPool()
	for _, c := range m.between() {
		between.AddCert(c)
	}
	asked := 0
	for i := range list {
		if !usable(list[i], m.cfg.Now()) || asked == mostAsked {
			continue
		}
		chain := m.chainOf(ders[i], between)
		if chain == nil {
			continue
		}
		asked++
		err := m.cfg.Revocation.Check(ctx, chain)
		var said interface{ Revoked() bool }
		switch {
		case errors.As(err, &said) && said.Revoked():
			list[i].Revoked = err.Error()
		case err != nil:
			m.cfg.Log.Debug("revocation is not known", "host", m.host.ID, "certificate", list[i].Thumbprint.Short(), "err", err)
		}
	}
}

// usable reports whether a listener could have the certificate, as far as it tells by itself.
func usable(c pki.Certificate, now time.Time) bool {
	return c.HasKey && c.ServerAuth && !c.SelfSigned && !c.Archived && !c.IsCA && !now.Before(c.NotBefore) && now.Before(c.NotAfter)
}

// chainOf leads to one of the roots; nil: there is no way.
func (m *Machine) chainOf(der []byte, between *x509.CertPool) pki.Chain {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: m.cfg.Roots, Intermediates: between, CurrentTime: m.cfg.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil
	}
	return chains[0]
}
