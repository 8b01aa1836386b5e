//go:build !windows

package machinetest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
	"wavelock/rollout/wsman"
)

var (
	simulated = flag.Int("simulated", 10000, "computers of BenchmarkSims10000")
	simsMB    = flag.Float64("simulated-mb", 4096, "most memory that they may take")
)

// BenchmarkSims10000 boots 10,000 full-size computers in this process, logs on to each with NTLM and reads its listeners, and
// tells what memory they take: of the process with its clients at its height, and of the heap for one computer.
//
//	go test ./rollout/machinetest -run - -bench Sims10000 -benchtime 1x
func BenchmarkSims10000(b *testing.B) {
	dir := logontest.NewDirectory("CORP", "corp.example")
	dir.Add("admin", testPassword)
	login := logon.NTLM("CORP", "admin", testPassword)
	for b.Loop() {
		empty := heap()
		started := time.Now()
		hosts := make([]*Host, *simulated)
		for i := range hosts {
			h := New(Config{FQDN: fmt.Sprintf("h%05d.corp.example", i), Address: fmt.Sprintf("127.%d.%d.%d", 210+i>>16, i>>8&255, i&255), Directory: dir, Admins: []string{"admin"}})
			if err := h.Start(); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(h.Close)
			hosts[i] = h
		}
		b.ReportMetric(time.Since(started).Seconds(), "boot-s")
		b.ReportMetric(float64(heap()-empty)/1024/float64(len(hosts)), "KB/host-idle")
		started = time.Now()
		var g errgroup.Group
		g.SetLimit(200)
		for _, h := range hosts {
			g.Go(func() error { return visitSim(b, h, login) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(started).Seconds(), "visit-s")
		b.ReportMetric(float64(heap()-empty)/1024/float64(len(hosts)), "KB/host")
		mb := residentMB(b)
		b.ReportMetric(mb, "MB-RSS")
		if mb > *simsMB {
			b.Errorf("%.0f MB, the budget is %.0f", mb, *simsMB)
		}
		for _, h := range hosts {
			if h.Requests() == 0 || !h.HTTPOpen() {
				b.Fatalf("%s was asked %d times, open %v", h.FQDN(), h.Requests(), h.HTTPOpen())
			}
		}
		runtime.KeepAlive(hosts)
	}
}

func visitSim(b *testing.B, h *Host, login logon.Login) error {
	s, err := wsman.Open(b.Context(), wsman.Target{Host: h.FQDN(), Address: h.Address(5985), Login: login, Timeout: time.Minute})
	if err != nil {
		return err
	}
	defer s.Close()
	listeners := 0
	for l, err := range s.Enumerate(b.Context(), wsman.Config("listener"), wsman.Query{}) {
		if err != nil {
			return err
		}
		listeners++
		if l.Value("Transport") != "HTTP" {
			return fmt.Errorf("%s has a listener for %q", h.FQDN(), l.Value("Transport"))
		}
	}
	if listeners != 1 {
		return fmt.Errorf("%s has %d listeners", h.FQDN(), listeners)
	}
	return nil
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// residentMB is the most memory that this process ever had.
func residentMB(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	n, err := strconv.ParseFloat(strings.Fields(after + " 0")[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n / 1024
}
