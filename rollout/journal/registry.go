package journal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"wavelock/rollout"
)

// Worker is a process that works on hosts.
type Worker struct {
	ID    string         `json:"id"` // of the process; another one after each start
	Zones []rollout.Zone `json:"zones"`
	Quiet time.Duration  `json:"quiet"` // since its last sign of life
}

// A worker gives a sign of life every few seconds. One that has not for so long is taken for dead, and its hosts are
// given to others. Both times are the database's.
const (
	beatEvery = 3 * time.Second
	deadAfter = 12 * time.Second
)

// newWorkerID names a process. No two have the same name, so that whoever comes back is not taken for who went.
func newWorkerID() string {
	host, _ := os.Hostname()
	if len(host) > 40 {
		host = host[:40]
	}
	return fmt.Sprintf("%s-%d-%.8s", host, os.Getpid(), rand.Text())
}

// register enters this process as a worker of the zones until ctx ends, and answers a function that waits for its
// removal.
func (j *Journal) register(ctx context.Context, zones []rollout.Zone) (wait func(), err error) {
	list, err := json.Marshal(zones)
	if err != nil {
		return nil, err
	}
	beat := func() error {
		_, err := j.write.ExecContext(context.WithoutCancel(ctx), `INSERT INTO worker (id, zones, beat) VALUES (?, ?, `+j.db.clock()+`)
			ON CONFLICT (id) DO UPDATE SET beat = excluded.beat`, j.id, string(list))
		return err
	}
	if err := beat(); err != nil {
		return nil, &WriteError{Op: "enter this process as a worker", Err: err}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(beatEvery)
		defer ticker.Stop()
		mute := false
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			switch err := beat(); {
			case err != nil && !mute:
				mute = true
				j.cfg.Log.Warn("this process can give no sign of life, and begins nothing until it can", "err", &WriteError{Op: "reach the journal", Err: err})
			case err == nil && mute:
				mute = false
				j.cfg.Log.Warn("this process gives signs of life again, and goes on")
			}
		}
	}()
	return func() {
		<-ended
		if _, err := j.write.ExecContext(context.WithoutCancel(ctx), "DELETE FROM worker WHERE id = ?", j.id); err != nil {
			j.cfg.Log.Warn("this process could not be removed from the workers", "err", err)
		}
	}, nil
}

// Workers are the processes that gave a sign of life lately.
func (j *Journal) Workers(ctx context.Context) ([]Worker, error) {
	var all []Worker
	query := "SELECT id, zones, " + j.db.clock() + " - beat FROM worker WHERE beat > " + j.db.clock() + " - ? ORDER BY id"
	err := each(ctx, j.read, query, []any{int64(deadAfter / time.Second)}, func(r row) error {
		var w Worker
		var zones string
		var quiet int64
		if err := r.Scan(&w.ID, &zones, &quiet); err != nil {
			return err
		}
		w.Quiet = time.Duration(max(quiet, 0)) * time.Second
		err := json.Unmarshal([]byte(zones), &w.Zones)
		all = append(all, w)
		return err
	})
	if err != nil {
		return nil, &ReadError{"list the workers", err}
	}
	return all, nil
}

// Orphans are the campaign's actions that nobody works on any more, because their worker is dead or their job is lost.
// They have to be given out anew, as a further attempt: whoever comes back from the dead is refused. In a database that
// is not shared there are none; see takeUp.
func (j *Journal) Orphans(ctx context.Context, id rollout.CampaignID) ([]rollout.Job, error) {
	if !j.db.shared() {
		return nil, nil
	}
	if _, err := j.write.ExecContext(ctx, "DELETE FROM worker WHERE beat <= "+j.db.clock()+" - ?", int64(deadAfter/time.Second)); err != nil {
		return nil, &ReadError{"look for dead workers", err}
	}
	var jobs []rollout.Job
	err := each(ctx, j.read, `SELECT campaign, host, attempt, zone FROM host_run h
		WHERE campaign = ? AND running <> '' AND zone IS NOT NULL AND NOT EXISTS (SELECT 1 FROM river_job r
			WHERE r.kind = 'host_action' AND r.args->>'host' = h.host AND r.args->>'campaign' = h.campaign AND (r.args->>'attempt')::bigint = h.attempt
			AND (r.state IN ('available', 'scheduled', 'retryable', 'pending')
				OR (r.state = 'running' AND r.attempted_by[array_upper(r.attempted_by, 1)] IN (SELECT id FROM worker))))
		ORDER BY h.host`, []any{string(id)}, func(r row) error {
		var job rollout.Job
		err := r.Scan(&job.Campaign, &job.Host, &job.Attempt, &job.Zone)
		jobs = append(jobs, job)
		return err
	})
	if err != nil {
		return nil, &ReadError{"look for dead workers", err}
	}
	return jobs, nil
}
