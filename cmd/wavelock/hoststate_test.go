package main

import (
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
)

// TestEveryStateOfAHostIsExplained: no word stands on the page of a host without its meaning.
func TestEveryStateOfAHostIsExplained(t *testing.T) {
	t.Parallel()
	words := []string{"running", "done", "waiting", "secured", rollout.Shelved}
	for _, o := range []rollout.Outcome{rollout.Failed, rollout.Unknown, rollout.Deferred, rollout.Refused, rollout.Pending,
		rollout.AwaitPolicy, rollout.Soaking, rollout.Restored, rollout.NeedsHuman} {
		words = append(words, string(o))
	}
	if len(words) != len(statusMeaning) {
		t.Errorf("%d words, %d meanings", len(words), len(statusMeaning))
	}
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	for _, w := range words {
		d := dossier{Past: []chapter{{Campaign: "spring", Row: rollout.HostView{Wave: 2, Status: w, Again: now.Add(time.Hour)}}}}
		var b strings.Builder
		d.standing(&b, now)
		text := strings.Join(strings.Fields(b.String()), " ")
		if !strings.HasPrefix(text, "state in campaign spring, wave 2, "+w+": ") || !strings.HasSuffix(text, "(not before 2026-05-04 10:00)") {
			t.Errorf("%s: %q", w, text)
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if columns(line) > 80 {
				t.Errorf("%q is too wide", line)
			}
		}
	}
	for _, c := range []rollout.Class{rollout.ClassHTTPOnly, rollout.ClassBoth, rollout.ClassHTTPSOnly, rollout.ClassNone, rollout.ClassUnknown} {
		if classMeaning[c] == "" {
			t.Errorf("the class %s has no meaning", c)
		}
	}
}
