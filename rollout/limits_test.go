package rollout

import (
	"strings"
	"testing"
	"time"
)

// bounded is a wave of six hosts that may all be in flight, of which some are alike.
func bounded(bounds ...Bound) *stage {
	st := newStage(6)
	st.p.Waves[0].InFlight = 6
	st.p.Policy.AtOnce = bounds
	for i := range st.p.Hosts {
		h := &st.p.Hosts[i].Host
		h.Zone, h.Site, h.Domain = Zone([]string{"dmz", "lan"}[i%2]), []string{"Vienna", "vienna", ""}[i/2], "corp.example"
		if i < 3 {
			h.Groups = []string{"Web Farm"}
		}
		if i == 4 || i == 5 {
			h.Cluster, h.OU = "sql1", "corp.example/Servers/SQL"
		}
	}
	return st.begin().wave(EvWaveOpened, 1)
}

func TestBounds(t *testing.T) {
	t.Parallel()
	all := "secure h0 in 1, secure h1 in 1, secure h2 in 1, secure h3 in 1, secure h4 in 1, secure h5 in 1"
	for name, c := range map[string]struct {
		bounds []Bound
		want   string
	}{
		"none":                          {nil, all},
		"of the campaign":               {[]Bound{{Max: 2}}, "secure h0 in 1, secure h1 in 1"},
		"of each zone":                  {[]Bound{{Each: "zone", Max: 1}}, "secure h0 in 1, secure h1 in 1"},
		"of one zone":                   {[]Bound{{Zone: "dmz", Max: 1}}, "secure h0 in 1, secure h1 in 1, secure h3 in 1, secure h5 in 1"},
		"of each site, unknown is none": {[]Bound{{Each: "site", Max: 3}}, "secure h0 in 1, secure h1 in 1, secure h2 in 1, secure h4 in 1, secure h5 in 1"},
		"of a service":                  {[]Bound{{Group: "web farm", Max: 1}}, "secure h0 in 1, secure h3 in 1, secure h4 in 1, secure h5 in 1"},
		"of each cluster":               {[]Bound{{Each: "cluster", Max: 1}}, "secure h0 in 1, secure h1 in 1, secure h2 in 1, secure h3 in 1, secure h4 in 1"},
		"of an OU and those below it":   {[]Bound{{OU: "corp.example/servers", Max: 1}}, "secure h0 in 1, secure h1 in 1, secure h2 in 1, secure h3 in 1, secure h4 in 1"},
		"of each CA":                    {[]Bound{{Each: "ca", Max: 4}}, "secure h0 in 1, secure h1 in 1, secure h2 in 1, secure h3 in 1"},
		"the narrowest counts":          {[]Bound{{Max: 5}, {Each: "zone", Max: 1}}, "secure h0 in 1, secure h1 in 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := bounded(c.bounds...)
			d := Decide(st.p, st.s, epoch)
			if told(d) != c.want {
				t.Errorf("%q\nwant %q", told(d), c.want)
			}
		})
	}
}

func TestBoundsCountWhatIsInFlight(t *testing.T) {
	t.Parallel()
	st := bounded(Bound{Each: "zone", Max: 1}).start("h0", ActSecure).start("h1", ActSecure)
	d := Decide(st.p, st.s, epoch)
	if told(d) != "" || !strings.Contains(d.Hold, "4 hosts wait until others") {
		t.Fatalf("%q, %q", told(d), d.Hold)
	}
	if d := Decide(st.p, st.end("h1", Passed).s, epoch); told(d) != "close h1 in 1" {
		t.Errorf("after one has passed %q", told(d))
	}
	// The way back waits for nobody, and takes the place of others.
	st.say(Event{Kind: EvStepOpen, Host: "h0", Attempt: 1, Step: StepListen}).end("h0", Failed)
	if d := Decide(st.p, st.s, epoch); told(d) != "restore h0 in 1, close h1 in 1" {
		t.Errorf("after one has failed %q", told(d))
	}
}

func TestDomainControllersAreNotLimitedAsClientsOfACA(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	p.AtOnce = []Bound{{Each: "ca", Max: 1}}
	if b := p.buckets(Host{ID: "dc1", Roles: []Role{RoleDomainController}}); len(b) != 0 {
		t.Errorf("a host that never asks counts towards %v", b)
	}
}

func approved(by, hash string, wave int, at time.Time) Event {
	return Event{Kind: EvApproved, Actor: by, Wave: wave, At: at, Detail: hash, Hash: hash}
}

func TestApprovals(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		second bool
		keeps  time.Duration
		goal   Goal
		said   func(hash string) []Event
		want   string
		hold   string
	}{
		"one person is enough":                     {false, 0, GoalClose, func(string) []Event { return nil }, "wave-opened 1", ""},
		"a removal waits for a second one":         {true, 0, GoalClose, func(string) []Event { return nil }, "", "second person"},
		"who is not the first":                     {true, 0, GoalClose, func(h string) []Event { return []Event{approved("ANN ", h, 1, epoch)} }, "", "somebody else than ann"},
		"but another":                              {true, 0, GoalClose, func(h string) []Event { return []Event{approved("bob", h, 1, epoch)} }, "wave-opened 1", ""},
		"of this plan":                             {true, 0, GoalClose, func(string) []Event { return []Event{approved("bob", "of another", 1, epoch)} }, "", "second person"},
		"and of this wave":                         {true, 0, GoalClose, func(h string) []Event { return []Event{approved("bob", h, 2, epoch)} }, "", "second person"},
		"nothing is removed, nobody else is asked": {true, 0, GoalSecure, func(string) []Event { return nil }, "wave-opened 1", ""},
		"an approval expires":                      {true, day, GoalClose, func(h string) []Event { return []Event{approved("bob", h, 1, epoch.Add(-2*day))} }, "", "that of bob has expired"},
		"and is given again": {true, day, GoalClose, func(h string) []Event {
			return []Event{approved("bob", h, 1, epoch.Add(-2*day)), approved("bob", h, 1, epoch)}
		}, "wave-opened 1", ""},
		"the plan's expires, too": {false, day, GoalClose, func(h string) []Event { return []Event{approved("ann", h, 0, epoch.Add(-2*day))} }, "", "that of ann has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := newStage(1, 1)
			st.p.Goal, st.p.Policy.SecondPerson, st.p.Policy.ApprovalFor = c.goal, c.second, Duration(c.keeps)
			st.s = NewState(st.p)
			st.say(approved("ann", st.p.Hash(), 0, epoch)).say(c.said(st.p.Hash())...)
			if d := Decide(st.p, st.s, epoch); told(d) != c.want || !strings.Contains(d.Hold, c.hold) {
				t.Errorf("%q, %q; want %q, %q", told(d), d.Hold, c.want, c.hold)
			}
		})
	}
}

func TestAnApprovalThatWasUsedDoesNotExpire(t *testing.T) {
	t.Parallel()
	st := newStage(2)
	st.p.Policy.ApprovalFor = Duration(time.Hour)
	st.s = NewState(st.p)
	st.say(approved("ann", st.p.Hash(), 0, epoch)).wave(EvWaveOpened, 1)
	if d := Decide(st.p, st.s, epoch.Add(100*time.Hour)); told(d) != "secure h0 in 1, secure h1 in 1" {
		t.Errorf("%q, %q", told(d), d.Hold)
	}
}

func TestApprovalSaysWhoWhenWhyAndWhatFor(t *testing.T) {
	t.Parallel()
	st := newStage(1)
	e := NewApproval(st.p, 0, "canaries were quiet", "CHG0042")
	e.Actor, e.At = "ann", epoch
	st.say(e)
	want := Approval{By: "ann", At: epoch, Why: "canaries were quiet", Ticket: "CHG0042", Hash: st.p.Hash()}
	if st.s.Approval != want || st.s.Approved != st.p.Hash() {
		t.Errorf("%+v", st.s.Approval)
	}
	e = NewApproval(st.p, 1, "why", "CHG0043")
	e.Actor, e.At = "bob", epoch
	if st.say(e); len(st.s.Waves[0].Approvals) != 1 || st.s.Waves[0].Approvals[0].Ticket != "CHG0043" || st.s.Waves[0].Approved != "bob" {
		t.Errorf("%+v", st.s.Waves[0])
	}
}

func TestRetriesWaitLonger(t *testing.T) {
	t.Parallel()
	run := HostRun{Policy: DefaultPolicy(), Failure: &Failure{Transient: true}}
	run.Policy.RetryWait = Duration(time.Second)
	for tries, want := range map[int]time.Duration{0: 0, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 7: time.Minute, 500: time.Minute} {
		run.Tries = tries
		if got := run.backoff(); got != want {
			t.Errorf("after %d tries %v, want %v", tries, got, want)
		}
	}
	if run.Failure = nil; run.backoff() != 0 {
		t.Error("it waits although nothing has failed")
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule            WaveRule
		n               int
		inFlight, limit int
	}{
		"numbers":                     {WaveRule{InFlight: 7, Limit: 3}, 100, 7, 3},
		"percent":                     {WaveRule{InFlightPercent: 10, LimitPercent: 5}, 100, 10, 5},
		"rounded down":                {WaveRule{InFlightPercent: 10, LimitPercent: 5}, 39, 3, 1},
		"one at least":                {WaveRule{InFlightPercent: 1, LimitPercent: 1}, 3, 1, 1},
		"the smaller one counts":      {WaveRule{InFlight: 5, InFlightPercent: 50, Limit: 9, LimitPercent: 2}, 100, 5, 2},
		"the smaller one, once again": {WaveRule{InFlight: 5, InFlightPercent: 2, Limit: 1, LimitPercent: 20}, 100, 2, 1},
	} {
		if a, b := c.rule.sized(c.n); a != c.inFlight || b != c.limit {
			t.Errorf("%s: %d and %d, want %d and %d", name, a, b, c.inFlight, c.limit)
		}
	}
}

func TestWaveRulesThatCannotBe(t *testing.T) {
	t.Parallel()
	good := WaveRule{InFlight: 1, Limit: 1}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*WaveRule){
		"in_flight or in_flight_percent":    func(r *WaveRule) { r.InFlight = 0 },
		"limit or limit_percent":            func(r *WaveRule) { r.Limit = 0 },
		"not negative":                      func(r *WaveRule) { r.Count = -1 },
		"limit_percent: 101 is not between": func(r *WaveRule) { r.LimitPercent = 101 },
		"in_flight_percent: -1 is not":      func(r *WaveRule) { r.InFlightPercent = -1 },
		"percent: 200 is not between 0 and": func(r *WaveRule) { r.Percent = 200 },
		"count and percent are two answers": func(r *WaveRule) { r.Count, r.Percent = 1, 1 },
	} {
		r := good
		change(&r)
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	p := DefaultPolicy()
	for want, change := range map[string]func(*Policy){
		"failure_percent: 101":   func(p *Policy) { p.FailurePercent = 101 },
		"retry_wait":             func(p *Policy) { p.RetryWait = -1 },
		"approval_for":           func(p *Policy) { p.ApprovalFor = -1 },
		"at_once, entry 1: max":  func(p *Policy) { p.AtOnce = []Bound{{}} },
		"at_once, entry 1: each": func(p *Policy) { p.AtOnce = []Bound{{Each: "floor", Max: 1}} },
		"maintenance.time_zone":  func(p *Policy) { p.Maintenance.TimeZone = "x" },
	} {
		q := p
		change(&q)
		if err := q.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
