package machine_test

import (
	"slices"
	"testing"
	"time"

	"wavelock/pki/adcstest"
	"wavelock/rollout"
	"wavelock/rollout/machinetest"
)

// neverHTTP is a computer with an HTTPS listener alone, which nobody here has made: neither it nor the journal has a
// before-image.
func neverHTTP(t *testing.T) *bench {
	t.Helper()
	b := setup(t)
	b.policy.MinLeft, b.policy.RenewBefore = 0, rollout.Duration(2*time.Hour)
	b.ca.Set(adcstest.ShortLived, true) // an hour
	b.want(rollout.ActSecure, rollout.Passed)
	b.want(rollout.ActClose, rollout.Passed)
	b.ca.Set(adcstest.ShortLived, false)
	b.win.Registry(func(r *machinetest.Registry) { r.Delete(`SOFTWARE\wavelock`) })
	b.image = nil
	return b
}

func TestARenewalWhereHTTPNeverWas(t *testing.T) {
	t.Parallel()
	b := neverHTTP(t)
	_, old := b.presented()
	end, steps, _ := b.do(rollout.ActRenew)
	want := []rollout.StepKind{rollout.StepInspect, rollout.StepSaveImage, rollout.StepEnroll, rollout.StepArm, rollout.StepListen, rollout.StepProveClosed, rollout.StepDisarm, rollout.StepProve}
	if _, thumb := b.presented(); end.Outcome != rollout.Passed || !slices.Equal(steps, want) || thumb == old {
		t.Errorf("%s (%s: %s) after %v", end.Outcome, end.Reason, end.Detail, steps)
	}
	b.doors(false, true)
	if tasks := b.win.TaskNames(); len(tasks) > 0 {
		t.Errorf("tasks are left: %v", tasks)
	}
	b.win.Registry(func(r *machinetest.Registry) {
		if r.Exists(`SOFTWARE\wavelock\undo`) {
			t.Error("the undo's key is left")
		}
	})
}

// The next certificate is not to be trusted, and there is no HTTP to fall back to: the old one is put back by the host itself,
// after a while or at its next start, and HTTP is not opened.
func TestACertificateThatIsNotProvedIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, boot := range map[string]bool{"by its delay": false, "by a restart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := neverHTTP(t)
			b.policy.UndoAfter = rollout.Duration(6 * time.Second)
			if boot {
				b.policy.UndoAfter = rollout.Duration(time.Hour)
			}
			_, old := b.presented()
			b.ca.Set(adcstest.OtherCA, true)
			end, steps, _ := b.do(rollout.ActRenew)
			if _, thumb := b.presented(); end.Outcome == rollout.Passed || thumb == old || !slices.Contains(steps, rollout.StepArm) {
				t.Fatalf("%s (%s: %s) after %v; %s is presented", end.Outcome, end.Reason, end.Detail, steps, thumb.Short())
			}
			if boot {
				b.win.Reboot()
			}
			for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
				if b.win.HTTPSOpen() && len(b.win.TaskNames()) == 0 {
					if _, thumb := b.presented(); thumb == old {
						break
					}
				}
				if time.Since(begun) > 60*time.Second {
					_, thumb := b.presented()
					t.Fatalf("%s did not come back: %s is presented, tasks %v", old.Short(), thumb.Short(), b.win.TaskNames())
				}
			}
			b.doors(false, true)
			b.ca.Set(adcstest.OtherCA, false)
			if end, steps, _ = b.do(rollout.ActRenew); end.Outcome != rollout.Failed || end.Reason != rollout.ReasonUndoFired {
				t.Errorf("the same campaign again: %s (%s: %s) after %v", end.Outcome, end.Reason, end.Detail, steps)
			}
		})
	}
}
