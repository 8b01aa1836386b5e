package rollout

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Neighbours are what only other computers know of a host: who reaches it over HTTP.
type Neighbours struct {
	// Collectors fetch events from it over HTTP.
	Collectors []HostID `json:"collectors,omitempty"`
	// EventSources send their events to it over HTTP.
	EventSources []EventSource `json:"event_sources,omitempty"`
	// ManagedFrom has it in a list of Server Manager.
	ManagedFrom []HostID `json:"managed_from,omitempty"`
}

// ServerLists is what Server Manager on a computer manages, by the lists in the profiles there
// (%APPDATA%\Microsoft\Windows\ServerManager\ServerList.xml). A list in a profile that is on no disk of the computer is not
// among them.
type ServerLists struct {
	Names  []string `json:"names,omitempty"`  // of computers, in lower case
	Unread int      `json:"unread,omitempty"` // lists that are too large, may not be read, or are no such lists
}

// EventSource is a computer that sends its events to a collector over HTTP.
type EventSource struct {
	Host HostID `json:"host"`
	// As is the name by which it reaches the collector, where that is not the collector's full name.
	As string `json:"as,omitempty"`
	// Perhaps says that no computer is known under that name: it may be another name, as of a CNAME record, of this one.
	Perhaps bool `json:"perhaps,omitempty"`
}

// NeighboursOf joins what the computers say of each other. Known are all hosts there
// are, seen or not: a full name that is one of theirs means nobody else. Hosts of which
// nobody says anything are left out.
func NeighboursOf(known []HostID, seen []Observation) map[HostID]Neighbours {
	all := map[HostID]Neighbours{}
	r := newRoll(known, seen)
	for _, o := range seen {
		for _, s := range o.Uses.Value.Subscriptions {
			if !s.Enabled || !s.Fetches || s.HTTPS {
				continue
			}
			for _, source := range s.Sources {
				n := all[HostID(source)]
				n.Collectors = added(n.Collectors, o.Host)
				all[HostID(source)] = n
			}
		}
		for _, name := range o.ServerLists.Value.Names {
			for _, id := range r.named(o, name) {
				if n := all[id]; id != o.Host { // it has itself in its list
					n.ManagedFrom = added(n.ManagedFrom, o.Host)
					all[id] = n
				}
			}
		}
		for _, f := range o.Uses.Value.Forwards {
			if f.HTTPS || f.Unclear != "" {
				continue
			}
			for _, to := range r.collectors(o, f.Server) {
				n := all[to.Host]
				s := EventSource{Host: o.Host, As: to.As, Perhaps: to.Perhaps}
				if !slices.ContainsFunc(n.EventSources, func(have EventSource) bool { return have.Host == s.Host }) {
					n.EventSources = append(n.EventSources, s)
				}
				all[to.Host] = n
			}
		}
	}
	for id, n := range all {
		slices.SortFunc(n.EventSources, func(a, b EventSource) int { return cmp.Compare(a.Host, b.Host) })
		all[id] = n
	}
	return all
}

func added(list []HostID, id HostID) []HostID {
	if slices.Contains(list, id) {
		return list
	}
	return append(list, id)
}

// roll finds computers by what others call them.
type roll struct {
	full    map[HostID]bool
	short   map[string][]HostID     // by the first label
	address map[netip.Addr][]HostID // at which they were reached
	gather  []HostID                // those that collect what sources bring
}

func newRoll(known []HostID, seen []Observation) roll {
	r := roll{full: map[HostID]bool{}, short: map[string][]HostID{}, address: map[netip.Addr][]HostID{}}
	for _, id := range known {
		r.add(id)
	}
	for _, o := range seen {
		r.add(o.Host)
		for _, d := range []Door{o.HTTP, o.HTTPS} {
			if at, err := netip.ParseAddrPort(d.Address); err == nil {
				a := at.Addr().Unmap()
				r.address[a] = added(r.address[a], o.Host)
			}
		}
		s, _ := o.service("Wecsvc")
		brings := func(s Subscription) bool { return s.Enabled && !s.Fetches }
		if s.Running && (!o.Uses.Known || slices.ContainsFunc(o.Uses.Value.Subscriptions, brings)) {
			r.gather = append(r.gather, o.Host)
		}
	}
	return r
}

func (r roll) add(id HostID) {
	if r.full[id] {
		return
	}
	r.full[id] = true
	label, _, _ := strings.Cut(string(id), ".")
	r.short[label] = append(r.short[label], id)
}

// named are the computers that a computer may mean by a name: one by its full name or in its own domain, all that have
// the label or the address otherwise.
func (r roll) named(by Observation, name string) []HostID {
	id := HostID(name)
	_, domain, _ := strings.Cut(string(by.Host), ".")
	own := HostID(name + "." + domain)
	a, err := netip.ParseAddr(name)
	switch {
	case r.full[id]:
		return []HostID{id}
	case name == "localhost", err == nil && a.IsLoopback() && len(r.address[a.Unmap()]) == 0:
		return []HostID{by.Host}
	case err == nil:
		return r.address[a.Unmap()]
	case strings.Contains(name, "."):
		return nil
	case r.full[own]:
		return []HostID{own}
	}
	return r.short[name]
}

// collectors are those that a source may mean. By a name that no computer has it may mean any that collects.
func (r roll) collectors(source Observation, name string) []EventSource {
	ids := r.named(source, name)
	perhaps := len(ids) != 1
	if len(ids) == 0 {
		ids = r.gather
	}
	var out []EventSource
	for _, id := range ids {
		to := EventSource{Host: id, As: name, Perhaps: perhaps}
		if string(id) == name {
			to.As = ""
		}
		out = append(out, to)
	}
	return out
}
