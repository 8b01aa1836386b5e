package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wavelock/rollout"
)

// asked is a gate that remembers what it was asked and says no to some of it.
type asked struct {
	mu  sync.Mutex
	all []string
	no  string
}

func (g *asked) Ask(_ context.Context, q Question) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	text := fmt.Sprintf("%s %d %d", q.Kind, q.Wave, len(q.Hosts))
	g.all = append(g.all, text)
	if g.no != "" && strings.HasPrefix(text, g.no) {
		return errors.New("freeze until Monday")
	}
	return nil
}

func (g *asked) say(no string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.no = no
}

func TestGateIsAskedBeforeAnythingBegins(t *testing.T) {
	t.Parallel()
	for _, no := range []string{"campaign", "wave 1", "wave 2", "removal"} {
		t.Run(no, func(t *testing.T) {
			t.Parallel()
			b := setup(t, 6) // in waves of 1, 2 and 3
			w := b.world
			gate := &asked{no: no}
			e := b.engine()
			e.Gate = gate
			end := ran(t, e)
			if end.Over || !strings.Contains(end.Hold, "freeze until Monday") {
				t.Fatalf("it ends %+v", end)
			}
			for id, h := range w.hosts {
				if began := len(h.steps) > 0; began && (no == "campaign" || no == "wave 1") || slices.Contains(h.steps, rollout.StepRemoveHTTP) && no == "removal" {
					t.Errorf("%s was worked on: %v", id, h.steps)
				}
			}
			// The same is asked again when a person has lifted the pause.
			gate.say("")
			if _, err := w.store.Append(t.Context(), rollout.Event{Kind: rollout.EvResumed, Actor: "ann"}); err != nil {
				t.Fatal(err)
			}
			if end := ran(t, e); !end.Over {
				t.Fatalf("then it ends %+v", end)
			}
			seen := map[string]int{}
			for _, q := range gate.all {
				seen[q]++
			}
			for _, q := range []string{"campaign 0 0", "wave 1 1", "wave 2 2"} {
				if want := 1 + btoi(strings.HasPrefix(q, no)); seen[q] != want {
					t.Errorf("%q was asked %d times, want %d: %v", q, seen[q], want, gate.all)
				}
			}
		})
	}
}

func ran(t *testing.T, e *Engine) Ending {
	t.Helper()
	end, err := e.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// flaky fails now and then with an error that passes.
type flaky struct {
	*memory
	mu sync.Mutex
	n  int
}

var errFlaky = errors.New("the server restarts")

func (f *flaky) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	return f.n%3 == 0
}

func (f *flaky) Position(ctx context.Context, id rollout.CampaignID) (int64, int64, error) {
	if f.fails() {
		return 0, 0, errFlaky
	}
	return f.memory.Position(ctx, id)
}

func TestStoreThatIsGoneForAWhileIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	e := b.engine()
	store := &flaky{memory: b.store}
	e.Store, e.Passing = store, func(err error) bool { return errors.Is(err, errFlaky) }
	e.Queue = again{b.store}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	store.n = 1 // the first look of Run is not repeated
	end, err := e.Run(ctx)
	if err != nil || !end.Over {
		t.Errorf("it ends %+v, %v", end, err)
	}
	other := setup(t, 2)
	e2 := other.engine()
	e2.Store = &flaky{memory: other.store, n: 1}
	if _, err := e2.Run(ctx); !errors.Is(err, errFlaky) {
		t.Errorf("an error that does not pass: %v", err)
	}
}

// again hands a job out until it is done, as the journal's queue does.
type again struct{ *memory }

func (a again) Work(ctx context.Context, zones []rollout.Zone, parallel int, do func(context.Context, rollout.Job) error) error {
	return a.memory.Work(ctx, zones, parallel, func(ctx context.Context, j rollout.Job) error {
		for {
			if err := do(ctx, j); err == nil || ctx.Err() != nil {
				return err
			}
		}
	})
}

// shared is a store that knows of dead workers.
type shared struct {
	*memory
	orphans []rollout.Job
}

func (s *shared) Orphans(context.Context, rollout.CampaignID) ([]rollout.Job, error) {
	return s.orphans, nil
}

func TestOrphansAreGivenOutAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	p, w := b.plan, b.world
	e := b.engine()
	if err := e.catchUp(t.Context()); err != nil { // the approval
		t.Fatal(err)
	}
	first := p.Waves[0].Hosts[0]
	store := &shared{memory: w.store}
	e.Store = store
	act := func(host rollout.HostID, attempt int) rollout.Event {
		return rollout.Event{Campaign: p.ID, Kind: rollout.EvAction, Host: host, Wave: 1, Action: rollout.ActSecure, Attempt: attempt}
	}
	w.store.add([]rollout.Event{act(first, 1), {Kind: rollout.EvStepOpen, Host: first, Attempt: 1, Step: rollout.StepListen}})
	store.orphans = []rollout.Job{{Campaign: p.ID, Host: first, Attempt: 1}, {Campaign: p.ID, Host: p.Hosts[1].Host.ID, Attempt: 3}}
	if err := e.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := e.state.Hosts[first]
	if h.Attempt != 2 || h.Running != rollout.ActSecure || !h.Dirty {
		t.Errorf("after the sweep %+v", h)
	}
	select {
	case j := <-w.store.jobs:
		if j.Host != first || j.Attempt != 2 {
			t.Errorf("given out %+v", j)
		}
	default:
		t.Error("nothing was given out")
	}
	if len(w.store.jobs) != 0 {
		t.Error("a host that is not in flight was given out")
	}
	// Whoever has the first attempt finds that it is over.
	if _, ok, err := e.begin(t.Context(), rollout.Job{Campaign: p.ID, Host: first, Attempt: 1}); ok || err != nil {
		t.Errorf("the dead worker goes on: %v, %v", ok, err)
	}
}

// album keeps what it is given.
type album struct {
	*memory
	body []byte
}

func (a *album) SaveSnapshot(_ context.Context, id rollout.CampaignID, at time.Time, _ string, body []byte) ([]rollout.Event, error) {
	a.body = body
	return a.memory.Append(context.Background(), rollout.Event{Campaign: id, At: at, Kind: rollout.EvSnapshot})
}

func TestStateIsKeptWhenMuchHasHappened(t *testing.T) {
	t.Parallel()
	b := setup(t, 3)
	e := b.engine()
	store := &album{memory: b.store}
	e.Store = store
	if err := e.snap(t.Context()); err != nil || store.body != nil {
		t.Fatalf("a state without a history was kept, %v", err)
	}
	e.snapped = -snapEvery // as long ago
	if err := e.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.snap(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := rollout.LoadState(b.plan, store.body)
	if err != nil || s.Seq != 1 || e.state.Seq != 2 {
		t.Fatalf("%+v, %v; the engine is at %d", s, err, e.state.Seq)
	}
	if err := e.snap(t.Context()); err != nil || e.state.Seq != 2 {
		t.Errorf("it was kept again: %d, %v", e.state.Seq, err)
	}
	// Another engine goes on from it.
	next := b.engine()
	next.state = s
	if end := ran(t, next); !end.Over {
		t.Errorf("it ends %+v", end)
	}
}

// slow is a gate that answers about removals when it is told to.
type slow struct{ answer chan error }

func (s slow) Ask(ctx context.Context, q Question) error {
	if q.Kind != AskRemoval {
		return nil
	}
	select {
	case err := <-s.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestWayBackWaitsForNoGate: while somebody thinks about the removal on one host, another one fails and is put back.
func TestWayBackWaitsForNoGate(t *testing.T) {
	t.Parallel()
	b := setup(t, 30)
	bad := b.plan.Waves[1].Hosts[2]
	broken := b.world.hosts[bad]
	broken.broken[rollout.StepProve] = &rollout.Failure{Host: bad, Step: rollout.StepProve, Reason: rollout.ReasonThumbprintDiffers, Err: errors.New("another certificate")}
	gate := slow{make(chan error)}
	e := b.engine()
	e.Gate = gate
	restored := make(chan struct{})
	e.Observer = func(ev rollout.Event) {
		if ev.Host == bad && ev.Kind == rollout.EvSettled && ev.Outcome == rollout.Restored {
			close(restored)
		}
	}
	go func() {
		gate.answer <- nil // the canary's
		select {
		case <-restored:
		case <-t.Context().Done():
		}
		for {
			select {
			case gate.answer <- nil:
			case <-t.Context().Done():
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if end, err := e.Run(ctx); err != nil || !end.Over {
		t.Fatalf("it ends %+v, %v", end, err)
	}
	if !broken.http || broken.https {
		t.Errorf("%s was not put back: %v", bad, broken.steps)
	}
}
