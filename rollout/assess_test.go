package rollout

import (
	"slices"
	"strings"
	"testing"

	"wavelock/pki"
)

// healthy is a host with both doors and nothing to find fault with.
func healthy() (Host, Observation) {
	c := freshComputer(nil, DefaultPolicy())
	c.certs = []pki.Certificate{goodCert(subject, 1, epoch)}
	c.https, c.thumb, c.bound, c.rule = true, thumb, thumb, true
	o := c.observe()
	return c.host, o
}

func TestAHealthyHostHasNoFindings(t *testing.T) {
	t.Parallel()
	h, o := healthy()
	if a := Assess(h, o, DefaultPolicy(), epoch); len(a.Findings) != 0 || a.Class != ClassBoth || a.Host != subject {
		t.Errorf("%+v", a)
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	for name, tc := range examinedHosts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, o := healthy()
			p := DefaultPolicy()
			tc.trips(&h, &o, &p)
			a := Assess(h, o, p, epoch)
			i := slices.IndexFunc(a.Findings, func(f Finding) bool { return f.Reason == tc.reason })
			if i < 0 {
				t.Fatalf("nobody says %s: %+v", tc.reason, a.Findings)
			}
			f := a.Findings[i]
			if !slices.Equal(f.Blocks, tc.blocks) || f.Detail == "" || (f.Severity == Blocker) != (len(tc.blocks) > 0) {
				t.Errorf("%+v, want it to block %v", f, tc.blocks)
			}
			if len(a.Findings) != 1 && tc.reason != ReasonNotFullyObserved {
				t.Errorf("one fault, %d findings: %+v", len(a.Findings), a.Findings)
			}
			for _, act := range []ActionKind{ActSecure, ActQuiesce, ActClose, ActRestore, ActObserve} {
				if _, is := a.Blocking(act); is != slices.Contains(tc.blocks, act) {
					t.Errorf("%s is blocked: %v", act, is)
				}
			}
			if tc.misses == nil {
				return
			}
			h, o = healthy()
			p = DefaultPolicy()
			tc.misses(&h, &o, &p)
			if a := Assess(h, o, p, epoch); len(a.Findings) != 0 {
				t.Errorf("the near-miss gives %+v", a.Findings)
			}
		})
	}
}

// Any program may speak TLS on 5986: what counts is that WinRM has a listener for it.
func TestClassOfSomebodyElsesTLS(t *testing.T) {
	t.Parallel()
	_, o := healthy()
	o.HTTPS = Door{State: DoorOpen}
	o.Listeners.Value = slices.DeleteFunc(o.Listeners.Value, isDoor(HTTPS))
	if c := ClassOf(o); c != ClassHTTPOnly {
		t.Errorf("a host without an HTTPS listener is %s", c)
	}
	o.HTTP, o.Listeners.Value = Door{State: DoorRefused}, nil
	if c := ClassOf(o); c != ClassUnknown {
		t.Errorf("a host without any listener is %s", c)
	}
}

func TestEveryCheckIsExamined(t *testing.T) {
	t.Parallel()
	tripped := map[int]bool{}
	for _, tc := range examinedHosts {
		h, o := healthy()
		p := DefaultPolicy()
		tc.trips(&h, &o, &p)
		for i, c := range checks {
			if _, found := c(h, o, p, epoch); found {
				tripped[i] = true
			}
		}
	}
	for i := range checks {
		if !tripped[i] {
			t.Errorf("no host of the table trips check %d", i)
		}
	}
}

func TestWaivers(t *testing.T) {
	t.Parallel()
	waive := func(w Waiver) Policy {
		p := DefaultPolicy()
		p.Waivers = []Waiver{w}
		return p
	}
	client := func(_ *Host, o *Observation) { o.Peers.Value = []Peer{{Address: "192.0.2.9", Port: 5985}} }
	for name, tc := range map[string]struct {
		waiver Waiver
		fault  func(*Host, *Observation)
		passes bool
	}{
		"a waiver for every host lets a finding pass":   {Waiver{Reason: ReasonHTTPClient, By: "ann", Why: "a scanner"}, client, true},
		"a waiver for this host does":                   {Waiver{Reason: ReasonHTTPClient, Host: subject, By: "ann", Why: "a scanner"}, client, true},
		"a waiver for another host does not":            {Waiver{Reason: ReasonHTTPClient, Host: "web2.corp.example", By: "ann", Why: "a scanner"}, client, false},
		"a waiver for another finding does not":         {Waiver{Reason: ReasonClusterNode, By: "ann", Why: "checked"}, client, false},
		"a waiver that has run out does not":            {Waiver{Reason: ReasonHTTPClient, By: "ann", Why: "x", Until: epoch}, client, false},
		"a waiver that runs out later does":             {Waiver{Reason: ReasonHTTPClient, By: "ann", Why: "x", Until: epoch.Add(1)}, client, true},
		"nobody waives whose computer it is":            {Waiver{Reason: ReasonWrongHost, By: "ann", Why: "x"}, func(_ *Host, o *Observation) { o.Identity.Value.FQDN = "x" }, false},
		"nobody waives that a host was not seen":        {Waiver{Reason: ReasonNotObserved, By: "ann", Why: "x"}, func(_ *Host, o *Observation) { o.Via = "" }, false},
		"nobody waives that listeners were not read":    {Waiver{Reason: ReasonNotReadable, By: "ann", Why: "x"}, func(_ *Host, o *Observation) { o.Listeners = Unseen[[]Listener]("denied") }, false},
		"that peers cannot be read is for ann to judge": {Waiver{Reason: ReasonNotFullyObserved, By: "ann", Why: "x"}, func(_ *Host, o *Observation) { o.Peers = Unseen[[]Peer]("2008 R2") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, o := healthy()
			tc.fault(&h, &o)
			a := Assess(h, o, waive(tc.waiver), epoch)
			if _, blocked := a.Blocking(ActClose); blocked == tc.passes {
				t.Errorf("blocked: %v, findings %+v", blocked, a.Findings)
			}
			if ran := strings.HasSuffix(a.Findings[0].Detail, "the waiver of ann (x) ran out 2026-03-02 08:00:00"); ran != (tc.waiver.Until == epoch) {
				t.Errorf("the finding says that the waiver ran out: %v: %+v", ran, a.Findings[0])
			}
			if tc.passes && !strings.HasPrefix(a.Findings[0].Waived, "ann: ") {
				t.Errorf("the finding does not name who waived it: %+v", a.Findings[0])
			}
		})
	}
}

func TestOtherClientsAreNamedOnce(t *testing.T) {
	t.Parallel()
	h, o := healthy()
	o.Peers.Value = []Peer{{Address: "192.0.2.9", Port: 5985}, {Address: "192.0.2.8", Port: 5985}, {Address: "192.0.2.9", Port: 5985}}
	if f, _ := Assess(h, o, DefaultPolicy(), epoch).Blocking(ActClose); !strings.HasSuffix(f.Detail, ": 192.0.2.8, 192.0.2.9") {
		t.Errorf("%q", f.Detail)
	}
}
