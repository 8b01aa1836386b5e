package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// stage is a small campaign that tests lead to a certain point, event by event.
type stage struct {
	p *Plan
	s *State
}

// newStage has waves of the given sizes, two at once and a limit of two.
func newStage(sizes ...int) *stage {
	p := &Plan{Version: PlanVersion, ID: "stage", Made: epoch, Goal: GoalClose, Policy: DefaultPolicy()}
	for n, size := range sizes {
		w := Wave{Name: fmt.Sprint(n + 1), InFlight: 2, Limit: 2}
		for range size {
			id := HostID(fmt.Sprint("h", len(p.Hosts)))
			w.Hosts = append(w.Hosts, id)
			p.Hosts = append(p.Hosts, Planned{Host: Host{ID: id, OU: "corp.example"}, Class: ClassHTTPOnly})
		}
		p.Waves = append(p.Waves, w)
	}
	return (&stage{p: p}).begin()
}

// begin starts anew with the plan as it is now.
func (st *stage) begin() *stage {
	st.s = NewState(st.p)
	return st.say(Event{Kind: EvApproved, Detail: st.p.Hash(), Actor: "ann"})
}

func (st *stage) say(events ...Event) *stage {
	for _, e := range events {
		e.Seq = st.s.Seq + 1
		st.s.Apply(e)
	}
	return st
}

// act begins and ends an action on a host, with a write unless it is deferred or refused.
func (st *stage) act(id HostID, kind ActionKind, o Outcome) *stage {
	st.start(id, kind)
	if o != Deferred && o != Refused && o != AwaitPolicy {
		st.say(Event{Kind: EvStepOpen, Host: id, Attempt: st.s.Hosts[id].Attempt, Step: StepListen})
	}
	return st.end(id, o)
}

func (st *stage) start(id HostID, kind ActionKind) *stage {
	h := st.s.Hosts[id]
	return st.say(Event{Kind: EvAction, Host: id, Action: kind, Attempt: h.Attempt + 1, Wave: h.Wave})
}

func (st *stage) end(id HostID, o Outcome) *stage {
	e := Event{Kind: EvSettled, Host: id, Attempt: st.s.Hosts[id].Attempt, Outcome: o, Reason: ReasonTimeout}
	switch o {
	case Deferred, Pending, AwaitPolicy, Unknown:
		e.Until = epoch.Add(time.Hour)
	}
	return st.say(e)
}

// both takes a host the whole way.
func (st *stage) both(ids ...HostID) *stage {
	for _, id := range ids {
		st.act(id, ActSecure, Passed).act(id, ActClose, Passed)
	}
	return st
}

func (st *stage) wave(kind EventKind, n int) *stage { return st.say(Event{Kind: kind, Wave: n}) }

// told is a decision in one line.
func told(d Decision) string {
	var parts []string
	for _, e := range d.Events {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %d", e.Kind, e.Wave)))
	}
	for _, a := range d.Actions {
		parts = append(parts, fmt.Sprintf("%s %s in %d", a.Kind, a.Host, a.Wave))
	}
	if d.Over {
		parts = append(parts, "over")
	}
	return strings.Join(parts, ", ")
}

func TestDecide(t *testing.T) {
	t.Parallel()
	soon, later := epoch, epoch.Add(2*time.Hour)
	for name, tc := range map[string]struct {
		stage *stage
		now   time.Time
		want  string
		hold  string
	}{
		"nothing happens without an approval":                {&stage{newStage(1).p, NewState(newStage(1).p)}, soon, "", "waits for an approval"},
		"nothing happens with another plan than the state's": {&stage{newStage(2).p, newStage(1).s}, soon, "", "not the one that was approved"},
		"a rollback asks what happened, too":                 {newStage(1).wave(EvWaveOpened, 1).start("h0", ActSecure).end("h0", Unknown).say(Event{Kind: EvRollback, Actor: "ann"}), later, "restore h0 in 1", ""},
		"nothing happens with the approval of another":       {newStage(1).say(Event{Kind: EvApproved, Detail: "x"}), soon, "", "not the one that was approved"},
		"the first wave opens":                               {newStage(1, 1), soon, "wave-opened 1", ""},
		"a wave is filled as far as it may be":               {newStage(3).wave(EvWaveOpened, 1), soon, "secure h0 in 1, secure h1 in 1", ""},
		"a secured host is closed before others begin":       {newStage(3).wave(EvWaveOpened, 1).act("h0", ActSecure, Passed).start("h1", ActSecure), soon, "close h0 in 1", ""},
		"a full wave takes nobody":                           {newStage(3).wave(EvWaveOpened, 1).start("h0", ActSecure).start("h1", ActSecure), soon, "", ""},
		"a wave passes when all of its hosts have":           {newStage(2, 1).wave(EvWaveOpened, 1).both("h0", "h1"), soon, "wave-passed 1", ""},
		"it does not while one is in flight":                 {newStage(2, 1).wave(EvWaveOpened, 1).both("h0").act("h1", ActSecure, Passed).start("h1", ActClose), soon, "", ""},
		"then the next one opens":                            {newStage(1, 1).wave(EvWaveOpened, 1).both("h0").wave(EvWavePassed, 1), soon, "wave-opened 2", ""},
		"not before the soak is over":                        {newStage(1, 1).wave(EvWaveOpened, 1).both("h0").say(Event{Kind: EvWavePassed, Wave: 1, Until: later}), soon, "", "wave 1 soaks until 10:00:00"},
		"but right then":                                     {newStage(1, 1).wave(EvWaveOpened, 1).both("h0").say(Event{Kind: EvWavePassed, Wave: 1, Until: later}), later, "wave-opened 2", ""},
		"a refused host does not hold its wave":              {newStage(1).wave(EvWaveOpened, 1).act("h0", ActSecure, Refused), soon, "wave-passed 1", ""},
		"one failure below the limit is put back":            {newStage(4).wave(EvWaveOpened, 1).act("h0", ActSecure, Failed), soon, "restore h0 in 1, secure h1 in 1", ""},
		"a failure that wrote nothing needs no way back":     {newStage(2).wave(EvWaveOpened, 1).start("h0", ActSecure).end("h0", Failed), soon, "secure h1 in 1", ""},
		"the limit halts the wave":                           {newStage(4).wave(EvWaveOpened, 1).act("h0", ActSecure, Failed).act("h1", ActSecure, Failed), soon, "wave-halted 1", ""},
		"the limit halts it before anything else":            {newStage(5).wave(EvWaveOpened, 1).start("h2", ActSecure).act("h0", ActSecure, Failed).act("h1", ActSecure, Unknown), soon, "wave-halted 1", ""},
		"a host in doubt stops everything":                   {newStage(4).wave(EvWaveOpened, 1).act("h0", ActSecure, Unknown), soon, "", "on h0 is not known"},
		"until its time it is left alone, then looked at":    {newStage(4).wave(EvWaveOpened, 1).act("h0", ActSecure, Unknown), later, "restore h0 in 1", "on h0 is not known"},
		"and still stops everything while it is looked at":   {newStage(4).wave(EvWaveOpened, 1).act("h0", ActSecure, Unknown).start("h0", ActRestore), later, "", "on h0 is not known"},
		"when it was put back, the others go on":             {newStage(4).wave(EvWaveOpened, 1).act("h0", ActSecure, Unknown).act("h0", ActRestore, Restored), later, "secure h1 in 1, secure h2 in 1", ""},
		"and when it is a person's turn, too":                {newStage(4).wave(EvWaveOpened, 1).act("h0", ActSecure, Unknown).act("h0", ActRestore, NeedsHuman), later, "secure h1 in 1, secure h2 in 1", ""},
		"a way back that fails is a person's turn":           {newStage(1).wave(EvWaveOpened, 1).act("h0", ActSecure, Failed).act("h0", ActRestore, Failed), soon, "wave-passed 1", ""},
		"a pause stops what would begin":                     {newStage(3).wave(EvWaveOpened, 1).say(Event{Kind: EvPaused, Actor: "ann", Detail: "lunch"}), soon, "", "paused by ann: lunch"},
		"a pause does not stop the way back":                 {newStage(3).wave(EvWaveOpened, 1).act("h0", ActSecure, Failed).say(Event{Kind: EvPaused, Actor: "ann"}), soon, "restore h0 in 1", "paused by ann"},
		"a pause stops the next wave":                        {newStage(1).say(Event{Kind: EvPaused, Actor: "ann"}), soon, "", "paused by ann"},
		"a resume lets it go on":                             {newStage(1).say(Event{Kind: EvPaused, Actor: "ann"}, Event{Kind: EvResumed, Actor: "ann"}), soon, "wave-opened 1", ""},
		"a wave of which nobody came says so":                {newStage(1, 1).wave(EvWaveOpened, 1).act("h0", ActSecure, Deferred), soon, "wave-unproven 1", ""},
		"and waits for him, or for a person":                 {unproven(Deferred), soon, "", "wave-unproven: no host of wave 1 is done (1 deferred); wave 2 waits for one of them, or for an approval"},
		"who comes back is taken":                            {unproven(Deferred), later, "secure h0 in 1", ""},
		"however often he had not":                           {spent(unproven(Deferred)), later, "secure h0 in 1", ""},
		"and proves it after all":                            {unproven(Deferred).both("h0"), later, "wave-passed 1", ""},
		"an approval lets the next wave begin":               {unproven(Deferred).say(Event{Kind: EvApproved, Wave: 2, Actor: "bob"}), soon, "wave-passed 1", ""},
		"one that was given before does not":                 {unproven(Deferred, Event{Kind: EvApproved, Wave: 2, Actor: "bob"}), soon, "", "wave 2 waits for one of them, or for an approval"},
		"a refused canary proves nothing either":             {unproven(Refused), later, "", "no host of wave 1 is done (1 refused)"},
		"nor does one that waits for its policy":             {unproven(AwaitPolicy), soon, "", "no host of wave 1 is done (1 await-policy)"},
		"nor one that was put back":                          {unproven(Failed).act("h0", ActRestore, Restored), soon, "", "no host of wave 1 is done (1 restored)"},
		"nor one that is retired":                            {retire(newStage(1, 1).wave(EvWaveOpened, 1), "h0"), soon, "wave-unproven 1", ""},
		"nobody waits for it on the way back":                {passing(func(p *Plan) { p.Goal = GoalRestore }), soon, "wave-passed 1", ""},
		"nor where the policy says so":                       {passing(func(p *Plan) { p.Policy.PassUnproven = true }), soon, "wave-passed 1", ""},
		"nor when nobody is left to begin with":              {retire(newStage(1, 1).wave(EvWaveOpened, 1).act("h0", ActSecure, Refused), "h1"), soon, "wave-passed 1", ""},
		"deferred hosts are left for later":                  {newStage(2).wave(EvWaveOpened, 1).act("h0", ActSecure, Deferred).both("h1"), soon, "wave-passed 1", ""},
		"a later wave takes them when their time has come":   {newStage(1, 1).wave(EvWaveOpened, 1).act("h0", ActSecure, Deferred).wave(EvWavePassed, 1).wave(EvWaveOpened, 2), later, "secure h1 in 2, secure h0 in 2", ""},
		"and not before":                                     {newStage(1, 1).wave(EvWaveOpened, 1).act("h0", ActSecure, Deferred).wave(EvWavePassed, 1).wave(EvWaveOpened, 2), soon, "secure h1 in 2", ""},
		"one more wave waits for them":                       {newStage(1).wave(EvWaveOpened, 1).act("h0", ActSecure, Deferred).wave(EvWavePassed, 1), soon, "wave-opened 2", ""},
		"it holds as long as they wait":                      {newStage(1).wave(EvWaveOpened, 1).act("h0", ActSecure, AwaitPolicy).wave(EvWavePassed, 1).wave(EvWaveOpened, 2), soon, "", "1 hosts wait for something else"},
		"nobody deferred, nothing to wait for":               {newStage(1).wave(EvWaveOpened, 1).both("h0").wave(EvWavePassed, 1), soon, "wave-passed 2", ""},
		"and the campaign is over":                           {newStage(1).wave(EvWaveOpened, 1).both("h0").wave(EvWavePassed, 1).wave(EvWavePassed, 2), soon, "finished 0", ""},
		"after that nothing happens":                         {newStage(1).say(Event{Kind: EvFinished}), soon, "over", ""},
		"an abort finishes":                                  {newStage(2).wave(EvWaveOpened, 1).act("h0", ActSecure, Passed).say(Event{Kind: EvAborted, Actor: "ann"}), soon, "finished 0", ""},
		"an abort leaves no host half-way":                   {newStage(2).wave(EvWaveOpened, 1).act("h0", ActSecure, Failed).say(Event{Kind: EvAborted, Actor: "ann"}), soon, "restore h0 in 1", "aborted by ann; 1 hosts"},
		"an abort waits for those in flight":                 {newStage(2).wave(EvWaveOpened, 1).start("h0", ActSecure).say(Event{Kind: EvAborted, Actor: "ann"}), soon, "", "aborted by ann; 1 hosts"},
		"a rollback takes all that was touched":              {newStage(2, 1).wave(EvWaveOpened, 1).both("h0").act("h1", ActSecure, Refused).say(Event{Kind: EvRollback, Actor: "ann"}), soon, "restore h0 in 1", "rolled back by ann"},
		"a rollback does not wait for the CA":                {newStage(1).wave(EvWaveOpened, 1).act("h0", ActSecure, Pending).say(Event{Kind: EvRollback, Actor: "ann"}), soon, "restore h0 in 1", ""},
		"a rollback comes back from the end":                 {newStage(1).wave(EvWaveOpened, 1).both("h0").say(Event{Kind: EvFinished}, Event{Kind: EvRollback, Actor: "ann"}), soon, "restore h0 in 1", ""},
		"and finishes when all is back":                      {newStage(1).wave(EvWaveOpened, 1).both("h0").say(Event{Kind: EvRollback, Actor: "ann"}).act("h0", ActRestore, Restored), soon, "finished 0", ""},
		"an approved wave opens":                             {needsApproval().say(Event{Kind: EvApproved, Wave: 1, Actor: "bob"}), soon, "wave-opened 1", ""},
		"another does not":                                   {needsApproval(), soon, "", "wave 1 waits for an approval"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Decide(tc.stage.p, tc.stage.s, tc.now)
			if told(d) != tc.want || !strings.Contains(d.Hold, tc.hold) {
				t.Errorf("it says %q and holds because %q; want %q and %q", told(d), d.Hold, tc.want, tc.hold)
			}
			if !d.Over && d.Idle && d.Hold == "" {
				t.Error("nothing happens and nobody is told why")
			}
		})
	}
}

// unproven has a canary that came to this end, which was said, and a second wave. The events came before.
func unproven(o Outcome, before ...Event) *stage {
	return newStage(1, 1).say(before...).wave(EvWaveOpened, 1).act("h0", ActSecure, o).
		say(Event{Kind: EvWaveUnproven, Wave: 1, Detail: "1 host", Reason: ReasonWaveUnproven})
}

func spent(st *stage) *stage {
	st.p.Policy.Deferrals = 0
	return st
}

func retire(st *stage, id HostID) *stage {
	e, err := NewRoster(Roster{Retired: []Change{{Host: id, Reason: ReasonAccountGone}}})
	if err != nil {
		panic(err)
	}
	return st.say(e)
}

// passing has a canary that is deferred, in a plan that was changed.
func passing(change func(*Plan)) *stage {
	st := newStage(1, 1)
	change(st.p)
	return st.begin().wave(EvWaveOpened, 1).act("h0", st.p.Actions()[0], Deferred)
}

func needsApproval() *stage {
	st := newStage(1)
	st.p.Waves[0].Approval = true
	return st.begin()
}

func halted(alsoPassed bool) *stage {
	st := newStage(5, 1)
	st.p.Policy.RestorePassed = alsoPassed
	return st.begin().wave(EvWaveOpened, 1).act("h3", ActSecure, Passed).both("h4").
		act("h0", ActSecure, Failed).act("h1", ActSecure, Failed).wave(EvWaveHalted, 1)
}

func TestHaltedWave(t *testing.T) {
	t.Parallel()
	st := halted(false)
	if d := Decide(st.p, st.s, epoch); told(d) != "restore h0 in 1, restore h1 in 1" {
		t.Fatalf("first %q", told(d))
	}
	st.act("h0", ActRestore, Restored).act("h1", ActRestore, NeedsHuman)
	if d := Decide(st.p, st.s, epoch); told(d) != "restore h3 in 1" {
		t.Fatalf("then %q: what was touched and had not passed goes back as well", told(d))
	}
	st.say(Event{Kind: EvResumed, Actor: "ann"})
	if st.s.Halted != 1 {
		t.Fatal("a halt is lifted before the wave was put back")
	}
	st.act("h3", ActRestore, Restored)
	if d := Decide(st.p, st.s, epoch); told(d) != "wave-ended 1" {
		t.Fatalf("at last %q", told(d))
	}
	st.wave(EvWaveEnded, 1)
	if d := Decide(st.p, st.s, epoch); told(d) != "" || !d.Idle || !strings.Contains(d.Hold, "wavelock resume") {
		t.Fatalf("nobody is asked: %+v", d)
	}
	st.say(Event{Kind: EvResumed, Actor: "ann"})
	if d := Decide(st.p, st.s, epoch); told(d) != "wave-opened 2" || st.s.Failures != 0 {
		t.Fatalf("after the resume %q with %d failures", told(d), st.s.Failures)
	}
}

func TestHaltedWaveTakesBackWhatPassedIfAskedTo(t *testing.T) {
	t.Parallel()
	st := halted(true).act("h0", ActRestore, Restored).act("h1", ActRestore, Restored)
	if d := Decide(st.p, st.s, epoch); told(d) != "restore h3 in 1, restore h4 in 1" {
		t.Fatalf("%q", told(d))
	}
	st.act("h4", ActRestore, Unknown)
	if h := st.s.Hosts["h4"]; h.Done || h.Failed || st.s.Waves[0].Failures != 2 {
		t.Errorf("a host whose way back is in doubt is done %v, counted %v, %d failures", h.Done, h.Failed, st.s.Waves[0].Failures)
	}
}

func TestTheLimitOfTheCampaign(t *testing.T) {
	t.Parallel()
	st := newStage(1, 1, 1)
	st.p.Policy.FailureLimit = 2
	st.begin().wave(EvWaveOpened, 1).act("h0", ActSecure, Failed).act("h0", ActRestore, Restored).wave(EvWavePassed, 1).
		wave(EvWaveOpened, 2).act("h1", ActSecure, Failed)
	if d := Decide(st.p, st.s, epoch); told(d) != "wave-halted 2" || !strings.Contains(d.Events[0].Detail, "2 failed in the whole campaign, the limit is 2") {
		t.Errorf("%q %+v", told(d), d.Events)
	}
}

func TestDeferralsComeToAnEnd(t *testing.T) {
	t.Parallel()
	st := newStage(1)
	st.p.Policy.Deferrals = 2
	st.begin().wave(EvWaveOpened, 1).act("h0", ActSecure, Deferred).wave(EvWavePassed, 1).wave(EvWaveOpened, 2)
	now := epoch.Add(time.Hour)
	for n := range 2 {
		if d := Decide(st.p, st.s, now); told(d) != "secure h0 in 2" {
			t.Fatalf("after %d deferrals %q", n+1, told(d))
		}
		st.say(Event{Kind: EvAction, Host: "h0", Action: ActSecure, Attempt: n + 2, Wave: 2}).end("h0", Deferred)
	}
	if d := Decide(st.p, st.s, now); told(d) != "wave-passed 2" {
		t.Errorf("after all %q", told(d))
	}
}

func TestAWakeIsTheEarliestTime(t *testing.T) {
	t.Parallel()
	st := newStage(2).wave(EvWaveOpened, 1).act("h0", ActSecure, Deferred).wave(EvWavePassed, 1)
	st.start("h1", ActSecure).say(Event{Kind: EvSettled, Host: "h1", Attempt: 1, Outcome: Deferred, Until: epoch.Add(time.Minute)}).wave(EvWaveOpened, 2)
	if d := Decide(st.p, st.s, epoch); !d.Wake.Equal(epoch.Add(time.Minute)) || !d.Idle || d.Hold == "" {
		t.Errorf("%+v", d)
	}
}

func TestRunningItAgainLooksAgain(t *testing.T) {
	t.Parallel()
	st := newStage(1)
	st.p.Policy.Deferrals = 1
	for _, o := range []Outcome{Pending, AwaitPolicy, Deferred} {
		st.begin().wave(EvWaveOpened, 1).act("h0", ActSecure, o).wave(EvWavePassed, 1).wave(EvWaveOpened, 2)
		if d := Decide(st.p, st.s, epoch); told(d) != "" {
			t.Fatalf("%s: before its time %q", o, told(d))
		}
		for n := range 3 { // more often than the policy defers a host
			if d := Decide(st.p, st.say(Event{Kind: EvStarted}).s, epoch); told(d) != "secure h0 in 2" {
				t.Fatalf("%s: started for the %dth time: %q", o, n+1, told(d))
			}
			st.say(Event{Kind: EvAction, Host: "h0", Action: ActSecure, Attempt: n + 2, Wave: 2}).end("h0", o)
		}
	}
}

// TestClockThatIsSetBackKeepsNobodyOnTheWayBack: a wave was opened after the soak before it, and now the clock says that
// the soak is not over.
func TestClockThatIsSetBackKeepsNobodyOnTheWayBack(t *testing.T) {
	t.Parallel()
	st := newStage(1, 2).wave(EvWaveOpened, 1).both("h0").say(Event{Kind: EvWavePassed, Wave: 1, Until: epoch.Add(time.Hour)}).
		wave(EvWaveOpened, 2).act("h1", ActSecure, Failed)
	if got := decided(Decide(st.p, st.s, epoch)); got != "restore h1, secure h2" {
		t.Errorf("with the clock before the soak's end: %q", got)
	}
	unopened := newStage(1, 2).wave(EvWaveOpened, 1).both("h0").say(Event{Kind: EvWavePassed, Wave: 1, Until: epoch.Add(time.Hour)})
	if d := Decide(unopened.p, unopened.s, epoch); decided(d) != "" || !strings.Contains(d.Hold, "soaks") {
		t.Errorf("a wave opens in the soak before it: %+v", d)
	}
}
