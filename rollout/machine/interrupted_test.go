package machine_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/machinetest"
)

// drive is bench.do with a hook before each step; a hook that answers a failure stands for the step.
func (b *bench) drive(act rollout.ActionKind, before func(rollout.StepKind) *rollout.Failure) (rollout.Step, []rollout.StepKind) {
	b.t.Helper()
	run := rollout.NewRun(&rollout.Plan{ID: "test", Policy: b.policy}, rollout.Planned{Host: b.host}, rollout.HostState{Running: act, Narrowed: b.narrowed, Soaked: b.soaked}, b.image)
	m := b.open()
	defer m.Close()
	var steps []rollout.StepKind
	for range 40 {
		step := rollout.Next(run, time.Now())
		if step.Kind == rollout.StepFinish {
			b.image, b.narrowed = run.Image, run.NarrowedAt
			return step, steps
		}
		steps = append(steps, step.Kind)
		if f := before(step.Kind); f != nil {
			run = run.Advance(step, rollout.Result{}, f)
			continue
		}
		res, err := m.Do(b.t.Context(), step)
		var f *rollout.Failure
		if errors.As(err, &f) {
			b.t.Logf("%s: %v", step.Kind, f)
		}
		run = run.Advance(step, res, f)
	}
	b.t.Fatal("no end", steps)
	return rollout.Step{}, nil
}

// rebootAndSettle restarts the computer and waits until its undo has fired.
func (b *bench) rebootAndSettle() {
	b.win.Reboot()
	for range 300 {
		time.Sleep(20 * time.Millisecond)
		if b.win.HTTPOpen() && b.win.HTTPSOpen() && len(b.win.TaskNames()) == 0 {
			return
		}
	}
	b.t.Fatal("the undo did not fire when the computer started", b.win.TaskNames())
}

func nothing(rollout.StepKind) *rollout.Failure { return nil }

// A restart between arming and removal fires the undo. The removal does not go over a connection that was made since.
func TestRestartBetweenArmAndRemoval(t *testing.T) {
	t.Parallel()
	b := secured(t)
	b.win.Set(machinetest.CutHTTPS)
	once := false
	end, steps := b.drive(rollout.ActClose, func(k rollout.StepKind) *rollout.Failure {
		if k == rollout.StepRemoveHTTP && !once {
			once = true
			b.rebootAndSettle()
			time.Sleep(1200 * time.Millisecond) // the journal's server fails over: the connection rests
			t.Logf("before removal: HTTP %v HTTPS %v tasks %v", b.win.HTTPOpen(), b.win.HTTPSOpen(), b.win.TaskNames())
		}
		return nil
	})
	t.Logf("end %s (%s: %s), steps %v; HTTP %v HTTPS %v, tasks %v", end.Outcome, end.Reason, end.Detail, steps, b.win.HTTPOpen(), b.win.HTTPSOpen(), b.win.TaskNames())
	if !b.win.HTTPOpen() && len(b.win.TaskNames()) == 0 {
		t.Error("HTTP was removed with no undo armed; HTTPS is cut: locked out for good")
	}
}

// A restart after the proof that HTTP is gone brings it back: that proof does not disarm what has fired.
func TestRestartBetweenProofAndDisarm(t *testing.T) {
	t.Parallel()
	b := secured(t)
	once := false
	end, steps := b.drive(rollout.ActClose, func(k rollout.StepKind) *rollout.Failure {
		if k == rollout.StepDisarm && !once {
			once = true
			b.rebootAndSettle()
			time.Sleep(1200 * time.Millisecond) // the journal's server fails over: the connection rests
		}
		return nil
	})
	t.Logf("end %s (%s: %s), steps %v; HTTP %v", end.Outcome, end.Reason, end.Detail, steps, b.win.HTTPOpen())
	if end.Outcome == rollout.Passed && b.win.HTTPOpen() {
		t.Error("close passed, and HTTP is open")
	}
}

// A restart between arming and rebinding fires the undo, which has nothing to do. The only door is not touched without it.
func TestRestartBetweenArmAndRebind(t *testing.T) {
	t.Parallel()
	b := closed(t)
	_, old := b.presented()
	once := false
	end, steps := b.drive(rollout.ActRenew, func(k rollout.StepKind) *rollout.Failure {
		if k == rollout.StepListen && !once {
			once = true
			b.win.Reboot()
			b.until("the undo is through", func() bool { return !b.undoIsThere() && b.win.HTTPSOpen() })
			time.Sleep(1200 * time.Millisecond) // the journal's server fails over: the connection rests, and is made anew
		}
		return nil
	})
	if _, now := b.presented(); now != old || end.Outcome != rollout.Failed || end.Reason != rollout.ReasonUndoFired {
		t.Errorf("%s is presented, it was %s: %s (%s: %s) after %v", now.Short(), old.Short(), end.Outcome, end.Reason, end.Detail, steps)
	}
}

// Where the request to disarm did not arrive, all is proved again and disarmed then.
func TestDisarmThatIsLost(t *testing.T) {
	t.Parallel()
	b := secured(t)
	once := false
	end, steps := b.drive(rollout.ActClose, func(k rollout.StepKind) *rollout.Failure {
		if k == rollout.StepDisarm && !once {
			once = true
			return &rollout.Failure{Host: b.host.ID, Step: k, Reason: rollout.ReasonUnreachable, Transient: true, Unsure: true, Err: errors.New("reset")}
		}
		return nil
	})
	t.Logf("end %s (%s: %s), steps %v", end.Outcome, end.Reason, end.Detail, steps)
	if end.Outcome != rollout.Passed {
		t.Error("a lost disarm fails the host")
	}
}

// The undo is spent when it shall be disarmed, over a connection that lives on. What it brought
// back would go unseen if its mark were not there still; a removal is whole without it, as HTTP is not there.
func TestAnUndoThatIsSpentAtItsDisarm(t *testing.T) {
	t.Parallel()
	spent := func(b *bench, http bool) func(rollout.StepKind) *rollout.Failure {
		lost := true
		return func(k rollout.StepKind) *rollout.Failure {
			if k != rollout.StepDisarm || !lost {
				return nil
			}
			lost = false
			if err := b.win.Meddle("delete-tasks"); err != nil {
				b.t.Fatal(err)
			}
			if http {
				b.win.Registry(func(r *machinetest.Registry) {
					r.SetNum(`SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Listener\*+HTTP`, "Port", 5985)
				})
			}
			return nil
		}
	}
	t.Run("of a renewal", func(t *testing.T) {
		t.Parallel()
		b := closed(t)
		if end, steps := b.drive(rollout.ActRenew, spent(b, true)); end.Outcome != rollout.Failed || end.Reason != rollout.ReasonUndoFired {
			t.Errorf("%s (%s: %s) after %v, and HTTP is there", end.Outcome, end.Reason, end.Detail, steps)
		}
	})
	t.Run("of a removal", func(t *testing.T) {
		t.Parallel()
		b := secured(t)
		if end, steps := b.drive(rollout.ActClose, spent(b, false)); end.Outcome != rollout.Passed || b.exists(undoMark) {
			t.Errorf("%s (%s: %s) after %v; the mark is there: %v", end.Outcome, end.Reason, end.Detail, steps, b.exists(undoMark))
		}
		b.doors(false, true)
	})
}

// The way back out of a brown-out does not need the door that the brown-out has shut for whoever takes over.
func TestRestoreFromAnotherAddress(t *testing.T) {
	t.Parallel()
	b := quiet(t, time.Hour)
	b.timeout(2 * time.Second)
	b.want(rollout.ActQuiesce, rollout.Soaking)
	// another controller takes over: the rule that is there leaves out another address than ours
	b.win.Registry(func(r *machinetest.Registry) {
		for _, v := range r.Values(firewallKey + `\FirewallRules`) {
			if strings.Contains(v.Text, "Name=wavelock-block-") {
				t.Log(v.Text)
				v.Text = strings.ReplaceAll(v.Text, "RA4=0.0.0.0-127", "RA4=127.0.0.0-127.255.255.255|RA4=0.0.0.0-127")
				r.Set(firewallKey+`\FirewallRules`, v)
			}
		}
	})
	end, steps := b.drive(rollout.ActRestore, func(rollout.StepKind) *rollout.Failure { return nil })
	t.Logf("end %s (%s: %s), steps %v; rules %v", end.Outcome, end.Reason, end.Detail, steps, b.blockRules())
	if end.Outcome != rollout.Restored {
		t.Error("not restored, everybody is shut out of HTTP")
	}
}

// Two controllers with a journal each: neither takes away the other's undo.
func TestTwoCampaignsOnOneHost(t *testing.T) {
	t.Parallel()
	b := quiet(t, time.Hour)
	soak := b.policy
	ran := false
	closer := *b
	closer.policy.Quiesce = 0
	// campaign B closes; just before its removal campaign A, which is in its brown-out, disarms
	end, steps := closer.drive(rollout.ActClose, func(k rollout.StepKind) *rollout.Failure {
		if k == rollout.StepRemoveHTTP && !ran {
			ran = true
			b.policy = soak
			e, s := b.drive(rollout.ActQuiesce, func(rollout.StepKind) *rollout.Failure { return nil })
			t.Logf("A: %s (%s) %v; tasks %v", e.Outcome, e.Detail, s, b.win.TaskNames())
			b.win.Set(machinetest.CutHTTPS)
		}
		return nil
	})
	t.Logf("B: %s (%s: %s), %v; HTTP %v HTTPS %v tasks %v", end.Outcome, end.Reason, end.Detail, steps, b.win.HTTPOpen(), b.win.HTTPSOpen(), b.win.TaskNames())
	if !b.win.HTTPOpen() && len(b.win.TaskNames()) == 0 {
		t.Error("HTTP was removed without an undo")
	}
}

// A certificate of the before-image that is gone keeps the rest from nothing.
func TestRestoreWithoutItsCertificate(t *testing.T) {
	t.Parallel()
	b := quiet(t, time.Hour)
	b.want(rollout.ActQuiesce, rollout.Soaking)
	// the image of a former campaign: HTTPS with a certificate that has since been renewed and deleted
	img := *b.image
	img.Listeners = append(img.Listeners, rollout.Listener{Address: "*", Transport: rollout.HTTPS, Port: 5986, Enabled: true, URLPrefix: "wsman", Hostname: "web01.corp.example", Thumbprint: "0123456789ABCDEF0123456789ABCDEF01234567"})
	b.image = &img
	end, steps := b.drive(rollout.ActRestore, nothing)
	t.Logf("end %s (%s: %.300s), steps %v; block rules %d", end.Outcome, end.Reason, end.Detail, steps, len(b.blockRules()))
	if len(b.blockRules()) > 0 {
		t.Error("the block rule stays")
	}
}

// A worker that was declared dead wakes up after another one has put its host back.
func TestWorkerThatWakesUpTooLate(t *testing.T) {
	t.Parallel()
	b := secured(t)
	seen := b.observe()
	img := *b.image // it had HTTPS before us
	img.Listeners = seen.Listeners.Value
	once := false
	end, steps := b.drive(rollout.ActClose, func(k rollout.StepKind) *rollout.Failure {
		if k == rollout.StepRemoveHTTP && !once {
			once = true
			n := *b
			n.image = &img
			e, s := n.drive(rollout.ActRestore, nothing)
			t.Logf("the new worker: %s %v (%s)", e.Outcome, s, e.Detail)
			time.Sleep(1200 * time.Millisecond)
			b.win.Set(machinetest.CutHTTPS)
		}
		return nil
	})
	t.Logf("the dead one: %s %v; HTTP %v HTTPS %v tasks %v", end.Outcome, steps, b.win.HTTPOpen(), b.win.HTTPSOpen(), b.win.TaskNames())
	if !b.win.HTTPOpen() && len(b.win.TaskNames()) == 0 {
		t.Error("locked out")
	}
}

// A service that is just closing its port resets a connection: that proves nothing, and it is asked again.
func TestAPortThatIsJustClosing(t *testing.T) {
	t.Parallel()
	b := secured(t)
	addrs, err := b.cfg.Resolve(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	once := false
	end, steps := b.drive(rollout.ActClose, func(k rollout.StepKind) *rollout.Failure {
		if k != rollout.StepProveClosed || once {
			return nil
		}
		once = true
		var l net.Listener
		for err := errors.New("not tried"); err != nil && t.Context().Err() == nil; time.Sleep(10 * time.Millisecond) {
			l, err = net.Listen("tcp", net.JoinHostPort(addrs[0].String(), "5985"))
		}
		go func() {
			defer close(asked)
			c, err := l.Accept()
			l.Close()
			if err == nil {
				c.Close()
			}
		}()
		return nil
	})
	<-asked
	if end.Outcome != rollout.Passed || b.win.HTTPOpen() {
		t.Errorf("it ends %s (%s: %s) after %v", end.Outcome, end.Reason, end.Detail, steps)
	}
}
