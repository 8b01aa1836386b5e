package main

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// Two campaigns on one host would take each other's undo and block rule away.
func TestAHostIsInOneCampaignAtATime(t *testing.T) {
	t.Parallel()
	const host = rollout.HostID("h1.corp.example")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	began := rollout.Event{Kind: rollout.EvAction, Host: host, Wave: 1, Action: rollout.ActSecure, Attempt: 1}
	ended := func(o rollout.Outcome) rollout.Event {
		return rollout.Event{Kind: rollout.EvSettled, Host: host, Wave: 1, Action: rollout.ActSecure, Attempt: 1, Outcome: o}
	}
	for name, c := range map[string]struct {
		events []rollout.Event
		goal   rollout.Goal
		free   bool
	}{
		"nobody has begun":                          {nil, rollout.GoalClose, true},
		"somebody works on it":                      {[]rollout.Event{began}, rollout.GoalClose, false},
		"it soaks":                                  {[]rollout.Event{began, ended(rollout.Soaking)}, rollout.GoalClose, false},
		"nobody knows how it is":                    {[]rollout.Event{began, ended(rollout.Unknown)}, rollout.GoalClose, false},
		"the first look found nobody there":         {[]rollout.Event{began, ended(rollout.Deferred)}, rollout.GoalClose, true},
		"somebody works on it and it is to go back": {[]rollout.Event{began}, rollout.GoalRestore, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j, err := journal.Open(t.Context(), journal.Config{Path: filepath.Join(t.TempDir(), "w.db"), Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { j.Close() })
			register(t, j, at)
			for _, e := range c.events {
				e.Campaign, e.At = "spring", at
				if _, err := j.Append(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			plan, err := j.Plan(t.Context(), "spring")
			if err != nil {
				t.Fatal(err)
			}
			next := plan
			next.ID, next.Goal = "summer", c.goal
			if err := j.Create(t.Context(), next, rollout.Event{At: at}); err != nil {
				t.Fatal(err)
			}
			err = notElsewhere(t.Context(), j, next)
			if c.free != (err == nil) || err != nil && !strings.Contains(err.Error(), "the campaign spring is in the middle of "+string(host)) {
				t.Error(err)
			}
			if err := notElsewhere(t.Context(), j, plan); err != nil {
				t.Errorf("the campaign that has it cannot go on: %v", err)
			}
		})
	}
}
