package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

func newDrift(a *app) *cobra.Command {
	var accept, why string
	c := &cobra.Command{
		Use: "drift", GroupID: "look", Args: exactly(),
		Short: "List the hosts that are not as a campaign left them",
		Long: `List the hosts that left the state in which a campaign, or the first look, found
them: HTTP is back, the HTTPS listener is gone or has another certificate, its
firewall rule lets more addresses in. assess looks for drift; serve does so on a
schedule, with observe.every.

With --accept the present state of a host becomes what it is held to; nothing on
the host is changed.`,
		Example: "  wavelock drift\n  wavelock drift --accept web01 --why 'a vendor needs 5985'",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			j, err := a.openJournal(c.Context(), cfg)
			if err != nil {
				return err
			}
			defer j.Close()
			if accept != "" {
				return a.acceptDrift(c.Context(), cfg, j, accept, why)
			}
			return a.listDrift(c.Context(), j)
		},
	}
	c.Flags().StringVar(&accept, "accept", "", "`HOST` whose present state is accepted")
	c.Flags().StringVar(&why, "why", "", "`REASON`, for the journal")
	completes(c, map[string]completion{"accept": a.completeHosts(), "why": completeNothing})
	return c
}

func (a *app) listDrift(ctx context.Context, j *journal.Journal) error {
	drifts, err := j.Drifts(ctx)
	if err != nil {
		return err
	}
	if len(drifts) == 0 {
		a.progress("no host that was looked at has left its state")
		if a.output == "table" {
			return nil
		}
		drifts = []rollout.Drift{}
	}
	return a.driftTable(drifts).write(a.out, a.output, drifts)
}

func (a *app) driftTable(drifts []rollout.Drift) *table {
	t := &table{head: []string{"HOST", "DRIFT", "SINCE", "LAST SEEN", "CAMPAIGN", "DETAIL"}}
	for _, d := range drifts {
		t.add(d.Host, d.Reason, d.First.UTC().Format(time.RFC3339), d.Last.UTC().Format(time.RFC3339), d.Campaign, d.Detail)
	}
	return t
}

// showDrift prints the open drifts under something else, when there are any.
func (a *app) showDrift(ctx context.Context, j *journal.Journal) error {
	drifts, err := j.Drifts(ctx)
	if err != nil || len(drifts) == 0 || a.output != "table" {
		return err
	}
	fmt.Fprintln(a.out)
	return a.driftTable(drifts).align(a.out)
}

func (a *app) acceptDrift(ctx context.Context, cfg Config, j *journal.Journal, name, why string) error {
	if why == "" {
		return failWith(exitUsage, "add --why 'a vendor needs 5985'", "the journal keeps why a drift was accepted")
	}
	r, err := findHost(ctx, j, name)
	if err != nil {
		return err
	}
	if r.Observation == nil {
		return failWith(exitError, "run wavelock assess first", "%s was never seen", r.Host.ID)
	}
	ended, err := j.Restand(ctx, []rollout.HostID{r.Host.ID}, func(_ rollout.HostID, s rollout.Standing) (rollout.Standing, []rollout.Drift) {
		return s.Settle(*r.Observation, cfg.Policy, person(), "accepted by "+person()+": "+why)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s is held to what was seen of it at %s; %s accepted\n", r.Host.ID, r.Observation.At.UTC().Format(time.RFC3339), plural(len(ended), "drift"))
	return nil
}

// judgeDrift holds what was just seen to the hosts' baselines, and answers what is
// new. A host that a campaign is at work on is left out: what is seen there is its work.
func judgeDrift(ctx context.Context, cfg Config, j *journal.Journal, records []journal.Record, now time.Time) ([]rollout.Drift, error) {
	busy, err := j.Busy(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[rollout.HostID]rollout.Observation{}
	var hosts []rollout.HostID
	for _, r := range records {
		if r.Observation != nil && r.Problem == "" && !busy[r.Host.ID] {
			seen[r.Host.ID] = *r.Observation
			hosts = append(hosts, r.Host.ID)
		}
	}
	return j.Restand(ctx, hosts, func(id rollout.HostID, s rollout.Standing) (rollout.Standing, []rollout.Drift) {
		return s.With(seen[id], cfg.Policy, now)
	})
}

// driftWords is one piece of news for people.
func driftWords(d rollout.Drift) string {
	if !d.Ended.IsZero() {
		return fmt.Sprintf("%s: %s is over: %s", d.Host, d.Reason, d.Why)
	}
	return fmt.Sprintf("%s: %s: %s", d.Host, d.Reason, d.Detail)
}
