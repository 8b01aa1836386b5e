package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// outcome is what a campaign left, without what differs between two good runs.
type outcome struct {
	Status  string
	Classes map[string]int
	Counts  map[string]int
}

func (o outcome) equal(p outcome) bool {
	return o.Status == p.Status && maps.Equal(o.Classes, p.Classes) && maps.Equal(o.Counts, p.Counts)
}

// killWaves are small enough for a test and leave time to be killed in.
func killWaves(config string) string {
	head, rest, _ := strings.Cut(config, "waves:")
	_, limits, _ := strings.Cut(rest, "limits:")
	return strings.Replace(head, "undo_after: 8s", "undo_after: 2m", 1) +
		"waves:\n  - {name: canary, count: 2, in_flight: 1, limit: 1}\n  - {name: rest, in_flight: 4, limit: 1}\nlimits:" + limits
}

// prepare starts a lab and plans a campaign on it.
func prepare(t *testing.T, hosts int, more ...string) (dir, plan string) {
	t.Helper()
	dir = t.TempDir()
	startLab(t, dir, hosts, more...)
	rewrite(t, filepath.Join(dir, "wavelock.yaml"), killWaves)
	plan = filepath.Join(dir, "spring.json")
	succeeds(t, dir, "assess", "--quiet")
	succeeds(t, dir, "plan", "--out", plan)
	return dir, plan
}

func outcomeOf(t *testing.T, dir string) outcome {
	t.Helper()
	c := program(dir, "status", "spring", "-o", "json")
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("status: %v\n%s", err, errs.String())
	}
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestKilledRunsEndAsAnUninterruptedOne kills the controller with SIGKILL at
// random moments, each time in another process, and starts it again.
func TestKilledRunsEndAsAnUninterruptedOne(t *testing.T) {
	t.Parallel()
	hosts, most := number(t, "WAVELOCK_KILL_HOSTS", 12), number(t, "WAVELOCK_KILLS", 12)
	dir, plan := prepare(t, hosts, "--latency", "15ms")
	if out, err := program(dir, "run", plan, "--yes", "--quiet").CombinedOutput(); err != nil {
		t.Fatalf("the uninterrupted run: %v\n%s", err, out)
	}
	want := outcomeOf(t, dir)
	if want.Status != "finished" || want.Counts["done"] != hosts {
		t.Fatalf("the uninterrupted run ends %+v", want)
	}

	dir, plan = prepare(t, hosts, "--latency", "15ms")
	random := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for range most {
		c := program(dir, "run", plan, "--yes", "--quiet")
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// Most of the moments are early in a process's life, when it takes up what the one before left.
		life := time.AfterFunc(time.Duration(150+random.ExpFloat64()*300)*time.Millisecond, func() { c.Process.Kill() })
		err := c.Wait()
		if life.Stop() || err == nil {
			if err != nil {
				t.Fatalf("after %d kills: %v\n%s", kills, err, out.String())
			}
			break
		}
		if c.ProcessState.ExitCode() != -1 {
			state, _ := program(dir, "status", "spring", "-o", "json").Output()
			out.Write(state)
			t.Fatalf("after %d kills the run ended by itself: %v\n%s", kills, err, out.String())
		}
		kills++
	}
	if out, err := program(dir, "run", plan, "--yes", "--quiet").CombinedOutput(); err != nil {
		state, _ := program(dir, "status", "spring", "-o", "json").Output()
		t.Fatalf("after %d kills, the last run: %v\n%s\n%s", kills, err, out, state)
	}
	if got := outcomeOf(t, dir); !got.equal(want) {
		t.Errorf("killed %d times it ends\n%+v, uninterrupted\n%+v", kills, got, want)
	}
	if kills < 3 {
		t.Errorf("the controller was killed %d times only", kills)
	}
	if out, err := program(dir, "verify", "spring").CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	auditSteps(t, dir, nil)
	t.Logf("killed %d times", kills)
}

func TestTwoRunsAtTheSameTimeAreRefused(t *testing.T) {
	t.Parallel()
	dir, plan := prepare(t, 6, "--latency", "20ms")
	first := program(dir, "run", plan, "--yes")
	progress := &watched{found: make(chan struct{}), want: "wave 1 begins"}
	first.Stderr = progress
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	<-progress.found
	out, err := program(dir, "run", plan, "--yes").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitBusy || !strings.Contains(string(out), "hint:") {
		t.Errorf("the second run: %v\n%s", err, out)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("the first run: %v\n%s", err, progress.text.String())
	}
	if got := outcomeOf(t, dir); got.Counts["done"] != 6 {
		t.Errorf("it ends %+v", got)
	}
}

// watched tells when a text was written.
type watched struct {
	text  bytes.Buffer
	want  string
	found chan struct{}
	done  bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.text.Write(p)
	if !w.done && strings.Contains(w.text.String(), w.want) {
		w.done = true
		close(w.found)
	}
	return len(p), nil
}
