package main

import (
	"context"

	"wavelock/rollout"
	"wavelock/rollout/engine"
	"wavelock/rollout/journal"
	"wavelock/rollout/machine"
)

// database is where the journal is: a file, or the address of a server.
func (c Config) database() string {
	if journal.Shared(c.Database) {
		return c.Database
	}
	return c.path(c.Database)
}

// openJournal opens the database of the configuration.
func (a *app) openJournal(ctx context.Context, cfg Config) (*journal.Journal, error) {
	return journal.Open(ctx, journal.Config{Path: cfg.database(), Log: a.logger(), Now: a.now, Policy: cfg.Policy, Posture: cfg.Posture})
}

var (
	_ engine.Store = (*journal.Journal)(nil)
	_ engine.Queue = (*journal.Journal)(nil)
)

// machines gives the engine computers as it wants them, with what the journal
// knows of their clients.
type machines struct {
	fleet   *machine.Fleet
	journal *journal.Journal
}

func (m machines) Open(ctx context.Context, host rollout.Host) (engine.Machine, error) {
	opened, err := m.fleet.Open(ctx, host)
	if err != nil {
		return nil, err
	}
	return counted{opened, m.journal, host.ID}, nil
}

var _ engine.Machines = machines{}

// counted adds the census to what an inspection saw: who is not there now may come
// once a night.
type counted struct {
	engine.Machine
	journal *journal.Journal
	host    rollout.HostID
}

func (c counted) Do(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	res, err := c.Machine.Do(ctx, step)
	if err != nil || step.Kind != rollout.StepInspect || res.Seen == nil {
		return res, err
	}
	census, err := c.journal.Census(ctx, c.host)
	if err != nil {
		return res, &rollout.Failure{Host: c.host, Step: step.Kind, Reason: rollout.ReasonInternal, Transient: true, Err: err}
	}
	if census = census.With(*res.Seen); census.Samples > 0 {
		res.Seen.Census = rollout.Saw(census)
	}
	return res, nil
}
