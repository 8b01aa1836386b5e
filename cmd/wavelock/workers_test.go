package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wavelock/rollout"
)

// number is a size of a test that the environment can raise: WAVELOCK_KILLS, WAVELOCK_KILL_HOSTS.
func number(t *testing.T, name string, usual int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return usual
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number", name, v)
	}
	return n
}

// process is one that is started again whenever it was killed.
type process struct {
	args []string
	dir  string

	mu  sync.Mutex
	cmd *exec.Cmd
	out bytes.Buffer
	end chan struct{}
}

func (p *process) start(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	c := program(p.dir, p.args...)
	c.Stdout, c.Stderr = &p.out, &p.out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	p.cmd, p.end = c, end
	go func() { _ = c.Wait(); close(end) }()
}

// kill kills it, unless it has ended by itself.
func (p *process) kill() (killed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.end:
		return false
	default:
	}
	_ = p.cmd.Process.Kill() // SIGKILL
	<-p.end
	return p.cmd.ProcessState.ExitCode() == -1
}

// TestWorkersAndCoordinatorsAreKilled has three zones with a worker each and two coordinators, one standing by, on one
// PostgreSQL server. They are killed at random moments and started again, and the server restarts.
func TestWorkersAndCoordinatorsAreKilled(t *testing.T) {
	t.Parallel()
	hosts, kills := number(t, "WAVELOCK_KILL_HOSTS", 12), number(t, "WAVELOCK_KILLS", 6)
	zoneOf := map[string]rollout.Zone{"web": "a", "app": "b"}
	server, dir, plan := labOnPostgres(t, hosts, "15ms",
		"  - {zone: a, ou: 'OU=Web,OU=Servers,DC=corp,DC=example'}\n  - {zone: b, ou: 'OU=App,OU=Servers,DC=corp,DC=example'}\n  - {zone: c}\n")
	all := []*process{}
	for _, args := range [][]string{
		{"run", plan, "--yes", "--zones", "none", "--stay", "--standby"}, {"run", plan, "--yes", "--zones", "none", "--stay", "--standby"},
		{"worker", "--zone", "a"}, {"worker", "--zone", "b"}, {"worker", "--zone", "c"}} {
		p := &process{args: args, dir: dir}
		p.start(t)
		t.Cleanup(func() { p.kill() })
		all = append(all, p)
	}
	random := rand.New(rand.NewPCG(1, 2))
	killed := 0
	for deadline := time.Now().Add(time.Duration(kills)*10*time.Second + 2*time.Minute); ; {
		if over(t, dir) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not end after %d kills; the coordinators said\n%s\n%s", killed, all[0].out.String(), all[1].out.String())
		}
		time.Sleep(time.Duration(200+random.IntN(1200)) * time.Millisecond)
		if killed < kills {
			victim := all[random.IntN(len(all))]
			if victim.kill() {
				killed++
			}
			victim.start(t)
			if killed == kills/2 {
				if err := errors.Join(server.Stop(), server.Start(t.Context())); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		for _, p := range all {
			select {
			case <-p.end:
				p.start(t) // it ended with the server, or was refused
			default:
			}
		}
	}
	got := outcomeOf(t, dir)
	if got.Status != "finished" || got.Counts["done"] != hosts {
		t.Errorf("killed %d times it ends %+v", killed, got)
	}
	if killed < kills/2 {
		t.Errorf("only %d were killed", killed)
	}
	succeeds(t, dir, "verify", "spring")
	succeeds(t, dir, "journal", "verify")
	auditSteps(t, dir, func(e rollout.Event) {
		name, _, _ := strings.Cut(string(e.Host), ".")
		zone, ok := zoneOf[strings.TrimRight(name, "0123456789")]
		if !ok {
			zone = "c"
		}
		if want := fmt.Sprintf("worker for %s", zone); !strings.HasSuffix(e.Actor, want) {
			t.Errorf("event %d of %s was written by %q, want a %s", e.Seq, e.Host, e.Actor, want)
		}
	})
	t.Logf("%d hosts, killed %d times", hosts, killed)
}

// over asks without starting a process more often than needed; while the server restarts, nobody knows.
func over(t *testing.T, dir string) bool {
	t.Helper()
	out, err := program(dir, "status", "spring", "-o", "json").Output()
	if err != nil {
		return false
	}
	var v rollout.View
	return json.Unmarshal(out, &v) == nil && v.Status == "finished"
}

// once are the writing steps that nobody repeats once they are known to be done, unless the host was put back.
var once = []rollout.StepKind{rollout.StepSaveImage, rollout.StepEnroll, rollout.StepListen, rollout.StepAllow, rollout.StepRemoveHTTP}

// auditSteps reads the exported journal: no step was acted twice unless its end was unknown, and HTTP was removed only
// after the host's own undo was armed, HTTPS proved and the before-image kept: known by the step's end, or, where a
// controller was killed before it wrote that end, by the inspection that found the image on the host.
func auditSteps(t *testing.T, dir string, each func(rollout.Event)) {
	t.Helper()
	out, err := program(dir, "journal", "export", "spring").Output()
	if err != nil {
		t.Fatal(err)
	}
	done := map[rollout.HostID]map[rollout.StepKind]bool{}
	imaged := map[rollout.HostID]bool{}
	steps := 0
	for line := range strings.Lines(string(out)) {
		var l struct{ Event rollout.Event }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		e := l.Event
		if e.Kind != rollout.EvStepOpen && e.Kind != rollout.EvStepDone {
			continue
		}
		if each != nil {
			each(e)
		}
		if done[e.Host] == nil {
			done[e.Host] = map[rollout.StepKind]bool{}
		}
		d := done[e.Host]
		if e.Kind == rollout.EvStepDone {
			d[e.Step] = true
			switch e.Step {
			case rollout.StepSaveImage:
				imaged[e.Host] = true
			case rollout.StepInspect:
				var res rollout.Result
				if err := json.Unmarshal(e.Data, &res); err != nil {
					t.Fatal(err)
				}
				imaged[e.Host] = res.Seen != nil && res.Seen.Image.Value != nil
			case rollout.StepRestore:
				clear(d)
			}
			continue
		}
		steps++
		for _, s := range once {
			if e.Step == s && d[s] {
				t.Errorf("event %d: %s of %s is done again", e.Seq, s, e.Host)
			}
		}
		if e.Step == rollout.StepRemoveHTTP && !(d[rollout.StepArm] && d[rollout.StepProve] && imaged[e.Host]) {
			t.Errorf("event %d: HTTP of %s is removed after %v, before-image %t", e.Seq, e.Host, d, imaged[e.Host])
		}
	}
	if steps == 0 {
		t.Error("no step was seen")
	}
}
