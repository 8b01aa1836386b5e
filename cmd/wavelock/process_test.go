package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"wavelock/rollout/journal/postgrestest"
)

// program is this test binary as wavelock, in a process of its own.
func program(dir string, args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], append([]string{"--config", filepath.Join(dir, "wavelock.yaml")}, args...)...)
	c.Env = append(os.Environ(), "WAVELOCK_TEST_MAIN=1")
	return c
}

// startLab starts a lab in a process of its own, which ends with the test.
func startLab(tb testing.TB, dir string, hosts int, more ...string) *os.Process {
	tb.Helper()
	c := exec.Command(os.Args[0], append([]string{"lab", "up", "--hosts", strconv.Itoa(hosts), "--dir", dir}, more...)...)
	c.Env = append(os.Environ(), "WAVELOCK_TEST_MAIN=1")
	stderr, err := c.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "are up") {
			return c.Process
		}
	}
	tb.Fatalf("the lab did not start: %v", lines.Err())
	return nil
}

func rewrite(tb testing.TB, file string, change func(string) string) {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(change(string(text))), 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// succeeds runs the program on the lab in dir.
func succeeds(tb testing.TB, dir string, args ...string) {
	tb.Helper()
	if out, err := program(dir, args...).CombinedOutput(); err != nil {
		tb.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// labOnPostgres is a lab in a folder, with the journal on a PostgreSQL server of its own and a plan for all hosts. Zones
// are the lines of its configuration. Where there is no PostgreSQL, the test is skipped.
func labOnPostgres(tb testing.TB, hosts int, latency, zones string) (server *postgrestest.Server, dir, plan string) {
	tb.Helper()
	server, err := postgrestest.New(tb.Context())
	if errors.Is(err, postgrestest.ErrMissing) && os.Getenv("WAVELOCK_REQUIRE_PEERS") == "" {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { server.Close() })
	dir = tb.TempDir()
	startLab(tb, dir, hosts, "--latency", latency)
	rewrite(tb, filepath.Join(dir, "wavelock.yaml"), func(text string) string {
		return killWaves(strings.Replace(text, "database: wavelock.db", "database: "+server.Address("postgres"), 1)) + "\nzones:\n" + zones
	})
	plan = filepath.Join(dir, "spring.json")
	succeeds(tb, dir, "assess", "--quiet")
	succeeds(tb, dir, "plan", "--out", plan)
	return server, dir, plan
}
