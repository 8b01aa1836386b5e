package machine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/machine"
)

// TestTheUndoIsDisarmedByTheProvedSessionOnly: whatever the core asks for, the undo is not taken away over HTTP, nor
// over a session that did not prove that HTTP is gone or narrowed.
func TestTheUndoIsDisarmedByTheProvedSessionOnly(t *testing.T) {
	t.Parallel()
	type doing func(rollout.StepKind) error
	for name, tc := range map[string]struct {
		before func(b *bench, m *machine.Machine, do doing) error // after it was armed
		works  bool
	}{
		"over the session that was proved before the undo was armed": {func(*bench, *machine.Machine, doing) error { return nil }, false},
		"over the session that removed HTTP":                         {func(_ *bench, _ *machine.Machine, do doing) error { return do(rollout.StepRemoveHTTP) }, false},
		"over the session that narrowed HTTP":                        {func(_ *bench, _ *machine.Machine, do doing) error { return do(rollout.StepNarrow) }, false},
		"over one that proved HTTPS, and not that HTTP is gone": {func(_ *bench, _ *machine.Machine, do doing) error {
			return errors.Join(do(rollout.StepRemoveHTTP), do(rollout.StepProve))
		}, false},
		"over one that proved HTTPS after the one that proved HTTP gone": {func(_ *bench, _ *machine.Machine, do doing) error {
			return errors.Join(do(rollout.StepRemoveHTTP), do(rollout.StepProveClosed), do(rollout.StepProve))
		}, false},
		"over one whose proof failed, as HTTP is there": {func(_ *bench, _ *machine.Machine, do doing) error {
			if do(rollout.StepProveClosed) == nil {
				return errors.New("HTTP is there and was proved to be gone")
			}
			return nil
		}, false},
		"over the one that proved HTTP gone": {func(_ *bench, _ *machine.Machine, do doing) error {
			return errors.Join(do(rollout.StepRemoveHTTP), do(rollout.StepProveClosed))
		}, true},
		"over the one that proved HTTP narrowed": {func(_ *bench, _ *machine.Machine, do doing) error {
			return errors.Join(do(rollout.StepNarrow), do(rollout.StepProveNarrow))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := secured(t)
			m := b.open()
			defer m.Close()
			step := b.upTo(m, rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@1", UndoAfter: time.Hour})
			do := func(k rollout.StepKind) error {
				s := step
				s.Kind = k
				if k == rollout.StepProve || k == rollout.StepProveClosed || k == rollout.StepProveNarrow {
					s.Port = 5986
				}
				_, err := m.Do(t.Context(), s)
				return err
			}
			if err := tc.before(b, m, do); err != nil {
				t.Fatal(err)
			}
			b.disarms(do, tc.works)
		})
	}
}

// TestTheUndoIsNotDisarmedOverHTTP: a worker that comes by HTTP, as one does after a crash where it is still there,
// has no session that could disarm.
func TestTheUndoIsNotDisarmedOverHTTP(t *testing.T) {
	t.Parallel()
	b := secured(t)
	m := b.open()
	b.upTo(m, rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@1", UndoAfter: time.Hour})
	m.Close()
	b.meddle("drop-https")
	m = b.open()
	defer m.Close()
	seen, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepInspect})
	if err != nil || seen.Seen.Via != rollout.HTTP {
		t.Fatalf("the look came by %q: %v", seen.Seen.Via, err)
	}
	b.disarms(func(k rollout.StepKind) error {
		_, err := m.Do(t.Context(), rollout.Step{Kind: k, Campaign: "test", Mark: "test@1"})
		return err
	}, false)
}

// TestHTTPIsRemovedOverAProvedSessionOnly: an armed undo is not enough. The doors are those that the worker came by.
func TestHTTPIsRemovedOverAProvedSessionOnly(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		proof bool // one that fails; its session lives on
		drop  bool // HTTPS, so that HTTP is the only way in
	}{"by a session whose proof failed": {true, false}, "by none": {false, false}, "by HTTP": {false, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := secured(t)
			m := b.open()
			step := b.upTo(m, rollout.Step{Kind: rollout.StepArm, Campaign: "test", Mark: "test@1", UndoAfter: time.Hour})
			m.Close()
			if tc.drop {
				b.meddle("drop-https")
			}
			m = b.open()
			defer m.Close()
			if tc.proof {
				if _, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepProve, Thumbprint: pki.Thumbprint(strings.Repeat("AB", 20)), Port: 5986}); err == nil {
					t.Fatal("a certificate that is not there was proved")
				}
			}
			step.Kind = rollout.StepRemoveHTTP
			_, err := m.Do(t.Context(), step)
			if f := new(rollout.Failure); !errors.As(err, &f) || f.Reason != rollout.ReasonUndoNotArmed {
				t.Errorf("it is not refused: %v", err)
			}
			b.doors(true, !tc.drop)
		})
	}
}

// disarms tries to take the undo away, and looks at the computer itself.
func (b *bench) disarms(do func(rollout.StepKind) error, works bool) {
	b.t.Helper()
	err := do(rollout.StepDisarm)
	var f *rollout.Failure
	switch {
	case works && err != nil:
		b.t.Errorf("it is refused: %v", err)
	case !works && (!errors.As(err, &f) || f.Reason != rollout.ReasonUndoNotArmed):
		b.t.Errorf("it is not refused: %v", err)
	}
	task, mark := slices.Contains(b.win.TaskNames(), undoPath), strings.HasPrefix(b.undoKey(), "test@1")
	if task == works || mark == works {
		b.t.Errorf("its task is there: %v, its mark: %v", task, mark)
	}
}
