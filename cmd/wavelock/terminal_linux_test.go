package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// screen is a terminal of our own: what the program writes is kept, what is typed reaches it.
type screen struct {
	master, slave *os.File

	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{master: master, slave: slave, more: make(chan struct{}, 1)}
	t.Cleanup(func() {
		master.Close()
		slave.Close()
	})
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			s.mu.Lock()
			s.text.Write(b[:n])
			s.mu.Unlock()
			select {
			case s.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// await waits until the program has written that.
func (s *screen) await(t *testing.T, want string) {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		s.mu.Lock()
		text := s.text.String()
		s.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		select {
		case <-s.more:
		case <-limit:
			t.Fatalf("it never says %q:\n%s", want, text)
		}
	}
}

// cooked reports whether lines are edited and shown, as a shell leaves a terminal.
func (s *screen) cooked(t *testing.T) bool {
	t.Helper()
	now, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return now.Lflag&unix.ICANON != 0 && now.Lflag&unix.ECHO != 0
}

// run starts the program on the screen. As the owner of the terminal it hears of keys and of its end, but then the kernel
// puts the terminal's settings back by itself.
func (s *screen) run(t *testing.T, dir string, owner bool, args ...string) *exec.Cmd {
	t.Helper()
	c := program(dir, args...)
	c.Env = append(c.Env, "TERM=xterm")
	c.Stdin, c.Stdout, c.Stderr = s.slave, s.slave, s.slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: owner, Setctty: owner}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill() })
	return c
}

// codeOf waits for the program's end, which has to come by itself.
func codeOf(t *testing.T, c *exec.Cmd) int {
	t.Helper()
	limit := time.AfterFunc(3*time.Minute, func() { c.Process.Kill() })
	defer limit.Stop()
	var ended *exec.ExitError
	if c.ProcessState == nil {
		if err := c.Wait(); err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
	}
	return c.ProcessState.ExitCode()
}

// TestTerminalIsGivenBack ends a run in each way that a person can, and looks at the terminal and the campaign afterwards.
func TestTerminalIsGivenBack(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) { // under nohup a run goes on, as it should: what is handled here is not ignored there
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	dir := t.TempDir()
	domain := startLab(t, dir, 8, "--latency", "60ms")
	config, plan := filepath.Join(dir, "wavelock.yaml"), filepath.Join(dir, "spring.json")
	for _, args := range [][]string{{"assess"}, {"plan", "--out", plan}} {
		if code, _, errs := wavelock(t, append(args, "--config", config, "--quiet")...); code != exitOK {
			t.Fatalf("%v: exit %d: %s", args, code, errs)
		}
	}
	for _, c := range []struct {
		name string
		end  func(*testing.T, *screen, *exec.Cmd)
		says string
	}{
		{"SIGINT", func(_ *testing.T, _ *screen, p *exec.Cmd) { p.Process.Signal(os.Interrupt) }, "wavelock: interrupted: stopped"},
		{"SIGINT twice", func(t *testing.T, s *screen, p *exec.Cmd) {
			domain.Signal(syscall.SIGSTOP) // nothing in flight ends
			defer domain.Signal(syscall.SIGCONT)
			s.await(t, "1 in flight")
			p.Process.Signal(os.Interrupt)
			s.await(t, "stopping after the steps of")
			p.Process.Signal(os.Interrupt)
			p.Wait()
		}, "wavelock: interrupted again"},
		{"SIGTERM", func(_ *testing.T, _ *screen, c *exec.Cmd) { c.Process.Signal(syscall.SIGTERM) }, "wavelock: interrupted: stopped"},
		{"SIGHUP", func(_ *testing.T, _ *screen, c *exec.Cmd) { c.Process.Signal(syscall.SIGHUP) }, "wavelock: interrupted: stopped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScreen(t)
			p := s.run(t, dir, false, "run", plan, "--yes")
			s.await(t, "p pauses")
			if s.cooked(t) {
				t.Error("keys are not read as they are pressed")
			}
			c.end(t, s, p)
			if code := codeOf(t, p); code != exitInterrupted {
				t.Errorf("exit %d", code)
			}
			s.await(t, c.says)
			if !s.cooked(t) {
				t.Error("the terminal was not given back")
			}
		})
	}
	t.Run("Ctrl-C", func(t *testing.T) {
		s := newScreen(t)
		p := s.run(t, dir, true, "run", plan, "--yes")
		s.await(t, "p pauses")
		s.master.Write([]byte{3})
		s.await(t, "wavelock: interrupted: stopped")
		if code := codeOf(t, p); code != exitInterrupted {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("the terminal closes", func(t *testing.T) {
		s := newScreen(t)
		p := s.run(t, dir, true, "run", plan, "--yes")
		s.await(t, "p pauses")
		s.slave.Close()
		s.master.Close()
		if code := codeOf(t, p); code != exitInterrupted {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("who read the output is gone", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p := program(dir, "run", plan, "--yes")
		p.Stdout, p.Stderr = w, w
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		r.Close()
		if code := codeOf(t, p); code != exitOK {
			t.Errorf("exit %d, though the campaign can be finished without an audience", code)
		}
	})
	if code, out, errs := wavelock(t, "status", "spring", "--config", config); code != exitOK || !strings.HasPrefix(out, "spring is finished") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// TestQuestionsCanBeLeft interrupts the program while it waits for a person.
func TestQuestionsCanBeLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := "directory: {urls: [\"ldaps://127.0.0.1:1\"], credential: d}\ncredentials:\n  d: {kind: ntlm, user: CORP\\a}\n"
	if err := os.WriteFile(filepath.Join(dir, "wavelock.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		asks   string
		secret bool
	}{
		{[]string{"init", "--config", filepath.Join(dir, "new.yaml"), "--domain", "corp.example"}, "account, as", false},
		{[]string{"discover"}, "password of", true},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			s := newScreen(t)
			p := s.run(t, dir, false, c.args...)
			s.await(t, c.asks)
			for c.secret && s.cooked(t) { // the question is there before the echo is off
				time.Sleep(10 * time.Millisecond)
			}
			p.Process.Signal(os.Interrupt)
			if code := codeOf(t, p); code != exitInterrupted {
				t.Errorf("exit %d", code)
			}
			s.await(t, "wavelock: interrupted")
			if !s.cooked(t) {
				t.Error("what is typed is not shown any more")
			}
			if exists(filepath.Join(dir, "new.yaml")) {
				t.Error("a configuration was written")
			}
		})
	}
}
