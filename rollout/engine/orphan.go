package engine

import (
	"context"
	"time"

	"wavelock/rollout"
)

// Orphanage is a store that several processes share: it knows whose worker is dead.
type Orphanage interface {
	// Orphans are the actions that nobody works on any more.
	Orphans(ctx context.Context, id rollout.CampaignID) ([]rollout.Job, error)
}

// sweepEvery is how often dead workers are looked for.
const sweepEvery = 5 * time.Second

// sweep gives the actions of dead workers out again, as a further attempt: whoever comes back from the dead is refused,
// and the host is inspected before anything else.
func (e *Engine) sweep(ctx context.Context) error {
	store, ok := e.Store.(Orphanage)
	if !ok {
		return nil
	}
	orphans, err := store.Orphans(ctx, e.Plan.ID)
	if err != nil || len(orphans) == 0 {
		return err
	}
	if err := e.catchUp(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, version, err := e.Store.Position(ctx, e.Plan.ID)
	if err != nil || version > e.state.Seq {
		return err // somebody spoke meanwhile: the next sweep sees it
	}
	var events []rollout.Event
	var jobs []rollout.Job
	for _, o := range orphans {
		h := e.state.Hosts[o.Host]
		if h == nil || h.Running == "" || h.Attempt != o.Attempt {
			continue // it has ended after all
		}
		o.Attempt++
		jobs = append(jobs, o)
		events = append(events, rollout.Event{Campaign: e.Plan.ID, At: e.Now(), Actor: e.Actor, Kind: rollout.EvAction, Wave: h.Wave, Host: o.Host,
			Action: h.Running, Attempt: o.Attempt, Detail: "its worker is gone; the host is inspected first"})
	}
	if len(jobs) == 0 {
		return nil
	}
	e.Log.Warn("a worker is gone; its hosts are given to others", "hosts", len(jobs))
	written, _, err := e.Store.Decide(ctx, e.Plan.ID, version, events, jobs)
	if err == nil {
		err = e.forked(written, e.state.Seq)
	}
	if err == nil {
		e.take(written)
	}
	return err
}

// cutOff says once that the journal cannot be reached, and once that it can again.
func (e *Engine) cutOff(err error) {
	switch {
	case err != nil && !e.cut:
		e.Log.Warn("the journal cannot be reached; nothing is begun until it can", "err", err)
	case err == nil && e.cut:
		e.Log.Warn("the journal can be reached again, and the campaign goes on")
	}
	e.cut = err != nil
}

// passes reports whether an error of the store is of the kind that passes. Nothing is lost by waiting: what was not
// journalled was not done.
func (e *Engine) passes(err error) bool { return e.Passing != nil && e.Passing(err) }
