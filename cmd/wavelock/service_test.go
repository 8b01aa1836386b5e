package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kardianos/service"
)

func TestUnitIsTakenBySystemd(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil && os.Getenv("WAVELOCK_REQUIRE_PEERS") == "" {
		t.Skip("there is no systemd-analyze")
	} else if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), `50 % of it`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "wavelock.yaml")
	if err := os.WriteFile(config, []byte("database: db/wavelock.db\n"+someConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	code, unit, errs := wavelock(t, "service", "install", "--print", "--user", "daemon", "--config", config)
	if code != exitOK || !strings.Contains(unit, "\nReadWritePaths=\""+strings.ReplaceAll(dir, "%", "%%")+"/db\"\n") {
		t.Fatalf("exit %d, %s\n%s", code, errs, unit)
	}
	file := filepath.Join(t.TempDir(), "wavelock.service")
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || bytes.Contains(said, []byte("wavelock.service")) {
		t.Errorf("verify: %v\n%s", err, said)
	}
	// 2.5 of 10: what is left is the network, which is its work, and what its hooks may need.
	if said, err := exec.Command(analyze, "security", "--offline=true", "--threshold=25", file).CombinedOutput(); err != nil {
		t.Errorf("it is left more than it needs: %v\n%s", err, said)
	}
}

const someConfig = "directory: {urls: [ldaps://dc1.corp.example], credential: d}\ncredentials:\n  d: {kind: ntlm, user: CORP\\a}\n"

func TestServeTellsSystemdThatItIsReady(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no systemd")
	}
	dir, err := os.MkdirTemp("", "wl") // t.TempDir may be longer than the address of a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", c.LocalAddr().String())
	cfg := defaultConfig()
	cfg.Database, cfg.Listen = filepath.Join(dir, "wavelock.db"), "127.0.0.1:0"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- newApp(strings.NewReader(""), io.Discard, io.Discard).serve(ctx, cfg) }()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, _, err := c.ReadFrom(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q, %v", b[:n], err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHintsOfTheService(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		system string
		user   int
		verb   string
		want   string
	}{
		{"windows", -1, "start", "elevated"},
		{"linux", 1000, "install", "root"},
		{"linux", 0, "install", "uninstall"},
		{"linux", 0, "start", "journalctl -u wavelock"},
		{"linux", 0, "stop", "status"},
	} {
		if hint := serviceHint(tc.system, tc.user, tc.verb); !strings.Contains(hint, tc.want) {
			t.Errorf("%+v: %s", tc, hint)
		}
	}
}

// TestWindowsServiceThatCannotServeEnds: the process ends, so that the manager starts it again; its account may not be
// one that can ask for a stop.
func TestWindowsServiceThatCannotServeEnds(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	died := make(chan int, 1)
	p := &daemon{serve: func(context.Context) error { return failWith(exitUsage, "mend it", "no") }, die: func(code int) { died <- code }, log: &log}
	if err := p.Start(nil); err != nil {
		t.Fatal(err)
	}
	if code := <-died; code != exitUsage {
		t.Errorf("it ended with %d", code)
	}
	if err := p.Stop(nil); err != nil || !strings.Contains(log.String(), "wavelock: error: no\nwavelock: hint: mend it\n") {
		t.Errorf("%v, %q", err, log.String())
	}

	p = &daemon{serve: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, die: func(code int) { t.Errorf("a stop that was asked for ended with %d", code) }}
	if err := p.Start(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(nil); err != nil {
		t.Error(err)
	}
}

// entries are what an event log was given, with the kind before each.
type entries struct {
	service.Logger
	all  []string
	full bool
}

func (e *entries) take(kind string, v []any) error {
	if e.full {
		return errors.New("full")
	}
	e.all = append(e.all, kind+" "+v[0].(string))
	return nil
}

func (e *entries) Error(v ...any) error   { return e.take("E", v) }
func (e *entries) Warning(v ...any) error { return e.take("W", v) }
func (e *entries) Info(v ...any) error    { return e.take("I", v) }

func TestEventLogHasTheKinds(t *testing.T) {
	t.Parallel()
	e := &entries{}
	for _, line := range []string{"wavelock: error: no\n", "time=x level=ERROR msg=a\n", "wavelock: warning: b\n", "time=x level=WARN msg=c", "the dashboard is on x\n"} {
		if n, err := io.WriteString(eventLog{e}, line); err != nil || n != len(line) {
			t.Errorf("%q: %d, %v", line, n, err)
		}
	}
	if got, want := strings.Join(e.all, "|"), "E wavelock: error: no|E time=x level=ERROR msg=a|W wavelock: warning: b|W time=x level=WARN msg=c|I the dashboard is on x"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	e.full = true
	if _, err := io.WriteString(eventLog{e}, "x"); err == nil {
		t.Error("a log that is full is not told")
	}
}
