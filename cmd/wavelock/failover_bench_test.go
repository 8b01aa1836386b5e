package main

import (
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// BenchmarkFailOver kills, with SIGKILL, the coordinator that has one standing by, and later a worker that has hosts in
// hand and another worker beside it. It reports how long it takes until the other coordinator has begun, and until the
// dead worker's hosts are looked at again.
//
//	go test ./cmd/wavelock -run - -bench FailOver -benchtime 1x
func BenchmarkFailOver(b *testing.B) {
	for b.Loop() {
		failOver(b)
	}
}

func failOver(b *testing.B) {
	server, dir, plan := labOnPostgres(b, 60, "100ms", "  - {zone: all}\n")
	start := func(args ...string) *process {
		p := &process{args: args, dir: dir}
		p.start(b)
		b.Cleanup(func() { p.kill() })
		return p
	}
	j, err := journal.Open(b.Context(), journal.Config{Path: server.Address("postgres"), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	w := &follower{b: b, journal: j}

	first := start("run", plan, "--yes", "--zones", "none")
	w.await("the first coordinator", func(e rollout.Event) bool { return e.Kind == rollout.EvStarted })
	start("run", plan, "--yes", "--zones", "none", "--standby")
	worker := start("worker", "--zone", "all")
	w.await("four hosts at once", func(e rollout.Event) bool { return e.Kind == rollout.EvWaveOpened && e.Wave == 2 })
	killed := time.Now()
	first.kill()
	w.await("the second coordinator", func(e rollout.Event) bool { return e.Kind == rollout.EvStarted })
	b.ReportMetric(time.Since(killed).Seconds(), "s/coordinator")

	start("worker", "--zone", "all")
	w.await("some steps", func(e rollout.Event) bool { return e.Kind == rollout.EvStepDone && e.Step == rollout.StepListen })
	killed = time.Now()
	worker.kill()
	given := w.await("a host that is given to the other worker", func(e rollout.Event) bool {
		return e.Kind == rollout.EvAction && strings.Contains(e.Detail, "its worker is gone")
	})
	step := w.await("its first step", func(e rollout.Event) bool {
		return e.Kind == rollout.EvStepOpen && e.Host == given.Host && e.Attempt == given.Attempt
	})
	took := time.Since(killed)
	if step.Step != rollout.StepInspect {
		b.Errorf("%s, whose worker died, is not inspected first: %s", step.Host, step.Step)
	}
	if took > time.Minute {
		b.Errorf("a dead worker's hosts are taken up after %v", took)
	}
	b.ReportMetric(took.Seconds(), "s/worker")
}

// follower reads the journal as it is written.
type follower struct {
	b       *testing.B
	journal *journal.Journal
	seq     int64
}

// await answers the next event that fits.
func (f *follower) await(what string, fits func(rollout.Event) bool) rollout.Event {
	f.b.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for e, err := range f.journal.Events(f.b.Context(), "spring", f.seq) {
			if err != nil {
				break // the campaign is not there yet
			}
			f.seq = e.Seq
			if fits(e) {
				return e
			}
		}
	}
	f.b.Fatalf("%s: it does not come to that", what)
	return rollout.Event{}
}
