package rollout

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestCampaign holds Decide and Apply against the books of a drill, through
// random people, outcomes, clocks and crashes, and then lets all go well: a
// campaign that does nothing would be safe, and wrong.
func TestCampaign(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := newDrill(t, drawPlan(t))
		if rapid.IntRange(0, 4).Draw(t, "late approval") > 0 {
			d.write(Event{Kind: EvApproved, Actor: "ann", Detail: d.p.Hash()})
		}
		for range rapid.IntRange(0, 250).Draw(t, "turmoil") {
			d.turn()
		}
		d.peace()
		if rapid.IntRange(0, 4).Draw(t, "regret") == 0 {
			d.write(Event{Kind: EvRollback, Actor: "ann"})
			d.peace()
		}
	})
}

// TestCampaignWithoutTrouble reaches the goal on every host.
func TestCampaignWithoutTrouble(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := newDrill(t, drawPlan(t))
		d.good = true
		d.peace()
		for _, id := range d.order {
			if !d.done(d.hosts[id]) {
				t.Fatalf("%s ends %+v", id, *d.hosts[id])
			}
		}
		if want := len(d.order)*len(d.goal()) + d.soaks; d.touched != want {
			t.Fatalf("%d actions for %d", d.touched, want)
		}
	})
}

// turn is one tick of the coordinator and one thing that happens in the world.
func (d *drill) turn() {
	dec := d.tick()
	switch n := rapid.IntRange(0, 99).Draw(d.t, "turn"); {
	case n < 60:
		d.workers()
	case n < 75:
		d.clock(dec)
	case n < 85:
		d.person()
	case n < 90:
		d.crash()
		d.thaw()
	case n < 96:
		d.directory()
	default:
		d.zombie(rapid.SampledFrom(d.order).Draw(d.t, "zombie at"))
	}
}

// directory tells that some hosts are retired, and that others are not any more.
func (d *drill) directory() {
	r := Roster{Added: []Change{{Host: "new.corp.example", Reason: ReasonAdded}}}
	for _, id := range d.order {
		if rapid.IntRange(0, 3).Draw(d.t, "retired") == 0 {
			r.Retired = append(r.Retired, Change{Host: id, Reason: ReasonAccountDisabled, Detail: "the account is disabled"})
		}
	}
	if rapid.IntRange(0, 4).Draw(d.t, "doubt") == 0 {
		r.Doubt = "too many"
	}
	e, err := NewRoster(r)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write(e)
}

// tick decides and does what was decided.
func (d *drill) tick() Decision {
	dec := Decide(d.p, d.s, d.now)
	d.referee(dec)
	d.write(dec.Events...)
	for _, a := range dec.Actions {
		d.write(Event{Kind: EvAction, Host: a.Host, Action: a.Kind, Wave: a.Wave, Attempt: a.Attempt, Detail: a.Why})
	}
	if len(d.log)%5 == 0 {
		checkView(d.t, d.p, d.s, d.now)
	}
	return dec
}

// workers lets one of the hosts in flight move.
func (d *drill) workers() {
	var busy []HostID
	for _, id := range d.order {
		if d.hosts[id].running != "" {
			busy = append(busy, id)
		}
	}
	if len(busy) == 0 {
		return
	}
	id := rapid.SampledFrom(busy).Draw(d.t, "busy")
	h := d.hosts[id]
	path := paths[h.running]
	e := Event{Host: id, Action: h.running, Attempt: h.attempt}
	switch {
	case h.open:
		e.Kind = rapid.SampledFrom([]EventKind{EvStepDone, EvStepDone, EvStepFail}).Draw(d.t, "step ends")
		e.Step = path[h.step]
	case h.step < len(path) && rapid.IntRange(0, 3).Draw(d.t, "go on") > 0:
		e.Kind, e.Step, e.Class = EvStepOpen, path[h.step], ClassBoth
	default:
		e.Kind = EvSettled
		e.Outcome = d.outcome(h)
		e.Until = d.until(e.Outcome)
	}
	d.write(e)
}

// outcome is an end that a worker could report: see Next.
func (d *drill) outcome(h *hostBook) Outcome {
	ends := []Outcome{Failed, Failed, Deferred, Refused}
	if h.narrow { // see HostRun.refuse
		ends = ends[:3]
	}
	switch {
	case h.running == ActQuiesce && (h.last != Soaking || h.row < 3) && rapid.Bool().Draw(d.t, "soaks"):
		return Soaking
	case h.running == ActRestore && (d.good || rapid.IntRange(0, 99).Draw(d.t, "back") >= d.bad):
		return Restored
	case h.running == ActRestore:
		ends = []Outcome{Unknown, Unknown, Unknown, NeedsHuman, Failed}
	case d.good || rapid.IntRange(0, 99).Draw(d.t, "luck") >= d.bad:
		return Passed
	case h.dirty && h.running == ActSecure:
		ends = []Outcome{Failed, Unknown, Pending}
	case h.dirty:
		ends = []Outcome{Failed, Unknown}
	case h.running == ActClose, h.running == ActQuiesce:
		ends = append(ends, AwaitPolicy, Deferred, Unknown)
	}
	return rapid.SampledFrom(ends).Draw(d.t, "outcome")
}

func (d *drill) until(o Outcome) time.Time {
	switch o {
	case Deferred, Pending, AwaitPolicy, Unknown, Soaking:
		return d.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(d.t, "again in")) * time.Minute)
	}
	return time.Time{}
}

func (d *drill) clock(dec Decision) {
	if !dec.Wake.IsZero() && rapid.Bool().Draw(d.t, "wake") {
		d.now = dec.Wake
		return
	}
	// A clock that is set right may go back, or far ahead.
	d.now = d.now.Add(time.Duration(rapid.SampledFrom([]int{1, 60, 1800, 3600, 4 * 3600, -1800, -50 * 3600, 1000 * 3600}).Draw(d.t, "seconds")) * time.Second)
}

// person does one thing that people do.
func (d *drill) person() {
	n := rapid.IntRange(1, len(d.p.Waves)).Draw(d.t, "wave")
	e := rapid.SampledFrom([]Event{
		{Kind: EvApproved, Detail: d.p.Hash()}, {Kind: EvApproved, Detail: d.p.Hash()}, {Kind: EvApproved, Detail: d.p.Hash()},
		{Kind: EvApproved, Wave: n}, {Kind: EvApproved, Wave: n}, {Kind: EvApproved, Detail: "of another plan"},
		{Kind: EvPaused, Detail: "freeze"}, {Kind: EvResumed}, {Kind: EvResumed}, {Kind: EvResumed}, {Kind: EvStarted}, {Kind: EvStopped},
		{Kind: EvAborted}, {Kind: EvRollback}}).Draw(d.t, "person")
	if (e.Kind == EvAborted || e.Kind == EvRollback) && rapid.IntRange(0, 3).Draw(d.t, "really") > 0 {
		return
	}
	e.Actor = rapid.SampledFrom([]string{"ann", "bob"}).Draw(d.t, "who")
	d.write(e)
}

// peace lets everything go well, with people who do what they are asked for, until
// the campaign is over.
func (d *drill) peace() {
	d.good = true
	for range 5000 {
		dec := d.tick()
		switch {
		case dec.Over:
			return
		case d.inFlight() > 0:
			d.workers()
		case !dec.Idle:
		case !dec.Wake.IsZero():
			d.now = dec.Wake
		default:
			d.helpfulPerson()
		}
	}
	d.t.Fatalf("the campaign does not end; the state is\n%s", dump(d.s))
}

func (d *drill) helpfulPerson() {
	switch {
	case d.approved != d.p.Hash(), d.planStale():
		d.write(Event{Kind: EvApproved, Actor: "ann", Detail: d.p.Hash()})
	case d.paused, d.halted > 0:
		d.write(Event{Kind: EvResumed, Actor: "ann"})
	default:
		for n := range d.p.Waves {
			if d.waves[n].status == WaveWaiting {
				d.write(Event{Kind: EvApproved, Actor: rapid.SampledFrom([]string{"ann", "bob"}).Draw(d.t, "approves"), Wave: n + 1})
				return
			}
		}
		d.t.Fatal("nobody knows what to do")
	}
}
