package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/rollout"
)

// BenchmarkAppend is the load of workers: each writes the end of a step and the
// beginning of the next in one call, and waits until it is durable.
func BenchmarkAppend(b *testing.B) {
	for _, workers := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			j := newJournal(b)
			create(b, j, "spring", workers)
			for i := range workers {
				mustAppend(b, j, action("spring", hostName(i), 1))
			}
			data := []byte(`{"seen":"` + strings.Repeat("x", 1500) + `"}`)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range workers {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						done := step(rollout.EvStepDone, "spring", hostName(i), 1, rollout.StepInspect)
						done.Data = data
						if _, err := j.Append(context.Background(), done, step(rollout.EvStepOpen, "spring", hostName(i), 1, rollout.StepInspect)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			perSecond(b, float64(b.N)/b.Elapsed().Seconds())
		})
	}
}

// perSecond reports steps a second, beside what one fsync of the same disk takes at the same time: where that is slow, the
// number of steps in the time of one fsync says more.
func perSecond(b *testing.B, steps float64) {
	b.Helper()
	sync := fsyncTime(b)
	b.ReportMetric(steps, "steps/s")
	b.ReportMetric(float64(sync.Microseconds()), "fsync-µs")
	b.ReportMetric(steps*sync.Seconds(), "steps/fsync")
}

// fsyncTime is the median of appending a page to a file and making it durable.
func fsyncTime(b *testing.B) time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	took := make([]time.Duration, 201)
	for i := range took {
		begun := time.Now()
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// BenchmarkCampaign is a whole campaign through the queue: actions of six steps.
func BenchmarkCampaign(b *testing.B) {
	const hosts, steps = 2000, 6
	for range b.N {
		j := newJournal(b)
		create(b, j, "spring", hosts)
		give(b, j, "spring", 0, hosts, 1)
		ctx, cancel := context.WithCancel(context.Background())
		var left atomic.Int64
		left.Store(hosts)
		err := j.Work(ctx, nil, 200, func(_ context.Context, job rollout.Job) error {
			for range steps {
				if _, err := j.Append(context.Background(), step(rollout.EvStepOpen, "spring", job.Host, 1, rollout.StepInspect)); err != nil {
					return err
				}
			}
			_, err := j.Append(context.Background(), settled("spring", job.Host, 1, rollout.Passed))
			if left.Add(-1) == 0 {
				cancel()
			}
			return err
		})
		cancel()
		if err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, float64(b.N*hosts*steps)/b.Elapsed().Seconds())
}

func BenchmarkHosts(b *testing.B) {
	records := make([]Record, 100_000)
	for i := range records {
		o := &rollout.Observation{Host: hostName(i), At: noon, Via: rollout.HTTP, Services: rollout.Saw(make([]rollout.WindowsService, 30))}
		records[i] = Record{Host: rollout.Host{ID: hostName(i)}, Class: rollout.ClassBoth, SeenAt: noon, Observation: o}
	}
	b.Run("save", func(b *testing.B) {
		for range b.N {
			if err := newJournal(b).SaveHosts(b.Context(), records); err != nil {
				b.Fatal(err)
			}
		}
	})
	j := newJournal(b)
	if err := j.SaveHosts(b.Context(), records); err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		for range b.N {
			n := 0
			for _, err := range j.EachHost(b.Context()) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != len(records) {
				b.Fatal(n)
			}
		}
	})
}
