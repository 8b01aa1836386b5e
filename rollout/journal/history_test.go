package journal

import (
	"errors"
	"testing"
	"time"

	"wavelock/rollout"
)

func changes(t *testing.T, j *Journal, after int64) []rollout.ClassChange {
	t.Helper()
	var all []rollout.ClassChange
	for c, err := range j.History(t.Context(), after) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func sighted(host rollout.HostID, class rollout.Class, after time.Duration) Record {
	at := noon.Add(after)
	return Record{Host: rollout.Host{ID: host, OU: "corp.example/Web"}, Class: class, SeenAt: at, Observation: &rollout.Observation{Host: host, At: at}}
}

func TestHistoryHasEveryChangeOnce(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	for _, some := range [][]Record{
		{sighted("a", rollout.ClassHTTPOnly, 0), sighted("b", rollout.ClassHTTPOnly, 0)},
		{sighted("a", rollout.ClassHTTPOnly, time.Hour)},    // nothing new
		{sighted("a", rollout.ClassBoth, 2*time.Hour)},      //
		{sighted("a", rollout.ClassHTTPOnly, 1*time.Hour)},  // older than what is known
		{sighted("a", rollout.ClassHTTPSOnly, 3*time.Hour)}, //
		{sighted("c", "", 0), sighted("c", rollout.ClassBoth, time.Hour)},
	} {
		if err := j.SaveHosts(t.Context(), some); err != nil {
			t.Fatal(err)
		}
	}
	all := changes(t, j, 0)
	if len(all) != 6 || all[2].Class != rollout.ClassBoth || all[3].Class != rollout.ClassHTTPSOnly || all[4].Class != rollout.ClassUnknown {
		t.Fatalf("history %+v", all)
	}
	if rest := changes(t, j, 4); len(rest) != 2 || rest[0].N != 5 {
		t.Errorf("after 4: %+v", rest)
	}
	n, head, err := j.HistoryHead(t.Context())
	if err != nil || n != 6 || len(head) != 64 {
		t.Errorf("head %d %s %v", n, head, err)
	}
	if h, err := j.HistoryHash(t.Context(), 6); err != nil || h != head {
		t.Errorf("hash of 6: %s, %v", h, err)
	}
}

func TestHistoryThatWasChangedIsNotBelieved(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	if err := j.SaveHosts(t.Context(), []Record{sighted("a", rollout.ClassHTTPOnly, 0), sighted("b", rollout.ClassBoth, 0)}); err != nil {
		t.Fatal(err)
	}
	j.exec(t, "DROP TRIGGER class_change_is_not_changed")
	j.exec(t, `UPDATE class_change SET body = cast(replace(cast(body AS text), 'both', 'https-only') AS blob) WHERE n = 2`)
	var broken *HistoryError
	n := 0
	for _, err := range j.History(t.Context(), 0) {
		if err != nil {
			if !errors.As(err, &broken) {
				t.Fatal(err)
			}
			break
		}
		n++
	}
	if n != 1 || broken == nil || broken.N != 2 || broken.Hint() == "" {
		t.Errorf("%d believed, %v", n, broken)
	}
}

func TestSummariesComeOnce(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	if err := j.SaveHosts(t.Context(), []Record{sighted("a", rollout.ClassHTTPOnly, 0), sighted("b", rollout.ClassBoth, 0)}); err != nil {
		t.Fatal(err)
	}
	some, rev, err := j.Summaries(t.Context(), 0)
	if err != nil || len(some) != 2 || some[0].OU != "corp.example/Web" {
		t.Fatalf("%+v, %v", some, err)
	}
	if none, same, err := j.Summaries(t.Context(), rev); err != nil || len(none) != 0 || same != rev {
		t.Errorf("%v, %d, %v", none, same, err)
	}
	if err := j.SaveHosts(t.Context(), []Record{sighted("b", rollout.ClassBoth, time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if some, next, err := j.Summaries(t.Context(), rev); err != nil || len(some) != 1 || some[0].Host != "b" || next <= rev {
		t.Errorf("%+v, %d, %v", some, next, err)
	}
	if r, ok, err := j.Host(t.Context(), "b"); err != nil || !ok || r.Class != rollout.ClassBoth {
		t.Errorf("%+v, %v, %v", r, ok, err)
	}
	if _, ok, err := j.Host(t.Context(), "nobody"); ok || err != nil {
		t.Errorf("nobody is known: %v, %v", ok, err)
	}
}
