package rollout

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestAttemptsAreAFence(t *testing.T) {
	t.Parallel()
	started := func() *stage { return newStage(2).start("h0", ActSecure) }
	settled := func() *stage { return newStage(2).act("h0", ActSecure, Unknown) }
	for name, tc := range map[string]struct {
		stage *stage
		event Event
		heard bool
	}{
		"a worker's own attempt is heard":                    {started(), Event{Kind: EvSettled, Attempt: 1, Outcome: Passed}, true},
		"a former attempt is not":                            {started(), Event{Kind: EvSettled, Attempt: 0, Outcome: Passed}, false},
		"a future one is not":                                {started(), Event{Kind: EvSettled, Attempt: 2, Outcome: Passed}, false},
		"what has ended cannot end again":                    {settled(), Event{Kind: EvSettled, Attempt: 1, Outcome: Passed}, false},
		"what has ended takes no steps":                      {settled(), Event{Kind: EvStepOpen, Attempt: 1, Step: StepRemoveHTTP}, false},
		"an action that was given already is not given anew": {started(), Event{Kind: EvAction, Attempt: 1, Action: ActClose}, false},
		"the next one is":                                    {settled(), Event{Kind: EvAction, Attempt: 2, Action: ActRestore}, true},
		"an action without a kind is none":                   {settled(), Event{Kind: EvAction, Attempt: 2}, false},
		"an event of a newer version changes nothing":        {started(), Event{Kind: "sang", Attempt: 1}, false},
		"a host of another plan changes nothing":             {started(), Event{Kind: EvAction, Host: "x", Attempt: 2, Action: ActSecure}, false},
		"a wave of another plan changes nothing":             {started(), Event{Kind: EvWaveOpened, Wave: 9}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.event.Host == "" && tc.event.Wave == 0 {
				tc.event.Host = "h0"
			}
			before := dump(tc.stage.s)
			seq := tc.stage.s.Seq
			tc.stage.s.Apply(tc.event)
			if heard := dump(tc.stage.s) != before; heard != tc.heard || tc.stage.s.Seq != seq {
				t.Errorf("heard: %v; before\n%s\nafter\n%s", heard, before, dump(tc.stage.s))
			}
		})
	}
}

func TestWhatWasBegunIsNotForgotten(t *testing.T) {
	t.Parallel()
	st := newStage(1).start("h0", ActClose).say(
		Event{Kind: EvStepOpen, Host: "h0", Attempt: 1, Step: StepRemoveHTTP})
	h := st.s.Hosts["h0"]
	if !h.Wrote || !h.Dirty || !h.Removed || h.Open != StepRemoveHTTP {
		t.Fatalf("a removal that began leaves %+v", *h)
	}
	st.start("h0", ActClose) // given to another worker without an end of the first
	if !h.Dirty || !h.Removed || h.Attempt != 2 || st.s.InFlight() != 1 {
		t.Errorf("taken over, it is %+v with %d in flight", *h, st.s.InFlight())
	}
	st.end("h0", Unknown).start("h0", ActRestore)
	if h.Dirty || h.Removed || !h.Wrote || h.Restores != 1 {
		t.Errorf("a new action begins with %+v", *h)
	}
}

func TestWhatCountsAgainstTheBudget(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[Outcome]int{Failed: 1, Unknown: 1, Passed: 0, Deferred: 0, Pending: 0, AwaitPolicy: 0, Refused: 0, Restored: 0, NeedsHuman: 0} {
		st := newStage(1).act("h0", ActClose, outcome)
		if st.s.Failures != want || st.s.Waves[0].Failures != want || st.s.Hosts["h0"].Failed != (want > 0) {
			t.Errorf("%s counts %d in the campaign and %d in the wave, want %d", outcome, st.s.Failures, st.s.Waves[0].Failures, want)
		}
		st.act("h0", ActRestore, Unknown).act("h0", ActClose, outcome)
		if st.s.Failures != want {
			t.Errorf("%s twice on one host counts %d, want %d", outcome, st.s.Failures, want)
		}
	}
}

func TestTheStateLearnsFromSteps(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(Result{Proof: proofAt(epoch, false), Thumbprint: thumb})
	if err != nil {
		t.Fatal(err)
	}
	st := newStage(1).start("h0", ActSecure).say(
		Event{Kind: EvStepDone, Host: "h0", Attempt: 1, Step: StepSaveImage, Data: json.RawMessage(`{"proof":7}`), Class: ClassBoth},
		Event{Kind: EvStepDone, Host: "h0", Attempt: 1, Step: StepProve, Data: data})
	if h := st.s.Hosts["h0"]; !h.Imaged || h.Class != ClassBoth || h.Issued != thumb || h.Proof == nil || !h.Proof.Agree() {
		t.Errorf("%+v", *h)
	}
}

func TestProofsAgree(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		p := *proofAt(epoch, false)
		if !p.Agree() {
			t.Fatal("four equal thumbprints do not agree")
		}
		*[]*string{(*string)(&p.Wire), (*string)(&p.Listener), (*string)(&p.Bound), (*string)(&p.Issued)}[i] = "AA"
		if p.Agree() {
			t.Errorf("thumbprint %d differs and they agree", i)
		}
	}
	if (Proof{}).Agree() {
		t.Error("four times nothing agrees")
	}
}

// TestApplyHoldsItsCounts feeds events in any order: nothing panics, and what is
// counted is what is there.
func TestApplyHoldsItsCounts(t *testing.T) {
	t.Parallel()
	kinds := make([]EventKind, 0, 20)
	for _, k := range declared(t, "event.go", "EventKind") {
		kinds = append(kinds, EventKind(k))
	}
	rapid.Check(t, func(t *rapid.T) {
		st := newStage(2, 2)
		var log []Event
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			e := Event{Seq: int64(len(log) + 2), Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), At: epoch,
				Host: rapid.SampledFrom([]HostID{"", "h0", "h1", "h2", "x"}).Draw(t, "host"), Wave: rapid.IntRange(-1, 5).Draw(t, "wave"),
				Action:  rapid.SampledFrom([]ActionKind{"", ActSecure, ActClose, ActRestore}).Draw(t, "action"),
				Attempt: rapid.IntRange(0, 4).Draw(t, "attempt"), Step: rapid.SampledFrom([]StepKind{"", StepEnroll, StepRemoveHTTP}).Draw(t, "step"),
				Outcome: rapid.SampledFrom([]Outcome{"", Passed, Failed, Unknown, Deferred, Restored, "sung"}).Draw(t, "outcome")}
			log = append(log, e)
			st.s.Apply(e)
		}
		flying, waiting := 0, 0
		for _, h := range st.s.Hosts {
			if h.Running != "" {
				flying++
			}
			if h.later() {
				waiting++
			}
		}
		if st.s.InFlight() != flying || len(st.s.Waiting()) != waiting {
			t.Fatalf("in flight %d of %d, waiting %d of %d", st.s.InFlight(), flying, len(st.s.Waiting()), waiting)
		}
		again := newStage(2, 2)
		for _, e := range log {
			again.s.Apply(e)
		}
		st.s.plan, again.s.plan = nil, nil
		if !reflect.DeepEqual(again.s, st.s) {
			t.Fatal("the same events give another state")
		}
		Decide(st.p, st.s, epoch)
		checkView(t, st.p, st.s, epoch)
	})
}

func TestAPersonsNameIsKept(t *testing.T) {
	t.Parallel()
	st := newStage(1).say(Event{Kind: EvPaused, Actor: "ann", Detail: "lunch"}, Event{Kind: EvAborted, Actor: "bob"})
	if got := fmt.Sprint(st.s.By, "; ", st.s.Paused, "; ", st.s.Aborted); got != "ann; ann: lunch; bob" {
		t.Error(got)
	}
}
