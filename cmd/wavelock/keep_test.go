package main

import (
	"context"
	"io"
	"path/filepath"
	"testing"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// TestEndedRunForgetsNothing: the look at the end of an action is brief, and what it did not read is as it was known,
// also when the run is told to end at that moment.
func TestEndedRunForgetsNothing(t *testing.T) {
	t.Parallel()
	cfg := defaultConfig()
	cfg.Database = filepath.Join(t.TempDir(), "wavelock.db")
	a := newApp(nil, io.Discard, io.Discard)
	j, err := a.openJournal(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	h := rollout.Host{ID: "web01.corp.example"}
	seen := rollout.Observation{Host: h.ID, At: time.Now(), Via: rollout.HTTP, Admins: rollout.Saw([]rollout.Administrator{{Domain: "CORP", Name: "ann"}})}
	if err := j.SaveHosts(t.Context(), []journal.Record{{Host: h, Observation: &seen, SeenAt: seen.At}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.keep(j, "spring")(ctx, h, rollout.Observation{Host: h.ID, At: time.Now(), Via: rollout.HTTPS, Admins: rollout.Unseen[[]rollout.Administrator](rollout.NotAsked)})
	got, known, err := j.Host(t.Context(), h.ID)
	if err != nil || !known || got.Observation.Via != rollout.HTTPS {
		t.Fatalf("%+v, %v, %v", got, known, err)
	}
	if !got.Observation.Admins.Known || len(got.Observation.Admins.Value) != 1 {
		t.Errorf("the administrators were forgotten: %+v", got.Observation.Admins)
	}
}
