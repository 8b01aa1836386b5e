package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"wavelock/rollout"
)

// jobArgs is a job as the queue stores it: who and which attempt, nothing else.
// The state of the work is in the events.
type jobArgs struct {
	Campaign rollout.CampaignID `json:"campaign"`
	Host     rollout.HostID     `json:"host"`
	Attempt  int                `json:"attempt"`
}

// Kind names the job's kind in the queue.
func (jobArgs) Kind() string { return "host_action" }

func insertParams(job rollout.Job) river.InsertManyParams {
	return river.InsertManyParams{Args: jobArgs{job.Campaign, job.Host, job.Attempt},
		InsertOpts: &river.InsertOpts{Queue: queueName(job.Zone), MaxAttempts: 1}}
}

// plainZone is a zone whose name a queue can have: River allows at most 64 small
// letters and digits, with single hyphens between them.
var plainZone = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// queueName is the queue of a zone. No two zones have the same.
func queueName(z rollout.Zone) string {
	switch {
	case z == "":
		return "zone"
	case len(z) <= 48 && plainZone.MatchString(string(z)):
		return "zone-" + string(z)
	}
	sum := sha256.Sum256([]byte(z))
	return "hashed-" + hex.EncodeToString(sum[:16])
}

// Work hands jobs of the zones to do, at most parallel at once, until ctx ends;
// then it waits for those in flight. The context that do gets ends with ctx. No
// zones means all that the plans in the journal have.
//
// A job whose do answers an error, or whose process dies, is handed out again when
// the queue is next worked; failures of the work itself are events, not errors of
// do. Work owns the database (see Own) while it runs, unless its caller does.
func (j *Journal) Work(ctx context.Context, zones []rollout.Zone, parallel int, do func(context.Context, rollout.Job) error) error {
	release, err := j.borrow(ctx)
	if err != nil {
		return err
	}
	defer release()
	// A campaign that has nothing to do ends ctx while the queue is still being set
	// up: that is no error of the database.
	setUp := context.WithoutCancel(ctx)
	if err := j.requeue(setUp); err != nil {
		return err
	}
	if len(zones) == 0 {
		if zones, err = j.zones(setUp); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w := &worker{ctx: ctx, stop: stop, do: do, slots: make(chan struct{}, parallel), zones: map[string]rollout.Zone{}, log: j.cfg.Log}
	queues := map[string]river.QueueConfig{}
	for _, z := range zones {
		queues[queueName(z)] = river.QueueConfig{MaxWorkers: parallel}
		w.zones[queueName(z)] = z
	}
	if err := j.serve(ctx, w, queues); err != nil {
		return err
	}
	return w.panicked()
}

// serve runs River until ctx ends.
func (j *Journal) serve(ctx context.Context, w *worker, queues map[string]river.QueueConfig) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	client, err := river.NewClient(riversqlite.New(j.write), &river.Config{
		Logger: j.riverLog(), Queues: queues, Workers: workers, MaxAttempts: 1,
		// River looks into its outbox every 50 ms, and so hears of new jobs. The poll is
		// for those that were not told of because others were a moment before.
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: time.Second,
		// An action takes as long as it takes: its steps have time-outs of their own.
		// Without a time-out River rescues nothing either; see requeue.
		JobTimeout:                  -1,
		CompletedJobRetentionPeriod: time.Minute, DiscardedJobRetentionPeriod: time.Minute, CancelledJobRetentionPeriod: time.Minute,
	})
	if err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	lasting := context.WithoutCancel(ctx) // River is told to end by Stop, which waits
	if err := client.Start(lasting); err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	<-ctx.Done()
	if err := client.Stop(lasting); err != nil {
		return fmt.Errorf("stop the queue: %w", err)
	}
	return nil
}

// requeue draws the queue anew from the hosts that are worked on. River itself finds
// the jobs of a dead process by their age alone; here it is certain that nobody works
// on any, because this process owns the database. And it is not River that knows
// which jobs there are: whatever became of a job, its host is in an action that has
// not ended, and somebody has to end it.
func (j *Journal) requeue(ctx context.Context) error {
	err := j.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM river_job"); err != nil {
			return err
		}
		jobs, err := unended(ctx, tx)
		if err != nil || len(jobs) == 0 {
			return err
		}
		_, err = j.river.InsertManyFastTx(ctx, tx, jobs)
		return err
	})
	if err != nil {
		return &WriteError{Op: "take over the jobs of an earlier run", Err: err}
	}
	return nil
}

// unended are the jobs whose action has not ended.
func unended(ctx context.Context, tx *sql.Tx) ([]river.InsertManyParams, error) {
	rows, err := tx.QueryContext(ctx, "SELECT campaign, host, attempt, zone FROM host_run WHERE running <> '' AND zone IS NOT NULL ORDER BY at, host")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var jobs []river.InsertManyParams
	for rows.Next() {
		var job rollout.Job
		if err := rows.Scan(&job.Campaign, &job.Host, &job.Attempt, &job.Zone); err != nil {
			return nil, err
		}
		jobs = append(jobs, insertParams(job))
	}
	return jobs, rows.Err()
}

// zones are those of all plans, and the one without a name.
func (j *Journal) zones(ctx context.Context) ([]rollout.Zone, error) {
	rows, err := j.read.QueryContext(ctx, "SELECT '' UNION SELECT value FROM campaign, json_each(campaign.zones)")
	if err != nil {
		return nil, fmt.Errorf("read the zones: %w", err)
	}
	defer rows.Close()
	var zones []rollout.Zone
	for rows.Next() {
		var z rollout.Zone
		if err := rows.Scan(&z); err != nil {
			return nil, fmt.Errorf("read the zones: %w", err)
		}
		zones = append(zones, z)
	}
	return zones, rows.Err()
}

// worker is River's way to do.
type worker struct {
	river.WorkerDefaults[jobArgs]
	ctx   context.Context // Work's own: it ends when the process is told to stop
	stop  context.CancelCauseFunc
	do    func(context.Context, rollout.Job) error
	slots chan struct{} // River counts its workers by queue; this counts them all
	zones map[string]rollout.Zone
	log   *slog.Logger
}

// givenBack is how long a job rests that was not ended: until the queue is next
// worked, when requeue finds it.
const givenBack = 24 * time.Hour

// Work does one job.
func (w *worker) Work(ctx context.Context, job *river.Job[jobArgs]) error {
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-w.ctx.Done():
		return river.JobSnooze(givenBack)
	}
	if w.ctx.Err() != nil {
		return river.JobSnooze(givenBack) // both were ready
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(w.ctx, func() { cancel(context.Cause(w.ctx)) })()
	if err := w.try(ctx, rollout.Job{Campaign: job.Args.Campaign, Host: job.Args.Host, Attempt: job.Args.Attempt, Zone: w.zones[job.Queue]}); err != nil {
		return river.JobSnooze(givenBack)
	}
	return nil
}

// panicError is a defect of this program that showed itself in a job.
type panicError struct {
	host rollout.HostID
	what any
}

func (e *panicError) Error() string {
	return fmt.Sprintf("the program is broken: the work on %s ended with %v", e.host, e.what)
}

// try keeps a defect from being taken for an end of the job: it ends the work on
// all of them.
func (w *worker) try(ctx context.Context, job rollout.Job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("panic in a job", "host", job.Host, "attempt", job.Attempt, "panic", p, "stack", string(debug.Stack()))
			err = &panicError{job.Host, p}
			w.stop(err)
		}
	}()
	return w.do(ctx, job)
}

// panicked is the defect that ended the work, if one did.
func (w *worker) panicked() error {
	if p, ok := context.Cause(w.ctx).(*panicError); ok {
		return p
	}
	return nil
}

// riverLog lets River's warnings through. Its other remarks are not for users.
func (j *Journal) riverLog() *slog.Logger {
	return slog.New(warnings{j.cfg.Log.Handler()}).With("part", "queue")
}

type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{h.Handler.WithAttrs(a)} }

func (h warnings) WithGroup(name string) slog.Handler { return warnings{h.Handler.WithGroup(name)} }
