package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
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
