package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"wavelock/rollout"
	"wavelock/rollout/engine"
	"wavelock/rollout/journal"
)

func newWorker(a *app) *cobra.Command {
	var zones []string
	c := &cobra.Command{
		Use: "worker --zone ZONE", GroupID: "roll", Args: exactly(),
		Short: "Work on the hosts of a zone, for a run that shares the database",
		Long: `Work on the hosts of one zone or several, for campaigns that wavelock run
coordinates elsewhere; both use one PostgreSQL database. A worker that dies is
noticed within some twenty seconds; another one of the zone inspects its hosts
and goes on.

It needs the credentials of its zone's hosts and no others, and the directory
only for hosts of the route relay. Ctrl-C begins nothing new and ends what is in
flight.`,
		Example: "  wavelock worker --zone dmz\n  wavelock worker --zone branch-7 --zone branch-8",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			if len(zones) == 0 {
				return failWith(exitUsage, "name one or more zones of the configuration: --zone dmz", "a worker without a zone would have nothing to do")
			}
			return a.worker(c.Context(), cfg, zones)
		},
	}
	c.Flags().StringArrayVar(&zones, "zone", nil, "`ZONE` to work for; again for more; '' is that of hosts in none")
	completes(c, map[string]completion{"zone": a.completeZones()})
	return c
}

func (a *app) worker(ctx context.Context, cfg Config, names []string) error {
	if !journal.Shared(cfg.Database) {
		return failWith(exitUsage, "set database: postgres://user@host/name?sslmode=verify-full for coordinator and workers",
			"workers need a database that processes can share; %s is a file of one computer", cfg.Database)
	}
	var zones []rollout.Zone
	for _, n := range names {
		z := rollout.Zone(n)
		if z != "" && !slices.ContainsFunc(cfg.Zones, func(r ZoneRule) bool { return r.Zone == z }) {
			return failWith(exitUsage, "the zones are listed under zones in the configuration", "there is no zone %q", n)
		}
		zones = append(zones, z)
	}
	a.announced()
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	logins, err := a.hostLogins(cfg.only(zones))
	if err != nil {
		return err
	}
	defer logins.close()
	a.progress("working for %s", listed(names, 10))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := crew{app: a, cfg: cfg, actor: person() + ", worker for " + listed(names, 3), journal: j, logins: logins, engines: map[rollout.CampaignID]*engine.Engine{}}
	err = j.Work(ctx, zones, cfg.Limits.Parallel, func(ctx context.Context, job rollout.Job) error {
		e, err := w.engine(ctx, job.Campaign)
		if err != nil {
			if !journal.Passing(err) {
				cancel(err)
			}
			return err
		}
		return e.Work(ctx, job, func(err error) { cancel(err) })
	})
	if cause := context.Cause(ctx); err == nil && cause != nil && cause != context.Canceled { //nolint:errorlint // the cause itself
		err = cause
	}
	if err != nil {
		return fmt.Errorf("work for %s: %w", listed(names, 10), err)
	}
	return nil
}

// only is the configuration with the tiers that a worker of the zones may need: it is not asked for the secrets of others.
func (c Config) only(zones []rollout.Zone) Config {
	c.Tiers = slices.DeleteFunc(slices.Clone(c.Tiers), func(t Tier) bool { return t.Zone != "" && !slices.Contains(zones, t.Zone) })
	return c
}

// crew has an engine for each campaign that this process has worked on.
type crew struct {
	*app
	cfg     Config
	actor   string
	journal *journal.Journal
	logins  *hostLogins

	mu      sync.Mutex // guards engines
	engines map[rollout.CampaignID]*engine.Engine
}

func (w *crew) engine(ctx context.Context, id rollout.CampaignID) (*engine.Engine, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.engines[id]; e != nil {
		return e, nil
	}
	plan, err := w.journal.Plan(ctx, id)
	if err != nil {
		return nil, err
	}
	fleet, err := w.fleet(w.cfg, w.logins, plan.Roots, plan.Policy, plan.Issuing...)
	if err != nil {
		return nil, err
	}
	issuer, err := w.issuer(ctx, w.cfg, plan)
	if err != nil {
		return nil, err
	}
	e := engine.New(engine.Config{Plan: &plan, Store: w.journal, Machines: machines{fleet, w.journal}, Issuer: issuer, Actor: w.actor, Parallel: w.cfg.Limits.Parallel,
		StepTime: w.cfg.Limits.StepTime.D(), Now: w.now, Log: w.logger(), Seen: w.keep(w.journal, plan.ID), Passing: journal.Passing})
	w.engines[id] = e
	return e, nil
}
