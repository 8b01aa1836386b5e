package journal

import (
	"context"
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"wavelock/rollout"
)

// maxBatch is how many requests share one transaction at most. It bounds how long
// the first of them waits.
const maxBatch = 256

// request is something that somebody waits to have written.
type request struct {
	op string
	// stage puts what is to be written into the draft, or refuses. It is called
	// once, by the writer, inside the transaction.
	stage func(*draft) error

	err  error
	done chan struct{}
}

// Append writes the events durably and in order, all or none, and answers them
// with their Seq. Events of an attempt that is over are refused with *StaleError.
// Append answers with ctx's error only when nothing was and will be written.
func (j *Journal) Append(ctx context.Context, events ...rollout.Event) ([]rollout.Event, error) {
	if len(events) == 0 {
		return nil, nil
	}
	var written []rollout.Event
	err := j.submit(ctx, &request{op: "write events of " + string(events[0].Campaign), stage: func(d *draft) error {
		var err error
		written, err = d.add(events)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return written, nil
}

// Decide writes a decision's events and gives its jobs to the queue, in one durable
// transaction, unless the campaign was decided upon or a person has spoken since
// version: then ok is false and nothing was written. Two deciders at once are
// harmless: one of them looks again. Every job has to have its action among the events.
func (j *Journal) Decide(ctx context.Context, id rollout.CampaignID, version int64, events []rollout.Event, jobs []rollout.Job) (written []rollout.Event, ok bool, err error) {
	err = j.submit(ctx, &request{op: "write a decision on " + string(id), stage: func(d *draft) error {
		c, err := d.campaign(id)
		if err != nil || c.version != version {
			return err
		}
		if ok = true; len(events)+len(jobs) == 0 {
			return nil
		}
		for i := range events {
			if events[i].Campaign != id {
				return fmt.Errorf("a decision on %s has an event of %q", id, events[i].Campaign)
			}
		}
		if written, err = d.add(events); err != nil {
			return err
		}
		return d.decided(id, jobs)
	}})
	if err != nil {
		return nil, false, err
	}
	return written, ok, nil
}

// submit hands the request to the writer and waits. Once the writer has it, it is
// waited for whatever becomes of ctx: it may be durable.
func (j *Journal) submit(ctx context.Context, r *request) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", r.op, context.Cause(ctx))
	}
	r.done = make(chan struct{})
	select {
	case j.requests <- r:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", r.op, context.Cause(ctx))
	case <-j.quit:
		return &WriteError{Op: r.op, Err: errClosed}
	}
	<-r.done
	return r.err
}

// writer puts all requests that wait into one transaction: one fsync serves many
// workers. It ends when the journal is closed.
func (j *Journal) writer() {
	defer close(j.ended)
	var broken error
	for {
		select {
		case <-j.quit:
			return
		case r := <-j.requests:
			batch := j.gather(r)
			if broken == nil {
				broken = j.commit(batch)
			} else {
				refuse(batch, broken)
			}
			for _, r := range batch {
				close(r.done)
			}
		}
	}
}

func (j *Journal) gather(first *request) []*request {
	batch := []*request{first}
	for len(batch) < maxBatch {
		select {
		case r := <-j.requests:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

func refuse(batch []*request, err error) {
	for _, r := range batch {
		r.err = &WriteError{Op: r.op, Err: err}
	}
}

// commit writes the batch. What is wrong with one request is left in it alone; a
// transaction that fails fails for all. The answer is an error after which nothing
// may be written any more: when a disk has failed to write, a later success says
// nothing of what it had been given before.
func (j *Journal) commit(batch []*request) (broken error) {
	err := j.transact(batch)
	if err == nil {
		return nil
	}
	refuse(batch, err)
	if code, ok := codeOf(err); ok && code == sqlite3.SQLITE_IOERR {
		return err
	}
	return nil
}

func (j *Journal) transact(batch []*request) error {
	// A transaction that has begun is ended, whatever becomes of those who wait.
	ctx := context.Background()
	return j.db.inTx(ctx, func(tx transaction) error {
		whole := newDraft(ctx, tx, nil)
		for _, r := range batch {
			d := newDraft(ctx, tx, whole)
			if r.err = r.stage(d); r.err == nil {
				d.join(whole)
			} else if errors.As(r.err, new(readError)) {
				return r.err
			}
		}
		return flush(ctx, tx, whole)
	})
}
