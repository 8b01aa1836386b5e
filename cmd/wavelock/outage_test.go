package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// transcript is what processes say, to be looked at while they run.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// eventually polls for something that has to come, and gives up long after it should have.
func eventually(t *testing.T, what string, tell func() string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: it does not come to that\n%s", what, tell())
		}
	}
}

// TestDatabaseServerIsGoneForAWhile stops PostgreSQL in the middle of a campaign, until both the coordinator and the
// worker have met that more than once. WAVELOCK_OUTAGE=70s makes it longer. No process is started anew: when the server
// is back they go on by themselves, and the journal has all that was done.
func TestDatabaseServerIsGoneForAWhile(t *testing.T) {
	t.Parallel()
	const hosts = 12
	server, dir, plan := labOnPostgres(t, hosts, "15ms", "  - {zone: all}\n")
	said := map[string]*transcript{}
	ended := make(chan error, 1)
	for name, args := range map[string][]string{"coordinator": {"run", plan, "--yes", "--zones", "none"}, "worker": {"worker", "--zone", "all"}} {
		c, out := program(dir, args...), &transcript{}
		said[name], c.Stdout, c.Stderr = out, out, out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		over := make(chan struct{})
		go func() {
			err := c.Wait()
			close(over)
			if name == "coordinator" {
				ended <- err
			}
		}()
		t.Cleanup(func() {
			_ = c.Process.Kill()
			<-over
		})
	}
	tell := func() string { return said["coordinator"].String() + "\n" + said["worker"].String() }
	eventually(t, "hosts are worked on", tell, func() bool { return strings.Contains(said["coordinator"].String(), "wave 2 begins") })
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	for name, sentence := range map[string]string{"coordinator": "the journal cannot be reached; nothing is begun until it can", "worker": "begins nothing until it can"} {
		eventually(t, "the "+name+" says so", tell, func() bool { return strings.Contains(said[name].String(), sentence) })
	}
	if out, err := program(dir, "status", "spring").CombinedOutput(); err == nil || !strings.Contains(string(out), "the database server cannot be reached") || !strings.Contains(string(out), "hint: ") {
		t.Errorf("status, meanwhile: %v\n%s", err, out)
	}
	if longer, err := time.ParseDuration(os.Getenv("WAVELOCK_OUTAGE")); err == nil {
		time.Sleep(longer)
	}
	select {
	case err := <-ended:
		t.Fatalf("the coordinator gave up: %v\n%s", err, tell())
	default:
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("the coordinator: %v\n%s", err, tell())
		}
	case <-time.After(5 * time.Minute):
		t.Fatalf("it does not go on\n%s", tell())
	}
	t.Logf("over %v after the server was back", time.Since(back).Round(time.Second/10))
	if got := outcomeOf(t, dir); got.Status != "finished" || got.Counts["done"] != hosts {
		t.Errorf("it ends %+v", got)
	}
	succeeds(t, dir, "verify", "spring")
	succeeds(t, dir, "journal", "verify")
	auditSteps(t, dir, nil)
	for name, out := range said {
		var warnings []string
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, "warning") || strings.Contains(line, "level=") {
				warnings = append(warnings, line)
			}
		}
		if n := len(warnings); n < 2 || n > 5 || !strings.Contains(warnings[0], "the database server") || !strings.Contains(warnings[n-1], "again") {
			t.Errorf("the %s warns of it in %d lines, want one when the server goes and one when it is back, and no flood:\n%s", name, len(warnings), strings.Join(warnings, ""))
		}
	}
	if t.Failed() {
		t.Log(tell())
	}
}
