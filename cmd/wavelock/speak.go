package main

import (
	"context"
	"errors"

	"wavelock/rollout"
	"wavelock/rollout/journal"
	"wavelock/rollout/web"
)

// speaker carries what people say on the dashboard to the journal: the same words
// as on the command line, in the name of the account.
type speaker struct {
	a       *app
	journal *journal.Journal
}

var _ web.Speaker = speaker{}

func (s speaker) Say(ctx context.Context, id rollout.CampaignID, w web.Word) error {
	say, ok := s.word(w)
	if !ok {
		return &web.RefusedError{Why: "That is no word for a campaign."}
	}
	bound := func(p *rollout.Plan, st *rollout.State) (rollout.Event, error) {
		if w.Kind == rollout.EvApproved && w.Hash != p.Hash() {
			return rollout.Event{}, &web.RefusedError{Why: "The plan is not the one that the page showed.", Hint: "Look at it again before you approve."}
		}
		if w.Kind == rollout.EvApproved && w.Wave > 0 && rollout.BarredFrom(p, st, w.By) {
			return rollout.Event{}, &web.RefusedError{Why: "You approved the plan, so your approval of a wave would not count.", Hint: "The policy asks for a second person: somebody else has to approve it."}
		}
		ev, err := say(p, st)
		ev.From = w.From
		return ev, err
	}
	err := s.a.sayAs(ctx, s.journal, id, w.By, bound)
	var refused *web.RefusedError
	var unknown *journal.UnknownCampaignError
	var hinted interface{ Hint() string }
	var written *journal.WriteError
	switch {
	case err == nil, errors.As(err, &refused), errors.As(err, &written):
		return err
	case errors.As(err, &unknown):
		return &web.NotFoundError{What: "The campaign"}
	case errors.As(err, &hinted):
		return &web.RefusedError{Why: err.Error(), Hint: hinted.Hint()}
	}
	return err
}

func (s speaker) word(w web.Word) (word, bool) {
	switch w.Kind {
	case rollout.EvPaused:
		return plain(rollout.EvPaused, &w.Why), true
	case rollout.EvAborted:
		return plain(rollout.EvAborted, &w.Why), true
	case rollout.EvResumed:
		return resumption(&w.Why), true
	case rollout.EvRollback:
		return takeBack(&w.Why), true
	case rollout.EvApproved:
		return approvalWith(&w.Wave, &w.Why, &w.Ticket), true
	}
	return nil, false
}
