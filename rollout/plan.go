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
