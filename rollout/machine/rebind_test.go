package machine_test

import (
	"slices"
	"testing"
	"time"

	"wavelock/pki/adcstest"
	"wavelock/rollout"
	"wavelock/rollout/machinetest"
)

// shortLived is a computer that got HTTPS with a certificate of an hour, beside HTTP.
func shortLived(t *testing.T) *bench {
	t.Helper()
	b := setup(t)
	b.policy.MinLeft, b.policy.RenewBefore = 0, rollout.Duration(2*time.Hour)
	b.ca.Set(adcstest.ShortLived, true)
	b.want(rollout.ActSecure, rollout.Passed)
	b.ca.Set(adcstest.ShortLived, false)
	return b
}

// closed is the same without HTTP.
func closed(t *testing.T) *bench {
	t.Helper()
	b := shortLived(t)
	b.want(rollout.ActClose, rollout.Passed)
	return b
}

// neverHTTP is a computer with an HTTPS listener alone, which nobody here has made: neither it nor the journal has a
// before-image.
func neverHTTP(t *testing.T) *bench {
	t.Helper()
	b := closed(t)
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

// The HTTP listener is there, and the host's own firewall shuts it: HTTPS is the only door, whatever the listeners say.
func TestARenewalWhereHTTPIsShutOnTheWay(t *testing.T) {
	t.Parallel()
	b := shortLived(t)
	b.win.Registry(func(r *machinetest.Registry) {
		r.SetText(firewallKey+`\FirewallRules`, "somebody's", "v2.31|Action=Block|Active=TRUE|Dir=In|Protocol=6|LPort=5985|Name=somebody's|")
	})
	end, steps, _ := b.do(rollout.ActRenew)
	want := []rollout.StepKind{rollout.StepInspect, rollout.StepEnroll, rollout.StepArm, rollout.StepListen, rollout.StepProveClosed, rollout.StepDisarm, rollout.StepProve}
	if end.Outcome != rollout.Passed || !slices.Equal(steps, want) {
		t.Errorf("%s (%s: %s) after %v", end.Outcome, end.Reason, end.Detail, steps)
	}
}

// The next certificate is not to be trusted: the old one is put back by the host itself, after a while or at its next start,
// and HTTP is not opened, unless the old one is not in the store any more.
func TestACertificateThatIsNotProvedIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		host           func(*testing.T) *bench
		boot, expelled bool
		http           bool // in the end
	}{
		"by its delay":                             {neverHTTP, false, false, false},
		"by a restart":                             {neverHTTP, true, false, false},
		"by its delay, where HTTP was once":        {closed, false, false, false},
		"by a restart, where HTTP was once":        {closed, true, false, false},
		"by its delay, beside HTTP":                {shortLived, false, false, true},
		"by a restart, beside HTTP":                {shortLived, true, false, true},
		"by a restart, and it is not in the store": {closed, true, true, true},
		"by its delay, and it is not in the store": {closed, false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := tc.host(t)
			b.policy.UndoAfter = rollout.Duration(6 * time.Second)
			if tc.boot {
				b.policy.UndoAfter = rollout.Duration(time.Hour)
			}
			_, old := b.presented()
			b.ca.Set(adcstest.OtherCA, true)
			end, steps, _ := b.do(rollout.ActRenew)
			if _, thumb := b.presented(); end.Outcome == rollout.Passed || thumb == old || !slices.Contains(steps, rollout.StepArm) {
				t.Fatalf("%s (%s: %s) after %v; %s is presented", end.Outcome, end.Reason, end.Detail, steps, thumb.Short())
			}
			if tc.expelled {
				b.win.Registry(func(r *machinetest.Registry) {
					r.Delete(`SOFTWARE\Microsoft\SystemCertificates\MY\Certificates\` + string(old))
				})
			}
			if tc.boot {
				b.win.Reboot()
			}
			back := func() bool {
				if tc.expelled {
					return b.win.HTTPOpen() && len(b.win.TaskNames()) == 0
				}
				if !b.win.HTTPSOpen() || len(b.win.TaskNames()) > 0 {
					return false
				}
				_, thumb := b.presented()
				return thumb == old
			}
			for begun := time.Now(); !back(); time.Sleep(20 * time.Millisecond) {
				if time.Since(begun) > 60*time.Second {
					_, thumb := b.presented()
					t.Fatalf("%s did not come back: %s is presented, HTTP %v, tasks %v", old.Short(), thumb.Short(), b.win.HTTPOpen(), b.win.TaskNames())
				}
			}
			b.doors(tc.http, true)
			b.ca.Set(adcstest.OtherCA, false)
			if end, steps, _ = b.do(rollout.ActRenew); end.Outcome != rollout.Failed || end.Reason != rollout.ReasonUndoFired {
				t.Errorf("the same campaign again: %s (%s: %s) after %v", end.Outcome, end.Reason, end.Detail, steps)
			}
		})
	}
}
