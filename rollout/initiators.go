package rollout

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Entry is who can start a connection to a host's listeners: the sources that its
// firewall lets in to their ports. Without a source nobody can.
type Entry struct {
	Address string   `json:"address,omitempty"` // at which the host was reached
	From    []string `json:"from,omitempty"`    // "any" alone: everybody
	Unread  bool     `json:"unread,omitempty"`  // listeners or firewall could not be read
}

// everybody is the source of a rule that names none.
const everybody = "any"

// Open reports whether everybody is let in.
func (e Entry) Open() bool { return slices.Contains(e.From, everybody) }

// EntryOf reads it from an observation.
func EntryOf(o Observation) Entry {
	var e Entry
	if at, err := netip.ParseAddrPort(cmp.Or(o.HTTP.Address, o.HTTPS.Address)); err == nil {
		e.Address = at.Addr().Unmap().String()
	}
	if !o.Firewall.Known || !o.Listeners.Known {
		e.Unread = true
		return e
	}
	off := slices.ContainsFunc(o.Firewall.Value.Profiles, func(p FirewallProfile) bool { return p.Name == "domain" && (!p.Enabled || !p.BlockIn) })
	for _, l := range o.Listeners.Value {
		if !l.Enabled {
			continue
		}
		if off {
			e.From = append(e.From, everybody)
		}
		e.From = append(e.From, sourcesOf(o.Firewall.Value, l.Port)...)
	}
	if e.Open() {
		e.From = []string{everybody}
	}
	return e
}

// Initiators is how many of the known computers can still start a remote connection
// to any of them: by the firewall rules of the hosts that were read, for the ports
// of the listeners that they have.
type Initiators struct {
	Computers int `json:"computers"` // whose address is known
	Can       int `json:"can"`
	Open      int `json:"open"`    // hosts that let everybody in
	Scoped    int `json:"scoped"`  // hosts that let in some only
	Unknown   int `json:"unknown"` // hosts whose listeners or firewall could not be read
	sources   map[string]bool
	addresses []netip.Addr
}

// Add counts one host that was looked at.
func (n *Initiators) Add(e Entry) {
	if a, err := netip.ParseAddr(e.Address); err == nil {
		n.addresses = append(n.addresses, a)
	}
	switch {
	case e.Unread:
		n.Unknown++
		return
	case e.Open():
		n.Open++
	default:
		n.Scoped++
	}
	if n.sources == nil {
		n.sources = map[string]bool{}
	}
	for _, s := range e.From {
		n.sources[s] = true
	}
}

// Count says how many of the computers that were added can get in somewhere.
// LocalSubnet is taken for everybody: who is in it is not known here.
func (n *Initiators) Count() {
	n.Computers, n.Can = len(n.addresses), 0
	var spans []span
	for s := range n.sources {
		at, ok := spanOf(s)
		if !ok {
			n.Can = n.Computers
			return
		}
		spans = append(spans, at)
	}
	spans = merge(spans)
	for _, a := range n.addresses {
		// the last that begins at the address or before it
		i, _ := slices.BinarySearchFunc(spans, a, func(s span, a netip.Addr) int { return cmp.Or(s.from.Compare(a), -1) })
		if i > 0 && spans[i-1].from.Is4() == a.Is4() && a.Compare(spans[i-1].to) <= 0 {
			n.Can++
		}
	}
}

// merge makes one of those that overlap, in the order of the addresses.
func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var out []span
	for _, s := range spans {
		if i := len(out) - 1; i >= 0 && out[i].from.Is4() == s.from.Is4() && s.from.Compare(out[i].to) <= 0 {
			if s.to.Compare(out[i].to) > 0 {
				out[i].to = s.to
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// Share is the part of the computers that can, in per cent.
func (n Initiators) Share() int { return Percent(n.Can, n.Computers) }

// Words is the count in a sentence.
func (n Initiators) Words() string {
	return fmt.Sprintf("%d of %d computers (%d %%) can still start a remote connection; %d hosts let everybody in, %d some only, %d unknown",
		n.Can, n.Computers, n.Share(), n.Open, n.Scoped, n.Unknown)
}
