package ldapdisco_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/logon"
)

// TestListingClient is the other process of BenchmarkListingProcess: it lists a domain and ends.
func TestListingClient(t *testing.T) {
	url := os.Getenv("WAVELOCK_LISTING_URL")
	if url == "" {
		t.Skip("it is run by BenchmarkListingProcess")
	}
	cfg := ldapdisco.Config{URLs: []string{url}, Login: logon.NTLM("CORP", user, password), Dial: toLoopback, Timeout: 30 * time.Second}
	n, err := count(t.Context(), dial(t, cfg), ldapdisco.Query{StaleAfter: 90 * day, Now: now})
	if err != nil || fmt.Sprint(n) != os.Getenv("WAVELOCK_LISTING_WANT") {
		t.Fatalf("%d computers, %v", n, err)
	}
}

// BenchmarkListingProcess lists 100,000 computers in a process of its own, beside the server, and reports the most memory
// that it ever had.
//
//	go test -run XXX -bench ListingProcess -benchtime 1x ./ldapdisco
func BenchmarkListingProcess(b *testing.B) {
	const n = 100_000
	s := emptyDomain(b)
	fleet(b, s, n)
	var rss int64
	var cpu time.Duration
	for b.Loop() {
		c := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestListingClient$", "-test.timeout=5m")
		c.Env = append(os.Environ(), "WAVELOCK_LISTING_URL="+s.URL(), fmt.Sprintf("WAVELOCK_LISTING_WANT=%d", n+1))
		if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
			b.Fatalf("%v\n%s", err, out)
		}
		if u, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
			rss = max(rss, u.Maxrss) // KiB
		}
		cpu += c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	}
	b.ReportMetric(float64(rss)/1024, "MiB-RSS")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/list")
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/list")
}
