package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/engine"
	"wavelock/rollout/journal"
)

// coordinate makes this process the one that decides. With --standby it waits for its turn.
func (a *app) coordinate(ctx context.Context, j *journal.Journal, o runOptions) (release func(), err error) {
	for told := false; ; told = true {
		release, err = j.Own(ctx)
		var busy *journal.BusyError
		if !o.Standby || !(errors.As(err, &busy) || journal.Passing(err)) {
			return release, err
		}
		if !told {
			a.progress("standing by: %v", err)
		}
		select {
		case <-ctx.Done():
			return nil, &interruption{"it was standing by"}
		case <-time.After(time.Second):
		}
	}
}

// zonesFor are the zones that this process works for itself.
func zonesFor(cfg Config, plan rollout.Plan, o runOptions) ([]rollout.Zone, error) {
	if (len(o.Zones) > 0 || o.Standby) && !journal.Shared(cfg.Database) {
		return nil, failWith(exitUsage, "set database: postgres://user@host/name?sslmode=verify-full", "--zones and --standby are for a database that processes share")
	}
	all := zonesOf(plan)
	switch {
	case len(o.Zones) == 0:
		return all, nil
	case len(o.Zones) == 1 && o.Zones[0] == "none":
		return nil, nil
	}
	var some []rollout.Zone
	for _, n := range o.Zones {
		if z := rollout.Zone(n); !slices.Contains(all, z) {
			return nil, failWith(exitUsage, "the zones are listed under zones in the configuration", "no host of %s is in a zone %q", plan.ID, n)
		}
		some = append(some, rollout.Zone(n))
	}
	return some, nil
}

// queueFor is the journal's queue, or one that has nothing to do where other processes do all the work.
func queueFor(j *journal.Journal, zones []rollout.Zone) engine.Queue {
	if len(zones) == 0 {
		return idle{}
	}
	return j
}

type idle struct{}

func (idle) Work(ctx context.Context, _ []rollout.Zone, _ int, _ func(context.Context, rollout.Job) error) error {
	<-ctx.Done()
	return nil
}
