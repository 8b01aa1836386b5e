package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"wavelock/rollout"
)

func decide(t testing.TB, j *Journal, id rollout.CampaignID, version int64, hosts []rollout.HostID, attempt int) ([]rollout.Event, bool) {
	t.Helper()
	var events []rollout.Event
	var jobs []rollout.Job
	for _, h := range hosts {
		events = append(events, action(id, h, attempt))
		jobs = append(jobs, rollout.Job{Campaign: id, Host: h, Attempt: attempt})
	}
	written, ok, err := j.Decide(t.Context(), id, version, events, jobs)
	if err != nil {
		t.Fatal(err)
	}
	return written, ok
}

func version(t testing.TB, j *Journal, id rollout.CampaignID) int64 {
	t.Helper()
	_, v, err := j.Position(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (j *Journal) count(t testing.TB, query string, args ...any) int {
	t.Helper()
	var n int
	if err := j.read.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDecisionIsComparedAndSwapped(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 4)
	v := version(t, j, "spring")
	written, ok := decide(t, j, "spring", v, []rollout.HostID{hostName(0), hostName(1)}, 1)
	if !ok || len(written) != 2 || version(t, j, "spring") != written[1].Seq {
		t.Fatalf("ok %v, %d events, version %d", ok, len(written), version(t, j, "spring"))
	}
	if _, ok := decide(t, j, "spring", v, []rollout.HostID{hostName(2)}, 1); ok {
		t.Error("a decision on what was decided upon since was taken")
	}
	v = version(t, j, "spring")
	mustAppend(t, j, step(rollout.EvStepOpen, "spring", hostName(0), 1, rollout.StepInspect), said("spring", rollout.EvStarted))
	if version(t, j, "spring") != v {
		t.Error("a worker's event moved the version")
	}
	for _, kind := range []rollout.EventKind{rollout.EvApproved, rollout.EvPaused, rollout.EvResumed, rollout.EvAborted, rollout.EvRollback, rollout.EvRoster} {
		v := version(t, j, "spring")
		mustAppend(t, j, said("spring", kind))
		if _, ok := decide(t, j, "spring", v, []rollout.HostID{hostName(2)}, 1); ok {
			t.Errorf("a decision that had not heard %s was taken", kind)
		}
	}
	if n := j.count(t, "SELECT count(*) FROM river_job"); n != 2 {
		t.Errorf("%d jobs, want the 2 of the decision that was taken", n)
	}
	if _, ok := decide(t, j, "spring", version(t, j, "spring"), nil, 1); !ok {
		t.Error("nothing to decide is not ok")
	}
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Error(err)
	}
}

func TestOverlappingTicksAreHarmless(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 40)
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 40 {
				_, v, err := j.Position(t.Context(), "spring")
				if err != nil {
					t.Error(err)
					return
				}
				h := hostName(i)
				if j.count(t, "SELECT count(*) FROM host_run WHERE host = ?", string(h)) > 0 {
					continue
				}
				_, ok, err := j.Decide(t.Context(), "spring", v, []rollout.Event{action("spring", h, 1)}, []rollout.Job{{Campaign: "spring", Host: h, Attempt: 1}})
				var stale *StaleError
				if err != nil && !errors.As(err, &stale) {
					t.Error(err)
				}
				if ok {
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if jobs := j.count(t, "SELECT count(*) FROM river_job"); int64(jobs) != taken.Load() || jobs != j.count(t, "SELECT count(DISTINCT args) FROM river_job") {
		t.Errorf("%d jobs of %d decisions", jobs, taken.Load())
	}
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Error(err)
	}
}

func TestJobNeedsItsAction(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 2)
	create(t, j, "summer", 2)
	mustAppend(t, j, action("spring", hostName(1), 1))
	mustAppend(t, j, action("summer", hostName(1), 1))
	v := version(t, j, "spring")
	for name, job := range map[string]rollout.Job{
		"no action at all": {Campaign: "spring", Host: hostName(0), Attempt: 1},
		"another attempt":  {Campaign: "spring", Host: hostName(1), Attempt: 2},
		"another campaign": {Campaign: "summer", Host: hostName(1), Attempt: 1},
	} {
		if _, ok, err := j.Decide(t.Context(), "spring", v, []rollout.Event{{Campaign: "spring", Kind: rollout.EvWaveOpened, Wave: 1}}, []rollout.Job{job}); ok || err == nil {
			t.Errorf("%s: ok %v, %v", name, ok, err)
		}
	}
	if seq, got, err := j.Position(t.Context(), "spring"); seq != 2 || got != v || err != nil {
		t.Errorf("a refused decision left something: seq %d, version %d, %v", seq, got, err)
	}
}

func TestZombieIsRefused(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 2)
	h := hostName(0)
	mustAppend(t, j, action("spring", h, 1), step(rollout.EvStepOpen, "spring", h, 1, rollout.StepInspect))
	mustAppend(t, j, settled("spring", h, 1, rollout.Unknown))
	mustAppend(t, j, action("spring", h, 2))
	before, _, _ := j.Position(t.Context(), "spring")
	for name, e := range map[string]rollout.Event{
		"an older attempt opens a step": step(rollout.EvStepOpen, "spring", h, 1, rollout.StepRemoveHTTP),
		"an older attempt ends a step":  step(rollout.EvStepDone, "spring", h, 1, rollout.StepRemoveHTTP),
		"an older attempt fails a step": step(rollout.EvStepFail, "spring", h, 1, rollout.StepRemoveHTTP),
		"an older attempt settles":      settled("spring", h, 1, rollout.Passed),
		"an attempt of the future":      step(rollout.EvStepOpen, "spring", h, 3, rollout.StepRemoveHTTP),
		"an action again":               action("spring", h, 2),
		"an action of an older attempt": action("spring", h, 1),
		"a host without any action":     step(rollout.EvStepOpen, "spring", hostName(1), 0, rollout.StepInspect),
	} {
		// What comes with it is refused too: all or none.
		_, err := j.Append(t.Context(), step(rollout.EvStepOpen, "spring", h, 2, rollout.StepInspect), e)
		var stale *StaleError
		if !errors.As(err, &stale) || !stale.Stale() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, _, _ := j.Position(t.Context(), "spring"); after != before {
		t.Errorf("refused events moved the chain from %d to %d", before, after)
	}
	mustAppend(t, j, action("spring", h, 3)) // attempt 2 is given up
	mustAppend(t, j, settled("spring", h, 3, rollout.Passed))
	var stale *StaleError
	for _, attempt := range []int{2, 3} {
		if _, err := j.Append(t.Context(), settled("spring", h, attempt, rollout.Failed)); !errors.As(err, &stale) {
			t.Errorf("attempt %d is over and settles: %v", attempt, err)
		}
	}
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Error(err)
	}
}

func TestRefusedNeighbourHarmsNobody(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 50)
	for i := range 50 {
		mustAppend(t, j, action("spring", hostName(i), 1))
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for range 10 {
				attempt := 1 + i%2 // every second one is a zombie
				_, err := j.Append(t.Context(), step(rollout.EvStepOpen, "spring", hostName(i), attempt, rollout.StepInspect))
				if (err != nil) != (attempt == 2) {
					t.Errorf("attempt %d: %v", attempt, err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(eventsOf(t, j, "spring", 51)); n != 25*10 {
		t.Errorf("%d events, want %d", n, 25*10)
	}
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Error(err)
	}
}

// TestProjectionsAreTheFoldOfTheEvents writes random lives of hosts, some of them
// at once, replays the events, and compares with the rows.
func TestProjectionsAreTheFoldOfTheEvents(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	const n = 12
	p := create(t, j, "spring", n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { live(t, j, hostName(i), rand.New(rand.NewPCG(7, uint64(i)))) })
	}
	wg.Wait()
	state := rollout.NewState(&p)
	images := map[rollout.HostID]int64{}
	for _, e := range eventsOf(t, j, "spring", 0) {
		state.Apply(e)
		if images[e.Host] == 0 && imageOf(&e) != nil {
			images[e.Host] = e.Seq
		}
	}
	c := j.rowOf(t, "spring")
	if c.seq != state.Seq {
		t.Errorf("seq %d, replayed %d", c.seq, state.Seq)
	}
	for i := range n {
		id := hostName(i)
		h := state.Hosts[id]
		want := hostRow{attempt: h.Attempt, running: h.Running, step: h.Open, wave: h.Wave, outcome: h.Outcome, reason: h.Reason, class: h.Class, image: images[id]}
		var got hostRow
		if err := j.read.QueryRowContext(t.Context(), "SELECT attempt, running, step, wave, outcome, reason, class, image FROM host_run WHERE host = ?", string(id)).
			Scan(&got.attempt, &got.running, &got.step, &got.wave, &got.outcome, &got.reason, &got.class, &got.image); err != nil {
			t.Fatal(err)
		}
		if got.class == "" {
			got.class = rollout.ClassHTTPOnly // never seen: the plan's word holds
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the row is %+v, the events say %+v", id, got, want)
		}
	}
}

func live(t *testing.T, j *Journal, h rollout.HostID, rng *rand.Rand) {
	classes, outcomes := rollout.Classes(), []rollout.Outcome{rollout.Passed, rollout.Failed, rollout.Unknown, rollout.Deferred, rollout.Restored}
	steps := []rollout.StepKind{rollout.StepInspect, rollout.StepSaveImage, rollout.StepEnroll, rollout.StepRemoveHTTP}
	for attempt := 1; attempt < 5; attempt++ {
		mustAppend(t, j, action("spring", h, attempt))
		for range rng.IntN(8) {
			s := steps[rng.IntN(len(steps))]
			open := step(rollout.EvStepOpen, "spring", h, attempt, s)
			if s == rollout.StepSaveImage {
				open.Data = []byte(fmt.Sprintf(`{"image":{"host":%q}}`, h))
			}
			mustAppend(t, j, open)
			end := step([]rollout.EventKind{rollout.EvStepDone, rollout.EvStepFail}[rng.IntN(2)], "spring", h, attempt, s)
			end.Class = classes[rng.IntN(len(classes))]
			if rng.IntN(8) > 0 {
				mustAppend(t, j, end)
			}
		}
		if attempt == 4 && rng.IntN(2) == 0 {
			return // in the middle of an action
		}
		mustAppend(t, j, settled("spring", h, attempt, outcomes[rng.IntN(len(outcomes))]))
	}
}
