//go:build !windows

package main

import (
	"bytes"
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var fleetHosts = flag.Int("fleet", 1000, "computers of BenchmarkFleet")

// BenchmarkFleet takes a fleet from first contact to HTTPS only: secure and
// close, NTLM, 200 computers in flight. The lab is another process, so that CPU
// time and resident memory are the controller's own.
//
//	go test ./cmd/wavelock -run - -bench Fleet -benchtime 1x
func BenchmarkFleet(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		startLab(b, dir, *fleetHosts)
		rewrite(b, filepath.Join(dir, "wavelock.yaml"), fleetWaves)
		measure(b, "assess", program(dir, "assess", "--quiet"))
		plan := filepath.Join(dir, "fleet.json")
		measure(b, "plan", program(dir, "plan", "--out", plan))
		took := measure(b, "run", program(dir, "run", plan, "--yes", "--quiet"))
		b.ReportMetric(took.Seconds(), "s/fleet")
	}
}

// fleetWaves lets 200 computers be in flight after a canary.
func fleetWaves(config string) string {
	head, rest, _ := strings.Cut(config, "waves:")
	_, limits, _ := strings.Cut(rest, "limits:")
	head = strings.Replace(head, "undo_after: 8s", "undo_after: 10m", 1)
	return head + "waves:\n  - {name: canary, count: 5, in_flight: 5, limit: 1}\n  - {name: rest, in_flight: 200, limit: 1}\nlimits:" +
		strings.Replace(limits, "parallel: 40", "parallel: 200", 1)
}

// measure runs the command to its end and reports CPU time a host and peak memory.
func measure(b *testing.B, name string, c *exec.Cmd) time.Duration {
	b.Helper()
	var errs bytes.Buffer
	c.Stderr = &errs
	started := time.Now()
	if err := c.Run(); err != nil {
		b.Fatalf("%s: %v\n%s", name, err, errs.String())
	}
	took := time.Since(started)
	state := c.ProcessState
	b.ReportMetric(float64((state.UserTime()+state.SystemTime()).Microseconds())/1000/float64(*fleetHosts), name+"-cpu-ms/host")
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		b.ReportMetric(float64(usage.Maxrss)/1024, name+"-MB")
	}
	return took
}
