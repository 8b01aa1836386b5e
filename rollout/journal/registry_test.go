package journal

import (
	"context"
	"testing"
	"time"

	"wavelock/rollout"
)

func TestWorkersAreListedWhileTheyWork(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 3)
	give(t, j, "spring", 1, 2, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := j.Work(ctx, []rollout.Zone{"dmz"}, 1, func(context.Context, rollout.Job) error {
		defer cancel()
		all, err := j.Workers(t.Context())
		if err != nil || len(all) != 1 || len(all[0].Zones) != 1 || all[0].Zones[0] != "dmz" || all[0].Quiet > deadAfter {
			t.Errorf("%+v, %v", all, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := j.Workers(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("after its end: %+v, %v", all, err)
	}
	j.exec(t, "INSERT INTO worker (id, zones, beat) VALUES ('dead', '[]', "+j.db.clock()+" - 13)")
	if all, err := j.Workers(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("one that gave no sign: %+v, %v", all, err)
	}
}

func TestSomeRecordsOfOneHostLeaveTheNewestOnly(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	older := Record{Host: rollout.Host{ID: "h"}, SeenAt: noon.Add(-time.Hour), Class: rollout.ClassBoth}
	newer := Record{Host: rollout.Host{ID: "h"}, SeenAt: noon, Class: rollout.ClassHTTPSOnly}
	if err := j.SaveHosts(t.Context(), []Record{older, newer, older}); err != nil {
		t.Fatal(err)
	}
	if all, err := j.Hosts(t.Context()); err != nil || len(all) != 1 || all[0].Class != rollout.ClassHTTPSOnly {
		t.Errorf("%+v, %v", all, err)
	}
}
