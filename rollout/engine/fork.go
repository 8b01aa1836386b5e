package engine

import (
	"context"
	"fmt"

	"wavelock/rollout"
)

// ForkError says that the journal is not the one that this engine has followed: events that it has applied are not
// there, or others are in their place. That is so after a restore from a backup, and after a fail-over to a server that
// lacked the last events. Whoever spoke meanwhile may not have been heard, so nothing more is decided. Where exactly as
// many events were written as had been lost, before this engine looked, it is not found: a database that confirms on its
// standby loses none.
type ForkError struct {
	Campaign rollout.CampaignID
	Seq      int64 // of the last event that was applied here
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("the journal of %s lost events that had been written, or has others in their place, up to event %d", e.Campaign, e.Seq)
}

// Hint says what to do.
func (e *ForkError) Hint() string {
	return "a server without the last events took over, or a backup was restored: run the campaign again, which inspects every host in flight first; let PostgreSQL confirm on its standby (synchronous_standby_names)"
}

// applied is the Seq up to which the engine has followed the journal.
func (e *Engine) applied() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.Seq
}

// forked is the error for events that the store numbered anew, or nil. What is written now comes after all that had been
// applied before.
func (e *Engine) forked(written []rollout.Event, before int64) error {
	if len(written) > 0 && written[0].Seq <= before {
		return &ForkError{e.Plan.ID, before}
	}
	return nil
}

// sameJournal reads back the event that was applied last and compares it: now and then, when the store was out of
// reach, and before anything is begun.
func (e *Engine) sameJournal(ctx context.Context) error {
	e.mu.Lock()
	last := e.last
	e.mu.Unlock()
	return e.follows(ctx, last)
}

// follows reports an error unless the event is in the journal.
func (e *Engine) follows(ctx context.Context, last rollout.Event) error {
	if last.Seq == 0 {
		return nil
	}
	for ev, err := range e.Store.Events(ctx, e.Plan.ID, last.Seq-1) {
		if err != nil {
			return err
		}
		if same(ev, last) {
			return nil
		}
		break
	}
	return &ForkError{e.Plan.ID, last.Seq}
}

// same compares what tells events apart.
func same(a, b rollout.Event) bool {
	return a.Seq == b.Seq && a.At.Equal(b.At) && a.Kind == b.Kind && a.Host == b.Host && a.Step == b.Step &&
		a.Attempt == b.Attempt && a.Actor == b.Actor && a.Detail == b.Detail
}
