package rollout

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wavelock/pki"
)

// closedComputer has been through secure and close, or through secure alone, and its certificate ends in three weeks.
func closedComputer(t testing.TB, policy Policy, closed bool) *computer {
	t.Helper()
	c := freshComputer(t, policy)
	for _, act := range []ActionKind{ActSecure, ActClose} {
		if act == ActClose && !closed {
			continue
		}
		if _, end := walk(t, c, act); end.Outcome != Passed {
			t.Fatalf("%s: %+v", act, end)
		}
	}
	c.certs[0].NotBefore, c.certs[0].NotAfter = c.now.Add(-344*24*time.Hour), c.now.Add(21*24*time.Hour)
	return c
}

func TestWaysOfARenewal(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		closed bool
		set    func(c *computer)
		way    []StepKind
		ends   Outcome
		reason Reason
	}{
		"HTTP is gone":   {true, nil, []StepKind{StepInspect, StepEnroll, StepArm, StepListen, StepProveClosed, StepDisarm, StepProve}, Passed, ""},
		"HTTP never was": {true, neverHTTP, []StepKind{StepInspect, StepEnroll, StepArm, StepListen, StepProveClosed, StepDisarm, StepProve}, Passed, ""},
		"HTTP never was, and http.sys has another": {true, func(c *computer) {
			neverHTTP(c)
			c.certs = append(c.certs, goodCert(c.host.ID, 40, c.now))
			c.certs[0].NotAfter, c.bound = c.now.Add(300*24*time.Hour), c.certs[1].Thumbprint
			c.thumb = c.bound
			c.certs[1].Archived = true
		}, []StepKind{StepInspect, StepArm, StepListen, StepProveClosed, StepDisarm, StepProve}, Passed, ""},
		"something on the way shuts HTTP": {false, func(c *computer) { c.shut = true },
			[]StepKind{StepInspect, StepEnroll, StepArm, StepListen, StepProveClosed, StepDisarm, StepProve}, Passed, ""},
		"HTTP is there": {false, nil, []StepKind{StepInspect, StepEnroll, StepArm, StepListen, StepProveClosed, StepDisarm, StepProve}, Passed, ""},
		"autoenrollment was here": {true, func(c *computer) { c.certs = append(c.certs, goodCert(c.host.ID, 40, c.now)) },
			[]StepKind{StepInspect, StepArm, StepListen, StepProveClosed, StepDisarm, StepProve}, Passed, ""},
		"autoenrollment archived the old one": {true, func(c *computer) {
			c.certs[0].NotAfter, c.certs[0].Archived = c.now.Add(300*24*time.Hour), true
			c.certs = append(c.certs, goodCert(c.host.ID, 40, c.now))
		}, []StepKind{StepInspect, StepArm, StepListen, StepProveClosed, StepDisarm, StepProve}, Passed, ""},
		"http.sys has another": {true, func(c *computer) { c.certs[0].NotAfter, c.bound, c.http = c.now.Add(300*24*time.Hour), "", true },
			[]StepKind{StepInspect, StepArm, StepListen, StepProveClosed, StepDisarm, StepProve}, Passed, ""},
		"the CA revoked it": {true, func(c *computer) {
			c.certs[0].NotAfter, c.certs[0].Revoked = c.now.Add(300*24*time.Hour), "it was revoked on Monday"
		}, []StepKind{StepInspect, StepEnroll, StepArm, StepListen, StepProveClosed, StepDisarm, StepProve}, Passed, ""},
		"the CA revoked it, and another is there": {false, func(c *computer) {
			c.certs[0].NotAfter, c.certs[0].Revoked = c.now.Add(300*24*time.Hour), "it was revoked on Monday"
			c.certs = append(c.certs, goodCert(c.host.ID, 40, c.now))
		}, []StepKind{StepInspect, StepArm, StepListen, StepProveClosed, StepDisarm, StepProve}, Passed, ""},
		"nothing is due":      {true, func(c *computer) { c.certs[0].NotAfter = c.now.Add(300 * 24 * time.Hour) }, []StepKind{StepInspect, StepProve}, Passed, ""},
		"the CA says no":      {true, func(c *computer) { c.ca = "deny" }, []StepKind{StepInspect, StepEnroll}, Failed, ReasonEnrollDenied},
		"the CA waits":        {true, func(c *computer) { c.ca = "pend" }, []StepKind{StepInspect, StepEnroll}, Pending, ReasonEnrollPending},
		"a domain controller": {true, func(c *computer) { c.host.Roles = []Role{RoleDomainController} }, []StepKind{StepInspect}, Refused, ReasonDCReuseOnly},
		"only reuse":          {true, func(c *computer) { c.policy.Route = RouteReuse }, []StepKind{StepInspect}, Refused, ReasonReuseOnly},
		"no HTTPS at all":     {false, func(c *computer) { c.https, c.thumb, c.bound = false, "", "" }, []StepKind{StepInspect}, Refused, ReasonNothingToRenew},
		"another computer":    {true, func(c *computer) { c.imposter = true }, []StepKind{StepInspect}, Refused, ReasonWrongHost},
	} {
		t.Run(name, func(t *testing.T) {
			c := closedComputer(t, DefaultPolicy(), tc.closed)
			if tc.set != nil {
				tc.set(c)
			}
			thumb, http := c.thumb, c.http
			way, end := walk(t, c, ActRenew)
			if !slices.Equal(way, tc.way) || end.Outcome != tc.ends || end.Reason != tc.reason {
				t.Errorf("it goes %v and ends %s (%s: %s); want %v and %s (%s)", way, end.Outcome, end.Reason, end.Detail, tc.way, tc.ends, tc.reason)
			}
			if tc.ends != Passed && (c.thumb != thumb || c.http != http) || c.armed || c.task {
				t.Errorf("it is left with %+v", *c)
			}
			if _, due := c.policy.NeedsRenewal(c.host, c.observe(), c.now); tc.ends == Passed && due {
				t.Error("it is due again")
			}
		})
	}
}

// A certificate that lets nobody in: the undo on the host puts the old one back, and the campaign says so. HTTP stays
// away, unless the old one is not in the store any more and there was HTTP once.
func TestARenewalThatLocksOutIsUndone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set  func(c *computer)
		http bool
	}{
		"HTTP was there": {func(*computer) {}, false},
		"HTTP never was": {neverHTTP, false},
		"HTTP was there, and the old one is gone":   {func(c *computer) { c.expels = true }, true},
		"something on the way shuts HTTP, as it is": {func(c *computer) { c.http, c.shut = true, true }, true},
		"HTTP is there": {func(c *computer) { c.http = true }, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := closedComputer(t, DefaultPolicy(), true)
			tc.set(c)
			old := c.thumb
			c.spoils = true
			if _, end := walk(t, c, ActRenew); end.Outcome != Unknown || end.Again.IsZero() || c.thumb == old {
				t.Fatalf("%+v", end)
			}
			c.pass(c.policy.UndoAfter.D())
			if back := c.thumb == old && c.usable(); c.http != tc.http || back == c.expels || c.fired != 1 {
				t.Fatalf("%+v", *c)
			}
			if _, end := walk(t, c, ActRenew); end.Outcome != Failed || end.Reason != ReasonUndoFired {
				t.Errorf("the next renewal: %+v", end)
			}
		})
	}
}

// neverHTTP makes the computer one that had HTTPS alone before anybody of us came.
func neverHTTP(c *computer) {
	image := *c.image
	image.Listeners = c.listeners()
	c.image, c.kept = &image, &image
	now := c.doors()
	c.first = &now
}

// TestRenewals holds a renewal against a computer that knows its invariants: with whatever happens around it, the computer is
// never shut on both sides, what passed is proved, and nothing is ever put back.
func TestRenewals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy := DefaultPolicy()
		policy.Route = rapid.SampledFrom([]Route{"", RouteRelay}).Draw(t, "route")
		policy.UndoAfter = Duration(rapid.SampledFrom([]time.Duration{10 * time.Minute, 2 * time.Minute}).Draw(t, "undo after"))
		c := closedComputer(&testing.T{}, policy, rapid.IntRange(0, 3).Draw(t, "closed") > 0)
		c.t = t
		c.ca = rapid.SampledFrom([]string{"", "", "pend", "deny", "down"}).Draw(t, "ca")
		c.spoils = rapid.IntRange(0, 5).Draw(t, "spoils") == 0
		never := !c.http && rapid.Bool().Draw(t, "HTTP never was")
		if never {
			neverHTTP(c)
		}
		c.shut = c.http && rapid.Bool().Draw(t, "HTTP is shut on the way")
		c.expels = !never && rapid.IntRange(0, 4).Draw(t, "the old one goes") == 0
		if rapid.Bool().Draw(t, "autoenrolled") {
			c.certs = append(c.certs, goodCert(c.host.ID, 40, c.now))
		}
		http := c.http
		tr := newTrip(t, c, onePlan(policy, GoalRenew, c), rapid.IntRange(0, 8).Draw(t, "faults"))
		tr.travel()
		h := tr.host()
		switch {
		case h.Running != "":
			t.Fatalf("the campaign ends and the host is %+v", *h)
		case slices.Contains(tr.seen, StepRestore):
			t.Fatalf("a renewal put something back: %v", tr.seen)
		case h.Done && (!c.usable() || c.armed || c.task || c.http != http):
			t.Fatalf("done with %+v after %v", *c, tr.seen)
		case c.http && never:
			t.Fatalf("HTTP is there, and never was: %v", tr.seen)
		case !h.Done && c.thumb == c.rotten && !c.expels:
			t.Fatalf("it is left with a certificate that lets nobody in, after %v: %+v; %+v", tr.seen, *h, *c)
		case c.http && !http && (c.fired == 0 || !c.expels):
			t.Fatalf("HTTP came back: fired %d, the old certificate is gone %v: %v", c.fired, c.expels, tr.seen)
		}
		if due := len(c.policy.DueForRenewal([]Subject{{c.host, c.observe()}}, c.now)) > 0; h.Done && due && c.httpUp() {
			t.Fatalf("done, and due again: %v", tr.seen)
		}
	})
}

func TestWhatIsDue(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	year := pki.Certificate{NotBefore: epoch, NotAfter: epoch.Add(365 * 24 * time.Hour)}
	hours := pki.Certificate{NotBefore: epoch, NotAfter: epoch.Add(4 * time.Hour)}
	if p.renewBefore(year) != 30*24*time.Hour || p.renewBefore(hours) != 80*time.Minute {
		t.Error(p.renewBefore(year), p.renewBefore(hours))
	}
	p.RenewBefore = Duration(time.Hour)
	if p.renewBefore(year) != time.Hour {
		t.Error(p.renewBefore(year))
	}
	c := closedComputer(t, DefaultPolicy(), true)
	fine := closedComputer(t, DefaultPolicy(), true)
	fine.certs[0].NotAfter, fine.host.ID = fine.now.Add(300*24*time.Hour), "other.corp.example"
	fine.certs[0].CommonName, fine.certs[0].DNSNames = "other.corp.example", []string{"other.corp.example"}
	bare := freshComputer(t, DefaultPolicy())
	bare.host.ID = "bare.corp.example"
	in := intent(usual...)
	in.Goal, in.Made = GoalRenew, c.now
	plan := NewPlan(in, []Subject{{c.host, c.observe()}, {fine.host, fine.observe()}, {bare.host, bare.observe()}})
	left := map[HostID]Reason{}
	for _, l := range plan.Left {
		left[l.Host] = l.Reason
	}
	if len(plan.Hosts) != 1 || plan.Hosts[0].Host.ID != subject || left["other.corp.example"] != ReasonNotDue || left["bare.corp.example"] != ReasonNothingToRenew {
		t.Errorf("%+v, left out %v", plan.Hosts, left)
	}
	blind := c.observe()
	blind.Certificates = Unseen[[]pki.Certificate]("denied")
	if _, due := c.policy.NeedsRenewal(c.host, blind, c.now); due {
		t.Error("what was not read is taken for due")
	}
}

// Each cause of a renewal has a reason of its own; that the CA took the certificate back is said before anything else, and
// a warning besides.
func TestWhyARenewalIsDue(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set  func(c *computer)
		want Reason
	}{
		"it ends soon": {func(*computer) {}, ReasonNoCertificate},
		"revoked":      {func(c *computer) { c.certs[0].Revoked = "it was revoked on Monday" }, ReasonRevoked},
		"revoked, and there is another": {func(c *computer) {
			c.certs[0].Revoked = "it was revoked on Monday"
			c.certs = append(c.certs, goodCert(c.host.ID, 40, c.now))
		}, ReasonRevoked},
		"another that nobody has is revoked": {func(c *computer) {
			c.certs[0].NotAfter = c.now.Add(300 * 24 * time.Hour)
			c.certs = append(c.certs, goodCert(c.host.ID, 40, c.now))
			c.certs[1].Revoked = "it was revoked on Monday"
		}, ""},
		"there is another": {func(c *computer) { c.certs = append(c.certs, goodCert(c.host.ID, 40, c.now)) }, ReasonCertificateReplaced},
		"http.sys differs": {func(c *computer) { c.certs[0].NotAfter, c.bound = c.now.Add(300*24*time.Hour), "" }, ReasonThumbprintDiffers},
	} {
		c := closedComputer(t, DefaultPolicy(), false)
		tc.set(c)
		o := c.observe()
		due, is := c.policy.NeedsRenewal(c.host, o, c.now)
		if due.Reason != tc.want || is != (tc.want != "") || is && due.Why == "" {
			t.Errorf("%s: %v, %+v", name, is, due)
		}
		warned := slices.ContainsFunc(Assess(c.host, o, c.policy, c.now).Findings, func(f Finding) bool { return f.Reason == ReasonRevoked && f.Severity == Warning })
		if warned != (tc.want == ReasonRevoked) {
			t.Errorf("%s: warned %v", name, warned)
		}
	}
}

// The goals secure and close rebind no listener that is the only way in: what they take for fit may let nobody in.
func TestSecureLeavesTheOnlyDoorAlone(t *testing.T) {
	t.Parallel()
	for name, shut := range map[string]func(c *computer, o *Observation){
		"HTTP is gone": nil,
		"a firewall on the way shuts HTTP": func(c *computer, o *Observation) {
			c.http = true
			*o = c.observe()
			o.Via, o.HTTP = HTTPS, Door{State: DoorSilent}
		},
	} {
		c := closedComputer(t, DefaultPolicy(), true)
		c.certs[0].NotAfter = c.now.Add(72 * time.Hour) // less than min_left
		bad := goodCert(subject, 40, c.now)
		c.certs, c.rotten = append(c.certs, bad), bad.Thumbprint
		o := c.observe()
		if shut != nil {
			shut(c, &o)
		} else if way, end := walk(t, c, ActSecure); !slices.Equal(way, []StepKind{StepInspect}) || end.Outcome != Refused || end.Reason != ReasonOnlyDoor {
			t.Errorf("%s: %v, then %+v", name, way, end)
		}
		run := HostRun{Campaign: "drill", Host: c.host, Action: ActSecure, Policy: c.policy, Seen: &o, Image: c.kept, Done: map[StepKind]int{StepInspect: 1}}
		if s := Next(run, c.now); s.Kind != StepFinish || s.Outcome != Refused || s.Reason != ReasonOnlyDoor {
			t.Errorf("%s: %+v", name, s)
		}
		if !c.usable() {
			t.Errorf("%s: %+v", name, *c)
		}
	}
}

// What the undo of a former campaign left when it fired stops no later one; one that may still fire is armed anew, and disarmed over a proof.
func TestASpentUndoStopsNoLaterRenewal(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		by   string
		task bool
		ends Outcome
	}{
		"a former campaign's, spent": {"former", false, Passed},
		"our own, spent":             {"", false, Failed},
		"our own, it may still fire": {"", true, Passed},
	} {
		c := closedComputer(t, DefaultPolicy(), true)
		c.http, c.armed, c.task, c.by, c.fires = true, true, tc.task, tc.by, c.now.Add(time.Hour)
		if way, end := walk(t, c, ActRenew); end.Outcome != tc.ends || tc.ends == Failed && end.Reason != ReasonUndoFired {
			t.Errorf("%s: %v, then %+v", name, way, end)
		}
		if tc.ends == Passed && tc.task && (c.armed || c.task) {
			t.Errorf("%s: it is left armed", name)
		}
	}
}

// A renewal that has written does not pass while nobody can say whether its undo has fired or still may.
func TestARenewalWaitsUntilItsUndoIsRead(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{true, false} {
		c := closedComputer(t, DefaultPolicy(), true)
		c.http, c.certs[0].NotAfter = open, c.now.Add(300*24*time.Hour)
		c.armed, c.task, c.unseen = true, !open, []string{"undo"}
		o := c.observe()
		run := HostRun{Campaign: "drill", Host: c.host, Action: ActRenew, Policy: c.policy, Seen: &o, Image: c.kept, Dirty: true, Done: map[StepKind]int{StepInspect: 1}}
		if s := Next(run, c.now); s.Kind != StepInspect {
			t.Errorf("open %v: %+v", open, s)
		}
		run.Done[StepInspect] = run.Policy.Retries + 1
		if s := Next(run, c.now); s.Outcome != Unknown || s.Reason != ReasonNotReadable || s.Again.IsZero() {
			t.Errorf("open %v: %+v", open, s)
		}
	}
}

// Whatever ends a renewal after its undo was armed, it is not over before that has fired, as the host is still to change.
func TestARenewalIsNotOverBeforeItsUndo(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(r *HostRun){
		"the listeners were not read": func(r *HostRun) { r.Seen.Listeners = Unseen[[]Listener]("denied") },
		"the listener is gone":        func(r *HostRun) { r.Seen.Listeners.Value = nil },
		"nothing may be asked for": func(r *HostRun) {
			r.Seen.Certificates.Value, r.Policy.Route = nil, RouteReuse
		},
		"it goes in circles": func(r *HostRun) { r.Done[StepInspect] = 100 },
		"the step failed":    func(r *HostRun) { r.Failure = &Failure{Reason: ReasonTLSFailed} },
	} {
		for _, u := range []Undo{{}, {Armed: true, Task: true, Campaign: "drill", Mark: "drill@1"}, {Armed: true, Task: true, Campaign: "other", Mark: "other@1"}} {
			c := closedComputer(t, DefaultPolicy(), true)
			o := c.observe()
			o.Undo = Saw(u)
			run := HostRun{Campaign: "drill", Host: c.host, Action: ActRenew, Policy: c.policy, Seen: &o, Image: c.kept, Dirty: true, Done: map[StepKind]int{StepInspect: c.policy.Retries + 1}}
			spoil(&run)
			want := Failed
			if u.Campaign == "drill" {
				want = Unknown
			}
			s := Next(run, c.now)
			if s.Outcome != want || s.Reason == "" || (want == Unknown) != s.Again.After(c.now) {
				t.Errorf("%s, with the undo %+v: %s (%s) until %v, want %s", name, u, s.Outcome, s.Reason, s.Again, want)
			}
		}
	}
}

// A listener's certificate that nobody here issued is due with a reason of its own, and no goal chooses it.
func TestAnUntrustedCertificateIsNoCandidate(t *testing.T) {
	t.Parallel()
	c := closedComputer(t, DefaultPolicy(), false)
	bad := goodCert(c.host.ID, 40, c.now)
	bad.Untrusted = "issued by CN=Somebody else"
	c.certs[0].NotAfter = c.now.Add(300 * 24 * time.Hour)
	c.certs = append(c.certs, bad)
	if due, is := c.policy.NeedsRenewal(c.host, c.observe(), c.now); is {
		t.Errorf("it takes the place of ours: %+v", due)
	}
	c.thumb, c.bound = bad.Thumbprint, bad.Thumbprint
	o := c.observe()
	if due, is := c.policy.NeedsRenewal(c.host, o, c.now); !is || due.Reason != ReasonUntrusted {
		t.Errorf("due %v: %+v", is, due)
	}
	run := HostRun{Host: c.host, Policy: c.policy, Seen: &o}
	if got, err := run.certificate(c.now); err != nil || got.Thumbprint != c.certs[0].Thumbprint {
		t.Errorf("%s is chosen: %v", got.Thumbprint, err)
	}
}
