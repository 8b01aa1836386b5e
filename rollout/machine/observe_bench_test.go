//go:build !windows

package machine_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
	"wavelock/rollout"
	"wavelock/rollout/machine"
	"wavelock/rollout/machinetest"
)

var (
	observedHosts = flag.Int("observed", 5000, "computers of BenchmarkObserve")
	inFlight      = flag.Int("in-flight", 500, "of them at once")
)

const observeLatency = 20 * time.Millisecond

// BenchmarkObserve inspects 5,000 computers, 500 at once, that take 20 ms for each answer. They are in this process and we
// are in another, so that the memory is ours alone. It cannot be faster than the waiting for answers, nor than the
// CPU time of both sides and of whatever else runs here; times-bound is how near it comes, and idle-cpu-s what locks, a
// serialised accept or a storm of connections leave unused.
//
//	go test ./rollout/machine -run - -bench Observe -benchtime 1x
func BenchmarkObserve(b *testing.B) {
	startFleet(b, *observedHosts)
	for b.Loop() {
		before, busyBefore, began := processorTime(), busyTime(), time.Now()
		c := exec.Command(os.Args[0], "-test.run=^TestObserver$", "-test.v")
		c.Env = append(os.Environ(), "WAVELOCK_OBSERVE="+strconv.Itoa(*observedHosts), "WAVELOCK_IN_FLIGHT="+strconv.Itoa(*inFlight))
		out, err := c.CombinedOutput()
		if err != nil {
			b.Fatalf("%v %s", err, out)
		}
		var o observed
		_, text, _ := strings.Cut(string(out), "observed: ")
		text, _, _ = strings.Cut(text, "\n")
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			b.Fatalf("%v %s", err, out)
		}
		client := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
		server := processorTime() - before
		busy := busyTime() - busyBefore
		others, idle := max(0, busy-client-server), max(0, time.Since(began)*time.Duration(runtime.NumCPU())-busy)
		waiting := time.Duration(o.Requests) * observeLatency / time.Duration(*inFlight)
		bound := max(waiting, (client+server+others)/time.Duration(runtime.NumCPU()))
		rss := float64(c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
		n := float64(*observedHosts)
		b.ReportMetric(o.Took.Seconds(), "s")
		b.ReportMetric(o.Took.Seconds()/bound.Seconds(), "times-bound")
		b.ReportMetric(waiting.Seconds(), "waiting-s")
		b.ReportMetric(others.Seconds(), "others-cpu-s")
		b.ReportMetric(idle.Seconds(), "idle-cpu-s")
		b.ReportMetric(float64(client.Microseconds())/1000/n, "cpu-ms/host")
		b.ReportMetric(float64(server.Microseconds())/1000/n, "their-cpu-ms/host")
		b.ReportMetric(float64(o.Requests)/n, "requests/host")
		b.ReportMetric(rss, "MB")
		if rss > 400 {
			b.Errorf("%.0f MB, the budget is 400", rss)
		}
		if ratio := o.Took.Seconds() / bound.Seconds(); ratio > 1.5 {
			b.Errorf("%.2f times what waiting or the processors allow, the budget is 1.5", ratio)
		}
	}
}

// observed is what the other process found.
type observed struct {
	Took     time.Duration
	Requests int64
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// busyTime is what all processes of this computer have used, where the system tells.
func busyTime() (busy time.Duration) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	for i, f := range strings.Fields(first) { // cpu user nice system idle iowait irq softirq, in hundredths of a second
		if n, err := strconv.ParseInt(f, 10, 64); err == nil && i != 4 && i != 5 && i < 8 {
			busy += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return busy
}

// fleetAddress is of the computer with that number; other tests use other parts of the loopback.
func fleetAddress(i int) string { return fmt.Sprintf("127.%d.%d.%d", 200+i>>16, i>>8&255, i&255) }

func fleetName(i int) string { return fmt.Sprintf("h%05d.corp.example", i) }

func startFleet(b *testing.B, n int) {
	b.Helper()
	dir := logontest.NewDirectory("CORP", "corp.example")
	dir.Add("admin", "Passw0rd.1")
	for i := range n {
		h := machinetest.New(machinetest.Config{FQDN: fleetName(i), Address: fleetAddress(i), Directory: dir, Admins: []string{"admin"}, Latency: observeLatency})
		if err := h.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(h.Close)
	}
}

// TestObserver is the other process of BenchmarkObserve.
func TestObserver(t *testing.T) {
	if os.Getenv("WAVELOCK_OBSERVE") == "" {
		t.Skip("it is a part of BenchmarkObserve")
	}
	n, err1 := strconv.Atoi(os.Getenv("WAVELOCK_OBSERVE"))
	limit, err2 := strconv.Atoi(os.Getenv("WAVELOCK_IN_FLIGHT"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	login := logon.NTLM("CORP", "admin", "Passw0rd.1")
	addresses := map[string]netip.Addr{}
	for i := range n {
		addresses[fleetName(i)] = netip.MustParseAddr(fleetAddress(i))
	}
	fleet, err := machine.New(machine.Config{Login: func(rollout.Host) logon.Login { return login }, Roots: x509.NewCertPool(), HTTPPort: 5985, HTTPSPort: 5986, Timeout: time.Minute, Now: time.Now,
		Resolve: func(_ context.Context, name string) ([]netip.Addr, error) {
			return []netip.Addr{addresses[name]}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	started := time.Now()
	var g errgroup.Group
	g.SetLimit(limit)
	for i := range n {
		g.Go(func() error {
			m, err := fleet.Open(context.Background(), rollout.Host{ID: rollout.HostID(fleetName(i)), Domain: "corp.example"})
			if err != nil {
				return err
			}
			defer m.Close()
			res, err := m.Do(context.Background(), rollout.Step{Kind: rollout.StepInspect})
			if err != nil {
				return err
			}
			if !res.Seen.Firewall.Known || res.Seen.Firewall.Value.Total < 400 || len(res.Seen.Certificates.Value) < 5 {
				return fmt.Errorf("%s was not seen whole: %d rules, %d certificates", fleetName(i), res.Seen.Firewall.Value.Total, len(res.Seen.Certificates.Value))
			}
			requests.Add(int64(m.Requests()))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(observed{time.Since(started), requests.Load()})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("observed: %s\n", text)
}
