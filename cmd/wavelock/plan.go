package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wavelock/ldapdisco"
	"wavelock/rollout"
)

func newPlan(a *app) *cobra.Command {
	o := planOptions{Out: "plan.json"}
	c := &cobra.Command{
		Use: "plan", GroupID: "roll", Args: exactly(),
		Short: "Decide who is moved, in which order, how much at once",
		Long: `Plan the hosts that the configuration selects, from what wavelock assess saw,
and write a file with its hash. The hash is what is approved: wavelock run
refuses a file that differs from it. The same observations and seed give the
same waves.`,
		Example: "  wavelock plan --out spring.json --name spring\n  wavelock plan --goal secure --seed 7",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.plan(c.Context(), cfg, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Out, "out", o.Out, "`FILE` to write")
	f.StringVar(&o.Name, "name", "", "`NAME` of the campaign (default: the file's)")
	f.Uint64Var(&o.Seed, "seed", 1, "`NUMBER` that decides who is a canary")
	f.StringVar(&o.Goal, "goal", "", "`GOAL`: secure, close, renew or restore (default: from the configuration)")
	completes(c, map[string]completion{"goal": completeFrom("secure", "close", "renew", "restore"), "out": completeFiles("json"), "name": completeNothing, "seed": completeNothing})
	return c
}

type planOptions struct {
	Out, Name, Goal string
	Seed            uint64
}

func (a *app) plan(ctx context.Context, cfg Config, o planOptions) error {
	p, err := a.makePlan(ctx, cfg, o)
	if err != nil {
		return err
	}
	if err := writePlan(o.Out, p); err != nil {
		return err
	}
	return a.showPlan(p, o.Out)
}

func (a *app) makePlan(ctx context.Context, cfg Config, o planOptions) (rollout.Plan, error) {
	in := rollout.Intent{ID: campaignName(o), Made: a.now(), MadeBy: person(), Goal: cfg.Goal, Seed: o.Seed, Policy: cfg.Policy, Waves: cfg.Waves, Selection: cfg.selection()}
	if o.Goal != "" {
		in.Goal = rollout.Goal(o.Goal)
	}
	if in.Goal.Actions() == nil {
		return rollout.Plan{}, failWith(exitUsage, "use secure, close, renew or restore", "--goal %q is no goal", o.Goal)
	}
	if in.ID == "" || strings.ContainsAny(string(in.ID), rollout.NoNameHas) {
		return rollout.Plan{}, failWith(exitUsage, "give it one like spring-2026 with --name", "%q is no name for a campaign", in.ID)
	}
	subjects, left, err := a.subjects(ctx, cfg)
	if err != nil {
		return rollout.Plan{}, err
	}
	if subjects, left, err = a.selected(ctx, cfg, subjects, left); err != nil {
		return rollout.Plan{}, err
	}
	return a.planFor(ctx, cfg, in, subjects, left)
}

// forestRoots are the roots that the forest trusts, and the CAs below them. Without a root nothing could be proved.
func forestRoots(ctx context.Context, d *ldapdisco.Directory) (trusted, issuing [][]byte, err error) {
	roots, err := d.Roots(ctx)
	if err != nil {
		return nil, nil, directoryError(err)
	}
	if trusted = roots.Trusted(); len(trusted) == 0 {
		return nil, nil, failWith(exitError, "an enterprise CA publishes its root there; without one no certificate could be proved", "the directory has no Certification Authorities")
	}
	return trusted, roots.Intermediates, nil
}

// planFor plans these hosts, on what the directory has of roots and templates now.
func (a *app) planFor(ctx context.Context, cfg Config, in rollout.Intent, subjects []rollout.Subject, left []rollout.LeftOut) (rollout.Plan, error) {
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return rollout.Plan{}, err
	}
	defer d.Close()
	if in.Roots, in.Issuing, err = forestRoots(ctx, d); err != nil {
		return rollout.Plan{}, err
	}
	if in.Policy, err = a.scoped(ctx, cfg, d, in.Policy); err != nil {
		return rollout.Plan{}, err
	}
	if in.Templates, err = a.templatesFor(ctx, cfg, d, hostsOf(subjects)); err != nil {
		return rollout.Plan{}, err
	}
	if nobody := in.Nobody(subjects); len(nobody) > 0 {
		return rollout.Plan{}, failWith(exitUsage, "see wavelock discover for the names of OUs, sites, groups and roles; remove the wave where nobody is meant",
			"waves: %q matches none of the %s", nobody[0].Name, plural(len(subjects), "host"))
	}
	if subjects, left, err = a.free(ctx, cfg, in, subjects, left); err != nil {
		return rollout.Plan{}, err
	}
	p := rollout.NewPlan(in, subjects)
	p.Left = append(p.Left, left...)
	if err := p.Validate(); err != nil {
		var unfit *rollout.UnfitTemplate
		if errors.As(err, &unfit) {
			return rollout.Plan{}, failWith(exitFindings, unfit.Hint(), "no plan can be made: %w", err)
		}
		return rollout.Plan{}, failWith(exitError, "see wavelock assess for what stands in the way", "no plan can be made: %w", err)
	}
	return p, nil
}

func hostsOf(subjects []rollout.Subject) []rollout.Host {
	hosts := make([]rollout.Host, len(subjects))
	for i, s := range subjects {
		hosts[i] = s.Host
	}
	return hosts
}

func campaignName(o planOptions) rollout.CampaignID {
	if o.Name != "" {
		return rollout.CampaignID(o.Name)
	}
	base := o.Out[strings.LastIndexAny(o.Out, `/\`)+1:]
	return rollout.CampaignID(strings.TrimSuffix(base, ".json"))
}

// subjects are the hosts that were assessed lately, and those that cannot be planned.
func (a *app) subjects(ctx context.Context, cfg Config) ([]rollout.Subject, []rollout.LeftOut, error) {
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer j.Close()
	records, err := j.Hosts(ctx)
	if err != nil {
		return nil, nil, err
	}
	tellNeighbours(records)
	var subjects []rollout.Subject
	var left []rollout.LeftOut
	for _, r := range records {
		switch {
		case r.Problem != "" || r.Observation == nil:
			left = append(left, rollout.LeftOut{Host: r.Host.ID, OU: r.Host.OU, Class: rollout.ClassUnknown, Reason: rollout.Reason(r.Problem), Detail: "see wavelock discover and assess"})
		case a.now().Sub(r.Observation.At) > cfg.Limits.MaxAge.D():
			left = append(left, rollout.LeftOut{Host: r.Host.ID, OU: r.Host.OU, Class: rollout.ClassUnknown, Reason: rollout.ReasonNotObserved,
				Detail: fmt.Sprintf("last seen %s, older than limits.max_age", r.Observation.At.Format("2006-01-02 15:04"))})
		default:
			subjects = append(subjects, rollout.Subject{Host: r.Host, Observation: *r.Observation})
		}
	}
	if len(subjects) == 0 {
		return nil, nil, failWith(exitError, "run wavelock assess first", "no host was assessed within limits.max_age (%v)", cfg.Limits.MaxAge)
	}
	return subjects, left, nil
}

// selected keeps the hosts that the configuration selects now, as the directory has
// them now: what was assessed may have been more, and long enough ago.
func (a *app) selected(ctx context.Context, cfg Config, subjects []rollout.Subject, left []rollout.LeftOut) ([]rollout.Subject, []rollout.LeftOut, error) {
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	computers, err := a.computers(ctx, cfg, d)
	if err != nil {
		return nil, nil, err
	}
	now := make(map[rollout.HostID]found, len(computers))
	for _, f := range computers {
		now[f.Host.ID] = f
	}
	known := make(map[rollout.HostID]bool, len(subjects)+len(left))
	for _, l := range left {
		known[l.Host] = true
	}
	for _, s := range subjects {
		known[s.Host.ID] = true
	}
	var kept []rollout.Subject
	for _, s := range subjects {
		switch f, is := now[s.Host.ID]; {
		case !is:
		case f.Problem != "":
			left = append(left, rollout.LeftOut{Host: s.Host.ID, OU: s.Host.OU, Class: rollout.ClassUnknown, Reason: rollout.Reason(f.Problem), Detail: "since it was assessed"})
		default:
			f.Host.Neighbours = s.Host.Neighbours // which the directory does not know
			kept = append(kept, rollout.Subject{Host: f.Host, Observation: s.Observation})
		}
	}
	for _, f := range computers {
		if f.Problem == "" && !known[f.Host.ID] {
			left = append(left, rollout.LeftOut{Host: f.Host.ID, OU: f.Host.OU, Class: rollout.ClassUnknown, Reason: rollout.ReasonNotObserved, Detail: "it was never assessed"})
		}
	}
	left = slices.DeleteFunc(left, func(l rollout.LeftOut) bool { _, is := now[l.Host]; return !is })
	if len(kept) == 0 {
		return nil, nil, failWith(exitError, "run wavelock assess, or look at select: in the configuration", "no host that is selected was assessed within limits.max_age (%v)", cfg.Limits.MaxAge)
	}
	return kept, left, nil
}

func (a *app) showPlan(p rollout.Plan, file string) error {
	t := table{head: []string{"WAVE", "NAME", "HOSTS", "AT ONCE", "STOPS AT", "CANARIES AND OTHERS"}}
	for i, w := range p.Waves {
		names := make([]string, len(w.Hosts))
		for k, id := range w.Hosts {
			names[k], _, _ = strings.Cut(string(id), ".")
		}
		t.add(i+1, w.Name, len(w.Hosts), w.InFlight, plural(w.Limit, "failure"), listed(names, 5))
	}
	if err := t.write(a.out, a.output, planFile{Hash: p.Hash(), Plan: p}); err != nil {
		return err
	}
	for _, j := range p.Templates {
		for _, f := range j.Findings {
			if f.Waived != "" {
				a.progress("template %s: %s is waived by %s", j.Name, f.Code, f.Waived)
			}
		}
	}
	for _, l := range p.Left {
		a.progress("left out: %s, %s: %s", l.Host, l.Reason, l.Detail)
	}
	a.progress("%s in %s; the plan is in %s, its hash begins with %.12s", plural(len(p.Hosts), "host"), plural(len(p.Waves), "wave"), file, p.Hash())
	return nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
