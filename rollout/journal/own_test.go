package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
)

// play is what this test binary does as another process.
func play(role, path string) int {
	ctx := context.Background()
	j, err := Open(ctx, Config{Path: path})
	if err == nil {
		switch role {
		case "owner":
			err = playOwner(ctx, j)
		case "crasher":
			err = playCrasher(ctx, j)
		case "speaker":
			err = playSpeaker(ctx, j)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func playOwner(ctx context.Context, j *Journal) error {
	if _, err := j.Own(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	time.Sleep(time.Minute)
	return nil
}

func playSpeaker(ctx context.Context, j *Journal) error {
	for range 50 {
		if _, err := j.Append(ctx, rollout.Event{Campaign: "spring", Kind: rollout.EvPaused, At: noon}); err != nil {
			return err
		}
	}
	return j.Close()
}

// child starts this test binary in a role and waits for its first line.
func child(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), "JOURNAL_TEST_ROLE="+role, "JOURNAL_TEST_PATH="+path)
	c.Stderr = t.Output()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return c
}

func TestSecondOwnerIsRefused(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := openAt(t, path)
	c := child(t, "owner", path)
	_, err := j.Own(t.Context())
	var busy *BusyError
	if !errors.As(err, &busy) || !strings.Contains(busy.Error(), fmt.Sprintf("pid %d", c.Process.Pid)) || busy.Hint() == "" {
		t.Fatalf("got %v, want the holder's pid", err)
	}
	if !j.db.shared() { // else others may work
		if err := j.Work(t.Context(), nil, 1, nil); !errors.As(err, &busy) {
			t.Errorf("work without owning: %v", err)
		}
	}
	// The lock goes with the process, however it ends. A server of PostgreSQL hears of that end a moment later.
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	release, err := j.Own(t.Context())
	for died := time.Now(); errors.As(err, &busy) && time.Since(died) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		release, err = j.Own(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Own(t.Context()); !errors.As(err, &busy) {
		t.Errorf("owned twice: %v", err)
	}
	release()
	release() // harmless
	release, err = j.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// TestTwoProcessesWriteOneChain has another process speak while this one works.
func TestTwoProcessesWriteOneChain(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := openAt(t, path)
	create(t, j, "spring", 1)
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), "JOURNAL_TEST_ROLE=speaker", "JOURNAL_TEST_PATH="+path)
	c.Stderr = t.Output()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		mustAppend(t, j, said("spring", rollout.EvStarted))
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if n := len(eventsOf(t, j, "spring", 0)); n != 151 {
		t.Errorf("%d events, want 151", n)
	}
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Error(err)
	}
}
