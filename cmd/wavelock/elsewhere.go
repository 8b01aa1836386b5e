package main

import (
	"context"
	"fmt"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// held are the hosts that another campaign of the journal is in the middle of, and which. A renewal that was
// interrupted does not keep the next one away, which nobody might resume.
func held(ctx context.Context, j *journal.Journal, mine rollout.CampaignID, goal rollout.Goal) (map[rollout.HostID]rollout.CampaignID, error) {
	all, err := j.Campaigns(ctx)
	if err != nil {
		return nil, err
	}
	by := map[rollout.HostID]rollout.CampaignID{}
	for _, c := range all {
		if c.ID == mine || c.Last == rollout.EvFinished {
			continue
		}
		plan, state, err := replay(ctx, j, c.ID)
		if err != nil {
			return nil, err
		}
		if goal == rollout.GoalRenew && plan.Goal == goal {
			continue
		}
		for id, h := range state.Hosts {
			if h.Held() {
				by[id] = c.ID
			}
		}
	}
	return by, nil
}

// free leaves out the hosts that another campaign is in the middle of. The way back leaves out none.
func (a *app) free(ctx context.Context, cfg Config, in rollout.Intent, subjects []rollout.Subject, left []rollout.LeftOut) ([]rollout.Subject, []rollout.LeftOut, error) {
	if in.Goal == rollout.GoalRestore {
		return subjects, left, nil
	}
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer j.Close()
	by, err := held(ctx, j, in.ID, in.Goal)
	if err != nil {
		return nil, nil, err
	}
	var kept []rollout.Subject
	var other rollout.CampaignID
	for _, s := range subjects {
		id, is := by[s.Host.ID]
		if !is {
			kept = append(kept, s)
			continue
		}
		other = id
		left = append(left, rollout.LeftOut{Host: s.Host.ID, OU: s.Host.OU, Class: rollout.ClassOf(s.Observation), Reason: rollout.ReasonOtherCampaign,
			Detail: fmt.Sprintf("the campaign %s is in the middle of it", id)})
	}
	if len(kept) == 0 {
		return nil, nil, failWith(exitError, endIt(other), "no plan can be made: other campaigns are in the middle of every host, one of them is %s", other)
	}
	return kept, left, nil
}

func endIt(c rollout.CampaignID) string {
	return fmt.Sprintf("let it end, or take it back: wavelock abort %s, and run its plan; wavelock status shows how it stands", c)
}

// notElsewhere refuses a plan with a host that another campaign is in the middle of: two would take each other's undo
// and rules away. The way back is never refused, and neither is a host that this campaign is in the middle of itself.
func notElsewhere(ctx context.Context, j *journal.Journal, plan rollout.Plan) error {
	_, own, err := replay(ctx, j, plan.ID)
	if err != nil || plan.Goal == rollout.GoalRestore || own.Rollback != "" || own.Finished {
		return err
	}
	by, err := held(ctx, j, plan.ID, plan.Goal)
	if err != nil {
		return err
	}
	for _, ph := range plan.Hosts {
		id := ph.Host.ID
		other, is := by[id]
		if h := own.Hosts[id]; !is || h != nil && h.Held() {
			continue
		}
		return failWith(exitError, endIt(other),
			"%s cannot start: the campaign %s is in the middle of %s", plan.ID, other, id)
	}
	return nil
}
