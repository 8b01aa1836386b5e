package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"

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
	if err := j.db.takeUp(setUp); err != nil {
		return &WriteError{Op: "take over the jobs of an earlier run", Err: err}
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
	removed, err := j.register(ctx, zones)
	if err != nil {
		return err
	}
	w := &worker{ctx: ctx, stop: stop, do: do, slots: make(chan struct{}, parallel), zones: map[string]rollout.Zone{}, log: j.cfg.Log, shared: j.db.shared()}
	queues := map[string]river.QueueConfig{}
	for _, z := range zones {
		queues[queueName(z)] = river.QueueConfig{MaxWorkers: parallel}
		w.zones[queueName(z)] = z
	}
	err = j.db.serve(ctx, j.riverConfig(w, queues))
	stop(nil)
	removed() // now nobody is at work any more
	if err != nil {
		return err
	}
	return w.panicked()
}

// riverConfig is how River works here.
func (j *Journal) riverConfig(w *worker, queues map[string]river.QueueConfig) *river.Config {
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	return &river.Config{
		ID: j.id, Logger: riverLog(j.cfg.Log), Queues: queues, Workers: workers, MaxAttempts: 1,
		// On SQLite River looks into its outbox every 50 ms, and so hears of new jobs; PostgreSQL tells it. The
		// poll is for those that were not told of because others were a moment before.
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: time.Second,
		// An action takes as long as it takes: its steps have time-outs of their own.
		// Without a time-out River rescues nothing either; see takeUp and Orphans.
		JobTimeout:                  -1,
		CompletedJobRetentionPeriod: time.Minute, DiscardedJobRetentionPeriod: time.Minute, CancelledJobRetentionPeriod: time.Minute,
	}
}

// insertCooldown is how long a client that inserts keeps quiet about further jobs of a queue.
const insertCooldown = time.Millisecond

// serveUntil runs River until ctx ends.
func serveUntil[T any](ctx context.Context, client *river.Client[T]) error {
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

// unended are the jobs whose action has not ended.
func unended(ctx context.Context, tx querier) ([]river.InsertManyParams, error) {
	var jobs []river.InsertManyParams
	err := each(ctx, tx, "SELECT campaign, host, attempt, zone FROM host_run WHERE running <> '' AND zone IS NOT NULL ORDER BY at, host", nil, func(r row) error {
		var job rollout.Job
		err := r.Scan(&job.Campaign, &job.Host, &job.Attempt, &job.Zone)
		jobs = append(jobs, insertParams(job))
		return err
	})
	if err != nil {
		return nil, err
	}
	return jobs, nil
}

// zones are those of all plans, and the one without a name.
func (j *Journal) zones(ctx context.Context) ([]rollout.Zone, error) {
	zones := []rollout.Zone{""}
	err := each(ctx, j.read, "SELECT zones FROM campaign", nil, func(r row) error {
		var text string
		if err := r.Scan(&text); err != nil {
			return err
		}
		var some []rollout.Zone
		err := json.Unmarshal([]byte(text), &some)
		zones = append(zones, some...)
		return err
	})
	if err != nil {
		return nil, &ReadError{"read the zones", err}
	}
	slices.Sort(zones)
	return slices.Compact(zones), nil
}

// worker is River's way to do.
type worker struct {
	river.WorkerDefaults[jobArgs]
	ctx    context.Context // Work's own: it ends when the process is told to stop
	stop   context.CancelCauseFunc
	do     func(context.Context, rollout.Job) error
	slots  chan struct{} // River counts its workers by queue; this counts them all
	zones  map[string]rollout.Zone
	log    *slog.Logger
	shared bool // other processes work on the same queue
}

// A job that was not ended rests: in a shared database for a moment, until this or another process takes it up; else
// until the queue is next worked, when takeUp finds it.
const (
	givenBack       = 24 * time.Hour
	givenBackShared = time.Second
)

// lookAgain is how long a worker waits for a database that is gone for a while.
const lookAgain = time.Second

// Work does one job.
func (w *worker) Work(ctx context.Context, job *river.Job[jobArgs]) error {
	rest := river.JobSnooze(givenBack)
	if w.shared {
		rest = river.JobSnooze(givenBackShared)
	}
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-w.ctx.Done():
		return rest
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(w.ctx, func() { cancel(context.Cause(w.ctx)) })()
	for w.ctx.Err() == nil {
		err := w.try(ctx, rollout.Job{Campaign: job.Args.Campaign, Host: job.Args.Host, Attempt: job.Args.Attempt, Zone: w.zones[job.Queue]})
		if err == nil {
			return nil
		}
		if !Passing(err) {
			break
		}
		// The job stays in this process's hands: giving it back needs the database, too.
		select {
		case <-w.ctx.Done():
		case <-time.After(lookAgain):
		}
	}
	return rest
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
	var p *panicError
	if errors.As(context.Cause(w.ctx), &p) {
		return p
	}
	return nil
}

// riverLog lets River's warnings through. Its other remarks are not for users, and neither is that each of its parts has
// met the same server that is gone: the journal says that once, see register.
func riverLog(log *slog.Logger) *slog.Logger {
	return slog.New(warnings{log.Handler()}).With("part", "queue")
}

type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h warnings) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if (a.Key == "err" || a.Key == "error") && ofLostServer(a.Value.String()) {
			r.Level = slog.LevelDebug
		}
		return r.Level >= slog.LevelWarn
	})
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// ofLostServer reports whether a text of pgx, which is all that River hands on, tells of a connection that was lost.
func ofLostServer(text string) bool {
	return slices.ContainsFunc([]string{"failed to connect to", "connection refused", "terminating connection", "SQLSTATE 57P", "unexpected EOF", "connection reset by peer", "conn closed", "broken pipe"},
		func(sign string) bool { return strings.Contains(text, sign) })
}

func (h warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{h.Handler.WithAttrs(a)} }

func (h warnings) WithGroup(name string) slog.Handler { return warnings{h.Handler.WithGroup(name)} }
