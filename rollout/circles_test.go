package rollout

import (
	"strings"
	"testing"
)

// TestCirclesEnd: a step that is asked for again and again ends the action, and who reads it learns whose fault that is.
func TestCirclesEnd(t *testing.T) {
	t.Parallel()
	most := DefaultPolicy().Retries + 4 // looks at the host
	for name, tc := range map[string]struct {
		run    func() HostRun
		kind   StepKind
		times  int
		ends   Outcome
		reason Reason
	}{
		"looking, as often as may be": {closing, StepInspect, most, "", ""},
		"looking once more":           {closing, StepInspect, most + 1, Failed, ReasonTimeout},
		"saving what is never there":  {securing, StepSaveImage, 3, Failed, ReasonInternal},
		"saving a third time":         {securing, StepSaveImage, 2, "", ""},
		"proving what ages too soon":  {func() HostRun { r := closing(); r.Proof = nil; return r }, StepProve, 3, Failed, ReasonTimeout},
		"arming what fires too soon": {func() HostRun {
			r := closing()
			r.Proof, r.Seen.Undo = proofAt(epoch, false), Saw(Undo{})
			return r
		}, StepArm, 3, Failed, ReasonTimeout},
		"looking without ever having seen": {func() HostRun { r := closing(); r.Seen = nil; return r }, StepInspect, most + 1, Failed, ReasonInternal},
		"putting back":                     {func() HostRun { r := closing(); r.Action = ActRestore; return r }, StepInspect, most + 1, Unknown, ReasonRestoreFailed},
		"a finish is no circle": {func() HostRun {
			r := closing()
			r.Action = ActObserve
			return r
		}, StepFinish, 3, Passed, ""},
	} {
		r := tc.run()
		r.Done[tc.kind] = tc.times
		s := Next(r, epoch)
		if tc.ends == "" {
			if s.Kind != tc.kind && tc.kind != StepInspect || s.Kind == StepFinish {
				t.Errorf("%s: %s (%s: %s)", name, s.Kind, s.Reason, s.Detail)
			}
			continue
		}
		if s.Kind != StepFinish || s.Outcome != tc.ends || s.Reason != tc.reason {
			t.Errorf("%s: %s %s (%s: %s)", name, s.Kind, s.Outcome, s.Reason, s.Detail)
		}
		if s.Reason == ReasonTimeout && !strings.Contains(s.Detail, "undo_after") {
			t.Errorf("%s: nobody learns what to change: %s", name, s.Detail)
		}
	}
}
