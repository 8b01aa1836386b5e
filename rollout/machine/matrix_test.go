package machine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/machine"
	"wavelock/rollout/machinetest"
)

// The matrix lets one computer's campaign meet every fault and every crash before
// every step: the whole way with its brown-out, a renewal beside HTTP and without it,
// and the way back. In no cell may the computer end, or stand without an armed undo,
// with both doors shut; in every cell the class that is reported at the end is true.
//
// A sample of them is always tried. All: WAVELOCK_MATRIX=all go test ./rollout/machine -run Matrix -parallel 24 -v

// crash is what happens to the controller in a cell.
type crash string

const (
	crashBefore crash = "crash before"
	crashAfter  crash = "crash after"
	rebootHost  crash = "host reboots"
)

// cell is one event before or after one step.
type cell struct {
	step  rollout.StepKind
	fault machinetest.Fault
	crash crash
}

func (c cell) name() string {
	if c.crash != "" {
		return string(c.crash)
	}
	return string(c.fault)
}

// journey is a campaign on one computer.
type journey struct {
	name  string
	goal  rollout.Goal
	start func(*testing.T) *bench // the computer as the campaign finds it
	steps []rollout.StepKind      // where the cells' events happen, in order
	judge func(r *ride, h *rollout.HostState, truth rollout.Class)
}

var journeys = []journey{
	{"close", rollout.GoalClose, fresh, []rollout.StepKind{rollout.StepInspect, rollout.StepSaveImage, rollout.StepEnroll, rollout.StepListen, rollout.StepAllow, rollout.StepProve, rollout.StepArm,
		rollout.StepNarrow, rollout.StepProveNarrow, rollout.StepDisarm, rollout.StepRemoveHTTP, rollout.StepProveClosed, rollout.StepWiden}, (*ride).judgeClose},
	{"renew", rollout.GoalRenew, closed, renewalSteps, (*ride).judgeRenew},
	{"renew beside HTTP", rollout.GoalRenew, shortLived, renewalSteps, (*ride).judgeRenew},
	{"restore", rollout.GoalRestore, closed, []rollout.StepKind{rollout.StepInspect, rollout.StepRestore}, (*ride).judgeRestore},
}

var renewalSteps = []rollout.StepKind{rollout.StepInspect, rollout.StepEnroll, rollout.StepArm, rollout.StepListen, rollout.StepProveClosed, rollout.StepDisarm, rollout.StepProve}

// fresh is a computer that was never touched. A brown-out is refused where nothing logs what it drops.
func fresh(t *testing.T) *bench {
	t.Helper()
	b := setup(t)
	b.win.Registry(func(r *machinetest.Registry) {
		r.SetNum(firewallKey+`\DomainProfile\Logging`, "LogDroppedPackets", 1)
		r.SetNum(firewallKey+`\StandardProfile\Logging`, "LogDroppedPackets", 1)
	})
	b.policy.Quiesce = rollout.Duration(300 * time.Millisecond)
	b.logDrops()
	return b
}

func (j journey) cells() []cell {
	var all []cell
	for _, s := range j.steps {
		for _, f := range machinetest.Faults {
			all = append(all, cell{step: s, fault: f.Name})
		}
		for _, c := range []crash{crashBefore, crashAfter, rebootHost} {
			all = append(all, cell{step: s, crash: c})
		}
	}
	return all
}

// ride is the campaign of one cell.
type ride struct {
	*bench
	journey journey
	cell    cell
	plan    *rollout.Plan
	st      *rollout.State
	kept    *rollout.BeforeImage
	old     pki.Thumbprint // what was presented before, where HTTPS was
	met     bool           // the cell's event has happened
	stop    time.Time
}

func TestMatrix(t *testing.T) {
	t.Parallel()
	for _, j := range journeys {
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			j.matrix(t)
		})
	}
}

func (j journey) matrix(t *testing.T) {
	all, every := j.cells(), 13
	if os.Getenv("WAVELOCK_MATRIX") == "all" {
		every = 1
	}
	var mu sync.Mutex
	rows := map[rollout.StepKind][]string{}
	t.Run("cells", func(t *testing.T) {
		for i, c := range all {
			if i%every != 0 {
				continue
			}
			t.Run(string(c.step)+"/"+c.name(), func(t *testing.T) {
				t.Parallel()
				end := j.rideThrough(t, c)
				mu.Lock()
				defer mu.Unlock()
				rows[c.step] = append(rows[c.step], fmt.Sprintf("%-22s %s", c.name(), end))
			})
		}
	})
	var b strings.Builder
	for _, s := range j.steps {
		slices.Sort(rows[s])
		for _, r := range rows[s] {
			fmt.Fprintf(&b, "%-14s %s\n", s, r)
		}
	}
	t.Logf("to %s (step, what happened there, how the campaign ended, the class reported and true, the reason):\n%s", j.name, b.String())
}

// TestSampleOfTheMatrix: the sample leaves no event out everywhere.
func TestSampleOfTheMatrix(t *testing.T) {
	t.Parallel()
	all := journeys[0].cells()
	tried := map[string]bool{}
	for i := 0; i < len(all); i += 13 {
		tried[all[i].name()] = true
	}
	for _, c := range all {
		if !tried[c.name()] {
			t.Fatalf("the sample leaves %q out at every step: take another one", c.name())
		}
	}
}

// rideThrough tries the cell with more and more time for the undo, until its step
// is reached: on a busy computer the campaign may be too slow for it, and ends.
func (j journey) rideThrough(t *testing.T, c cell) string {
	for undo := 2 * time.Second; ; undo *= 4 {
		if end, met := j.rideOnce(t, c, undo); met {
			return end
		}
		if undo > 30*time.Second {
			t.Fatalf("%s is never reached", c.step)
		}
	}
}

// rideOnce drives the campaign as the engine does, and then looks at the computer itself.
func (j journey) rideOnce(t *testing.T, c cell, undo time.Duration) (end string, met bool) {
	b := j.start(t)
	b.policy.UndoAfter, b.policy.PollFor, b.policy.DeferFor = rollout.Duration(undo), rollout.Duration(300*time.Millisecond), rollout.Duration(300*time.Millisecond)
	b.policy.Deferrals = 1000
	b.timeout(2 * time.Second)
	_, seen := b.inspect()
	p := &rollout.Plan{Version: rollout.PlanVersion, ID: "matrix", Policy: b.policy, Goal: j.goal,
		Waves: []rollout.Wave{{Name: "all", Hosts: []rollout.HostID{b.host.ID}, InFlight: 1, Limit: 1}}, Hosts: []rollout.Planned{{Host: b.host, Class: rollout.ClassOf(*seen)}}}
	r := &ride{bench: b, journey: j, cell: c, plan: p, st: rollout.NewState(p), kept: b.image, stop: time.Now().Add(60*time.Second + 10*undo)}
	if b.win.HTTPSOpen() {
		_, r.old = b.presented()
	}
	r.write(rollout.Event{Kind: rollout.EvApproved, Detail: p.Hash(), Actor: "ann"})
	r.watched(r.travel)
	h := r.st.Hosts[b.host.ID]
	r.judge(h)
	return fmt.Sprintf("%-12s %-10s %s", endOf(h), h.Class, h.Reason), r.met
}

func endOf(h *rollout.HostState) string {
	if h.Done {
		return "done"
	}
	return string(h.Outcome)
}

// watched does it with somebody watching, who has left when it is over, as the computer is switched off then.
func (r *ride) watched(do func()) {
	over, left := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		r.watch(over)
	}()
	defer func() {
		close(over)
		<-left
	}()
	do()
}

// watch holds at every moment what must never be: both doors shut and no undo.
func (r *ride) watch(over <-chan struct{}) {
	armed := func() bool { return slices.Contains(r.win.TaskNames(), `\wavelock\undo`) }
	for {
		select {
		case <-over:
			return
		case <-time.After(10 * time.Millisecond):
		}
		gone := r.cell.step == rollout.StepWiden || r.journey.name != "close" // HTTP is gone for good by then
		byNetwork := r.cell.fault == machinetest.Off || r.cell.fault == machinetest.CutHTTPS && gone
		// The undo is looked at first, as it is deleted only after a door was seen open, and once more, as it may have been
		// armed while this was not running.
		if !armed() && !r.win.HTTPOpen() && !r.win.HTTPSOpen() && !byNetwork && !armed() {
			r.t.Error("both doors are shut and no undo is armed")
			return
		}
	}
}

func (r *ride) host() *rollout.HostState { return r.st.Hosts[r.bench.host.ID] }

func (r *ride) write(e rollout.Event) {
	e.Seq, e.At, e.Campaign = r.st.Seq+1, time.Now(), r.plan.ID
	if e.Host != "" && e.Kind != rollout.EvAction {
		e.Attempt = r.host().Attempt
	}
	r.st.Apply(e)
}

// travel runs until nothing happens any more without a person. A fault ends after
// a while, as troubles do: what counts is what is left then.
func (r *ride) travel() {
	healed := false
	began := time.Now()
	for time.Now().Before(r.stop) {
		// A policy is changed by an administrator who was told to, not while hosts are put back.
		due := time.Since(began) > 3*time.Second && (r.cell.fault != machinetest.GPOListener || r.host().Outcome == rollout.AwaitPolicy)
		if !healed && r.met && due {
			r.win.Clear(r.cell.fault)
			healed = true
		}
		d := rollout.Decide(r.plan, r.st, time.Now())
		for _, e := range d.Events {
			r.write(e)
		}
		for _, a := range d.Actions {
			r.write(rollout.Event{Kind: rollout.EvAction, Host: a.Host, Action: a.Kind, Wave: a.Wave, Attempt: a.Attempt})
			for r.host().Running != "" { // a crash leaves it running, and the next process takes it up
				r.act()
			}
		}
		switch {
		case d.Over, d.Idle && d.Wake.IsZero():
			return
		case d.Idle:
			time.Sleep(min(time.Until(d.Wake)+time.Millisecond, 200*time.Millisecond))
		}
	}
	r.t.Errorf("the campaign does not end: %+v", *r.host())
}

// act is one controller's life with the host.
func (r *ride) act() {
	m, err := r.fleet.Open(r.t.Context(), r.bench.host)
	if err != nil {
		r.t.Fatal(err)
	}
	defer m.Close()
	ph, _ := r.plan.Host(r.bench.host.ID)
	run := rollout.NewRun(r.plan, ph, *r.host(), r.kept)
	for range 60 {
		step := rollout.Next(run, time.Now())
		if step.Kind == rollout.StepFinish {
			r.write(rollout.Event{Kind: rollout.EvSettled, Host: run.Host.ID, Outcome: step.Outcome, Reason: step.Reason, Detail: step.Detail, Until: step.Again, Class: classNow(run)})
			return
		}
		var died bool
		if run, died = r.try(m, run, step); died {
			return
		}
	}
	r.t.Fatalf("%s does not end", run.Action)
}

func classNow(run rollout.HostRun) rollout.Class {
	if run.Seen == nil {
		return ""
	}
	return rollout.ClassOf(*run.Seen)
}

// try does one step, with the cell's event where it belongs.
func (r *ride) try(m *machine.Machine, run rollout.HostRun, step rollout.Step) (next rollout.HostRun, died bool) {
	r.write(rollout.Event{Kind: rollout.EvStepOpen, Host: run.Host.ID, Step: step.Kind})
	if step.Kind == rollout.StepSaveImage && r.kept == nil {
		r.kept = step.Image // the journal has it before the host
	}
	here := step.Kind == r.cell.step && !r.met
	r.met = r.met || here
	switch {
	case here && r.cell.crash == crashBefore:
		return run, true
	case here && r.cell.crash == rebootHost:
		r.win.Reboot()
	case here && r.cell.fault != "":
		r.win.Set(r.cell.fault)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 8*time.Second) // as the engine limits a step
	defer cancel()
	res, err := m.Do(ctx, step)
	if here && r.cell.crash == crashAfter {
		return run, true
	}
	var f *rollout.Failure
	if err != nil {
		if !errors.As(err, &f) {
			r.t.Fatalf("%s: %v is no failure", step.Kind, err)
		}
		r.t.Logf("%s: %v", step.Kind, f)
		r.write(rollout.Event{Kind: rollout.EvStepFail, Host: run.Host.ID, Step: step.Kind, Reason: f.Reason})
		return run.Advance(step, res, f), false
	}
	data, err := json.Marshal(res)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(rollout.Event{Kind: rollout.EvStepDone, Host: run.Host.ID, Step: step.Kind, Data: data})
	return run.Advance(step, res, nil), false
}

// judge looks at the computer itself when all is over and every trouble is gone.
func (r *ride) judge(h *rollout.HostState) {
	t := r.t
	if r.cell.fault != machinetest.GPOListener { // its end is an administrator's act: they take HTTP away
		r.win.Clear(r.cell.fault)
	}
	deadline := time.Now().Add(10*time.Second + r.policy.UndoAfter.D())
	for slices.Contains(r.win.TaskNames(), `\wavelock\undo`) && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond) // an undo that is armed still decides the end
	}
	truth, doors := r.truth()
	for range 3 { // a refresh of the policy may come between the two looks
		if truth == doors {
			break
		}
		truth, doors = r.truth()
	}
	if truth != doors {
		t.Errorf("it is observed as %s, and is %s by its doors", truth, doors)
	}
	if r.cell.fault == machinetest.PolicyRefresh && h.Class == rollout.ClassHTTPSOnly && truth == rollout.ClassBoth {
		truth = rollout.ClassHTTPSOnly // as it was at the campaign's end; what came later, drift is there for
	}
	if h.Class != truth && h.Reason != rollout.ReasonUndoFired {
		t.Errorf("the campaign reports %s (%s, %s: %s), and it is %s", h.Class, h.Outcome, h.Reason, h.Detail, truth)
	}
	r.journey.judge(r, h, truth)
	if !r.met {
		t.Logf("%s was not reached with an undo after %v: %s (%s: %s)", r.cell.step, r.policy.UndoAfter, h.Outcome, h.Reason, h.Detail)
	}
}

// truth is the class as a new controller sees it, and as the doors are.
func (r *ride) truth() (observed, doors rollout.Class) {
	end, seen := r.inspect()
	if end.Outcome != rollout.Passed || seen.Via == "" {
		r.t.Fatalf("nobody gets in: %s (%s: %s)", end.Outcome, end.Reason, end.Detail)
	}
	return rollout.ClassOf(*seen), map[[2]bool]rollout.Class{{true, true}: rollout.ClassBoth, {true, false}: rollout.ClassHTTPOnly,
		{false, true}: rollout.ClassHTTPSOnly}[[2]bool{r.win.HTTPOpen(), r.win.HTTPSOpen()}]
}

func (r *ride) judgeClose(h *rollout.HostState, truth rollout.Class) {
	if !h.Done && h.Outcome == rollout.Restored && (truth != rollout.ClassHTTPOnly || r.leftovers()) {
		r.t.Errorf("restored, and it is %s with rules %v and tasks %v", truth, r.blockRules(), r.win.TaskNames())
	}
	if h.Done && (truth != rollout.ClassHTTPSOnly || r.leftovers()) {
		r.t.Errorf("done, and it is %s with rules %v and tasks %v", truth, r.blockRules(), r.win.TaskNames())
	}
}

// judgeRenew: HTTP is as it was, and HTTPS has the next certificate if that is said, else the one that it had. Between the
// two stands only who was disturbed when the undo had done its duty: that is said, and nothing is taken back.
func (r *ride) judgeRenew(h *rollout.HostState, truth rollout.Class) {
	byPolicy := r.cell.fault == machinetest.GPOListener && truth == rollout.ClassBoth // it brings HTTP, and is still there
	if was := r.plan.Hosts[0].Class; truth != was && !byPolicy || r.leftovers() {
		r.t.Errorf("it was %s and is %s, with rules %v and tasks %v", was, truth, r.blockRules(), r.win.TaskNames())
	}
	_, now := r.presented()
	disarmed := r.cell.step == rollout.StepDisarm || r.cell.step == rollout.StepProve
	if h.Done && now == r.old || !h.Done && now != r.old && !disarmed {
		r.t.Errorf("%s is presented, it was %s: %s (%s: %s)", now.Short(), r.old.Short(), endOf(h), h.Reason, h.Detail)
	}
}

func (r *ride) judgeRestore(h *rollout.HostState, truth rollout.Class) {
	if h.Done && (truth != rollout.ClassHTTPOnly || r.leftovers()) {
		r.t.Errorf("put back, and it is %s with rules %v and tasks %v", truth, r.blockRules(), r.win.TaskNames())
	}
}

// leftovers reports whether anything of ours that is there for a time only is still there.
func (r *ride) leftovers() bool { return len(r.blockRules()) > 0 || len(r.win.TaskNames()) > 0 }

// inspect observes the host with a new controller.
func (b *bench) inspect() (rollout.Step, *rollout.Observation) {
	m := b.open()
	defer m.Close()
	res, err := m.Do(b.t.Context(), rollout.Step{Kind: rollout.StepInspect})
	if err != nil {
		return rollout.Step{Outcome: rollout.Failed, Detail: err.Error()}, &rollout.Observation{}
	}
	return rollout.Step{Outcome: rollout.Passed}, res.Seen
}
