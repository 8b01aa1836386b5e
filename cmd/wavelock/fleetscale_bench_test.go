//go:build !windows

package main

import (
	"bytes"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var largeFleet = flag.Int("large-fleet", 10_000, "computers of the larger fleet of BenchmarkFleetScale")

// BenchmarkFleetScale takes 1,000 computers, and then -large-fleet of them, from first contact to HTTPS only with 500 in
// flight, and compares what one computer costs the controller. The lab is another process, whose CPU time is not counted.
//
//	go test ./cmd/wavelock -run - -bench FleetScale -benchtime 1x -timeout 2h -large-fleet 10000
func BenchmarkFleetScale(b *testing.B) {
	for b.Loop() {
		small := wholeFleet(b, 1000)
		large := wholeFleet(b, *largeFleet)
		b.ReportMetric(large.cpu/small.cpu, "cpu-ratio")
		for name, c := range map[string]fleetCost{"1000": small, fmt.Sprint(*largeFleet): large} {
			b.ReportMetric(c.cpu*1000, name+"-run-cpu-ms/host")
			b.ReportMetric(c.took.Seconds(), name+"-run-s")
			b.ReportMetric(c.memory, name+"-run-MB")
		}
	}
}

// fleetCost is what a campaign cost its controller.
type fleetCost struct {
	cpu    float64 // seconds a host
	took   time.Duration
	memory float64 // MB resident, at most
}

func wholeFleet(b *testing.B, hosts int) fleetCost {
	b.Helper()
	dir := b.TempDir()
	stop := upLab(b, dir, hosts)
	defer stop()
	rewrite(b, filepath.Join(dir, "wavelock.yaml"), func(config string) string {
		return strings.NewReplacer("in_flight: 200", "in_flight: 500", "parallel: 200", "parallel: 500").Replace(fleetWaves(config))
	})
	plan := filepath.Join(dir, "fleet.json")
	spend(b, hosts, program(dir, "assess", "--quiet"))
	spend(b, hosts, program(dir, "plan", "--quiet", "--out", plan))
	cost := spend(b, hosts, program(dir, "run", plan, "--yes", "--quiet"))
	out, err := program(dir, "status", "fleet").Output()
	if err != nil || !bytes.HasPrefix(out, []byte("fleet is finished\n")) {
		b.Fatalf("%v\n%s", err, out)
	}
	return cost
}

// upLab is startLab for a lab that ends before the benchmark does.
func upLab(b *testing.B, dir string, hosts int) (stop func()) {
	b.Helper()
	ended := false
	startLab(stopper{b, &stop}, dir, hosts)
	end := stop
	stop = func() {
		if !ended {
			ended = true
			end()
		}
	}
	b.Cleanup(stop)
	return stop
}

// stopper takes a clean-up out of the hands of a benchmark.
type stopper struct {
	testing.TB
	stop *func()
}

func (s stopper) Cleanup(f func()) { *s.stop = f }

// spend runs a command to its end.
func spend(b *testing.B, hosts int, c *exec.Cmd) fleetCost {
	b.Helper()
	var errs bytes.Buffer
	c.Stderr = &errs
	started := time.Now()
	if err := c.Run(); err != nil {
		b.Fatalf("%v: %v\n%s", c.Args, err, errs.String())
	}
	state := c.ProcessState
	cost := fleetCost{cpu: (state.UserTime() + state.SystemTime()).Seconds() / float64(hosts), took: time.Since(started)}
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		cost.memory = float64(usage.Maxrss) / 1024
	}
	return cost
}
