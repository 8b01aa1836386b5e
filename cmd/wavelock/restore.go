package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wavelock/rollout"
)

func newRestore(a *app) *cobra.Command {
	var fromHost bool
	var o runOptions
	c := &cobra.Command{
		Use: "restore HOST...", GroupID: "roll", Args: atLeast("the name of a host"),
		Short: "Put hosts back from the before-image that each keeps",
		Long: `Put hosts back to what they were before wavelock first wrote to them, from the
before-image in their own registry: the HTTP listener first, then what was added
goes. It is for when the database is lost; what is done is kept in the new one
as a campaign. Where the database is there, rollback puts a whole campaign back.`,
		Example:           "  wavelock restore web01.corp.example web02.corp.example --from-host",
		ValidArgsFunction: a.completeHosts().each,
		RunE: func(c *cobra.Command, args []string) error {
			if !fromHost {
				return failWith(exitUsage, "add --from-host, or put a campaign back with wavelock rollback", "restore works from the hosts' own before-images alone")
			}
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.restore(c.Context(), cfg, args, o)
		},
	}
	c.Flags().BoolVar(&fromHost, "from-host", false, "use the before-image that each host keeps")
	c.Flags().BoolVar(&o.Yes, "yes", false, "approve it without being asked")
	return c
}

// restore makes a campaign in which it is not known what was done to the hosts, and
// that is rolled back: the engine puts them back as it does with any other.
func (a *app) restore(ctx context.Context, cfg Config, names []string, o runOptions) error {
	plan, err := a.restorePlan(ctx, cfg, names)
	if err != nil {
		return err
	}
	if !o.Yes {
		if err := a.ask(plan); err != nil {
			return err
		}
	}
	if err := a.beginRestore(ctx, cfg, plan); err != nil {
		return err
	}
	return a.run(ctx, cfg, plan, runOptions{Yes: true})
}

func (a *app) restorePlan(ctx context.Context, cfg Config, names []string) (rollout.Plan, error) {
	computers, roots, err := a.inventory(ctx, cfg)
	if err != nil {
		return rollout.Plan{}, err
	}
	now := a.now()
	in := rollout.Intent{ID: rollout.CampaignID("restore-" + now.UTC().Format("20060102-150405.000")), Made: now, MadeBy: person(), Goal: rollout.GoalSecure,
		Policy: cfg.Policy, Roots: roots.Trusted(), Issuing: roots.Intermediates, Waves: []rollout.WaveRule{{Name: "all", InFlight: cfg.Limits.Parallel, Limit: len(names)}}}
	var subjects []rollout.Subject
	for _, name := range names {
		h, err := findComputer(computers, name)
		if err != nil {
			return rollout.Plan{}, err
		}
		if slices.ContainsFunc(subjects, func(s rollout.Subject) bool { return s.Host.ID == h.ID }) {
			continue
		}
		h.Roles, h.Cluster = nil, "" // nobody waits for anybody on the way back
		subjects = append(subjects, rollout.Subject{Host: h, Observation: rollout.Observation{Host: h.ID}})
	}
	p := rollout.NewPlan(in, subjects)
	if err := p.Validate(); err != nil {
		return p, fmt.Errorf("plan the way back: %w", err)
	}
	return p, nil
}

// findComputer takes a full name, also of a computer that is not selected, or a short one that only one of the selected has.
func findComputer(computers []found, name string) (rollout.Host, error) {
	h := hostNamed(name)
	if h.Domain != "" {
		if i := slices.IndexFunc(computers, func(f found) bool { return f.Host.ID == h.ID }); i >= 0 {
			return computers[i].Host, nil
		}
		return h, fullName(name)
	}
	var hits []rollout.Host
	var ids, all []string
	for _, f := range computers {
		short, _, _ := strings.Cut(string(f.Host.ID), ".")
		all = append(all, short)
		if short == string(h.ID) {
			hits, ids = append(hits, f.Host), append(ids, string(f.Host.ID))
		}
	}
	switch len(hits) {
	case 0:
		return h, failWith(exitUsage, didYouMean(string(h.ID), all, "use its full name; wavelock discover lists them"), "the directory has no %q among the selected computers", name)
	case 1:
		return hits[0], nil
	}
	return h, failWith(exitUsage, "use its full name", "%q is %s", name, strings.Join(ids, " and "))
}

// beginRestore writes what is known: nothing of what was done to the hosts, and that
// a person wants them back.
func (a *app) beginRestore(ctx context.Context, cfg Config, plan rollout.Plan) error {
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	event := func(k rollout.EventKind) rollout.Event {
		return rollout.Event{Campaign: plan.ID, At: a.now(), Actor: person(), Kind: k}
	}
	if err := j.Create(ctx, plan, event(rollout.EvCreated)); err != nil {
		return err
	}
	_, err = j.Append(ctx, restoreEvents(plan, event)...)
	return err
}

func restoreEvents(plan rollout.Plan, event func(rollout.EventKind) rollout.Event) []rollout.Event {
	approved := event(rollout.EvApproved)
	approved.Detail = plan.Hash()
	events := []rollout.Event{approved}
	for i, w := range plan.Waves {
		for _, id := range w.Hosts {
			began, ended := event(rollout.EvAction), event(rollout.EvSettled)
			for _, e := range []*rollout.Event{&began, &ended} {
				e.Host, e.Wave, e.Action, e.Attempt = id, i+1, rollout.ActObserve, 1
			}
			ended.Outcome, ended.Reason = rollout.Unknown, rollout.ReasonInterrupted
			ended.Detail = "what was done to it before is not in this database"
			events = append(events, began, ended)
		}
	}
	back := event(rollout.EvRollback)
	back.Detail = "put back from the before-image on the host"
	return append(events, back)
}
