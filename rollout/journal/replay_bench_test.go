package journal

import (
	"runtime"
	"testing"
	"time"

	"wavelock/rollout"
)

// BenchmarkReplay is a campaign of 100,000 hosts, half of which are done, read from its latest snapshot and the 5,000
// events after it; and how long a status is drawn from what was read.
func BenchmarkReplay(b *testing.B) {
	const hosts, tail = 100_000, 2500
	j := newJournal(b)
	p := create(b, j, "spring", hosts)
	ok := rollout.NewApproval(&p, 0, "", "")
	ok.Campaign, ok.At, ok.Actor = "spring", noon, "ann"
	events := []rollout.Event{ok}
	write := func() {
		mustAppend(b, j, events...)
		events = events[:0]
	}
	both := func(i int) {
		events = append(events, action("spring", hostName(i), 1), settled("spring", hostName(i), 1, rollout.Passed))
	}
	for i := range hosts / 2 {
		if both(i); len(events) > 5000 {
			write()
		}
	}
	write()
	_, state, err := j.Replay(b.Context(), "spring")
	if err != nil {
		b.Fatal(err)
	}
	body, err := state.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := j.SaveSnapshot(b.Context(), "spring", noon, "ann", body); err != nil {
		b.Fatal(err)
	}
	for i := range tail {
		both(hosts/2 + i)
	}
	write()
	var plan *rollout.Plan
	b.ResetTimer()
	for b.Loop() {
		if plan, state, err = j.Replay(b.Context(), "spring"); err != nil || state.Seq != hosts+2*tail+3 {
			b.Fatal(state.Seq, err)
		}
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b.ReportMetric(float64(memory.Sys)/1e6, "MB-at-most") // of the whole process, which has also written all of this
	begun := time.Now()
	const views = 10
	for range views {
		rollout.NewView(plan, state, noon)
	}
	b.ReportMetric(float64(time.Since(begun).Milliseconds())/views, "ms/status")
}
