package rollout

import (
	"fmt"
	"slices"
	"strings"
)

// ZoneView is a zone that has work and nobody to do it.
type ZoneView struct {
	Zone  Zone `json:"zone"`
	Hosts int  `json:"hosts"` // that are not at their end
}

// Staff adds to a view which zones have hosts that wait for a worker, when nobody serves them. A campaign that is over,
// or that nobody runs, waits for no worker.
func (v *View) Staff(p *Plan, s *State, served []Zone) {
	if s.Finished || s.Stopped || s.Approved == "" {
		return
	}
	waiting := map[Zone]int{}
	for _, h := range p.Hosts {
		if st := s.Hosts[h.Host.ID]; st != nil && !st.settled() && !slices.Contains(served, h.Host.Zone) {
			waiting[h.Host.Zone]++
		}
	}
	var names []string
	for z, n := range waiting {
		v.Unserved = append(v.Unserved, ZoneView{z, n})
	}
	slices.SortFunc(v.Unserved, func(a, b ZoneView) int { return strings.Compare(string(a.Zone), string(b.Zone)) })
	for _, u := range v.Unserved {
		names = append(names, fmt.Sprintf("zone %q has no worker, and %d hosts", u.Zone, u.Hosts))
	}
	if len(names) == 0 {
		return
	}
	if v.Why != "" {
		v.Why += "; "
	}
	v.Why += strings.Join(names, "; ")
}
