package rollout

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkView holds the sums of a view against the number of hosts.
func checkView(t fataler, p *Plan, s *State, now time.Time) {
	t.Helper()
	v := NewView(p, s, now)
	counts, classes, waves, ous := 0, 0, 0, 0
	for _, n := range v.Counts {
		counts += n
	}
	for _, n := range v.Classes {
		classes += n
	}
	for _, w := range v.Waves {
		waves += w.Hosts
		if got := w.Done + w.Running + w.Waiting + w.Refused + w.Restored + w.Retired; got > w.Hosts {
			t.Fatalf("wave %d has %d hosts and %d states of them: %+v", w.Number, w.Hosts, got, w)
		}
	}
	for _, o := range v.OUs {
		sum := 0
		for _, n := range o.Classes {
			sum += n
		}
		if sum != o.Hosts {
			t.Fatalf("%s has %d hosts and %d classes", o.OU, o.Hosts, sum)
		}
		ous += o.Hosts
	}
	if all := len(p.Hosts) + len(p.Left); counts != len(p.Hosts) || waves != len(p.Hosts) || v.Hosts != len(p.Hosts) || classes != all || ous != all {
		t.Fatalf("of %d hosts and %d left out, the view counts %d by status, %d in waves, %d by class, %d in OUs", len(p.Hosts), len(p.Left), counts, waves, classes, ous)
	}
	if v.InFlight != s.InFlight() || v.Done != v.Counts["done"] {
		t.Fatalf("in flight %d of %d, done %d of %d", v.InFlight, s.InFlight(), v.Done, v.Counts["done"])
	}
}

func TestStatusOfTheView(t *testing.T) {
	t.Parallel()
	for want, st := range map[string]*stage{
		"not approved": {newStage(1).p, NewState(newStage(1).p)},
		"running":      newStage(1).say(Event{Kind: EvStopped}, Event{Kind: EvStarted}),
		"stopped":      newStage(1).say(Event{Kind: EvStarted}, Event{Kind: EvStopped}),
		"paused":       newStage(1).say(Event{Kind: EvPaused, Actor: "ann"}),
		"halted":       halted(false),
		"aborting":     newStage(1).start("h0", ActSecure).say(Event{Kind: EvAborted, Actor: "ann"}),
		"rolling back": newStage(1).start("h0", ActSecure).say(Event{Kind: EvRollback, Actor: "ann"}),
		"waiting":      newStage(1).wave(EvWaveOpened, 1).act("h0", ActSecure, AwaitPolicy).wave(EvWavePassed, 1).wave(EvWaveOpened, 2),
		"finished":     newStage(1).say(Event{Kind: EvFinished}),
	} {
		v := NewView(st.p, st.s, epoch)
		if v.Status != want {
			t.Errorf("%q, want %q", v.Status, want)
		}
		if quiet := want == "running" || want == "finished"; quiet != (v.Why == "") {
			t.Errorf("%s because %q", v.Status, v.Why)
		}
		if want != "not approved" && (v.Approved != "ann" || v.Hash != st.p.Hash()) {
			t.Errorf("%s was approved by %q with hash %q", want, v.Approved, v.Hash)
		}
	}
}

func TestHostsThatAreDueToBeLookedAtAreStillWaiting(t *testing.T) {
	t.Parallel()
	st := newStage(1).wave(EvWaveOpened, 1).act("h0", ActSecure, AwaitPolicy).wave(EvWavePassed, 1).wave(EvWaveOpened, 2)
	due := epoch.Add(2 * time.Hour)
	if d := Decide(st.p, st.s, due); d.Idle || len(d.Actions) != 1 {
		t.Fatalf("nothing is due: %+v", d)
	}
	if v := NewView(st.p, st.s, due); v.Status != "waiting" || v.Why == "" {
		t.Errorf("%s because %q", v.Status, v.Why)
	}
	if v := NewView(newStage(1).p, newStage(1).wave(EvWaveOpened, 1).s, due); v.Status != "running" {
		t.Errorf("a host that was never worked on is %s", v.Status)
	}
}

func TestRowsOfTheView(t *testing.T) {
	t.Parallel()
	st := newStage(8).wave(EvWaveOpened, 1).both("h0").act("h1", ActSecure, Passed).start("h2", ActSecure).
		act("h3", ActSecure, Deferred).act("h4", ActSecure, Refused).act("h5", ActSecure, Failed).act("h6", ActSecure, Failed).act("h6", ActRestore, NeedsHuman)
	st.p.Left = []LeftOut{{Host: "h9", OU: "corp.example/Left", Class: ClassNone, Reason: ReasonWrongHost}}
	v := NewView(st.p, st.s, epoch)
	checkView(t, st.p, st.s, epoch)
	want := map[string]int{"done": 1, "secured": 1, "running": 1, "deferred": 1, "refused": 1, "failed": 1, "needs-human": 1, "waiting": 1}
	for status, n := range want {
		if v.Counts[status] != n {
			t.Errorf("%d hosts are %s, want %d", v.Counts[status], status, n)
		}
	}
	var troubles []HostID
	for _, h := range v.Troubles {
		troubles = append(troubles, h.Host)
	}
	if !slices.Equal(troubles, []HostID{"h6", "h5", "h4", "h3"}) {
		t.Errorf("the worst first is %v", troubles)
	}
	if w := v.Waves[0]; len(v.Waves) != 1 || w.Hosts != 8 || w.Done != 1 || w.Running != 1 || w.Waiting != 1 || w.Refused != 1 || w.Failed != 2 || w.Limit != 2 || w.InFlight != 2 {
		t.Errorf("waves are %+v", v.Waves)
	}
	if v.Failures != 2 || v.Done != 1 || v.InFlight != 1 || v.Classes[ClassNone] != 1 || len(v.OUs) != 2 || v.OUs[1].OU != "corp.example/Left" {
		t.Errorf("%+v", v)
	}
	if _, err := json.Marshal(v); err != nil {
		t.Error(err)
	}
}

func TestHostsThatWaitAreShownInTheLaterWave(t *testing.T) {
	t.Parallel()
	st := newStage(1).wave(EvWaveOpened, 1).act("h0", ActSecure, Deferred).wave(EvWavePassed, 1).wave(EvWaveOpened, 2).
		say(Event{Kind: EvAction, Host: "h0", Action: ActSecure, Attempt: 2, Wave: 2})
	v := NewView(st.p, st.s, epoch)
	if len(v.Waves) != 2 || v.Waves[1].Name != "later" || v.Waves[1].Running != 1 || v.Waves[0].Hosts != 0 {
		t.Errorf("%+v", v.Waves)
	}
}

func TestAWaveThatProvedNothingIsShownSo(t *testing.T) {
	t.Parallel()
	st := unproven(Deferred)
	v := NewView(st.p, st.s, epoch)
	if w := v.Waves[0]; w.Status != WaveUnproven || w.Reason != ReasonWaveUnproven || v.Status != "waiting" || !strings.Contains(v.Why, "wave-unproven") {
		t.Errorf("%s (%s): %+v", v.Status, v.Why, w)
	}
	v = NewView(st.p, st.both("h0").s, epoch)
	if w := v.Waves[0]; w.Status != WaveOpen || w.Reason != "" {
		t.Errorf("proved after all: %+v", w)
	}
}
