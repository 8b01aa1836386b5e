package rollout

import (
	"testing"
	"time"
)

// soakingStage is a campaign of one host whose HTTP is narrowed and whose undo is disarmed.
func soakingStage() *stage {
	st := newStage(1)
	st.p.Policy.Quiesce, st.p.Policy.Deferrals = Duration(48*time.Hour), 1
	st.begin().wave(EvWaveOpened, 1).act("h0", ActSecure, Passed)
	return st.start("h0", ActQuiesce).say(Event{Kind: EvStepOpen, Host: "h0", Attempt: 2, Step: StepNarrow},
		Event{Kind: EvStepDone, Host: "h0", Attempt: 2, Step: StepNarrow, At: epoch},
		Event{Kind: EvSettled, Host: "h0", Attempt: 2, Outcome: Soaking, Until: epoch.Add(time.Hour)})
}

// A campaign that is given up in the middle of a brown-out takes the block rule back.
func TestAbortEndsABrownOut(t *testing.T) {
	t.Parallel()
	st := soakingStage()
	st.say(Event{Kind: EvAborted, Actor: "ann"})
	if d := Decide(st.p, st.s, epoch.Add(time.Minute)); told(d) != "restore h0 in 1" {
		t.Fatalf("decided %q", told(d))
	}
	st.start("h0", ActRestore).end("h0", Restored)
	if d := Decide(st.p, st.s, epoch.Add(time.Minute)); told(d) != "finished 0" {
		t.Errorf("decided %q after the host is back", told(d))
	}
}

// A host that left in the middle of its brown-out is not given up as long as nobody tried to open it again.
func TestNarrowedHostIsNotGivenUp(t *testing.T) {
	t.Parallel()
	st := soakingStage()
	now, restores := epoch.Add(2*time.Hour), 0
	for range 40 {
		d := Decide(st.p, st.s, now)
		if d.Over {
			break
		}
		st.say(d.Events...)
		for _, a := range d.Actions {
			outcome := Deferred
			if a.Kind == ActRestore {
				if restores++; restores == 3 {
					outcome = NeedsHuman
				} else {
					outcome = Unknown
				}
			}
			st.say(Event{Kind: EvAction, Host: a.Host, Action: a.Kind, Attempt: a.Attempt, Wave: a.Wave}).end(a.Host, outcome)
		}
		now = now.Add(3 * time.Hour)
	}
	if h := st.s.Hosts["h0"]; !st.s.Finished || restores != 3 || h.Outcome != NeedsHuman {
		t.Errorf("finished %t, tried %d times to open it, the host is %s, narrowed since %v", st.s.Finished, restores, h.Outcome, h.Narrowed)
	}
}

// Half-way is no place to wait for the next maintenance window.
func TestNarrowedHostIsTriedAgainOutsideTheWindows(t *testing.T) {
	t.Parallel()
	st := soakingStage()
	st.p.Policy.Deferrals = 5
	st.p.Policy.Maintenance = Maintenance{Windows: []Window{{From: "22:00", To: "04:00"}}}
	narrowed := st.s.Hosts["h0"].Narrowed
	st.s = NewState(st.p) // the calendar is made with the state
	st.say(Event{Kind: EvApproved, Detail: st.p.Hash(), Actor: "ann"}).wave(EvWaveOpened, 1).act("h0", ActSecure, Passed)
	st.start("h0", ActQuiesce).say(Event{Kind: EvStepOpen, Host: "h0", Attempt: 2, Step: StepNarrow}, Event{Kind: EvStepDone, Host: "h0", Attempt: 2, Step: StepNarrow, At: narrowed},
		Event{Kind: EvSettled, Host: "h0", Attempt: 2, Outcome: Deferred, Until: epoch.Add(time.Hour)})
	if d := Decide(st.p, st.s, epoch.Add(30*time.Minute)); len(d.Actions) > 0 || !d.Wake.Equal(epoch.Add(time.Hour)) {
		t.Errorf("before it is due: decided %q, wakes at %v", told(d), d.Wake)
	}
	if d := Decide(st.p, st.s, epoch.Add(2*time.Hour)); told(d) != "quiesce h0 in 1" {
		t.Errorf("decided %q (%s)", told(d), d.Hold)
	}
}
