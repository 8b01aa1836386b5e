package rollout

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"wavelock/pki"
)

// PlanVersion is the version of the plan's form that this program writes and reads.
const PlanVersion = 1

// Plan is the whole intent: who, in which order, how much at once, and how much
// may go wrong. What is approved is its hash.
type Plan struct {
	Version int        `json:"version"`
	ID      CampaignID `json:"id"`
	Made    time.Time  `json:"made"`
	MadeBy  string     `json:"made_by,omitempty"`
	Goal    Goal       `json:"goal"`
	Seed    uint64     `json:"seed"`
	Policy  Policy     `json:"policy"`
	// Selection stands for what the configuration selected, where all of that was planned: a host that the same
	// selection takes later was added meanwhile. Empty in plans for some hosts only.
	Selection string    `json:"selection,omitempty"`
	Roots     [][]byte  `json:"roots"`             // DER; the only trust anchors of every proof
	Issuing   [][]byte  `json:"issuing,omitempty"` // DER; CAs that the forest publishes besides: they help to build chains, and give no trust
	Waves     []Wave    `json:"waves"`
	Hosts     []Planned `json:"hosts"` // in the order of the waves
	Left      []LeftOut `json:"left_out,omitempty"`
	// Templates are those that hosts enroll by, as they were judged when the plan was made, with who waived what.
	Templates []pki.Judgement `json:"templates,omitempty"`
}

// Wave is a group of hosts with an error budget of its own.
type Wave struct {
	Name     string   `json:"name"`
	Hosts    []HostID `json:"hosts"`
	InFlight int      `json:"in_flight"` // at once; the wave can overshoot its limit by this many
	Limit    int      `json:"limit"`     // failed hosts that stop the wave; reaching it is enough
	Soak     Duration `json:"soak,omitempty"`
	Approval bool     `json:"approval,omitempty"` // waits for a person
}

// Planned is a host of the plan with what was known of it.
type Planned struct {
	Host     Host      `json:"host"`
	Basis    string    `json:"basis"` // fingerprint of the observation that was approved
	Class    Class     `json:"class"`
	Findings []Finding `json:"findings,omitempty"`
}

// LeftOut is a host that the plan does not touch, and why.
type LeftOut struct {
	Host   HostID `json:"host"`
	OU     string `json:"ou,omitempty"`
	Class  Class  `json:"class"`
	Reason Reason `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// Hash is SHA-256 over the plan's canonical form, in hexadecimal.
func (p Plan) Hash() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic("rollout: a plan is plain data: " + err.Error()) // no field can fail
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// RootPool is the plan's trust anchors.
func (p Plan) RootPool() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, der := range p.Roots {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read an enterprise root: %w", err)
		}
		pool.AddCert(c)
	}
	return pool, nil
}

// Host finds a planned host.
func (p Plan) Host(id HostID) (Planned, bool) {
	for _, h := range p.Hosts {
		if h.Host.ID == id {
			return h, true
		}
	}
	return Planned{}, false
}

// Actions lists what the campaign does to a host, in order.
func (p *Plan) Actions() []ActionKind {
	acts := p.Goal.Actions()
	if i := slices.Index(acts, ActClose); i >= 0 && p.Policy.Quiesce > 0 {
		acts = slices.Insert(slices.Clone(acts), i, ActQuiesce)
	}
	return acts
}

// NoNameHas are the characters that no campaign's name has: names stand in paths, commands and addresses.
const NoNameHas = `/\ "'%`

// Validate names everything that makes the plan unfit to run.
func (p Plan) Validate() error {
	var errs []error
	if p.Version != PlanVersion {
		errs = append(errs, fmt.Errorf("the plan has version %d, this program knows %d", p.Version, PlanVersion))
	}
	if p.ID == "" || strings.ContainsAny(string(p.ID), NoNameHas) {
		errs = append(errs, fmt.Errorf("%q is no name for a campaign", p.ID))
	}
	if p.Goal.Actions() == nil {
		errs = append(errs, fmt.Errorf("%q is no goal", p.Goal))
	}
	if len(p.Hosts) == 0 {
		errs = append(errs, errors.New("the plan has no hosts"))
	}
	known := map[HostID]bool{}
	for _, h := range p.Hosts {
		if known[h.Host.ID] {
			errs = append(errs, fmt.Errorf("%s is listed twice", h.Host.ID))
		}
		known[h.Host.ID] = true
	}
	placed := map[HostID]bool{}
	for i, w := range p.Waves {
		if w.InFlight < 1 || w.Limit < 1 || len(w.Hosts) == 0 {
			errs = append(errs, fmt.Errorf("wave %d: hosts, in_flight and limit have to be 1 at least", i+1))
		}
		for _, id := range w.Hosts {
			if placed[id] || !known[id] {
				errs = append(errs, fmt.Errorf("wave %d: %s is in two waves or not among the hosts", i+1, id))
			}
			placed[id] = true
		}
	}
	for _, j := range p.Templates {
		if err := unfit(j); err != nil {
			errs = append(errs, err)
		}
	}
	if len(placed) != len(known) {
		errs = append(errs, fmt.Errorf("%d hosts are in no wave", len(known)-len(placed)))
	}
	if err := p.Policy.Maintenance.validate(p.Made, p.Policy.Quiesce); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, p.Policy.Validate())...)
}

// Unfit is the first template that must not be used under the policy, nil if all may be.
func Unfit(p Policy, templates []pki.Judgement, now time.Time) *UnfitTemplate {
	waivers := p.AuditWaivers(now)
	for _, j := range templates {
		if u := unfit(j.Waive(waivers)); u != nil {
			return u
		}
	}
	return nil
}

// unfit says why nobody's certificate should come from a template.
func unfit(j pki.Judgement) *UnfitTemplate {
	var why []string
	for _, f := range j.Findings {
		if f.Severity == pki.Blocker && f.Waived == "" {
			why = append(why, f.Code+": "+f.Detail)
		}
	}
	if len(why) == 0 {
		return nil
	}
	return &UnfitTemplate{Template: j.Name, Hosts: j.Hosts, Why: why}
}

// UnfitTemplate is a template that is dangerous or not fit, and that nobody waived.
type UnfitTemplate struct {
	Template string
	Hosts    int      // that would enroll by it
	Why      []string // each begins with its code
}

func (e *UnfitTemplate) Error() string {
	return fmt.Sprintf("the template %s, by which %d hosts are to enroll, is not to be used: %s", e.Template, e.Hosts, strings.Join(e.Why, "; "))
}

// Hint is what to do about it.
func (e *UnfitTemplate) Hint() string {
	return "wavelock pki audit says how to correct it; else name another in policy.template, set route: reuse, or waive it by name and reason in policy.waivers"
}

// WaveRule says how large one wave is. One of Count, Percent and Match is set;
// the last wave takes whatever is left.
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

// Subject is one host as planning sees it.
type Subject struct {
	Host        Host
	Observation Observation
}

// Intent is what a person asks to be planned.
type Intent struct {
	ID        CampaignID
	Made      time.Time
	MadeBy    string
	Goal      Goal
	Seed      uint64
	Policy    Policy
	Selection string // see Plan
	Roots     [][]byte
	Issuing   [][]byte
	Waves     []WaveRule
	// Templates are the judgements of those that hosts enroll by.
	Templates []pki.Judgement
}

// NewPlan places hosts into waves. The same input gives the same plan: who is a
// canary is drawn from the seed. A failover cluster never has two nodes in one wave, and
// neither have domain controllers and CA servers, which come last, with the
// computer that runs this program at the very end.
func NewPlan(in Intent, subjects []Subject) Plan {
	p := Plan{Version: PlanVersion, ID: in.ID, Made: in.Made.UTC().Truncate(time.Second), MadeBy: in.MadeBy,
		Goal: in.Goal, Seed: in.Seed, Policy: in.Policy, Selection: in.Selection, Roots: in.Roots, Issuing: in.Issuing}
	waivers := in.Policy.AuditWaivers(in.Made)
	for _, j := range in.Templates {
		p.Templates = append(p.Templates, j.Waive(waivers))
	}
	planned := map[HostID]Planned{}
	var order []Host
	for _, s := range sorted(subjects) {
		a := Assess(s.Host, s.Observation, in.Policy, in.Made)
		if out, left := leaveOut(in.Goal, s.Host, s.Observation, in.Policy, a, in.Made); left {
			p.Left = append(p.Left, out)
			continue
		}
		planned[s.Host.ID] = Planned{Host: s.Host, Basis: s.Observation.Fingerprint(), Class: a.Class, Findings: a.Findings}
		order = append(order, s.Host)
	}
	rng := rand.New(rand.NewPCG(in.Seed, 0x77617665)) // "wave"
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	slices.SortStableFunc(order, func(a, b Host) int { return cmp.Compare(delicacy(a), delicacy(b)) })

	p.Waves = fill(in.Waves, order)
	if n := share(p.Policy.FailurePercent, len(order)); p.Policy.FailurePercent > 0 {
		p.Policy.FailureLimit = min(p.Policy.FailureLimit, n)
	}
	for _, w := range p.Waves {
		for _, id := range w.Hosts {
			p.Hosts = append(p.Hosts, planned[id])
		}
	}
	return p
}

func sorted(subjects []Subject) []Subject {
	s := slices.Clone(subjects)
	slices.SortFunc(s, func(a, b Subject) int { return cmp.Compare(a.Host.ID, b.Host.ID) })
	return slices.CompactFunc(s, func(a, b Subject) bool { return a.Host.ID == b.Host.ID })
}

// leaveOut decides whether the plan leaves a host alone because its first action is
// forbidden. A host that was merely not reachable stays in: it is deferred until it answers.
func leaveOut(g Goal, h Host, o Observation, p Policy, a Assessment, now time.Time) (LeftOut, bool) {
	out := LeftOut{Host: h.ID, OU: h.OU, Class: a.Class}
	if len(g.Actions()) == 0 {
		return out, true
	}
	if reason, detail := needless(g, o, a); reason != "" {
		out.Reason, out.Detail = reason, detail
		return out, true
	}
	if f, no := a.Blocking(g.Actions()[0]); no && f.Reason != ReasonNotObserved {
		out.Reason, out.Detail = f.Reason, f.Detail
		return out, true
	}
	if g == GoalRenew && o.Listeners.Known {
		if _, due := p.NeedsRenewal(h, o, now); !due {
			out.Reason = ReasonNotDue
		}
	}
	return out, out.Reason != ""
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

type filler struct{ waves []Wave }

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

func (r WaveRule) matches(h Host) bool {
	return h.below(r.OU) && (r.Site == "" || strings.EqualFold(h.Site, r.Site)) && (r.Group == "" || h.in(r.Group)) &&
		(r.Role == "" || h.Has(r.Role)) && (len(r.Hosts) == 0 || slices.Contains(r.Hosts, h.ID))
}

// Fingerprint is a short hash over what an approval rests on: who the host is,
// its listeners, bindings, policy and filters. Addresses and peers may change.
func (o Observation) Fingerprint() string {
	type part struct {
		Identity  Seen[Identity]
		Listeners []Listener
		Bindings  []Binding
		Policy    Seen[WinRMPolicy]
		Filters   [2]string
	}
	p := part{Identity: o.Identity, Bindings: slices.Clone(o.Bindings.Value), Policy: o.Policy,
		Filters: [2]string{o.Service.Value.IPv4Filter, o.Service.Value.IPv6Filter}}
	for _, l := range o.Listeners.Value {
		l.ListeningOn = nil
		p.Listeners = append(p.Listeners, l)
	}
	slices.SortFunc(p.Listeners, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Source, b.Source))
	})
	slices.SortFunc(p.Bindings, func(a, b Binding) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
	if o.Via == "" {
		return "" // never seen: there is nothing that could have moved
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic("rollout: an observation is plain data: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// share is so many percent of n, rounded down, and 1 at least.
func share(percent, n int) int { return max(1, n*percent/100) }

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

// selects reports whether the rule is for some hosts only.
func (r WaveRule) selects() bool {
	return r.OU != "" || r.Site != "" || r.Group != "" || r.Role != "" || len(r.Hosts) > 0
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
	for name, v := range map[string]int{"percent": r.Percent, "in_flight_percent": r.InFlightPercent, "limit_percent": r.LimitPercent} {
		bad(v < 0 || v > 100, "%s: %d is not between 0 and 100", name, v)
	}
	bad(r.Count > 0 && r.Percent > 0, "count and percent are two answers to one question")
	return errors.Join(errs...)
}

// Nobody lists the rules that are for some hosts only and that none of the subjects fits: a name that was mistyped
// would else go unseen.
func (in Intent) Nobody(subjects []Subject) []WaveRule {
	return slices.DeleteFunc(slices.Clone(in.Waves), func(r WaveRule) bool {
		return !r.selects() || slices.ContainsFunc(subjects, func(s Subject) bool { return r.matches(s.Host) })
	})
}

// needless says why a goal has nothing to do on a host, where that can be told from what was seen.
func needless(g Goal, o Observation, a Assessment) (Reason, string) {
	switch {
	case o.Via == "":
		return "", "" // never seen
	case g == GoalRenew && a.Class != ClassBoth && a.Class != ClassHTTPSOnly:
		return ReasonNothingToRenew, "it has no HTTPS listener"
	case g == GoalRestore && o.Image.Known && o.Image.Value == nil:
		return ReasonNoImage, "the host carries no before-image of an earlier campaign"
	}
	return "", ""
}
