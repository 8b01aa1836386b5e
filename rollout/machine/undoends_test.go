package machine_test

import (
	"slices"
	"testing"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/machinetest"
)

const undoPath = `\wavelock\undo`

// until waits for what the computer does by itself.
func (b *bench) until(what string, is func() bool) {
	b.t.Helper()
	for begun := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			b.t.Fatalf("%s: not within half a minute; HTTP %v, HTTPS %v, tasks %v, rules %v", what, b.win.HTTPOpen(), b.win.HTTPSOpen(), b.win.TaskNames(), b.blockRules())
		}
	}
}

// halfDone are the changes that an undo takes back: hosts, what is done to them, and the step after which the controller
// is gone.
var halfDone = map[string]struct {
	host func(*testing.T) *bench
	act  rollout.ActionKind
	dies rollout.StepKind
}{
	"of a removal": {secured, rollout.ActClose, rollout.StepRemoveHTTP},
	"of a renewal": {closed, rollout.ActRenew, rollout.StepListen},
}

// dieAfter begins an action whose controller is gone after the step.
func (b *bench) dieAfter(step rollout.StepKind, act rollout.ActionKind, undoAfter time.Duration) {
	b.t.Helper()
	b.policy.UndoAfter, b.dies = rollout.Duration(undoAfter), step
	if end, steps, _ := b.do(act); end.Kind != step {
		b.t.Fatalf("%s did not get as far as %s: %v %s", act, step, steps, end.Detail)
	}
}

func (b *bench) undoIsThere() bool { return slices.Contains(b.win.TaskNames(), undoPath) }

// bootsOnce restarts the computer and waits until its undo was started, and has ended or is to be started again.
func (b *bench) bootsOnce() {
	b.t.Helper()
	before := b.win.TaskRuns(undoPath)
	b.win.Reboot()
	b.until("the undo starts with the computer", func() bool { return !b.undoIsThere() || b.win.TaskRuns(undoPath) > before })
}

// At the start of a computer its firewall may not be ready for netsh yet: the rule stays, and the port listens all the
// same. The undo is tried again until the rule is gone.
func TestTheUndoDoesNotEndBeforeItsRuleIsGone(t *testing.T) {
	t.Parallel()
	b := quiet(t, time.Hour)
	b.dieAfter(rollout.StepNarrow, rollout.ActQuiesce, time.Hour)
	b.win.Set(machinetest.FirewallStopped)
	b.bootsOnce()
	b.win.Clear(machinetest.FirewallStopped)
	if len(b.blockRules()) != 1 || b.stranger() {
		t.Fatalf("the rule is not in force: nothing is tried; %v", b.blockRules())
	}
	b.bootsOnce() // as a minute later
	b.until("the undo ends", func() bool { return !b.undoIsThere() })
	if !b.stranger() || len(b.blockRules()) > 0 {
		t.Errorf("the undo is through; others get in %v, rules %v", b.stranger(), b.blockRules())
	}
}

// net waits for a service that stops for a while and not longer, and starts none that has not stopped: http.sys has the
// certificate then, and nobody answers. The undo of a renewal is tried again until WinRM runs.
func TestTheUndoOfARenewalDoesNotEndBeforeWinRMRuns(t *testing.T) {
	t.Parallel()
	for name, host := range map[string]func(*testing.T) *bench{"HTTP never was": neverHTTP, "HTTP was once": closed, "beside HTTP": shortLived} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := host(t)
			b.win.WinRMStopsIn(100 * time.Millisecond)
			b.dieAfter(rollout.StepListen, rollout.ActRenew, 2*time.Second)
			b.until("the undo is started", func() bool { return !b.undoIsThere() || b.win.TaskRuns(undoPath) > 0 })
			if b.undoIsThere() { // the next time is a minute later, and then it has stopped
				b.win.WinRMStopsIn(0)
				b.bootsOnce()
			}
			b.until("somebody is let in again", func() bool { return b.win.HTTPOpen() || b.win.HTTPSOpen() })
		})
	}
}

// netsh cannot delete the rule of the brown-out while the firewall does not run, and the rule is in force again later:
// until it is gone, HTTPS stays, and so does the image.
func TestTheWayBackTakesNoDoorAwayWhileTheRuleStays(t *testing.T) {
	t.Parallel()
	b := quiet(t, time.Hour)
	b.want(rollout.ActQuiesce, rollout.Soaking)
	b.win.Set(machinetest.FirewallStopped)
	end, steps, _ := b.do(rollout.ActRestore)
	if end.Outcome == rollout.Restored {
		t.Fatalf("restored after %v, with the rules %v", steps, b.blockRules())
	}
	b.doors(true, true)
	b.image = nil // the journal is lost: the host's own image has to serve
	b.win.Clear(machinetest.FirewallStopped)
	b.want(rollout.ActRestore, rollout.Restored)
	if !b.stranger() || len(b.blockRules()) > 0 {
		t.Errorf("others get in %v, rules %v", b.stranger(), b.blockRules())
	}
}

// The certificate of an old image has been replaced on a host that never had HTTP: putting it back would shut the only door.
func TestTheWayBackLeavesTheOnlyDoorItsCertificate(t *testing.T) {
	t.Parallel()
	b := neverHTTP(t)
	b.want(rollout.ActRenew, rollout.Passed)
	_, renewed := b.presented()
	b.want(rollout.ActRestore, rollout.Restored)
	if _, thumb := b.presented(); thumb != renewed {
		t.Errorf("%s is presented, it was %s", thumb.Short(), renewed.Short())
	}
	b.doors(false, true)
	b.want(rollout.ActRestore, rollout.Restored)
}

// Somebody disables WinRM while HTTP is gone and unconfirmed: the undo does not stop what it could not start again.
func TestTheUndoDoesNotStopAServiceThatIsDisabled(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		host func(*testing.T) *bench
		act  rollout.ActionKind
		dies rollout.StepKind
	}{
		"of a removal":  {secured, rollout.ActClose, rollout.StepRemoveHTTP},
		"of a renewal":  {closed, rollout.ActRenew, rollout.StepListen},
		"of one beside": {shortLived, rollout.ActRenew, rollout.StepListen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := tc.host(t)
			b.dieAfter(tc.dies, tc.act, 3*time.Second)
			b.meddle("disable-winrm")
			b.until("the undo is started", func() bool { return !b.undoIsThere() || b.win.TaskRuns(undoPath) > 0 && b.win.TasksAtWork() == 0 })
			if !b.win.HTTPSOpen() {
				t.Errorf("HTTPS was open, and is shut by the undo; HTTP %v", b.win.HTTPOpen())
			}
		})
	}
}

// Somebody deletes the undo while it is at work: it leaves WinRM running.
func TestAnUndoThatIsDeletedLeavesWinRMRunning(t *testing.T) {
	t.Parallel()
	for name, tc := range halfDone {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for actions := 1; actions < 5; actions++ {
				b := tc.host(t)
				b.dieAfter(tc.dies, tc.act, 2*time.Second)
				b.win.EndTasksAfter(actions)
				b.until("the undo is deleted", func() bool { return !b.undoIsThere() && b.win.TasksAtWork() == 0 })
				if !b.win.HTTPOpen() && !b.win.HTTPSOpen() {
					t.Errorf("after %d actions both doors are shut", actions)
				}
			}
		})
	}
}

// Where http.sys listens on addresses of IPv6 alone, the undo sees that HTTP is back, or it would restart WinRM every minute.
func TestTheUndoEndsWhereThereIsIPv6Alone(t *testing.T) {
	t.Parallel()
	for name, tc := range halfDone {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := tc.host(t)
			b.meddle("listen-on-ipv6")
			b.dieAfter(tc.dies, tc.act, 2*time.Second)
			b.until("the undo ends", func() bool { return !b.undoIsThere() })
		})
	}
}

// Another product listens on 5985, too, and the disk is full for a while: the undo is not through before its listener is back.
func TestTheUndoDoesNotTakeAnothersPortForOurs(t *testing.T) {
	t.Parallel()
	b := secured(t)
	b.win.Set(machinetest.PortShared)
	b.dieAfter(rollout.StepRemoveHTTP, rollout.ActClose, time.Hour)
	b.win.Set(machinetest.DiskFull)
	b.bootsOnce()
	b.win.Clear(machinetest.DiskFull)
	b.bootsOnce() // as a minute later
	b.until("HTTP is back", func() bool { return b.win.HTTPOpen() && !b.undoIsThere() })
}
