package hook

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wavelock/rollout"
)

// Teller tells hooks what has happened, in order, beside the campaign: it never waits for them.
type Teller struct {
	hooks *Hooks
	plan  string // hash
	log   *slog.Logger

	mu     sync.Mutex // guards closed and lost, and keeps queue from being closed while it is sent to
	closed bool
	lost   int
	queue  chan Message
	ended  chan struct{}
	stop   context.CancelFunc
}

// queued is how many messages may wait for hooks that are slow; more are dropped, and that is logged. The journal has
// them all.
const queued = 10_000

// NewTeller begins to tell. Close has to be called.
func NewTeller(hooks *Hooks, plan string, log *slog.Logger) *Teller {
	ctx, stop := context.WithCancel(context.Background())
	t := &Teller{hooks: hooks, plan: plan, log: log, queue: make(chan Message, queued), ended: make(chan struct{}), stop: stop}
	go func() {
		defer close(t.ended)
		for m := range t.queue {
			t.tell(ctx, m)
		}
	}()
	return t
}

// Event takes an event of the journal. It does not block.
func (t *Teller) Event(e rollout.Event) {
	for _, on := range occasionsOf(e) {
		if !t.hooks.Wanted(on) {
			continue
		}
		m := Message{ID: fmt.Sprintf("%s-%d-%s", e.Campaign, e.Seq, on), On: on, Campaign: e.Campaign, Plan: t.plan, At: e.At, Wave: e.Wave, Detail: e.Detail}
		if on == EveryEvent {
			e.Data = nil // observations are large, and a matter of the journal
			m.Event = &e
		}
		t.put(m)
	}
}

func (t *Teller) put(m Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	select {
	case t.queue <- m:
	default:
		if t.lost++; t.lost == 1 {
			t.log.Warn("hooks are too slow: messages are dropped; the journal has them all")
		}
	}
}

func occasionsOf(e rollout.Event) []string {
	all := []string{EveryEvent}
	switch e.Kind {
	case rollout.EvWavePassed:
		all = append(all, WaveDone)
	case rollout.EvWaveHalted:
		all = append(all, WaveFailed)
	case rollout.EvRollback:
		all = append(all, Rollback)
	case rollout.EvFinished:
		all = append(all, CampaignDone)
	}
	return all
}

func (t *Teller) tell(ctx context.Context, m Message) {
	for _, k := range t.hooks.hooks {
		if !k.hears(m.On) {
			continue
		}
		if err := k.deliver(ctx, m); err != nil {
			t.log.Warn("a hook could not be told", "hook", k.name(), "on", m.On, "id", m.ID, "err", err)
		}
	}
}

// Close waits until all is told, for as long as patience, then gives up.
func (t *Teller) Close(patience time.Duration) {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(t.queue)
	}
	t.mu.Unlock()
	late := time.AfterFunc(patience, t.stop)
	<-t.ended
	late.Stop()
	t.stop()
}
