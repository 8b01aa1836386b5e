package machine_test

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/machinetest"
)

const firewallKey = `SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy`

// stranger asks for /wsman on the HTTP port from another address than ours.
func (b *bench) stranger() bool {
	b.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 99, 0, 9)}, Timeout: 5 * time.Second}
	c := http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := c.Post("http://"+b.win.Address(5985)+"/wsman", "application/soap+xml", http.NoBody)
	if err != nil {
		return false
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode == http.StatusUnauthorized
}

// blockRules are the rules of ours that block.
func (b *bench) blockRules() (rules []string) {
	b.win.Registry(func(r *machinetest.Registry) {
		for _, v := range r.Values(firewallKey + `\FirewallRules`) {
			if strings.Contains(v.Text, "Name=wavelock-block-") {
				rules = append(rules, v.Text)
			}
		}
	})
	return rules
}

// logDrops lets the host's firewall log whom it turns away, without which HTTP is not narrowed.
func (b *bench) logDrops() {
	b.win.Registry(func(r *machinetest.Registry) {
		r.SetNum(firewallKey+`\DomainProfile\Logging`, "LogDroppedPackets", 1)
		r.SetNum(firewallKey+`\StandardProfile\Logging`, "LogDroppedPackets", 1)
	})
}

func quiet(t *testing.T, soak time.Duration) *bench {
	t.Helper()
	b := setup(t)
	b.policy.Quiesce, b.policy.PollFor = rollout.Duration(soak), rollout.Duration(time.Second)
	b.logDrops()
	if !b.stranger() {
		t.Fatal("nobody else gets in even before HTTP is narrowed")
	}
	b.want(rollout.ActSecure, rollout.Passed)
	for b.connected() > 0 { // the host forgets the stranger when it sees the connection's end
		time.Sleep(5 * time.Millisecond)
	}
	return b
}

// connected counts the others that the host lists on the HTTP port.
func (b *bench) connected() (n int) {
	b.t.Helper()
	seen := b.observe()
	for _, p := range seen.Peers.Value {
		if p.Port == 5985 && !p.Self {
			n++
		}
	}
	return n
}

func TestBrownOut(t *testing.T) {
	t.Parallel()
	b := quiet(t, time.Second)
	b.want(rollout.ActQuiesce, rollout.Soaking)
	if len(b.blockRules()) != 1 || len(b.win.TaskNames()) > 0 {
		t.Fatalf("block rules %v, tasks %v", b.blockRules(), b.win.TaskNames())
	}
	b.doors(true, true)
	time.Sleep(time.Until(b.narrowed.Add(time.Second))) // the soak is the host's own time
	b.want(rollout.ActQuiesce, rollout.Passed)
	b.want(rollout.ActClose, rollout.Passed)
	b.doors(false, true)
	if rules := b.blockRules(); len(rules) > 0 {
		t.Errorf("HTTP is gone and %v is left", rules)
	}
}

func TestBrownOutFindsTheClientThatWasTurnedAway(t *testing.T) {
	t.Parallel()
	b := quiet(t, time.Second)
	b.want(rollout.ActQuiesce, rollout.Soaking)
	time.Sleep(time.Until(b.narrowed.Truncate(time.Second).Add(1100 * time.Millisecond))) // the log counts in seconds
	if b.stranger() {
		t.Fatal("HTTP was narrowed and somebody else got in")
	}
	end, _, _ := b.do(rollout.ActQuiesce)
	if end.Outcome != rollout.Failed || end.Reason != rollout.ReasonTurnedAway || !strings.Contains(end.Detail, "127.99.0.9") {
		t.Fatalf("ended %s (%s: %s)", end.Outcome, end.Reason, end.Detail)
	}
	b.want(rollout.ActRestore, rollout.Restored)
	if !b.stranger() || len(b.blockRules()) > 0 {
		t.Errorf("after the restore others get in: %v, rules %v", b.stranger(), b.blockRules())
	}
}

// Another worker goes on: the rule leaves out the first one's address, and what the second tries on HTTP is no client.
func TestBrownOutThatAnotherWorkerEnds(t *testing.T) {
	t.Parallel()
	b := quiet(t, 2*time.Second)
	b.want(rollout.ActQuiesce, rollout.Soaking)
	b.win.Registry(func(r *machinetest.Registry) {
		for _, v := range r.Values(firewallKey + `\FirewallRules`) {
			if strings.Contains(v.Text, "Name=wavelock-block-") {
				r.SetText(firewallKey+`\FirewallRules`, v.Name, strings.Split(v.Text, "RA4=")[0]+"RA4=127.0.0.0-127.98.255.255|RA4=127.100.0.0-127.255.255.255|Name=wavelock-block-5985|")
			}
		}
	})
	time.Sleep(time.Until(b.narrowed.Truncate(time.Second).Add(1100 * time.Millisecond))) // the log counts in seconds
	for range 2 {
		b.do(rollout.ActQuiesce)
	}
	time.Sleep(time.Until(b.narrowed.Add(2 * time.Second)))
	b.want(rollout.ActQuiesce, rollout.Passed)
	if !b.stranger() {
		t.Error("the rule does not leave out the other address: nothing was tried")
	}
}

// TestNarrowingIsUndoneByTheHost lets the controller die after each step of the
// brown-out: whoever was turned away gets in again without help.
func TestNarrowingIsUndoneByTheHost(t *testing.T) {
	t.Parallel()
	for _, after := range []rollout.StepKind{rollout.StepArm, rollout.StepNarrow, rollout.StepProveNarrow} {
		for _, boot := range []bool{false, true} {
			t.Run(string(after)+map[bool]string{true: " and restart"}[boot], func(t *testing.T) {
				t.Parallel()
				b := quiet(t, time.Hour)
				b.dieAfter(after, rollout.ActQuiesce, 2*time.Second)
				if b.stranger() && after != rollout.StepArm {
					t.Error("HTTP is not narrowed")
				}
				if boot {
					b.win.Reboot()
				}
				deadline := time.Now().Add(20 * time.Second)
				for !b.stranger() || len(b.blockRules()) > 0 || slices.Contains(b.win.TaskNames(), `\wavelock\undo`) {
					if time.Now().After(deadline) {
						t.Fatalf("others get in: %v; rules %v, tasks %v", b.stranger(), b.blockRules(), b.win.TaskNames())
					}
					time.Sleep(20 * time.Millisecond)
				}
				b.doors(true, true)
			})
		}
	}
}

func TestNarrowingNeedsTheProof(t *testing.T) {
	t.Parallel()
	b := quiet(t, time.Hour)
	m := b.open()
	defer m.Close()
	for _, k := range []rollout.StepKind{rollout.StepInspect, rollout.StepNarrow, rollout.StepDisarm} {
		_, err := m.Do(t.Context(), rollout.Step{Kind: k, Port: 5985, Keep: []string{"127.0.0.1"}})
		if (err == nil) != (k == rollout.StepInspect) {
			t.Errorf("%s over HTTP: %v", k, err)
		}
	}
	if len(b.blockRules()) > 0 {
		t.Error("HTTP was narrowed without a proof of HTTPS")
	}
}
