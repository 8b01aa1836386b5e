package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// WaveRule says who is in one wave, and how many at once. It takes of the hosts that are left those that fit OU, Site,
// Group, Role and Hosts, as many as Count or Percent say, and all of them where neither does. The last wave takes
// whatever is left, whether it fits or not.
type WaveRule struct {
	Name     string   `json:"name"`
	Count    int      `json:"count,omitempty"`   // so many of the hosts that are left
	Percent  int      `json:"percent,omitempty"` // of all hosts of the plan
	OU       string   `json:"ou,omitempty"`      // hosts in or below this canonical OU
	Site     string   `json:"site,omitempty"`
	Group    string   `json:"group,omitempty"`
	Role     Role     `json:"role,omitempty"`
	Hosts    []HostID `json:"hosts,omitempty"` // by name
	InFlight int      `json:"in_flight,omitempty"`
	Limit    int      `json:"limit,omitempty"`
	// The same in percent of the wave's hosts; where a number is given as well, the smaller one counts.
	InFlightPercent int `json:"in_flight_percent,omitempty"`
	LimitPercent    int `json:"limit_percent,omitempty"`

	Soak     Duration `json:"soak,omitempty"`
	Approval bool     `json:"approval,omitempty"`
}

// Validate names what is wrong with the rule.
func (r WaveRule) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(r.InFlight < 0 || r.Limit < 0 || r.Count < 0, "count, in_flight and limit are not negative")
	bad(r.InFlight+r.InFlightPercent < 1, "in_flight or in_flight_percent has to be 1 at least")
	bad(r.Limit+r.LimitPercent < 1, "limit or limit_percent has to be 1 at least")
	for _, v := range []struct {
		name string
		n    int
	}{{"percent", r.Percent}, {"in_flight_percent", r.InFlightPercent}, {"limit_percent", r.LimitPercent}} {
		bad(v.n < 0 || v.n > 100, "%s: %d is not between 0 and 100", v.name, v.n)
	}
	bad(r.Count > 0 && r.Percent > 0, "count and percent are two answers to one question")
	return errors.Join(errs...)
}

// selects reports whether the rule is for some hosts only.
func (r WaveRule) selects() bool {
	return r.OU != "" || r.Site != "" || r.Group != "" || r.Role != "" || len(r.Hosts) > 0
}

// matches reports whether the host is one of those that the rule is for.
func (r WaveRule) matches(h Host) bool {
	return h.below(r.OU) && (r.Site == "" || strings.EqualFold(h.Site, r.Site)) && (r.Group == "" || h.in(r.Group)) &&
		(r.Role == "" || h.Has(r.Role)) && (len(r.Hosts) == 0 || slices.Contains(r.Hosts, h.ID))
}

// sized are the limits of a wave of n hosts.
func (r WaveRule) sized(n int) (inFlight, limit int) {
	smaller := func(count, percent int) int {
		switch {
		case percent == 0:
			return count
		case count == 0:
			return share(percent, n)
		}
		return min(count, share(percent, n))
	}
	return smaller(r.InFlight, r.InFlightPercent), smaller(r.Limit, r.LimitPercent)
}

// share is so many percent of n, rounded down, and 1 at least.
func share(percent, n int) int { return max(1, n*percent/100) }

// Nobody lists the rules that are for some hosts only and that none of the subjects fits: a name that was mistyped
// would else go unseen.
func (in Intent) Nobody(subjects []Subject) []WaveRule {
	return slices.DeleteFunc(slices.Clone(in.Waves), func(r WaveRule) bool {
		return !r.selects() || slices.ContainsFunc(subjects, func(s Subject) bool { return r.matches(s.Host) })
	})
}

// filler is the waves as far as they are filled.
type filler struct{ waves []Wave }

// fill puts the hosts, in this order, into waves as the rules say.
func fill(rules []WaveRule, order []Host) []Wave {
	if len(rules) == 0 {
		rules = []WaveRule{{Name: "all", InFlight: 1, Limit: 1}}
	}
	f := &filler{}
	total := len(order)
	for i, r := range rules {
		last := i == len(rules)-1
		order = f.take(r, order, quota(r, total, len(order), last), last)
	}
	f.spill(rules[len(rules)-1], order)
	return slices.DeleteFunc(f.waves, func(w Wave) bool { return len(w.Hosts) == 0 })
}

// quota is how many hosts a rule takes: at least one of whatever is left.
func quota(r WaveRule, total, left int, last bool) int {
	switch {
	case last:
		return left
	case r.Count > 0:
		return min(r.Count, left)
	case r.Percent > 0:
		return min(max(1, (total*r.Percent+99)/100), left)
	}
	return left
}

// take moves hosts that fit the rule into a new wave and returns the others. A
// delicate host waits until nobody who is less delicate is left.
func (f *filler) take(r WaveRule, order []Host, n int, last bool) []Host {
	w := Wave{Name: r.Name, Soak: r.Soak, Approval: r.Approval}
	used := map[string]bool{}
	var rest []Host
	for _, h := range order {
		k := kin(h)
		early := delicacy(h) > 0 && (!last || (len(rest) > 0 && delicacy(h) > delicacy(rest[0])))
		if len(w.Hosts) >= n || (k != "" && used[k]) || (!last && !r.matches(h)) || early {
			rest = append(rest, h)
			continue
		}
		used[k] = k != ""
		w.Hosts = append(w.Hosts, h.ID)
	}
	w.InFlight, w.Limit = r.sized(len(w.Hosts))
	f.waves = append(f.waves, w)
	return rest
}

// spill places what the last rule could not take for the sake of kin: one wave
// after the other, each with the last rule's limits.
func (f *filler) spill(r WaveRule, order []Host) {
	for n := 2; len(order) > 0; n++ {
		next := r
		next.Name = fmt.Sprintf("%s %d", r.Name, n)
		order = f.take(next, order, len(order), true)
	}
}

// delicacy orders hosts by how much depends on them.
func delicacy(h Host) int {
	switch {
	case h.Has(RoleController):
		return 3
	case h.Has(RoleDomainController):
		return 2
	case h.Has(RoleCA):
		return 1
	}
	return 0
}

// kin names what a host must not share a wave with; empty when it may share with all.
func kin(h Host) string {
	switch {
	case h.Has(RoleController), h.Has(RoleDomainController), h.Has(RoleCA):
		return "infrastructure of " + h.Domain
	case h.Cluster != "":
		return "cluster " + h.Cluster
	}
	return ""
}
