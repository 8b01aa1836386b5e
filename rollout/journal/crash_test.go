package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wavelock/rollout"
)

const (
	crashHosts = 60
	crashSteps = 20
)

// playCrasher works on a campaign until it is killed. It says on stdout what it was
// promised to be durable.
func playCrasher(ctx context.Context, j *Journal) error {
	if err := j.Create(ctx, planOf("spring", crashHosts), rollout.Event{At: noon}); err != nil {
		return err
	}
	_, version, err := j.Position(ctx, "spring")
	if err != nil {
		return err
	}
	var events []rollout.Event
	var jobs []rollout.Job
	for i := range crashHosts {
		events = append(events, action("spring", hostName(i), 1))
		jobs = append(jobs, rollout.Job{Campaign: "spring", Host: hostName(i), Attempt: 1, Zone: []rollout.Zone{"", "dmz", "Branch Office 7"}[i%3]})
	}
	if _, ok, err := j.Decide(ctx, "spring", version, events, jobs); !ok || err != nil {
		return fmt.Errorf("decide: %v %w", ok, err)
	}
	fmt.Println("ready")
	var mu sync.Mutex
	return j.Work(ctx, nil, crashHosts/2, func(ctx context.Context, job rollout.Job) error {
		for range crashSteps {
			written, err := j.Append(ctx, step(rollout.EvStepOpen, "spring", job.Host, job.Attempt, rollout.StepInspect))
			if err != nil {
				return err
			}
			mu.Lock()
			fmt.Println(written[0].Seq)
			mu.Unlock()
			time.Sleep(time.Millisecond)
		}
		_, err := j.Append(ctx, settled("spring", job.Host, job.Attempt, rollout.Passed))
		return err
	})
}

// TestKilledProcess kills a process in the middle of its work. What it was told to
// be durable is there, the chain holds, and exactly the actions that had not ended
// are handed out again.
func TestKilledProcess(t *testing.T) {
	t.Parallel()
	path := emptyFile(t)
	promised := killInTheMiddle(t, path)

	j := openAt(t, path)
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Fatal(err)
	}
	events := eventsOf(t, j, "spring", 0)
	if int64(len(events)) < promised {
		t.Errorf("%d events are there, %d were promised", len(events), promised)
	}
	open := map[rollout.HostID]bool{}
	for _, e := range events {
		switch e.Kind {
		case rollout.EvAction:
			open[e.Host] = true
		case rollout.EvSettled:
			delete(open, e.Host)
		}
	}
	if len(open) == 0 {
		t.Fatal("the process was killed too late for this test")
	}
	t.Logf("killed after %d events with %d actions open", len(events), len(open))
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("not all jobs came back"))
	defer cancel()
	var mu sync.Mutex
	err := j.Work(ctx, nil, 8, func(_ context.Context, job rollout.Job) error {
		mu.Lock()
		defer mu.Unlock()
		if !open[job.Host] || job.Attempt != 1 {
			t.Errorf("%+v was handed out, its action has ended", job)
		}
		mustAppend(t, j, settled("spring", job.Host, job.Attempt, rollout.Passed))
		if delete(open, job.Host); len(open) == 0 {
			cancel()
		}
		return nil
	})
	if err != nil || len(open) > 0 {
		t.Errorf("%d jobs were not handed out again, %v", len(open), err)
	}
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Error(err)
	}
}

// killInTheMiddle answers with the last event that the killed process was promised.
func killInTheMiddle(t *testing.T, path string) (promised int64) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), "JOURNAL_TEST_ROLE=crasher", "JOURNAL_TEST_PATH="+path)
	c.Stderr = t.Output()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if seq, err := strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64); err == nil {
			promised = max(promised, seq)
		}
		if n == crashHosts*crashSteps/3 {
			if err := c.Process.Kill(); err != nil { // SIGKILL
				t.Fatal(err)
			}
		}
	}
	if err := c.Wait(); err == nil {
		t.Fatal("the process ended before it was killed")
	}
	return promised
}
