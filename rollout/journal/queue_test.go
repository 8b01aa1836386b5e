package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/rollout"
)

func TestQueueNamesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]rollout.Zone{}
	for _, z := range []rollout.Zone{"", "zone", "dmz", "DMZ", "dmz-1", "dmz--1", "-dmz", "dmz_1", "dmz 1", "zürich", rollout.Zone(strings.Repeat("z", 100)), rollout.Zone(strings.Repeat("z", 101)), "hashed-1"} {
		q := queueName(z)
		if other, taken := seen[q]; taken {
			t.Errorf("%q and %q share the queue %s", z, other, q)
		}
		if seen[q] = z; len(q) > 64 || !plainZone.MatchString(q) {
			t.Errorf("%q gives %q, which River refuses", z, q)
		}
	}
}

var threeZones = []rollout.Zone{"", "dmz", "Branch Office 7"}

// give decides that the hosts are secured, with one job each.
func give(t testing.TB, j *Journal, id rollout.CampaignID, from, to, attempt int) {
	t.Helper()
	var events []rollout.Event
	var jobs []rollout.Job
	for i := from; i < to; i++ {
		events = append(events, action(id, hostName(i), attempt))
		jobs = append(jobs, rollout.Job{Campaign: id, Host: hostName(i), Attempt: attempt, Zone: threeZones[i%3]})
	}
	if _, ok, err := j.Decide(t.Context(), id, version(t, j, id), events, jobs); !ok || err != nil {
		t.Fatalf("decide: %v, %v", ok, err)
	}
}

func TestWorkServesItsZones(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		serve []rollout.Zone
		want  int
	}{
		"all by name":    {threeZones, 30},
		"all by default": {nil, 30},
		"two of three":   {threeZones[1:], 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJournal(t)
			create(t, j, "spring", 30)
			give(t, j, "spring", 0, 15, 1)
			ctx, cancel := context.WithCancel(t.Context())
			var mu sync.Mutex
			var got []rollout.HostID
			var now, most atomic.Int64
			done := make(chan error, 1)
			go func() {
				done <- j.Work(ctx, c.serve, 4, func(_ context.Context, job rollout.Job) error {
					if n := now.Add(1); n > most.Load() {
						most.Store(n)
					}
					defer now.Add(-1)
					time.Sleep(2 * time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					if got = append(got, job.Host); len(got) == c.want {
						time.AfterFunc(50*time.Millisecond, cancel) // time for one too many
					}
					if i := slices.IndexFunc(threeZones, func(z rollout.Zone) bool { return z == job.Zone }); i < 0 || !strings.HasPrefix(string(job.Host), "h") || job.Attempt != 1 || job.Campaign != "spring" {
						t.Errorf("job %+v", job)
					}
					_, err := j.Append(context.WithoutCancel(ctx), settled("spring", job.Host, 1, rollout.Passed))
					return err
				})
			}()
			give(t, j, "spring", 15, 30, 1)
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(15 * time.Second):
				cancel()
				<-done
			}
			slices.Sort(got)
			if len(slices.Compact(got)) != c.want {
				t.Errorf("%d jobs were done, want %d", len(got), c.want)
			}
			if most.Load() > 4 {
				t.Errorf("%d jobs at once, want at most 4", most.Load())
			}
			if left := j.count(t, "SELECT count(*) FROM river_job WHERE state = 'completed'"); left != c.want {
				t.Errorf("%d jobs are completed, want %d", left, c.want)
			}
		})
	}
}

// TestFreshJobIsTakenUpAtOnce is not parallel, because it measures. A busy machine
// may spoil a round, but not all of them.
func TestFreshJobIsTakenUpAtOnce(t *testing.T) {
	const want = 100 * time.Millisecond
	var waits []time.Duration
	for range 3 {
		if waits = pickups(t, 11); waits[len(waits)/2] < want {
			return
		}
	}
	t.Errorf("jobs waited %v, want less than %v in the middle", waits, want)
}

// pickups are how long n jobs waited from their decision to their begin, sorted.
func pickups(t *testing.T, n int) []time.Duration {
	t.Helper()
	j := newJournal(t)
	create(t, j, "spring", n)
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan time.Time)
	done := make(chan error, 1)
	go func() {
		done <- j.Work(ctx, threeZones, 8, func(context.Context, rollout.Job) error { begun <- time.Now(); return nil })
	}()
	var waits []time.Duration
	for i := range n {
		time.Sleep(time.Duration(i) * 5 * time.Millisecond) // anywhere between two looks into the outbox
		at := time.Now()
		give(t, j, "spring", i, i+1, 1)
		waits = append(waits, (<-begun).Sub(at))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	slices.Sort(waits)
	return waits
}

// TestEndWaitsForJobsInFlight: the jobs are told, are given the time to end, and
// what they gave back is handed out by the next Work, not by this one.
func TestEndWaitsForJobsInFlight(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 9)
	give(t, j, "spring", 0, 9, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var begun, ended atomic.Int64
	stopping := errors.New("stopping")
	err := j.Work(ctx, threeZones, 3, func(ctx context.Context, job rollout.Job) error {
		if begun.Add(1) == 3 {
			cancel()
		}
		<-ctx.Done()
		time.Sleep(30 * time.Millisecond)
		ended.Add(1)
		return stopping
	})
	if err != nil {
		t.Fatal(err)
	}
	if begun.Load() != 3 || ended.Load() != 3 {
		t.Errorf("%d jobs were begun and %d had ended when Work did, want 3 and 3", begun.Load(), ended.Load())
	}
	got := workAll(t, j, 9)
	if len(got) != 9 {
		t.Errorf("the next Work handed out %d jobs, want 9", len(got))
	}
}

// workAll works until n hosts were settled, and for a while after.
func workAll(t *testing.T, j *Journal, n int) map[rollout.HostID]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var mu sync.Mutex
	got := map[rollout.HostID]int{}
	err := j.Work(ctx, nil, 4, func(_ context.Context, job rollout.Job) error {
		mu.Lock()
		defer mu.Unlock()
		if got[job.Host]++; len(got) == n {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		_, err := j.Append(context.WithoutCancel(ctx), settled(job.Campaign, job.Host, job.Attempt, rollout.Passed))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFailedJobRestsUntilTheNextWork(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	give(t, j, "spring", 0, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var tries atomic.Int64
	err := j.Work(ctx, threeZones, 3, func(context.Context, rollout.Job) error {
		tries.Add(1)
		time.AfterFunc(1200*time.Millisecond, cancel) // longer than River's poll
		return errors.New("broken")
	})
	if err != nil || tries.Load() != 1 {
		t.Errorf("%d tries, %v; want 1", tries.Load(), err)
	}
	if got := workAll(t, j, 1); got[hostName(0)] != 1 {
		t.Errorf("handed out again: %v", got)
	}
}

// TestQueueIsDrawnFromTheEvents: whatever became of River's rows, every action that
// has not ended has one job, and no other has.
func TestQueueIsDrawnFromTheEvents(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 8)
	give(t, j, "spring", 0, 6, 1)
	mustAppend(t, j, settled("spring", hostName(0), 1, rollout.Passed))
	mustAppend(t, j, settled("spring", hostName(1), 1, rollout.Unknown))
	give(t, j, "spring", 1, 2, 2)
	mustAppend(t, j, action("spring", hostName(7), 1)) // nobody's job
	for i, state := range []string{"running", "discarded", "cancelled", "retryable", "scheduled"} {
		j.exec(t, "UPDATE river_job SET state = ?, finalized_at = CASE WHEN ? IN ('discarded', 'cancelled') THEN '2026-11-23' END WHERE id = ?", state, state, i+2)
	}
	j.exec(t, "DELETE FROM river_job WHERE id = 5")
	got := workAll(t, j, 5)
	want := map[rollout.HostID]int{hostName(1): 1, hostName(2): 1, hostName(3): 1, hostName(4): 1, hostName(5): 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("handed out %v, want %v", got, want)
	}
}

func TestPanicEndsTheWorkAndLosesNothing(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 2)
	give(t, j, "spring", 0, 2, 1)
	err := j.Work(t.Context(), threeZones, 1, func(context.Context, rollout.Job) error { panic("out of range") })
	if err == nil || !strings.Contains(err.Error(), "out of range") {
		t.Errorf("work ended with %v", err)
	}
	if got := workAll(t, j, 2); len(got) != 2 {
		t.Errorf("handed out again: %v", got)
	}
}
