package rollout

import (
	"slices"
	"testing"
	"time"

	"wavelock/pki"
)

// A before-image may be older than a certificate lives: the way back to it puts none on a listener that would let nobody in.
func TestTheWayBackBringsBackNoCertificateThatIsSpent(t *testing.T) {
	t.Parallel()
	spend := func(c *computer, old pki.Thumbprint) {
		i := slices.IndexFunc(c.certs, func(x pki.Certificate) bool { return x.Thumbprint == old })
		c.certs[i].NotAfter = c.now.Add(-time.Minute)
	}
	expel := func(c *computer, old pki.Thumbprint) {
		c.certs = slices.DeleteFunc(c.certs, func(x pki.Certificate) bool { return x.Thumbprint == old })
	}
	for name, tc := range map[string]struct {
		http  bool // is there, and in the image
		spoil func(c *computer, old pki.Thumbprint)
		back  bool
	}{
		"HTTPS is the only door, and it has expired":            {false, spend, false},
		"HTTPS is the only door, and it is not in the store":    {false, expel, false},
		"HTTPS is the only door, and the CA took it back":       {false, func(c *computer, old pki.Thumbprint) { c.rotten = old }, false},
		"HTTPS is the only door, and nobody knows that it will": {false, func(*computer, pki.Thumbprint) {}, false},
		"beside HTTP, and it has expired":                       {true, spend, false},
		"beside HTTP, and it is not in the store":               {true, expel, false},
		"beside HTTP, and it is good":                           {true, func(*computer, pki.Thumbprint) {}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := closedComputer(t, DefaultPolicy(), !tc.http)
			neverHTTP(c)
			c.blocked = false
			old := c.thumb
			next := goodCert(c.host.ID, 40, c.now)
			c.certs = append(c.certs, next)
			c.thumb, c.bound = next.Thumbprint, next.Thumbprint // renewed since, by somebody
			tc.spoil(c, old)
			if _, end := walk(t, c, ActRestore); end.Outcome != Restored || !c.usable() || (c.thumb == old) != tc.back || c.http != tc.http || c.image != nil {
				t.Errorf("%s (%s: %s); %+v", end.Outcome, end.Reason, end.Detail, *c)
			}
		})
	}
}

// HTTP that came back since the image was made is a door more: it is not taken away, and keeps nobody from having been put back.
func TestTheWayBackLeavesHTTPWhereItCameBack(t *testing.T) {
	t.Parallel()
	c := closedComputer(t, DefaultPolicy(), true)
	neverHTTP(c)
	c.http = true
	if way, end := walk(t, c, ActRestore); end.Outcome != Restored || !c.http || !c.usable() || c.image != nil {
		t.Errorf("%v, %s (%s: %s); %+v", way, end.Outcome, end.Reason, end.Detail, *c)
	}
}

// Where the listeners were not read, nobody knows whether HTTPS is the only door, and which certificate it has.
func TestTheWayBackWithoutTheListenersLeavesTheOnlyDoorAlone(t *testing.T) {
	t.Parallel()
	c := closedComputer(t, DefaultPolicy(), true)
	neverHTTP(c)
	o := c.observe()
	o.Listeners = Unseen[[]Listener]("access denied")
	run := HostRun{Campaign: "drill", Host: c.host, Action: ActRestore, Policy: c.policy, Image: c.kept, Seen: &o, Dirty: true}
	if got := Next(run, c.now); got.Kind != StepFinish || got.Outcome != Unknown || got.Reason != ReasonNotReadable {
		t.Errorf("next is %+v", got)
	}
}

// Somebody took his own rule away since ours lets HTTPS in: ours is not taken away over the only door.
func TestTheWayBackKeepsTheRuleOfTheOnlyDoor(t *testing.T) {
	t.Parallel()
	for _, http := range []bool{false, true} {
		c := closedComputer(t, DefaultPolicy(), !http)
		neverHTTP(c)
		if _, end := walk(t, c, ActRestore); end.Outcome != Restored || c.rule == http || !http && !c.usable() || c.image != nil {
			t.Errorf("HTTP %v: %s (%s: %s); %+v", http, end.Outcome, end.Reason, end.Detail, *c)
		}
	}
}
