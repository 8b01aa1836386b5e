package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/pki"
	"wavelock/rollout/lab"
)

// labClock is the real clock, ahead by as much as a test has let pass.
type labClock struct{ ahead atomic.Int64 }

func (c *labClock) now() time.Time           { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *labClock) pass(d time.Duration)     { c.ahead.Add(int64(d)) }
func (c *labClock) since() (d time.Duration) { return time.Duration(c.ahead.Load()) }

// prober asks every host of a lab for its certificate again and again, by the lab's clock.
type prober struct {
	lab    *lab.Lab
	clock  *labClock
	roots  *x509.CertPool
	hosts  []string
	probes atomic.Int64

	mu     sync.Mutex
	failed []string
	seen   map[string]map[pki.Thumbprint]bool
}

func (p *prober) probe(host string) {
	p.probes.Add(1)
	err := func() error {
		c, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: &tls.Config{InsecureSkipVerify: true}}).Dial("tcp", p.lab.Address(host, 5986))
		if err != nil {
			return err
		}
		defer c.Close()
		chain, err := pki.VerifyPresented(c.(*tls.Conn).ConnectionState().PeerCertificates, p.roots, host, p.clock.now())
		if err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.seen[host] == nil {
			p.seen[host] = map[pki.Thumbprint]bool{}
		}
		p.seen[host][pki.ThumbprintOf(chain[0].Raw)] = true
		return nil
	}()
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.failed = append(p.failed, fmt.Sprintf("%s at +%v: %v", host, p.clock.since(), err))
	}
}

// run probes until ctx ends.
func (p *prober) run(ctx context.Context) {
	for ctx.Err() == nil {
		for _, h := range p.hosts {
			p.probe(h)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// typed runs a command at the lab's time.
func (c *labClock) typed(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	var out strings.Builder
	a := newApp(strings.NewReader(""), &out, &out)
	a.now = c.now
	root := newRoot(a)
	root.SetArgs(append(args, "--config", filepath.Join(dir, "wavelock.yaml")))
	root.SetIn(a.in)
	root.SetOut(&out)
	root.SetErr(&out)
	if err := root.ExecuteContext(t.Context()); err != nil {
		tell(&out, err)
		return out.String(), exitCode(err)
	}
	return out.String(), 0
}

// Certificates of four hours, renewed by what the standing mode calls, over three of their lives: nobody who knocks at any
// time is turned away, and at no time does HTTP come back.
func TestFourHourCertificatesOverThreeLives(t *testing.T) {
	for route, template := range map[string]string{"self": "WinRMHTTPS", "relay": "WinRMRelay"} {
		t.Run(route, func(t *testing.T) {
			t.Parallel()
			clock := &labClock{}
			l, err := lab.Start(t.Context(), lab.Config{Hosts: 3, Seed: 1, Validity: 4 * time.Hour, Clock: clock.now})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Close)
			dir := t.TempDir()
			if err := l.WriteFiles(dir); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "wavelock.yaml")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text = []byte(strings.Replace(string(text), "template: WinRMHTTPS", "template: "+template+"\n  route: "+route+"\n  min_left: 30m", 1))
			text = []byte(strings.Replace(string(text), "undo_after: 8s", "undo_after: 60s", 1))
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"assess"}, {"plan", "--out", filepath.Join(dir, "first.json")}, {"run", filepath.Join(dir, "first.json"), "--yes"}} {
				if out, code := clock.typed(t, dir, args...); code != 0 {
					t.Fatalf("%v ended with %d\n%s", args, code, out)
				}
			}
			hosts := []string{"web01.corp.example", "app01.corp.example", "sql01.corp.example"}
			p := &prober{lab: l, clock: clock, roots: l.CA().Roots(), hosts: hosts, seen: map[string]map[pki.Thumbprint]bool{}}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var wg sync.WaitGroup
			wg.Go(func() { p.run(ctx) })

			cfg, err := loadConfig(file)
			if err != nil {
				t.Fatal(err)
			}
			renewed := 0
			for clock.since() < 13*time.Hour {
				clock.pass(40 * time.Minute)
				a := newApp(strings.NewReader(""), &strings.Builder{}, &strings.Builder{})
				a.now = clock.now
				records, err := a.observe(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				j, err := a.openJournal(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				n, err := a.reconcile(t.Context(), cfg, j, records)
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				if err != nil {
					t.Fatalf("at +%v: %v", clock.since(), err)
				}
				renewed += n
				for _, h := range hosts {
					if l.Open(h, 5985) {
						t.Fatalf("at +%v HTTP is open on %s", clock.since(), h)
					}
				}
			}
			stop()
			wg.Wait()
			if len(p.failed) > 0 {
				t.Errorf("%d of %d probes failed: %s", len(p.failed), p.probes.Load(), p.failed[0])
			}
			for _, h := range hosts {
				if len(p.seen[h]) < 4 { // the first, and one for each life
					t.Errorf("%s was seen with %d certificates", h, len(p.seen[h]))
				}
			}
			if renewed < 9 {
				t.Errorf("%d renewals", renewed)
			}
			t.Logf("%d renewals over %v, %d probes, none failed", renewed, clock.since(), p.probes.Load())
			if out, code := clock.typed(t, dir, "renew", "--dry-run"); code != 0 || !strings.Contains(out, "0 of 3 hosts need another certificate") {
				t.Errorf("ended with %d\n%s", code, out)
			}
		})
	}
}
