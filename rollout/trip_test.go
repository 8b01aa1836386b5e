package rollout

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// trip is one host's campaign with a worker that is interrupted, and a network
// and a host that misbehave, a limited number of times.
type trip struct {
	t       *rapid.T
	c       *computer
	p       *Plan
	s       *State
	faults  int
	foreign bool // an undo was on the host that is not this campaign's
	early   bool // the journal has the image when the step begins, not when it ends
	stalls  []time.Duration
	steps   int
	seen    []StepKind
}

const subject = HostID("web1.corp.example")

func onePlan(policy Policy, goal Goal, c *computer) *Plan {
	o := c.observe()
	return &Plan{Version: PlanVersion, ID: "drill", Made: epoch, Policy: policy, Goal: goal,
		Waves: []Wave{{Name: "all", Hosts: []HostID{subject}, InFlight: 1, Limit: 1}},
		Hosts: []Planned{{Host: c.host, Basis: o.Fingerprint(), Class: ClassOf(o)}}}
}

// freshComputer has HTTP and nothing else.
func freshComputer(t fataler, policy Policy) *computer {
	return &computer{t: t, now: epoch, host: Host{ID: subject, Domain: "corp.example"}, policy: policy, http: true, blocked: true}
}

func drawComputer(t *rapid.T, policy Policy) *computer {
	c := freshComputer(t, policy)
	c.blocked = rapid.IntRange(0, 3).Draw(t, "firewall") > 0
	c.gpo = rapid.IntRange(0, 5).Draw(t, "gpo") == 0
	c.ca = rapid.SampledFrom([]string{"", "", "", "pend", "deny", "down"}).Draw(t, "ca")
	if rapid.IntRange(0, 2).Draw(t, "certificate") == 0 {
		c.certs = append(c.certs, goodCert(subject, 1, epoch))
	}
	if len(c.certs) > 0 && rapid.Bool().Draw(t, "listener") {
		c.https, c.thumb, c.bound = true, c.certs[0].Thumbprint, c.certs[0].Thumbprint
		c.blocked = false
		c.http = c.gpo || rapid.IntRange(0, 2).Draw(t, "http") > 0
	}
	switch rapid.IntRange(0, 9).Draw(t, "oddity") {
	case 1:
		c.imposter = true
	case 2:
		c.peers = []Peer{{Address: "192.0.2.9", Port: 5985}}
	case 3: // somebody armed an undo and left it
		c.armed, c.task, c.fires = true, true, epoch.Add(time.Hour)
	case 4:
		c.off = epoch.Add(2 * time.Hour)
	}
	return c
}

func newTrip(t *rapid.T, c *computer, p *Plan, faults int) *trip {
	tr := &trip{t: t, c: c, p: p, s: NewState(p), faults: faults, foreign: c.armed, early: rapid.Bool().Draw(t, "early"), stalls: []time.Duration{0, time.Second}}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	tr.write(Event{Kind: EvApproved, Detail: p.Hash(), Actor: "ann"})
	return tr
}

func (tr *trip) host() *HostState { return tr.s.Hosts[subject] }

func (tr *trip) write(e Event) {
	e.Seq, e.At = tr.s.Seq+1, tr.c.now
	if e.Host != "" && e.Kind != EvAction {
		e.Attempt = tr.host().Attempt
	}
	tr.s.Apply(e)
}

// chance spends one of the faults that are left, now and then.
func (tr *trip) chance(what string, in int) bool {
	if tr.faults <= 0 || rapid.IntRange(0, in).Draw(tr.t, what) != in {
		return false
	}
	tr.faults--
	return true
}

// travel runs the campaign until nothing happens any more without a person.
func (tr *trip) travel() {
	for range 400 {
		d := Decide(tr.p, tr.s, tr.c.now)
		for _, e := range d.Events {
			tr.write(e)
		}
		for _, a := range d.Actions {
			tr.write(Event{Kind: EvAction, Host: a.Host, Action: a.Kind, Wave: a.Wave, Attempt: a.Attempt})
			tr.act()
		}
		switch {
		case d.Over, d.Idle && d.Wake.IsZero():
			return
		case d.Idle:
			tr.c.pass(max(d.Wake.Sub(tr.c.now), 0))
			if !tr.c.narrowed.IsZero() && tr.chance("turned away", 3) {
				tr.c.drops = append(tr.c.drops, Drop{At: tr.c.now, Address: "192.0.2.77", Port: 5985})
			}
			tr.policyMoves()
		}
		if tr.chance("regret", 20) {
			tr.write(Event{Kind: EvRollback, Actor: "ann"})
		}
	}
	tr.t.Fatalf("the campaign of one host does not end: %+v", *tr.host())
}

// policyMoves lets Group Policy take its listener away, and an imposter leave.
func (tr *trip) policyMoves() {
	if tr.c.gpo && tr.c.usable() && rapid.Bool().Draw(tr.t, "policy applies") {
		tr.c.gpo, tr.c.http = false, false
	}
	tr.c.imposter = false
}

func (tr *trip) run() HostRun {
	ph, _ := tr.p.Host(subject)
	return NewRun(tr.p, ph, *tr.host(), tr.c.kept)
}

// act works on the running action to its end.
func (tr *trip) act() {
	tr.c.action, tr.c.begun, tr.c.effects = tr.host().Running, tr.c.now, 0
	run := tr.run()
	for range 80 {
		tr.c.pass(rapid.SampledFrom(tr.stalls).Draw(tr.t, "stall"))
		step := Next(run, tr.c.now)
		if again := Next(run, tr.c.now); !reflect.DeepEqual(again, step) {
			tr.t.Fatalf("asked twice, Next says %+v and %+v", step, again)
		}
		if step.Kind == StepFinish {
			tr.settle(step)
			return
		}
		run = tr.try(run, step)
	}
	tr.t.Fatalf("%s does not end: %v", tr.host().Running, tr.seen)
}

// try does one step, with whatever may happen around it.
func (tr *trip) try(run HostRun, step Step) HostRun {
	tr.steps++
	tr.seen = append(tr.seen, step.Kind)
	tr.write(Event{Kind: EvStepOpen, Host: subject, Step: step.Kind})
	if tr.early && step.Kind == StepSaveImage && tr.c.kept == nil {
		tr.c.kept = step.Image
	}
	if tr.chance("crash before", 8) {
		return tr.crash()
	}
	tr.c.pass(time.Duration(rapid.IntRange(0, slack).Draw(tr.t, "latency")) * time.Second)
	res, failure := tr.world(step)
	if tr.chance("crash after", 8) {
		return tr.crash()
	}
	if failure != nil {
		tr.write(Event{Kind: EvStepFail, Host: subject, Step: step.Kind, Reason: failure.Reason})
		return run.Advance(step, res, failure)
	}
	if step.Kind == StepSaveImage {
		tr.c.kept = step.Image
	}
	data, err := json.Marshal(res)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.write(Event{Kind: EvStepDone, Host: subject, Step: step.Kind, Data: data})
	if res.Request != nil {
		tr.c.told = res.Request.Number
	}
	return run.Advance(step, res, nil)
}

func (tr *trip) crash() HostRun {
	tr.c.session, tr.c.confirmed, tr.c.cutOff = false, false, false
	tr.c.imposter = tr.chance("imposter", 4)
	tr.c.pass(rapid.SampledFrom([]time.Duration{0, time.Minute, 20 * time.Minute}).Draw(tr.t, "down for"))
	return tr.run()
}

// world does the step, or something worse.
func (tr *trip) world(step Step) (Result, *Failure) {
	c := tr.c
	if !tr.chance("fault", 4) {
		return c.do(step)
	}
	switch rapid.IntRange(0, 7).Draw(tr.t, "which") {
	case 0:
		return Result{}, c.fail(step.Kind, ReasonTimeout, false, true)
	case 1:
		return Result{}, c.fail(step.Kind, ReasonAccessDenied, false, false)
	case 2: // the request never arrived
		return Result{}, c.fail(step.Kind, ReasonTimeout, step.Kind.Writes(), true)
	case 3: // the answer never arrived
		_, _ = c.do(step)
		return Result{}, c.fail(step.Kind, ReasonTimeout, step.Kind.Writes(), true)
	case 4:
		c.reboot()
	case 5:
		c.off = c.now.Add(tr.spell())
		c.session, c.confirmed = false, false
	case 6:
		c.cut = c.now.Add(tr.spell())
		c.session, c.confirmed = false, false
	case 7:
		c.unseen = rapid.SliceOfN(rapid.SampledFrom(parts), 1, 3).Draw(tr.t, "unseen")
	}
	return c.do(step)
}

// spell is how long something is away: all of them together are shorter than
// what a way back is given before it becomes a person's turn.
func (tr *trip) spell() time.Duration {
	return tr.p.Policy.UndoAfter.D() * time.Duration(rapid.IntRange(1, 50).Draw(tr.t, "spell")) / 100
}

// settle ends the action and holds its outcome against what is true.
func (tr *trip) settle(step Step) {
	h, c := tr.host(), tr.c
	dirty, act := h.Dirty, h.Running
	tr.write(Event{Kind: EvSettled, Host: subject, Outcome: step.Outcome, Reason: step.Reason, Detail: step.Detail, Until: step.Again})
	switch step.Outcome {
	case Refused, Deferred, AwaitPolicy:
		if dirty || c.effects > 0 {
			tr.t.Fatalf("%s ends %s (%s), which promises that nothing was written; %d writes", act, step.Outcome, step.Reason, c.effects)
		}
	case Passed:
		switch {
		case act == ActSecure && !c.usable():
			tr.t.Fatalf("secure passed and HTTPS does not work: %+v", *c)
		case act == ActClose && !c.narrowed.IsZero():
			tr.t.Fatalf("close passed and a rule of ours still blocks the port")
		case act == ActQuiesce && c.http && (c.narrowed.IsZero() || c.now.Before(c.soakEnd()) || len(c.drops) > 0 || c.armed || c.task):
			tr.t.Fatalf("quiesce passed, narrowed since %v, now %v, drops %v, undo %v", c.narrowed, c.now, c.drops, c.armed || c.task)
		case act == ActClose && (c.http || !c.usable() || c.armed || c.task):
			tr.t.Fatalf("close passed with HTTP %v, HTTPS %v, undo %v, task %v after %v", c.http, c.usable(), c.armed, c.task, tr.seen)
		}
	case Restored:
		now := c.doors()
		if c.first != nil && !c.first.http {
			now.http = false // where it came back meanwhile it is a door more, which nobody takes away
		}
		if c.first != nil && (now != *c.first || c.armed || c.task || c.image != nil) {
			tr.t.Fatalf("restored to %+v, armed %v, image %v; it was %+v", c.doors(), c.armed || c.task, c.image != nil, *c.first)
		}
	}
	switch step.Outcome {
	case Deferred, Pending, AwaitPolicy, Unknown, Soaking:
		if !step.Again.After(c.now) {
			tr.t.Fatalf("%s until %v, and it is %v", step.Outcome, step.Again, c.now)
		}
	}
}

// TestProcedure holds Next against a computer that knows its invariants.
func TestProcedure(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy := DefaultPolicy()
		policy.Route = rapid.SampledFrom([]Route{"", RouteRelay}).Draw(t, "route")
		policy.UndoAfter = Duration(rapid.SampledFrom([]time.Duration{10 * time.Minute, 2 * time.Minute, 30 * time.Second}).Draw(t, "undo after"))
		policy.Quiesce = Duration(rapid.SampledFrom([]time.Duration{0, 0, time.Hour, time.Second}).Draw(t, "quiesce"))
		policy.ProofFresh = Duration(rapid.SampledFrom([]time.Duration{3 * time.Minute, 20 * time.Second, 15 * time.Minute}).Draw(t, "proof fresh"))
		c := drawComputer(t, policy)
		p := onePlan(policy, GoalClose, c)
		tr := newTrip(t, c, p, rapid.IntRange(0, 8).Draw(t, "faults"))
		tr.stalls = rapid.SampledFrom([][]time.Duration{{0, time.Second}, {0, time.Second, time.Minute}, {0, 6 * time.Minute}}).Draw(t, "stalls")
		tr.travel()
		tr.arrive()
	})
}

// arrive holds the end of the campaign against what is true.
func (tr *trip) arrive() {
	h, c := tr.host(), tr.c
	switch {
	case h.Running != "" || h.mustReturn():
		tr.t.Fatalf("the campaign ends and the host is %+v", *h)
	case h.Done && tr.p.Goal == GoalClose && (c.http || !c.usable() || c.armed || c.task):
		tr.t.Fatalf("done with %+v", *c)
	case h.Outcome == NeedsHuman && !(tr.foreign && h.Reason == ReasonNoImage):
		tr.t.Fatalf("all faults were passing ones, and a person is needed: %s, %s, after %v", h.Reason, h.Detail, tr.seen)
	}
	c.watch("the campaign")
}
