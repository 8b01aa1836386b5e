package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"wavelock/rollout"
)

// SaveSnapshot keeps a campaign's state as it was after a Seq, instead of the one before. An event with its hash goes
// into the chain with it, so that nobody can change it unseen.
func (j *Journal) SaveSnapshot(ctx context.Context, id rollout.CampaignID, at time.Time, actor string, body []byte) ([]rollout.Event, error) {
	sum := sha256.Sum256(body)
	ev := rollout.Event{Campaign: id, At: at, Actor: actor, Kind: rollout.EvSnapshot, Detail: hex.EncodeToString(sum[:])}
	var written []rollout.Event
	err := j.submit(ctx, &request{op: "keep a snapshot of " + string(id), stage: func(d *draft) (err error) {
		if written, err = d.add([]rollout.Event{ev}); err != nil {
			return err
		}
		_, err = d.tx.ExecContext(d.ctx, `INSERT INTO snapshot (campaign, event, body) VALUES (?, ?, ?)
			ON CONFLICT (campaign) DO UPDATE SET event = excluded.event, body = excluded.body`, string(id), written[0].Seq, body)
		return reads(err)
	}})
	if err != nil {
		return nil, err
	}
	return written, nil
}

// Snapshot is the latest one of a campaign, nil when there is none. One that does not fit its event in the chain is a
// *ChainError.
func (j *Journal) Snapshot(ctx context.Context, id rollout.CampaignID) ([]byte, error) {
	var seq int64
	var body []byte
	err := j.read.QueryRowContext(ctx, "SELECT event, body FROM snapshot WHERE campaign = ?", string(id)).Scan(&seq, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, &ReadError{fmt.Sprintf("read the snapshot of %s", id), err}
	}
	e, err := j.event(ctx, id, seq)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(body); e.Kind != rollout.EvSnapshot || e.Detail != hex.EncodeToString(sum[:]) {
		return nil, &ChainError{id, seq, "the snapshot is not the one that it speaks of"}
	}
	return body, nil
}

// Replay is a campaign as its journal tells it: from the latest snapshot and what came after it, or from the beginning
// where there is no snapshot that can be used.
func (j *Journal) Replay(ctx context.Context, id rollout.CampaignID) (*rollout.Plan, *rollout.State, error) {
	plan, err := j.Plan(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	state := j.fromSnapshot(ctx, &plan)
	for ev, err := range j.Events(ctx, id, state.Seq) {
		if err != nil {
			return nil, nil, err
		}
		state.Apply(ev)
	}
	return &plan, state, nil
}

func (j *Journal) fromSnapshot(ctx context.Context, plan *rollout.Plan) *rollout.State {
	body, err := j.Snapshot(ctx, plan.ID)
	if err == nil && body != nil {
		var s *rollout.State
		if s, err = rollout.LoadState(plan, body); err == nil {
			return s
		}
	}
	if err != nil {
		j.cfg.Log.Warn("the snapshot cannot be used; all events are read", "campaign", plan.ID, "err", err)
	}
	return rollout.NewState(plan)
}
