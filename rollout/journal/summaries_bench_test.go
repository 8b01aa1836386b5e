package journal

import (
	"fmt"
	"testing"

	"wavelock/rollout"
)

// BenchmarkSummaries is how long the dashboard takes to learn of 100,000 hosts.
func BenchmarkSummaries(b *testing.B) {
	records := make([]Record, 100_000)
	for i := range records {
		o := &rollout.Observation{Host: hostName(i), At: noon, Via: rollout.HTTP, HTTP: rollout.Door{State: rollout.DoorOpen}, Services: rollout.Saw(make([]rollout.WindowsService, 30))}
		records[i] = Record{Host: rollout.Host{ID: hostName(i), OU: fmt.Sprint("corp.example/Servers/", i%700)}, Class: rollout.ClassBoth, SeenAt: noon, Observation: o}
	}
	j := newJournal(b)
	if err := j.SaveHosts(b.Context(), records); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		all, _, err := j.Summaries(b.Context(), 0)
		if err != nil || len(all) != len(records) {
			b.Fatal(len(all), err)
		}
	}
}
