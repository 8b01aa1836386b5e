package rollout

import (
	"fmt"
	"net/netip"
	"slices"
)

// Initiators is how many of the known computers can still start a remote connection
// to any of them: by the firewall rules of the hosts that were read, for the ports
// of the listeners that they have.
type Initiators struct {
	Computers int `json:"computers"` // whose address is known
	Can       int `json:"can"`
	Open      int `json:"open"`    // hosts that let everybody in
	Scoped    int `json:"scoped"`  // hosts that let in some only
	Unknown   int `json:"unknown"` // hosts whose listeners or firewall could not be read
	sources   []string
	addresses []netip.Addr
}

// Add counts one host, with the address at which it was reached.
func (n *Initiators) Add(o Observation) {
	if at, err := netip.ParseAddrPort(firstOf(o.HTTP.Address, o.HTTPS.Address)); err == nil {
		n.addresses = append(n.addresses, at.Addr().Unmap())
	}
	if !o.Firewall.Known || !o.Listeners.Known {
		n.Unknown++
		return
	}
	off := slices.ContainsFunc(o.Firewall.Value.Profiles, func(p FirewallProfile) bool { return p.Name == "domain" && (!p.Enabled || !p.BlockIn) })
	var mine []string
	for _, l := range o.Listeners.Value {
		if !l.Enabled {
			continue
		}
		if off {
			mine = append(mine, "any")
		}
		mine = append(mine, sourcesOf(o.Firewall.Value, l.Port)...)
	}
	if slices.Contains(mine, "any") {
		n.Open++
	} else {
		n.Scoped++
	}
	for _, s := range mine {
		if !slices.Contains(n.sources, s) {
			n.sources = append(n.sources, s)
		}
	}
}

// Count says how many of the computers that were added can get in somewhere.
// LocalSubnet is taken for everybody: who is in it is not known here.
func (n *Initiators) Count() {
	n.Computers, n.Can = len(n.addresses), 0
	everybody := slices.Contains(n.sources, "any") || slices.ContainsFunc(n.sources, func(s string) bool { _, ok := spanOf(s); return !ok })
	for _, a := range n.addresses {
		if everybody || slices.ContainsFunc(n.sources, func(s string) bool { return covers(s, a.String()) }) {
			n.Can++
		}
	}
}

// Words is the count in a sentence.
func (n Initiators) Words() string {
	share := 0
	if n.Computers > 0 {
		share = n.Can * 100 / n.Computers
	}
	return fmt.Sprintf("%d of %d computers (%d %%) can still start a remote connection; %d hosts let everybody in, %d some only, %d unknown",
		n.Can, n.Computers, share, n.Open, n.Scoped, n.Unknown)
}
