package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// View is a campaign as people look at it: the same for the terminal, the page and the report.
type View struct {
	Campaign CampaignID    `json:"campaign"`
	Goal     Goal          `json:"goal"`
	Hash     string        `json:"hash"`
	Status   string        `json:"status"` // one word or two
	Why      string        `json:"why,omitempty"`
	Approved string        `json:"approved_by,omitempty"`
	Hosts    int           `json:"hosts"`
	Done     int           `json:"done"`
	InFlight int           `json:"in_flight"`
	Failures int           `json:"failures"`
	Limit    int           `json:"failure_limit"`
	Classes  map[Class]int `json:"classes"`
	Waves    []WaveView    `json:"waves"`
	OUs      []OUView      `json:"ous"`
	Troubles []HostView    `json:"troubles,omitempty"` // hosts that are not on their way, worst first
	LeftOut  []LeftOut     `json:"left_out,omitempty"`
	// Roster is what the directory was last seen to have otherwise than the plan, and Listed when; nil before the first look.
	Roster   *Roster        `json:"roster,omitempty"`
	Listed   time.Time      `json:"listed,omitzero"`
	Policies []PolicyChange `json:"policies,omitempty"`       // what a person has to change in Group Policy, where somebody has looked it up
	Counts   map[string]int `json:"counts"`                   // hosts by HostView.Status
	Unserved []ZoneView     `json:"unserved_zones,omitempty"` // see Staff
	Seq      int64          `json:"seq"`
	At       time.Time      `json:"at"`
}

// WaveView is one wave's row.
type WaveView struct {
	Number   int        `json:"number"`
	Name     string     `json:"name"`
	Status   WaveStatus `json:"status"`
	Why      string     `json:"why,omitempty"`
	Reason   Reason     `json:"reason,omitempty"` // where Why has one
	Hosts    int        `json:"hosts"`
	Done     int        `json:"done"`
	Running  int        `json:"running"`
	Failed   int        `json:"failed"`
	Restored int        `json:"restored"`
	Broken   int        `json:"broken"`  // failed or in doubt, and not put back
	Waiting  int        `json:"waiting"` // deferred, pending, await-policy, soaking
	Refused  int        `json:"refused"`
	Retired  int        `json:"retired,omitempty"` // and not begun, or begun no further
	Limit    int        `json:"limit"`
	InFlight int        `json:"in_flight_limit"`
}

// OUView is the coverage of one organizational unit.
type OUView struct {
	OU      string        `json:"ou"`
	Hosts   int           `json:"hosts"`
	Classes map[Class]int `json:"classes"`
}

// HostView is one host's row.
type HostView struct {
	Host   HostID     `json:"host"`
	OU     string     `json:"ou,omitempty"`
	Wave   int        `json:"wave"`
	Status string     `json:"status"`
	Action ActionKind `json:"action,omitempty"`
	Step   StepKind   `json:"step,omitempty"`
	Class  Class      `json:"class"`
	Reason Reason     `json:"reason,omitempty"`
	Detail string     `json:"detail,omitempty"`
	Again  time.Time  `json:"again,omitzero"`
	Proof  *Proof     `json:"proof,omitempty"`
}

// NewView draws the campaign. It is pure: plan, state and time in, rows out.
func NewView(p *Plan, s *State, now time.Time) View {
	v := View{Campaign: p.ID, Goal: p.Goal, Hash: s.hashOf(p), Approved: s.By, Hosts: len(p.Hosts), InFlight: s.inFlight,
		Failures: s.Failures, Limit: p.Policy.FailureLimit, Classes: map[Class]int{}, Counts: map[string]int{},
		LeftOut: p.Left, Seq: s.Seq, At: now}
	ous := map[string]*OUView{}
	count := func(ou string, c Class) {
		v.Classes[c]++
		o := ous[ou]
		if o == nil {
			o = &OUView{OU: ou, Classes: map[Class]int{}}
			ous[ou] = o
		}
		o.Hosts++
		o.Classes[c]++
	}
	v.Waves = make([]WaveView, len(s.Waves))
	for i := range s.Waves {
		v.Waves[i] = newWaveView(p, s, i)
	}
	for _, ph := range p.Hosts {
		h := HostRow(p, s, ph)
		count(ph.Host.OU, h.Class)
		v.Counts[h.Status]++
		v.Waves[h.Wave-1].add(s.Hosts[ph.Host.ID])
		if h.trouble() {
			v.Troubles = append(v.Troubles, h)
		}
	}
	for _, l := range p.Left {
		count(l.OU, l.Class)
	}
	if last := len(v.Waves) - 1; v.Waves[last].Hosts == 0 {
		v.Waves = v.Waves[:last]
	}
	for _, w := range v.Waves {
		v.Done += w.Done
	}
	for _, o := range ous {
		v.OUs = append(v.OUs, *o)
	}
	slices.SortFunc(v.OUs, func(a, b OUView) int { return cmp.Compare(a.OU, b.OU) })
	slices.SortStableFunc(v.Troubles, func(a, b HostView) int { return cmp.Compare(gravity(a.Status), gravity(b.Status)) })
	if !s.RosterAt.IsZero() {
		r := s.Roster // replaced as a whole, never changed
		v.Roster, v.Listed = &r, s.RosterAt
	}
	v.Status, v.Why = statusOf(s, Decide(p, s, now))
	return v
}

func newWaveView(p *Plan, s *State, i int) WaveView {
	ws := s.Waves[i]
	v := WaveView{Number: i + 1, Name: "later", Status: ws.Status, Why: ws.Why, Failed: ws.Failures}
	rules := p.Waves[min(i, len(p.Waves)-1)]
	if i < len(p.Waves) {
		v.Name = rules.Name
	}
	if _, unproven := s.early(p, i+2); unproven {
		v.Status, v.Why, v.Reason = WaveUnproven, ws.Unproven, ReasonWaveUnproven
	}
	v.Limit, v.InFlight = rules.Limit, rules.InFlight
	return v
}

func (w *WaveView) add(h *HostState) {
	w.Hosts++
	switch {
	case h.Running != "":
		w.Running++
	case h.Done:
		w.Done++
	case h.shelved():
		w.Retired++
	case h.later(), h.soaks():
		w.Waiting++
	case h.Outcome == Refused:
		w.Refused++
	case h.Outcome == Restored:
		w.Restored++
	case h.Outcome == Failed, h.Outcome == NeedsHuman, h.Outcome == Unknown:
		w.Broken++
	}
}

// HostRow is one host's row.
func HostRow(p *Plan, s *State, ph Planned) HostView {
	h := s.Hosts[ph.Host.ID]
	reason, detail := h.Reason, h.Detail
	if h.shelved() {
		reason, detail = h.Retired, h.RetiredWhy
	}
	return HostView{Host: ph.Host.ID, OU: ph.Host.OU, Wave: h.Wave, Status: h.word(), Action: h.Running, Step: h.Open,
		Class: h.Class, Reason: reason, Detail: detail, Again: h.Again, Proof: h.Proof}
}

// word is the host's state in one word.
func (h HostState) word() string {
	switch {
	case h.Running != "":
		return "running"
	case h.Done:
		return "done"
	case h.shelved():
		return Shelved
	case h.Outcome == "":
		return "waiting"
	case h.Outcome == Passed:
		return "secured"
	}
	return string(h.Outcome)
}

func (h HostView) trouble() bool {
	switch h.Status {
	case "running", "done", "waiting", "secured", string(Soaking):
		return false
	}
	return true
}

func gravity(status string) int {
	return slices.Index([]string{string(NeedsHuman), string(Unknown), string(Failed), string(Restored), string(Refused),
		string(Pending), string(AwaitPolicy), Shelved, string(Deferred), string(Soaking)}, status)
}

func statusOf(s *State, d Decision) (status, why string) {
	switch {
	case s.Finished:
		return "finished", ""
	case s.Aborted != "":
		return "aborting", d.Hold
	case s.Rollback != "":
		return "rolling back", d.Hold
	case s.Halted > 0:
		return "halted", d.Hold
	case s.Paused != "":
		return "paused", d.Hold
	case s.Approved == "":
		return "not approved", d.Hold
	case d.Idle:
		return "waiting", d.Hold
	case s.onlyLooksAgain(d):
		return "waiting", fmt.Sprintf("%d hosts that wait for something else are due to be looked at again", len(d.Actions))
	}
	if s.Stopped {
		return "stopped", "nobody runs it now; wavelock run goes on"
	}
	return "running", d.Hold
}

// onlyLooksAgain reports whether all that is left to do is to see whether hosts
// that wait have got what they wait for.
func (s *State) onlyLooksAgain(d Decision) bool {
	return s.inFlight == 0 && len(d.Events) == 0 && len(d.Actions) > 0 &&
		!slices.ContainsFunc(d.Actions, func(a Action) bool { return a.Kind == ActRestore || !s.Hosts[a.Host].later() })
}

// Percent is a share in whole numbers, rounded, but never 100 before all are there, and
// never 0 when there is one.
func Percent(n, of int) int {
	if of == 0 {
		return 0
	}
	p := (n*100 + of/2) / of
	switch {
	case p == 0 && n > 0:
		return 1
	case p >= 100 && n < of:
		return 99
	}
	return p
}
