package machine_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"wavelock/pki/adcstest"
	"wavelock/rollout"
	"wavelock/rollout/machine"
	"wavelock/rollout/machinetest"
)

// lineLog keeps the command lines that a computer was given.
type lineLog struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (l *lineLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *lineLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "line" {
			l.mu.Lock()
			l.lines = append(l.lines, a.Value.String())
			l.mu.Unlock()
		}
		return true
	})
	return nil
}

// variable is what differs from one campaign to the next.
var variable = regexp.MustCompile(` /d \S+ /f|remoteip=\S+|echo -----BEGIN.*END CERTIFICATE-----`)

// TestEveryLineIsAGoldenOne takes a computer all the way and back: it is given no line that testdata/golden does not
// show, and that was not executed in Wine.
func TestEveryLineIsAGoldenOne(t *testing.T) {
	t.Parallel()
	log := &lineLog{Handler: slog.DiscardHandler}
	b := setupWith(t, newCA(t), machine.Config{Log: slog.New(log)})
	b.policy.Quiesce, b.policy.PollFor = rollout.Duration(time.Second), rollout.Duration(time.Second)
	b.win.Registry(func(r *machinetest.Registry) {
		r.SetNum(firewallKey+`\DomainProfile\Logging`, "LogDroppedPackets", 1)
		r.SetNum(firewallKey+`\StandardProfile\Logging`, "LogDroppedPackets", 1)
	})
	b.want(rollout.ActSecure, rollout.Passed)
	b.want(rollout.ActQuiesce, rollout.Soaking)
	time.Sleep(time.Until(b.narrowed.Add(time.Second)))
	b.want(rollout.ActQuiesce, rollout.Passed)
	b.want(rollout.ActClose, rollout.Passed)
	b.want(rollout.ActRestore, rollout.Restored)
	b.relay()
	text, err := os.ReadFile(filepath.FromSlash("../../testdata/golden/machine/commands.txt"))
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string]bool{}
	for l := range strings.Lines(string(text)) {
		golden[variable.ReplaceAllString(strings.TrimSuffix(l, "\n"), "*")] = true
	}
	seen := map[string]bool{}
	for _, l := range log.lines {
		l = variable.ReplaceAllString(l, "*")
		seen[l] = true
		if !golden[l] {
			t.Errorf("not among the golden lines: %s", l)
		}
	}
	if len(seen) < 12 {
		t.Errorf("only %d lines were run", len(seen))
	}
}

// relay has the computer make a request and take the answer.
func (b *bench) relay() {
	b.t.Helper()
	m := b.open()
	defer m.Close()
	res, err := m.Do(b.t.Context(), rollout.Step{Kind: rollout.StepRequest, Template: "WinRMHTTPS"})
	if err != nil {
		b.t.Fatal(err)
	}
	if res.Request.Certificate, err = b.ca.Issue(b.t.Context(), adcstest.Request{Account: "WEB01$", FQDN: string(b.host.ID), Template: "WinRMHTTPS", CSR: res.Request.CSR}); err != nil {
		b.t.Fatal(err)
	}
	if _, err := m.Do(b.t.Context(), rollout.Step{Kind: rollout.StepAccept, Request: res.Request}); err != nil {
		b.t.Fatal(err)
	}
}
