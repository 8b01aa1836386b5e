package rollout

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestPolicyValidate(t *testing.T) {
	t.Parallel()
	if err := DefaultPolicy().Validate(); err != nil {
		t.Fatalf("the default is unfit: %v", err)
	}
	for says, change := range map[string]func(*Policy){
		"template:":               func(p *Policy) { p.Template = "" },
		"port: 0":                 func(p *Policy) { p.Port = 0 },
		"http_port: 65536":        func(p *Policy) { p.HTTPPort = 65536 },
		"undo_after:":             func(p *Policy) { p.UndoAfter = Duration(time.Second - 1) },
		"without a fresh proof":   func(p *Policy) { p.ProofFresh = 0 },
		"is not fresh":            func(p *Policy) { p.ProofFresh = Duration(15*time.Minute + 1) },
		"failure_limit: 0":        func(p *Policy) { p.FailureLimit = 0 },
		"retries: -1":             func(p *Policy) { p.Retries = -1 },
		"restore_tries: 0":        func(p *Policy) { p.RestoreTries = 0 },
		"defer_for and poll_for":  func(p *Policy) { p.DeferFor = 0 },
		"defer_for and poll_for:": func(p *Policy) { p.PollFor = -1 },
		"waiver 1":                func(p *Policy) { p.Waivers = []Waiver{{Reason: ReasonHTTPClient, By: "ann"}} },
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			p := DefaultPolicy()
			change(&p)
			if err := p.Validate(); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("it says %v", err)
			}
		})
	}
	if err := (Policy{}).Validate(); strings.Count(err.Error(), "\n") < 6 {
		t.Errorf("not all faults are named at once: %v", err)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "10m": 10 * time.Minute, "24h": 24 * time.Hour, "1h0m0s": time.Hour} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.D() != want {
			t.Errorf("%s is read as %v, %v", text, d, err)
		}
		var back Duration
		if b, err := json.Marshal(d); err != nil || json.Unmarshal(b, &back) != nil || back != d {
			t.Errorf("%s is written as %s and read as %v, %v", text, b, back, err)
		}
	}
	for _, text := range []string{"", "10", "ten minutes", "1d"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "not a duration") {
			t.Errorf("%q is read as %v, %v", text, d, err)
		}
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	if a := GoalClose.Actions(); len(a) != 2 || a[0] != ActSecure || a[1] != ActClose {
		t.Errorf("close means %v", a)
	}
	if a := GoalSecure.Actions(); len(a) != 1 || a[0] != ActSecure {
		t.Errorf("secure means %v", a)
	}
}
