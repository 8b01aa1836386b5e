package rollout

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// epoch is the time at which every test begins.
var epoch = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// drill runs a campaign with random people, workers, clocks and crashes. Its
// books are its own: it never asks Decide or the state whether something is
// allowed, so that a core that lies about it is found out.
type drill struct {
	t    *rapid.T
	p    *Plan
	s    *State
	now  time.Time
	log  []Event
	good bool // from now on all goes well and people do what is asked of them
	bad  int  // how many of a hundred actions end badly until then

	approved string
	by       string // who approved the plan
	at       time.Time
	paused   bool
	aborted  bool
	rollback bool
	finished bool
	failures int // since the start or the last resume after a halt
	halted   int
	hosts    map[HostID]*hostBook
	order    []HostID
	waves    []*waveBook
	touched  int // actions given, of any kind
	soaks    int // looks at a host in its brown-out
}

type hostBook struct {
	wave    int
	passed  int // actions of the goal that are behind it
	running ActionKind
	attempt int
	step    int  // of the running action
	open    bool // that step has no end yet
	dirty   bool
	wrote   bool
	counted bool
	last    Outcome
	due     time.Time
	row     int // of the same outcome
	narrow  bool
	zone    Zone
	retired bool // the directory does not have it as the plan has
}

type waveBook struct {
	status   WaveStatus
	unproven bool // it was said of the wave
	asked    int  // approvals from here on were given when the wave before was known to be unproven
	approved []Approval
	soak     time.Time
	failures int
}

// paths are the steps of each action as a worker opens them.
var paths = map[ActionKind][]StepKind{
	ActSecure:  {StepInspect, StepSaveImage, StepEnroll, StepListen, StepAllow, StepProve},
	ActQuiesce: {StepInspect, StepProve, StepArm, StepNarrow, StepProveNarrow, StepDisarm},
	ActClose:   {StepInspect, StepProve, StepArm, StepRemoveHTTP, StepProveClosed, StepDisarm},
	ActRestore: {StepInspect, StepRestore, StepInspect},
}

func drawPlan(t *rapid.T) *Plan {
	p := &Plan{Version: PlanVersion, ID: "drill", Made: epoch, Policy: DefaultPolicy(),
		Goal: rapid.SampledFrom([]Goal{GoalSecure, GoalClose, GoalClose}).Draw(t, "goal")}
	p.Policy.FailureLimit = rapid.IntRange(1, 6).Draw(t, "failure limit")
	p.Policy.Quiesce = Duration(rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "quiesce"))
	p.Policy.Deferrals = rapid.IntRange(0, 3).Draw(t, "deferrals")
	p.Policy.PassUnproven = rapid.IntRange(0, 3).Draw(t, "pass unproven") == 0
	p.Policy.RestorePassed = rapid.Bool().Draw(t, "restore passed")
	p.Policy.SecondPerson = rapid.IntRange(0, 3).Draw(t, "second person") == 0
	p.Policy.ApprovalFor = Duration(rapid.SampledFrom([]time.Duration{0, 0, 8 * time.Hour}).Draw(t, "approval for"))
	if rapid.IntRange(0, 2).Draw(t, "windows") == 0 {
		p.Policy.Maintenance = Maintenance{Windows: []Window{{From: "22:00", To: "04:00"}}} // see insideWindow
	}
	if n := rapid.IntRange(0, 3).Draw(t, "at once in a zone"); n > 0 {
		p.Policy.AtOnce = []Bound{{Each: "zone", Max: n}}
	}
	for n := range rapid.IntRange(1, 4).Draw(t, "waves") {
		w := Wave{Name: fmt.Sprint("w", n+1), InFlight: rapid.IntRange(1, 4).Draw(t, "in flight"), Limit: rapid.IntRange(1, 3).Draw(t, "limit"),
			Soak: Duration(rapid.SampledFrom([]time.Duration{0, 0, time.Hour}).Draw(t, "soak")), Approval: rapid.IntRange(0, 3).Draw(t, "approval") == 0}
		for range rapid.IntRange(1, 6).Draw(t, "size") {
			id := HostID(fmt.Sprintf("h%02d.corp.example", len(p.Hosts)))
			w.Hosts = append(w.Hosts, id)
			p.Hosts = append(p.Hosts, Planned{Host: Host{ID: id, Domain: "corp.example", OU: fmt.Sprint("corp.example/", len(p.Hosts)%3), Zone: Zone(fmt.Sprint("z", len(p.Hosts)%2))}, Class: ClassHTTPOnly})
		}
		p.Waves = append(p.Waves, w)
	}
	return p
}

func newDrill(t *rapid.T, p *Plan) *drill {
	d := &drill{t: t, p: p, s: NewState(p), now: epoch.Add(time.Duration(rapid.IntRange(0, 23).Draw(t, "hour")) * time.Hour), hosts: map[HostID]*hostBook{}, bad: rapid.SampledFrom([]int{0, 10, 30, 70}).Draw(t, "bad")}
	if err := p.Validate(); err != nil {
		t.Fatalf("the plan of the drill is unfit: %v", err)
	}
	for n, w := range p.Waves {
		for _, id := range w.Hosts {
			d.hosts[id] = &hostBook{wave: n + 1, zone: Zone(fmt.Sprint("z", len(d.order)%2))}
			d.order = append(d.order, id)
		}
	}
	for range len(p.Waves) + 1 {
		d.waves = append(d.waves, &waveBook{status: WaveWaiting})
	}
	return d
}

func (d *drill) goal() []ActionKind { return d.p.Actions() }

// rules are those of a wave; the one after the last has the last one's.
func (d *drill) rules(n int) Wave { return d.p.Waves[min(n, len(d.p.Waves))-1] }

func (d *drill) inFlight() (n int) {
	for _, h := range d.hosts {
		if h.running != "" {
			n++
		}
	}
	return n
}

func (d *drill) done(h *hostBook) bool { return h.last == Passed && h.passed == len(d.goal()) }

func (h *hostBook) waits() bool {
	return h.running == "" && (h.last == Deferred || h.last == Pending || h.last == AwaitPolicy)
}

// returns reports whether the host has to be put back whatever becomes of its wave.
func (h *hostBook) returns() bool {
	return h.running == "" && (h.last == Unknown || (h.last == Failed && h.wrote))
}

// inDoubt holds from an unknown outcome until somebody has found out.
func (h *hostBook) inDoubt() bool { return h.last == Unknown }

func (d *drill) spent(h *hostBook) bool {
	return h.last == Deferred && h.row > d.p.Policy.Deferrals || d.gone(h)
}

// ready reports whether a wave could begin the host's next action.
func (d *drill) ready(id HostID, n int) bool {
	h := d.hosts[id]
	switch {
	case h.running != "" || d.done(h) || d.gone(h):
		return false
	case h.waits():
		return !d.now.Before(h.due) && (!d.spent(h) || d.missed(h, n))
	}
	return h.wave == n && (h.last == "" || h.last == Passed || (h.last == Soaking && !d.now.Before(h.due)))
}

// missed reports whether a wave that has proved nothing waits for the host, however often it was deferred.
func (d *drill) missed(h *hostBook, n int) bool {
	return h.wave == n && d.gates(n) && d.waves[n-1].unproven && !h.narrow && !d.gone(h)
}

// gates reports whether the next wave rests on this one.
func (d *drill) gates(n int) bool { return n < len(d.p.Waves) && !d.p.Policy.PassUnproven }

// shown reports whether a host of the wave is at the goal.
func (d *drill) shown(n int) bool {
	for _, h := range d.hosts {
		if h.wave == n && d.done(h) {
			return true
		}
	}
	return false
}

// depends reports whether something would be begun in a wave after this one.
func (d *drill) depends(n int) bool {
	for _, h := range d.hosts {
		if h.wave > n && h.wave <= len(d.p.Waves) && h.last == "" && !d.gone(h) {
			return true
		}
	}
	return false
}

// stuck reports whether a wave waits for a host at the goal, or for a person who lets the next one begin.
func (d *drill) stuck(n int) bool {
	return d.gates(n) && !d.shown(n) && d.depends(n) && !d.approvedFrom(n+1, d.waves[n].asked)
}

// gone reports whether nothing may be begun on a host because it is retired; what was begun goes on.
func (d *drill) gone(h *hostBook) bool {
	return h.retired && h.running == "" && !h.returns() && !h.narrow && !d.done(h)
}

// write puts events into the journal, the state and the books.
func (d *drill) write(events ...Event) {
	for _, e := range events {
		e.Seq, e.Campaign = int64(len(d.log)+1), d.p.ID
		if e.At.IsZero() {
			e.At = d.now
		}
		d.log = append(d.log, e)
		d.s.Apply(e)
		d.book(e)
	}
	d.audit()
}

// audit compares what the state counts with the books.
func (d *drill) audit() {
	if got, want := d.s.InFlight(), d.inFlight(); got != want {
		d.t.Fatalf("the state counts %d in flight, the books %d", got, want)
	}
	if d.s.Failures != d.failures {
		d.t.Fatalf("the state counts %d failures, the books %d", d.s.Failures, d.failures)
	}
	var waiting []HostID
	for _, id := range d.order {
		b, h := d.hosts[id], d.s.Hosts[id]
		if b.waits() {
			waiting = append(waiting, id)
		}
		if h.Running != b.running || h.Wrote != b.wrote || h.Dirty != b.dirty || h.Done != d.done(b) || h.Attempt != b.attempt || h.Wave != b.wave {
			d.t.Fatalf("%s is %+v in the state and %+v in the books", id, *h, *b)
		}
	}
	if !slices.Equal(d.s.Waiting(), waiting) {
		d.t.Fatalf("the state has %v waiting, the books %v", d.s.Waiting(), waiting)
	}
	for n, w := range d.waves {
		rules := d.rules(n + 1)
		if d.s.Waves[n].Failures != w.failures {
			d.t.Fatalf("wave %d has %d failures in the state and %d in the books", n+1, d.s.Waves[n].Failures, w.failures)
		}
		if most := rules.Limit - 1 + rules.InFlight; w.failures > most {
			d.t.Fatalf("wave %d has %d failures; limit %d and %d in flight allow %d", n+1, w.failures, rules.Limit, rules.InFlight, most)
		}
	}
}

// crash forgets everything but the journal, as it is read back from a disk.
func (d *drill) crash() {
	s := NewState(d.p)
	for _, e := range d.log {
		b, err := json.Marshal(e)
		if err != nil {
			d.t.Fatal(err)
		}
		var back Event
		if err := json.Unmarshal(b, &back); err != nil {
			d.t.Fatal(err)
		}
		s.Apply(back)
	}
	if !reflect.DeepEqual(s, d.s) {
		d.t.Fatalf("replay gives another state:\n%s\nwant\n%s", dump(s), dump(d.s))
	}
	d.s = s
}

func dump(s *State) string {
	b, _ := json.MarshalIndent(s, "", " ")
	return string(b)
}

// zombie lets a worker speak whose attempt is over. Nobody may listen.
func (d *drill) zombie(id HostID) {
	b, h := d.hosts[id], d.s.Hosts[id]
	attempt := b.attempt - 1
	if b.running == "" {
		attempt = rapid.IntRange(0, b.attempt).Draw(d.t, "of attempt")
	}
	e := rapid.SampledFrom([]Event{
		{Kind: EvSettled, Outcome: Passed}, {Kind: EvSettled, Outcome: Failed, Reason: ReasonTimeout}, {Kind: EvStepDone, Step: StepSaveImage},
		{Kind: EvStepOpen, Step: StepRemoveHTTP}, {Kind: EvStepFail, Step: StepArm}, {Kind: EvAction, Action: ActClose, Wave: b.wave}}).Draw(d.t, "zombie says")
	e.Host, e.Attempt, e.Class, e.At, e.Campaign = id, attempt, ClassHTTPSOnly, d.now, d.p.ID
	e.Seq = int64(len(d.log) + 1)
	before := *h
	d.log = append(d.log, e)
	d.s.Apply(e)
	if *h != before {
		d.t.Fatalf("%s of attempt %d changed %s, whose attempt %d is %q, from\n%+v to\n%+v", e.Kind, attempt, id, b.attempt, b.running, before, *h)
	}
	d.audit()
}
