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
	return journal.Open(ctx, journal.Config{Path: cfg.database(), Log: a.logger(), Now: a.now, Policy: cfg.Policy})
}

var (
	_ engine.Store = (*journal.Journal)(nil)
	_ engine.Queue = (*journal.Journal)(nil)
)

// machines gives the engine computers as it wants them.
type machines struct{ fleet *machine.Fleet }

func (m machines) Open(ctx context.Context, host rollout.Host) (engine.Machine, error) {
	return m.fleet.Open(ctx, host)
}

var _ engine.Machines = machines{}
