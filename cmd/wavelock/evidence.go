package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	_ "embed"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// reportSchema is the published form of a report as JSON.
//
//go:embed report.schema.json
var reportSchema []byte

// gather makes the evidence of a time. The past has no findings and certificates:
// only the last observation of a host is kept whole.
func (a *app) gather(ctx context.Context, j *journal.Journal, at time.Time, now bool) (rollout.Evidence, error) {
	e := rollout.Evidence{Form: rollout.EvidenceForm, At: at.UTC().Round(0), Made: a.now().UTC().Round(0), MadeBy: person(), Version: versionString(),
		Formula: rollout.PostureFormula, Campaigns: []rollout.EvidenceCampaign{}, Computers: []rollout.EvidenceComputer{}}
	changes, err := historyOf(ctx, j)
	if err != nil {
		return e, err
	}
	if n := len(changes); n > 0 {
		e.History.Seq = changes[n-1].N
		if e.History.Hash, err = j.HistoryHash(ctx, e.History.Seq); err != nil {
			return e, err
		}
	}
	truth := rollout.TruthAt(changes, e.History.Seq, e.At)
	summaries, _, err := j.Summaries(ctx, 0)
	if err != nil {
		return e, err
	}
	known := map[rollout.HostID]rollout.Summary{}
	for _, s := range summaries {
		known[s.Host] = s
	}
	for id, class := range truth.Class {
		s := known[id]
		c := rollout.EvidenceComputer{Host: id, OU: s.OU, Class: class, Since: truth.Since[id]}
		if now {
			c.Seen, c.Blocker = s.Seen, rollout.Reason(s.Problem)
			if b, ok := s.Blocked(); ok && c.Blocker == "" {
				c.Blocker = b.Reason
			}
			if s.Posture != nil {
				c.Posture = &s.Posture.Score
			}
			if s.Certificate != nil {
				c.Certificate, c.Expires = string(s.Certificate.Thumbprint), s.Certificate.NotAfter
			}
		}
		e.Computers = append(e.Computers, c)
	}
	slices.SortFunc(e.Computers, func(a, b rollout.EvidenceComputer) int { return strings.Compare(string(a.Host), string(b.Host)) })
	e.Count()
	e.Campaigns, err = campaignsAt(ctx, j, e.At)
	return e, err
}

func historyOf(ctx context.Context, j *journal.Journal) ([]rollout.ClassChange, error) {
	var changes []rollout.ClassChange
	for c, err := range j.History(ctx, 0) {
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// campaignsAt are the campaigns as their chains tell them up to a time.
func campaignsAt(ctx context.Context, j *journal.Journal, at time.Time) ([]rollout.EvidenceCampaign, error) {
	ids, err := j.CampaignIDs(ctx)
	if err != nil {
		return nil, err
	}
	list := []rollout.EvidenceCampaign{}
	for _, id := range ids {
		c, err := campaignUntil(ctx, j, id, at, func(e rollout.Event) bool { return !e.At.After(at) })
		if err != nil {
			return nil, err
		}
		if c.Head.Seq > 0 {
			list = append(list, c)
		}
	}
	return list, nil
}

// campaignUntil replays a campaign while its events are wanted.
func campaignUntil(ctx context.Context, j *journal.Journal, id rollout.CampaignID, at time.Time, wanted func(rollout.Event) bool) (rollout.EvidenceCampaign, error) {
	plan, err := j.Plan(ctx, id)
	if err != nil {
		return rollout.EvidenceCampaign{}, err
	}
	state := rollout.NewState(&plan)
	for ev, err := range j.Events(ctx, id, 0) {
		if err != nil {
			return rollout.EvidenceCampaign{}, err
		}
		if !wanted(ev) {
			break
		}
		state.Apply(ev)
	}
	v := rollout.NewView(&plan, state, at)
	c := rollout.EvidenceCampaign{ID: id, Goal: plan.Goal, Plan: plan.Hash(), Approved: v.Approved, Status: v.Status, Hosts: v.Hosts, Done: v.Done, Failures: v.Failures}
	c.Head.Seq = state.Seq
	c.Head.Hash, err = j.HashAt(ctx, id, state.Seq)
	return c, err
}

// writeEvidence keeps the report on a time in a file, and the record that it was written.
func (a *app) writeEvidence(ctx context.Context, j *journal.Journal, file string, at time.Time, now bool) error {
	f, err := evidenceFormatOf(file)
	if err != nil {
		return err
	}
	e, err := a.gather(ctx, j, at, now)
	if err != nil {
		return err
	}
	b, err := f.write(e)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	// What cannot be recorded is not given out: the record is what proves each byte of it.
	if err := j.Witness(ctx, rollout.Access{At: a.now(), Kind: rollout.AccessReport, Who: person(), Detail: digestOf(b)}); err != nil {
		return err
	}
	if err := writeWhole(file, b, 0o600); err != nil {
		return err
	}
	a.progress("the report on %s is in %s; wavelock report --verify %s holds it against the journal", plural(e.Hosts, "host"), file, file)
	return nil
}
