package engine

import (
	"context"
	"time"

	"wavelock/rollout"
)

// Album is a store that keeps snapshots, so that a replay need not begin at the first event.
type Album interface {
	SaveSnapshot(ctx context.Context, id rollout.CampaignID, at time.Time, actor string, body []byte) ([]rollout.Event, error)
}

// snapEvery is after how many events the state is kept: some seconds of replay.
const snapEvery = 50_000

// snap keeps the state when enough has happened since the last time.
func (e *Engine) snap(ctx context.Context) error {
	album, ok := e.Store.(Album)
	e.mu.Lock()
	if !ok || e.state.Seq-e.snapped < snapEvery {
		e.mu.Unlock()
		return nil
	}
	body, err := e.state.Snapshot()
	e.snapped = e.state.Seq
	e.mu.Unlock()
	if err != nil {
		return err
	}
	written, err := album.SaveSnapshot(ctx, e.Plan.ID, e.Now(), e.Actor, body)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.take(written)
	return err
}
