package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

type renewOptions struct {
	Yes, DryRun, Stay bool
	Unattended        bool // nobody would let a wave begin after one that proved nothing
	Name              string
}

func newRenew(a *app) *cobra.Command {
	var o renewOptions
	c := &cobra.Command{
		Use: "renew [HOST...]", GroupID: "roll", Args: cobra.ArbitraryArgs,
		Short: "Give HTTPS listeners their next certificate in time",
		Long: `Give those of the selected or named hosts their next certificate whose listener
needs one: it ends soon (policy.renew_before), it is revoked, autoenrollment put
another beside it or took it away, or http.sys has another than the listener. A
fit certificate in the host's store is bound, else one is asked for.

It is a campaign like any other: waves, journal, error budget, approval, proof.`,
		Example: "  wavelock renew --dry-run\n  wavelock renew --yes\n  wavelock renew web01.corp.example",
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.renew(c.Context(), cfg, args, o)
		},
		ValidArgsFunction: a.completeHosts().each,
	}
	f := c.Flags()
	f.BoolVar(&o.Yes, "yes", false, "approve the renewals without being asked")
	f.BoolVar(&o.DryRun, "dry-run", false, "say what is due, do nothing")
	f.BoolVar(&o.Stay, "stay", false, "keep running while hosts wait for their CA or the network")
	f.StringVar(&o.Name, "name", "", "`NAME` of the campaign (default: renew and the time)")
	completes(c, map[string]completion{"name": completeNothing})
	return c
}

func (a *app) renew(ctx context.Context, cfg Config, names []string, o renewOptions) error {
	records, err := a.observe(ctx, cfg)
	if err != nil {
		return err
	}
	if records, err = named(records, names); err != nil {
		return err
	}
	due := dueRecords(cfg, a, records)
	t := table{head: []string{"HOST", "REASON", "WHY"}}
	for _, d := range due {
		t.add(d.Host, d.Reason, d.Why)
	}
	if len(due) == 0 || o.DryRun {
		if err := t.write(a.out, a.output, due); err != nil {
			return err
		}
		a.progress("%d of %s need another certificate", len(due), plural(len(records), "host"))
		return nil
	}
	a.announced()
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	_, err = a.renewNow(ctx, cfg, j, records, o)
	return err
}

// dueHost is a host that needs another certificate.
type dueHost struct {
	Host rollout.HostID `json:"host"`
	rollout.Due
}

func dueRecords(cfg Config, a *app, records []journal.Record) []dueHost {
	due := []dueHost{}
	for _, s := range seen(records) {
		if why, needs := cfg.Policy.NeedsRenewal(s.Host, s.Observation, a.now()); needs {
			due = append(due, dueHost{s.Host.ID, why})
		}
	}
	return due
}

// seen are the records that something is known of.
func seen(records []journal.Record) []rollout.Subject {
	var all []rollout.Subject
	for _, r := range records {
		if r.Problem == "" && r.Observation != nil {
			all = append(all, rollout.Subject{Host: r.Host, Observation: *r.Observation})
		}
	}
	return all
}

// named keeps the records of the hosts that are named, by their full names or the first part.
func named(records []journal.Record, names []string) ([]journal.Record, error) {
	if len(names) == 0 {
		return records, nil
	}
	var kept []journal.Record
	for _, name := range names {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		i := slices.IndexFunc(records, func(r journal.Record) bool {
			return string(r.Host.ID) == name || strings.HasPrefix(string(r.Host.ID), name+".")
		})
		if i < 0 {
			return nil, failWith(exitUsage, "wavelock discover lists those that are selected", "no selected host is called %q", name)
		}
		kept = append(kept, records[i])
	}
	return kept, nil
}

// reconcile renews what is due among the hosts that were just looked at, without asking anybody: the standing mode calls it
// where the configuration has given the approval beforehand. It answers how many hosts were due. It does nothing, and no
// harm, when nothing is due; what it began and could not end, such as a request that waits for a CA manager, is taken up
// again by its plan file or the next call.
func (a *app) reconcile(ctx context.Context, cfg Config, j *journal.Journal, records []journal.Record) (int, error) {
	quiet := *a
	quiet.quiet, quiet.out, quiet.in = true, io.Discard, nil
	return quiet.renewNow(ctx, cfg, j, records, renewOptions{Yes: true, Unattended: true})
}

// renewNow makes and runs the campaign for what is due.
func (a *app) renewNow(ctx context.Context, cfg Config, j *journal.Journal, records []journal.Record, o renewOptions) (int, error) {
	by, err := held(ctx, j, "", rollout.GoalRenew)
	if err != nil {
		return 0, err
	}
	subjects := slices.DeleteFunc(cfg.Policy.DueForRenewal(seen(records), a.now()), func(s rollout.Subject) bool {
		other, is := by[s.Host.ID]
		if is {
			a.logger().Info("not renewed now: a campaign is in the middle of it", "host", s.Host.ID, "campaign", other)
		}
		return is
	})
	if len(subjects) == 0 {
		return 0, nil
	}
	plan, err := a.planRenewal(ctx, cfg, subjects, o)
	if err != nil {
		return len(subjects), err
	}
	file := cfg.path(string(plan.ID) + ".json")
	if err := writePlan(file, plan); err != nil {
		return len(subjects), err
	}
	if err := a.showPlan(plan, file); err != nil {
		return len(subjects), err
	}
	return len(subjects), a.runIn(ctx, cfg, j, plan, runOptions{Yes: o.Yes, Stay: o.Stay})
}

func (a *app) planRenewal(ctx context.Context, cfg Config, subjects []rollout.Subject, o renewOptions) (rollout.Plan, error) {
	name := o.Name
	if name == "" {
		name = "renew-" + a.now().UTC().Format("20060102-150405")
	}
	in := rollout.Intent{ID: rollout.CampaignID(name), Made: a.now(), MadeBy: person(), Goal: rollout.GoalRenew, Seed: 1, Policy: cfg.Policy, Waves: cfg.Waves}
	in.Policy.PassUnproven = in.Policy.PassUnproven || o.Unattended
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return rollout.Plan{}, err
	}
	defer d.Close()
	if in.Roots, in.Issuing, err = forestRoots(ctx, d); err != nil {
		return rollout.Plan{}, err
	}
	var asking []rollout.Host // a certificate that is there needs no template
	for _, s := range subjects {
		if cfg.Policy.MustEnroll(s.Host, s.Observation, a.now()) {
			asking = append(asking, s.Host)
		}
	}
	if len(asking) > 0 {
		if in.Templates, err = a.templatesFor(ctx, cfg, d, asking); err != nil {
			return rollout.Plan{}, err
		}
	}
	p := rollout.NewPlan(in, subjects)
	if err := p.Validate(); err != nil {
		return rollout.Plan{}, failWith(exitFindings, "see wavelock assess and wavelock pki audit for what stands in the way", "%s cannot be renewed: %w", plural(len(subjects), "host"), err)
	}
	return p, nil
}
