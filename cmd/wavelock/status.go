package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

func newStatus(a *app) *cobra.Command {
	watch := false
	c := &cobra.Command{
		Use: "status [CAMPAIGN]", GroupID: "look", Args: atMost("the name of a campaign"),
		Short: "Show where a campaign stands, and why nothing happens",
		Long: `Show all campaigns, or one with its waves and the hosts that need a look. It
reads the journal, so it may run beside wavelock run.`,
		Example:           "  wavelock status\n  wavelock status spring --watch\n  wavelock status spring -o json",
		ValidArgsFunction: a.completeCampaigns().first,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			switch {
			case len(args) == 0 && watch:
				return failWith(exitUsage, "wavelock status lists the campaigns", "--watch needs the name of a campaign")
			case len(args) == 0:
				return a.listCampaigns(c.Context(), cfg)
			case watch:
				return a.watch(c.Context(), cfg, rollout.CampaignID(args[0]))
			}
			return a.status(c.Context(), cfg, rollout.CampaignID(args[0]))
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "follow it to its end: as bars on a terminal, else line by line")
	return c
}

func (a *app) listCampaigns(ctx context.Context, cfg Config) error {
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	campaigns, err := j.Campaigns(ctx)
	if err != nil {
		return err
	}
	t := table{head: []string{"CAMPAIGN", "STATUS", "DONE", "HOSTS", "WHY"}}
	views := make([]rollout.View, 0, len(campaigns))
	for _, c := range campaigns {
		plan, state, err := replay(ctx, j, c.ID)
		if err != nil {
			return err
		}
		v := a.view(ctx, j, plan, state)
		views = append(views, v)
		t.add(v.Campaign, v.Status, v.Done, v.Hosts, v.Why)
	}
	if len(campaigns) == 0 {
		a.progress("there is no campaign yet; wavelock plan makes one")
	}
	if err := t.write(a.out, a.output, views); err != nil {
		return err
	}
	return a.showDrift(ctx, j)
}

func (a *app) status(ctx context.Context, cfg Config, id rollout.CampaignID) error {
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	plan, state, err := replay(ctx, j, id)
	if err != nil {
		return err
	}
	v, err := a.withPolicies(ctx, cfg, j, plan, state, a.view(ctx, j, plan, state))
	if err != nil {
		return err
	}
	return a.showView(v)
}

// view is the campaign as it stands, with the zones that have hosts and no worker.
func (a *app) view(ctx context.Context, j *journal.Journal, plan *rollout.Plan, state *rollout.State) rollout.View {
	v := rollout.NewView(plan, state, a.now())
	workers, err := j.Workers(ctx)
	if err != nil {
		a.logger().Warn("the workers are not known", "err", err) // the campaign is, and it is what was asked for
		return v
	}
	var served []rollout.Zone
	for _, w := range workers {
		served = append(served, w.Zones...)
	}
	v.Staff(plan, state, served)
	return v
}

// showView prints a campaign: its waves, the hosts that need a look, the coverage.
func (a *app) showView(v rollout.View) error {
	waves := table{head: []string{"WAVE", "NAME", "STATUS", "HOSTS", "DONE", "FAILED", "PUT BACK", "REFUSED", "WAITING", "STOPS AT"}}
	for _, w := range v.Waves {
		waves.add(w.Number, w.Name, w.Status, w.Hosts, w.Done, w.Failed, w.Restored, w.Refused, w.Waiting, w.Limit)
	}
	if a.output != "table" {
		return waves.write(a.out, a.output, v)
	}
	fmt.Fprintf(a.out, "%s is %s", v.Campaign, v.Status)
	if v.Why != "" {
		fmt.Fprintf(a.out, ": %s", v.Why)
	}
	fmt.Fprintln(a.out)
	fmt.Fprintln(a.out)
	if err := waves.align(a.out); err != nil {
		return err
	}
	defer a.showPolicies(v.Policies)
	defer a.showRoster(v)
	if len(v.Troubles) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	hosts := table{head: []string{"HOST", "STATUS", "CLASS", "REASON", "DETAIL"}}
	for _, h := range v.Troubles {
		hosts.add(h.Host, h.Status, h.Class, h.Reason, h.Detail)
	}
	return hosts.align(a.out)
}
