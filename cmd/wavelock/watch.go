package main

import (
	"context"
	"sync"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// watch shows a campaign that another process runs, until it is over.
func (a *app) watch(ctx context.Context, cfg Config, id rollout.CampaignID) error {
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	plan, state, err := replay(ctx, j, id)
	if err != nil {
		return err
	}
	w := &watcher{a: a, journal: j, plan: plan, state: state, show: newProgress(a, *plan, state.Seq)}
	w.show.offer("Ctrl-C ends this view, not the campaign")
	stop := w.show.start(w.view)
	err = w.follow(ctx)
	stop()
	if err != nil {
		return err
	}
	return a.showView(w.view())
}

// watcher applies what another process writes.
type watcher struct {
	a       *app
	journal *journal.Journal
	plan    *rollout.Plan
	show    *progress

	mu    sync.Mutex // guards state, which the drawing reads
	state *rollout.State
}

func (w *watcher) view() rollout.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	return rollout.NewView(w.plan, w.state, w.a.now())
}

// follow ends when the campaign does, or when the user has seen enough.
func (w *watcher) follow(ctx context.Context) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		over, err := w.catchUp(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case over || err != nil:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *watcher) catchUp(ctx context.Context) (over bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ev, err := range w.journal.Events(ctx, w.plan.ID, w.state.Seq) {
		if err != nil {
			return false, err
		}
		w.state.Apply(ev)
		w.show.event(ev)
	}
	return w.state.Finished, nil
}
