package engine

import (
	"context"
	"time"

	"wavelock/rollout"
)

// Directory says what it has now of the plan's hosts and of those that are selected.
type Directory func(context.Context) (rollout.Listing, error)

// lookTime bounds one look into the directory.
const lookTime = 5 * time.Minute

// compare asks the directory and records what is different from the plan, if that is not what was recorded last. A
// directory that does not answer stops nothing: the plan is what was approved.
func (e *Engine) compare(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	l, err := e.Directory(asking)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		e.Log.Warn("it is not known who was added to the directory or is gone from it", "err", err)
		return nil
	}
	r := e.Plan.Compare(l)
	e.mu.Lock()
	told := e.state.Roster
	e.mu.Unlock()
	if r.Same(told) {
		return nil
	}
	ev, err := rollout.NewRoster(r)
	if err != nil {
		return err
	}
	return e.record(ctx, ev)
}

// follow compares again and again until ctx ends.
func (e *Engine) follow(ctx context.Context) error {
	if e.Directory == nil || e.CompareEvery <= 0 {
		return nil
	}
	tick := time.NewTicker(e.CompareEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := e.compare(ctx); err != nil && ctx.Err() == nil && !e.passes(err) {
			return err
		}
	}
}
