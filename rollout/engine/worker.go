package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wavelock/rollout"
)

// Work takes up one job in a process that does not coordinate. It answers an error when the job has to be taken up
// again.
func (e *Engine) Work(ctx context.Context, job rollout.Job, fail func(error)) error {
	e.failing.Do(func() { e.fail = fail })
	return e.work(ctx, job)
}

// work takes one action on one host through its steps. It answers an error only
// when the job has to be taken up again: the process is stopping, or the journal
// could not be written.
func (e *Engine) work(ctx context.Context, job rollout.Job) error {
	run, ok, err := e.begin(ctx, job)
	if err != nil {
		return e.stop(err)
	}
	if !ok {
		return nil // that attempt is over: somebody else has the host now
	}
	m, err := e.Machines.Open(ctx, run.Host)
	if err != nil {
		return e.stop(fmt.Errorf("open %s: %w", run.Host.ID, err))
	}
	defer func() {
		if err := m.Close(); err != nil {
			e.Log.Debug("close the session", "host", run.Host.ID, "err", err)
		}
	}()
	w := worker{Engine: e, job: job, machine: m}
	if err := w.steps(ctx, run); err != nil {
		return e.stop(err)
	}
	return nil
}

// stop ends the engine on errors that are not about one host.
func (e *Engine) stop(err error) error {
	var stale interface{ Stale() bool }
	switch {
	case errors.As(err, &stale) && stale.Stale():
		e.Log.Warn("another worker has taken this host over", "err", err)
		return nil
	case errors.Is(err, errStopping), errors.Is(err, context.Canceled), e.passes(err): // it is taken up again
	default:
		e.fail(err)
	}
	return err
}

var errStopping = errors.New("the controller is stopping")

// begin is the run that a job stands for, if its attempt is still the host's.
func (e *Engine) begin(ctx context.Context, job rollout.Job) (rollout.HostRun, bool, error) {
	if err := e.catchUp(ctx); err != nil {
		return rollout.HostRun{}, false, err
	}
	e.mu.Lock()
	h, known := e.state.Hosts[job.Host]
	var at rollout.HostState
	if known {
		at = *h
	}
	e.mu.Unlock()
	ph, planned := e.planned(job.Host)
	if !known || !planned || at.Attempt != job.Attempt || at.Running == "" {
		return rollout.HostRun{}, false, nil
	}
	image, err := e.Store.Image(ctx, job.Campaign, job.Host)
	if err != nil {
		return rollout.HostRun{}, false, err
	}
	return rollout.NewRun(e.Plan, ph, at, image), true, nil
}

func (e *Engine) planned(id rollout.HostID) (rollout.Planned, bool) {
	e.index.Do(func() {
		e.byHost = make(map[rollout.HostID]int, len(e.Plan.Hosts))
		for i, ph := range e.Plan.Hosts {
			e.byHost[ph.Host.ID] = i
		}
	})
	i, ok := e.byHost[id]
	if !ok {
		return rollout.Planned{}, false
	}
	return e.Plan.Hosts[i], true
}

// worker is one job in the hands of one goroutine.
type worker struct {
	*Engine
	job     rollout.Job
	machine Machine
	// ended is the end of the last step, not yet written: it goes into one
	// transaction with the beginning of the next.
	ended []rollout.Event
}

func (w *worker) steps(ctx context.Context, run rollout.HostRun) error {
	for {
		step := rollout.Next(run, w.Now())
		if step.Kind == rollout.StepFinish {
			return w.settle(ctx, run, step)
		}
		if step.Wait > 0 {
			pause(ctx, step.Wait)
		}
		if ctx.Err() != nil {
			return w.leave(ctx)
		}
		if err := w.open(ctx, run, step); err != nil {
			return err
		}
		res, failure := w.do(ctx, run.Host, step)
		run = run.Advance(step, res, failure)
		if err := w.note(run, step, res, failure); err != nil {
			return err
		}
	}
}

// pause waits, or until the controller is told to stop.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// open makes it durable that the step is about to be tried.
func (w *worker) open(ctx context.Context, run rollout.HostRun, step rollout.Step) error {
	ev := w.event(rollout.EvStepOpen, run, step)
	ev.Detail = step.Why
	if step.Kind == rollout.StepSaveImage {
		data, err := json.Marshal(rollout.Result{Image: step.Image})
		if err != nil {
			return fmt.Errorf("keep the before-image of %s: %w", run.Host.ID, err)
		}
		ev.Data = data
	}
	events := append(w.ended, ev)
	w.ended = nil
	return w.record(ctx, events...)
}

// do tries the step. It is finished even when the controller is told to stop: a
// half-made change is worse than a late end.
func (w *worker) do(ctx context.Context, host rollout.Host, step rollout.Step) (rollout.Result, *rollout.Failure) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.StepTime)
	defer cancel()
	do := w.machine.Do
	if step.Kind == rollout.StepSubmit {
		do = func(ctx context.Context, step rollout.Step) (rollout.Result, error) { return w.relay(ctx, host, step) }
	}
	res, err := do(ctx, step)
	if err == nil {
		return res, nil
	}
	var f *rollout.Failure
	if errors.As(err, &f) {
		return res, f
	}
	return res, &rollout.Failure{Host: host.ID, Step: step.Kind, Reason: rollout.ReasonInternal, Unsure: step.Kind.Writes(), Err: err}
}

// note remembers the end of the step for the next transaction.
func (w *worker) note(run rollout.HostRun, step rollout.Step, res rollout.Result, failure *rollout.Failure) error {
	if failure != nil {
		ev := w.event(rollout.EvStepFail, run, step)
		ev.Reason, ev.Detail = failure.Reason, failure.Error()
		w.ended = []rollout.Event{ev}
		w.Log.Info("step failed", "host", run.Host.ID, "step", step.Kind, "reason", failure.Reason, "err", failure.Err)
		return nil
	}
	ev := w.event(rollout.EvStepDone, run, step)
	if step.Kind == rollout.StepSaveImage {
		res.Image = step.Image
	}
	data, err := json.Marshal(res)
	if err != nil {
		return fmt.Errorf("record %s on %s: %w", step.Kind, run.Host.ID, err)
	}
	ev.Data = data
	w.ended = []rollout.Event{ev}
	return nil
}

func (w *worker) settle(ctx context.Context, run rollout.HostRun, step rollout.Step) error {
	ev := w.event(rollout.EvSettled, run, step)
	ev.Step = ""
	ev.Outcome, ev.Reason, ev.Detail, ev.Until = step.Outcome, step.Reason, step.Detail, step.Again
	events := append(w.ended, ev)
	w.ended = nil
	if err := w.record(context.WithoutCancel(ctx), events...); err != nil {
		return err
	}
	if w.Seen != nil && run.Seen != nil {
		seen := *run.Seen
		seen.At = w.Now()
		w.Seen(ctx, run.Host, seen)
	}
	return nil
}

// leave records the end of the last step and gives the job back.
func (w *worker) leave(ctx context.Context) error {
	if len(w.ended) > 0 {
		if err := w.record(context.WithoutCancel(ctx), w.ended...); err != nil {
			return err
		}
	}
	return errStopping
}

func (w *worker) event(kind rollout.EventKind, run rollout.HostRun, step rollout.Step) rollout.Event {
	ev := rollout.Event{At: w.Now(), Kind: kind, Host: run.Host.ID, Action: run.Action, Attempt: w.job.Attempt, Step: step.Kind}
	if run.Seen != nil {
		ev.Class = rollout.ClassOf(*run.Seen)
	}
	return ev
}
