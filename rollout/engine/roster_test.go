package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/rollout"
)

func TestRetiredHostsAreNotBegun(t *testing.T) {
	t.Parallel()
	b := setup(t, 12)
	retired := b.plan.Waves[1].Hosts[0]
	e := b.engine()
	e.Directory = func(context.Context) (rollout.Listing, error) {
		return rollout.Listing{Planned: map[rollout.HostID]rollout.Account{retired: {Missing: true}}}, nil
	}
	if ending, err := e.Run(t.Context()); err != nil || !ending.Over {
		t.Fatalf("%+v, %v", ending, err)
	}
	if steps := b.world.hosts[retired].steps; len(steps) > 0 {
		t.Errorf("a host that is gone saw %v", steps)
	}
	if v := e.View(); v.Failures != 0 || v.Done != 11 || v.Counts[rollout.Shelved] != 1 {
		t.Errorf("%d failures, %d done, %v", v.Failures, v.Done, v.Counts)
	}
	told := 0
	for _, ev := range b.store.events {
		if ev.Kind == rollout.EvRoster {
			told++
		}
	}
	if told != 1 {
		t.Errorf("it was told %d times", told)
	}
}

// TestNewsOfTheDirectoryDuringARun: a host that waits for the network is deleted meanwhile, and nobody waits any more.
func TestNewsOfTheDirectoryDuringARun(t *testing.T) {
	t.Parallel()
	b := setup(t, 3)
	last := b.plan.Waves[len(b.plan.Waves)-1].Hosts
	away := last[len(last)-1]
	b.world.hosts[away].off = true
	e := b.engine()
	e.Stay, e.CompareEvery = true, 10*time.Millisecond
	var looks atomic.Int64
	e.Directory = func(context.Context) (rollout.Listing, error) {
		switch n := looks.Add(1); {
		case n < 3:
			return rollout.Listing{}, nil
		case n < 5:
			return rollout.Listing{}, errors.New("no domain controller answers")
		}
		return rollout.Listing{Planned: map[rollout.HostID]rollout.Account{away: {Missing: true}}}, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ending, err := e.Run(ctx)
	if err != nil || !ending.Over {
		t.Fatalf("%+v, %v", ending, err)
	}
	if v := e.View(); v.Done != 2 || v.Counts[rollout.Shelved] != 1 {
		t.Errorf("%d done, %v", v.Done, v.Counts)
	}
}
