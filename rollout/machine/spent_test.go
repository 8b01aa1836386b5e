package machine_test

import (
	"testing"

	"wavelock/rollout"
	"wavelock/rollout/machinetest"
)

const undoMark = `SOFTWARE\wavelock\undo`

// fired leaves what the rebinding undo of another campaign leaves when it has fired: its mark, and a listener of old.
func (b *bench) fired() {
	b.win.Registry(func(r *machinetest.Registry) {
		r.SetText(undoMark, "armed", "former")
		r.SetText(undoMark+`\Listener\*+HTTPS`, "certThumbprint", "0123456789ABCDEF0123456789ABCDEF01234567")
	})
}

func (b *bench) exists(key string) (is bool) {
	b.win.Registry(func(r *machinetest.Registry) { is = r.Exists(key) })
	return is
}

// A mark of a former campaign whose undo has fired is nobody's any more: it is taken away and stops nothing.
func TestTheMarkOfAFiredUndoIsTakenAway(t *testing.T) {
	t.Parallel()
	b := secured(t)
	b.want(rollout.ActClose, rollout.Passed)
	b.fired()
	if end, steps := b.drive(rollout.ActRenew, nothing); end.Outcome != rollout.Passed || b.exists(undoMark) {
		t.Errorf("%s (%s: %s) after %v; the mark is there: %v", end.Outcome, end.Reason, end.Detail, steps, b.exists(undoMark))
	}
}

// An undo brings back what it was armed for, and not a listener that an undo of before has left beside it.
func TestAnUndoHasNothingOfOldBesides(t *testing.T) {
	t.Parallel()
	b := secured(t)
	b.fired()
	left := true
	end, steps := b.drive(rollout.ActClose, func(k rollout.StepKind) *rollout.Failure {
		if k == rollout.StepRemoveHTTP {
			left = b.exists(undoMark + `\Listener\*+HTTPS`)
		}
		return nil
	})
	if end.Outcome != rollout.Passed || left || b.exists(undoMark) {
		t.Errorf("%s (%s: %s) after %v; a listener of old is beside it: %v", end.Outcome, end.Reason, end.Detail, steps, left)
	}
}
