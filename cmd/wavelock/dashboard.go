package main

import (
	"context"
	"net/http"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/journal"
	"wavelock/rollout/web"
)

// dashboard shows the journal.
func (a *app) dashboard(j *journal.Journal) http.Handler {
	return web.New(web.Config{Source: pages{j, a.now}, Log: a.logger(), Version: versionString()})
}

// pages gives the dashboard what the journal has.
type pages struct {
	journal *journal.Journal
	now     func() time.Time
}

var _ web.Source = pages{}

func (p pages) Campaigns(ctx context.Context) ([]rollout.CampaignID, error) {
	list, err := p.journal.Campaigns(ctx)
	ids := make([]rollout.CampaignID, 0, len(list))
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids, err
}

func (p pages) View(ctx context.Context, id rollout.CampaignID) (rollout.View, error) {
	plan, state, err := replay(ctx, p.journal, id)
	if err != nil {
		return rollout.View{}, err
	}
	return rollout.NewView(plan, state, p.now()), nil
}

func (p pages) Coverage(ctx context.Context) (web.Coverage, error) {
	records, err := p.journal.Hosts(ctx)
	if err != nil {
		return web.Coverage{}, err
	}
	c := newCoverage(records, p.now())
	w := web.Coverage{At: c.At, Hosts: c.Hosts, OUs: c.OUs, Classes: map[rollout.Class]int{}}
	for _, k := range rollout.Classes() {
		w.Classes[k] = *c.counter(k)
	}
	return w, nil
}
