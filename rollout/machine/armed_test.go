package machine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/machine"
	"wavelock/rollout/machinetest"
)

// upTo takes a host through the first steps of close, each on its own, and stops
// before the removal.
func (b *bench) upTo(m *machine.Machine, arm rollout.Step) rollout.Step {
	b.t.Helper()
	do := func(s rollout.Step) rollout.Result {
		b.t.Helper()
		res, err := m.Do(b.t.Context(), s)
		if err != nil {
			b.t.Fatalf("%s: %v", s.Kind, err)
		}
		return res
	}
	seen := do(rollout.Step{Kind: rollout.StepInspect}).Seen
	var thumb = seen.Listeners.Value[1].Thumbprint
	do(rollout.Step{Kind: rollout.StepProve, Thumbprint: thumb, Port: 5986})
	do(arm)
	return rollout.Step{Campaign: arm.Campaign, Mark: arm.Mark, Port: 5985, Thumbprint: thumb, Keep: []string{"127.0.0.1"}, Until: time.Now().Add(time.Minute)}
}

// What a worker that was stopped between the decision and the act must not do.
func TestNothingIsTakenAwayWithoutTheUndo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		between func(*bench, *rollout.Step)
		works   bool
	}{
		"an undo that is armed":                    {func(*bench, *rollout.Step) {}, true},
		"an undo that somebody switched off":       {func(b *bench, _ *rollout.Step) { b.meddle("disable-tasks") }, false},
		"an undo that is somebody else's by now":   {func(b *bench, _ *rollout.Step) { b.meddle("arm-elsewhere") }, false},
		"a worker that was stopped for a while":    {func(_ *bench, s *rollout.Step) { s.Until = time.Now().Add(-time.Second) }, false},
		"a step that does not say how long it has": {func(_ *bench, s *rollout.Step) { s.Until = time.Time{} }, false},
	} {
		for _, kind := range []rollout.StepKind{rollout.StepRemoveHTTP, rollout.StepNarrow} {
			t.Run(string(kind)+" with "+name, func(t *testing.T) {
				t.Parallel()
				b := secured(t)
				m := b.open()
				defer m.Close()
				step := b.upTo(m, rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@1", UndoAfter: time.Minute})
				step.Kind = kind
				tc.between(b, &step)
				_, err := m.Do(t.Context(), step)
				var f *rollout.Failure
				if tc.works != (err == nil) || err != nil && (!errors.As(err, &f) || f.Reason != rollout.ReasonUndoNotArmed) {
					t.Fatalf("%v", err)
				}
				b.doors(!tc.works || kind == rollout.StepNarrow, true)
				if narrowed := len(b.blockRules()) > 0; narrowed != (tc.works && kind == rollout.StepNarrow) {
					t.Errorf("HTTP is narrowed: %v", narrowed)
				}
			})
		}
	}
}

func (b *bench) meddle(what string) {
	b.t.Helper()
	if err := b.win.Meddle(what); err != nil {
		b.t.Fatal(err)
	}
}

// Two controllers with journals of their own meet on one host.
func TestTheUndoOfAnotherCampaignStays(t *testing.T) {
	t.Parallel()
	b := secured(t)
	m := b.open()
	defer m.Close()
	step := b.upTo(m, rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@1", UndoAfter: time.Minute})
	for _, k := range []rollout.StepKind{rollout.StepRemoveHTTP, rollout.StepProveClosed} {
		step.Kind, step.Port = k, 5986
		if _, err := m.Do(t.Context(), step); err != nil {
			t.Fatalf("%s: %v", k, err)
		}
	}
	b.meddle("arm-elsewhere")
	for _, mark := range []string{step.Mark, "elsewhere"} { // whatever was seen last
		step.Kind, step.Mark = rollout.StepDisarm, mark
		_, err := m.Do(t.Context(), step)
		var f *rollout.Failure
		if !errors.As(err, &f) || f.Reason != rollout.ReasonOtherCampaign || f.Transient || len(b.win.TaskNames()) != 1 {
			t.Errorf("%v, tasks %v", err, b.win.TaskNames())
		}
	}
	if end, steps, _ := b.do(rollout.ActClose); end.Outcome != rollout.Deferred || end.Reason != rollout.ReasonOtherCampaign {
		t.Errorf("close ended %s (%s: %s) after %v", end.Outcome, end.Reason, end.Detail, steps)
	}
}

// An undo that has fired deletes the task of its name when it is through: until then none is armed in its place.
func TestNoUndoIsArmedWhileAnotherIsAtWork(t *testing.T) {
	t.Parallel()
	b := secured(t)
	b.win.ActionsTake(time.Second)
	var m *machine.Machine
	do := func(s rollout.Step) (rollout.Result, error) { return m.Do(t.Context(), s) }
	renew := func() {
		var err error
		if m, err = b.fleet.Open(t.Context(), b.host); err != nil {
			t.Fatal(err)
		}
	}
	renew()
	b.upTo(m, rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@1", UndoAfter: time.Second})
	for running := false; !running; {
		res, err := do(rollout.Step{Kind: rollout.StepInspect, Brief: true})
		if err != nil {
			t.Fatal(err)
		}
		running = res.Seen.Undo.Value.Running
	}
	again := rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@2", Was: "test@1", UndoAfter: time.Hour}
	_, err := do(again)
	var f *rollout.Failure
	if !errors.As(err, &f) || f.Reason != rollout.ReasonUndoNotArmed || !f.Transient {
		t.Fatalf("armed over an undo that is at work: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Log(err)
	}
	for len(b.win.TaskNames()) > 0 && t.Context().Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	renew()
	defer m.Close()
	if _, err := do(again); err != nil || len(b.win.TaskNames()) != 1 {
		t.Errorf("once it was through: %v, tasks %v", err, b.win.TaskNames())
	}
}

// An undo fires in the moment in which another is armed in its place: it does not take that one away when it is through.
func TestAnOldUndoLeavesTheNextOneItsTask(t *testing.T) {
	t.Parallel()
	b := secured(t)
	var ms [2]*machine.Machine
	for i := range ms {
		var err error
		if ms[i], err = b.fleet.Open(t.Context(), b.host); err != nil {
			t.Fatal(err)
		}
		defer ms[i].Close()
		if _, err := ms[i].Do(t.Context(), rollout.Step{Kind: rollout.StepInspect}); err != nil { // neither sees the other's undo
			t.Fatal(err)
		}
	}
	b.win.ActionsTake(400 * time.Millisecond)
	if _, err := ms[0].Do(t.Context(), rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@1", UndoAfter: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	b.until("the first undo is started", func() bool { return b.win.TaskRuns(undoPath) == 1 })
	if _, err := ms[1].Do(t.Context(), rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@2", Was: "test@1", UndoAfter: time.Hour}); err != nil {
		t.Fatal(err)
	}
	b.until("the first undo is through", func() bool { return b.win.TasksAtWork() == 0 })
	if !b.undoIsThere() {
		t.Error("the first undo deleted the second one")
	}
}

// Two processes go on with one campaign, as after a copy of the controller was started: neither relies on the other's
// undo, or takes it away.
func TestTheUndoOfAnotherProcessOfTheCampaignStays(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]rollout.StepKind{"before HTTP goes": rollout.StepRemoveHTTP, "before it is narrowed": rollout.StepNarrow, "before the undo is taken away": rollout.StepDisarm} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := secured(t)
			m := b.open()
			defer m.Close()
			step := b.upTo(m, rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@1", UndoAfter: time.Minute})
			if kind == rollout.StepDisarm {
				for _, k := range []rollout.StepKind{rollout.StepRemoveHTTP, rollout.StepProveClosed} {
					step.Kind, step.Port = k, 5986
					if _, err := m.Do(t.Context(), step); err != nil {
						t.Fatalf("%s: %v", k, err)
					}
				}
			}
			b.win.Registry(func(r *machinetest.Registry) { r.SetText(`SOFTWARE\wavelock\undo`, "armed", "test@2") })
			step.Kind = kind
			_, err := m.Do(t.Context(), step)
			var f *rollout.Failure
			if !errors.As(err, &f) || !f.Transient || !b.undoIsThere() || len(b.blockRules()) > 0 {
				t.Errorf("%v; tasks %v, rules %v", err, b.win.TaskNames(), b.blockRules())
			}
			b.doors(kind != rollout.StepDisarm, true)
		})
	}
}

// Whoever arms anew dies between the mark and the task: the undo that is there is the only one still, and ends.
func TestAnUndoEndsWhoseSuccessorWasNeverRegistered(t *testing.T) {
	t.Parallel()
	b := secured(t)
	m := b.open()
	b.upTo(m, rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@1", UndoAfter: time.Second})
	if err := m.Close(); err != nil {
		t.Log(err)
	}
	b.win.Registry(func(r *machinetest.Registry) { r.SetText(`SOFTWARE\wavelock\undo`, "armed", "test@2") })
	b.until("the undo ends", func() bool { return !b.undoIsThere() })
}

// Another controller arms its undo between our look and our arming: nothing of it is touched, neither the mark, nor what
// it would bring back, nor its task.
func TestNoUndoIsArmedInThePlaceOfAnothers(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]bool{"by a removal": false, "by a renewal": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := secured(t)
			var ms [2]*machine.Machine
			var seen *rollout.Observation
			for i := range ms {
				var err error
				if ms[i], err = b.fleet.Open(t.Context(), b.host); err != nil {
					t.Fatal(err)
				}
				defer ms[i].Close()
				res, err := ms[i].Do(t.Context(), rollout.Step{Kind: rollout.StepInspect})
				if err != nil {
					t.Fatal(err)
				}
				seen = res.Seen
			}
			if _, err := ms[0].Do(t.Context(), rollout.Step{Kind: rollout.StepArm, Campaign: "elsewhere", Mark: "elsewhere@1", UndoAfter: time.Hour}); err != nil {
				t.Fatal(err)
			}
			kept := b.undoKey()
			step := rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@1", Was: seen.Undo.Value.Mark, UndoAfter: time.Hour}
			if back {
				step.Back = seen.Listeners.Value[1].Thumbprint
			}
			_, err := ms[1].Do(t.Context(), step)
			var f *rollout.Failure
			if !errors.As(err, &f) || f.Reason != rollout.ReasonUndoNotArmed || !f.Transient {
				t.Errorf("%v", err)
			}
			if now := b.undoKey(); now != kept || !b.undoIsThere() {
				t.Errorf("the other's undo had %s and has %s; tasks %v", kept, now, b.win.TaskNames())
			}
		})
	}
}

// undoKey is what the registry has for the undo.
func (b *bench) undoKey() (text string) {
	b.win.Registry(func(r *machinetest.Registry) {
		text = r.Text(`SOFTWARE\wavelock\undo`, "armed") + fmt.Sprint(r.Keys(`SOFTWARE\wavelock\undo\Listener`))
	})
	return text
}
