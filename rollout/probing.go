package rollout

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"wavelock/pki"
)

// Probing is a proof of HTTPS that was made from a client of a host, and that a person
// handed in. The host itself said under which address it saw the client. It is worth
// as much as the word of who handed it in: that name, and why, are kept with it.
type Probing struct {
	Host   HostID         `json:"host"`
	At     time.Time      `json:"at"`
	From   string         `json:"from"`   // the client's address, as the host sees it
	Client string         `json:"client"` // the client's own name for itself
	Wire   pki.Thumbprint `json:"wire"`   // what was presented to it
	By     string         `json:"by"`
	Why    string         `json:"why"`
}

// ProbingError is why a proof does not stand for anything.
type ProbingError struct {
	Host HostID
	From string
	Why  string
	hint string
}

func (e *ProbingError) Error() string {
	return fmt.Sprintf("the proof for %s from %s is not taken: %s", e.Host, e.From, e.Why)
}

// Hint is what to do about it.
func (e *ProbingError) Hint() string { return e.hint }

// ProbingFor is how long after it was made a proof may be handed in.
const ProbingFor = 7 * 24 * time.Hour

// WithProbing is the census after a person handed a proof in. It is taken only for a
// client that was seen on HTTP, of the certificate that the host has now, and not of
// the future or too long ago. The error is a *ProbingError.
func (c Census) WithProbing(pr Probing, o Observation, p Policy, now time.Time) (Census, error) {
	refuse := func(hint, format string, args ...any) (Census, error) {
		return c, &ProbingError{pr.Host, pr.From, fmt.Sprintf(format, args...), hint}
	}
	at, err := netip.ParseAddr(pr.From)
	if err != nil {
		return refuse("make the proof with wavelock probe --report", "%q is no address", pr.From)
	}
	have, _ := o.listener(HTTPS)
	switch {
	case strings.TrimSpace(pr.Why) == "" || pr.By == "":
		return refuse("add --why 'tried from the backup server by its owner'", "who takes it, and why, has to be said")
	case pr.At.After(now.Add(p.MaxSkew.D())):
		return refuse("compare the clocks of the client and of this computer", "it was made in the future, at %s", pr.At.UTC().Format(time.RFC3339))
	case now.Sub(pr.At) > ProbingFor:
		return refuse("make it anew", "it was made at %s, longer than %v ago", pr.At.UTC().Format(time.RFC3339), ProbingFor)
	case pr.Host != o.Host || have.Thumbprint == "" || have.Thumbprint != pr.Wire:
		return refuse("assess the host, then make the proof anew", "the host's listener has the certificate %q by its last look, the client was shown %q", have.Thumbprint.Short(), pr.Wire.Short())
	}
	next := c
	next.Clients = make([]Client, len(c.Clients))
	copy(next.Clients, c.Clients)
	for i, k := range next.Clients {
		if known, err := netip.ParseAddr(k.Address); err == nil && known.Unmap() == at.Unmap() && k.At(p.HTTPPort).Samples > 0 {
			next.Clients[i].Probed = &pr
			return next, nil
		}
	}
	return refuse("wavelock census --show tells who was", "nobody was seen on %d from there", p.HTTPPort)
}

// moved reports whether the client is known to get through to HTTPS: it was seen
// there, or a proof from it was handed in that is not older than the policy looks back.
func (k Client) moved(p Policy, now time.Time) bool {
	if k.At(p.Port).Samples > 0 {
		return true
	}
	return k.Probed != nil && (p.ClientsWithin <= 0 || now.Sub(k.Probed.At) <= p.ClientsWithin.D())
}
