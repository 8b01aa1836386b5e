package rollout

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wavelock/pki"
)

// walk takes one action on the computer through its steps, as a worker without any trouble.
func walk(t testing.TB, c *computer, act ActionKind) ([]StepKind, Step) {
	t.Helper()
	run := HostRun{Campaign: "drill", Host: c.host, Action: act, Policy: c.policy, Image: c.kept}
	c.action, c.begun, c.effects = act, c.now, 0
	var way []StepKind
	for range 30 {
		step := Next(run, c.now)
		if step.Kind == StepFinish {
			return way, step
		}
		way = append(way, step.Kind)
		c.pass(2 * time.Second)
		res, f := c.do(step)
		if step.Kind == StepSaveImage && f == nil {
			c.kept = step.Image
		}
		run = run.Advance(step, res, f)
	}
	t.Fatalf("%s does not end: %v", act, way)
	return nil, Step{}
}

func TestWaysOfAHost(t *testing.T) {
	t.Parallel()
	c := freshComputer(t, DefaultPolicy())
	before := c.doors()
	for _, leg := range []struct {
		act  ActionKind
		way  []StepKind
		ends Outcome
	}{
		{ActSecure, []StepKind{StepInspect, StepSaveImage, StepEnroll, StepListen, StepAllow, StepProve}, Passed},
		{ActSecure, []StepKind{StepInspect, StepProve}, Passed}, // done twice, nothing is written
		{ActClose, []StepKind{StepInspect, StepProve, StepArm, StepRemoveHTTP, StepProveClosed, StepDisarm}, Passed},
		{ActClose, []StepKind{StepInspect, StepProveClosed}, Passed},
		{ActSecure, []StepKind{StepInspect, StepProve}, Passed},
		{ActRestore, []StepKind{StepInspect, StepRestore, StepInspect}, Restored},
		{ActRestore, []StepKind{StepInspect}, Restored},
		{ActObserve, []StepKind{StepInspect}, Passed},
	} {
		way, end := walk(t, c, leg.act)
		if !slices.Equal(way, leg.way) || end.Outcome != leg.ends {
			t.Errorf("%s goes %v and ends %s (%s); want %v and %s", leg.act, way, end.Outcome, end.Detail, leg.way, leg.ends)
		}
	}
	if c.doors() != before {
		t.Errorf("after the restore the host is %+v, before it was %+v", c.doors(), before)
	}
}

// TestProcedureReachesItsGoal has no faults, and then no excuses.
func TestProcedureReachesItsGoal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy := DefaultPolicy()
		policy.Route = rapid.SampledFrom([]Route{"", RouteRelay}).Draw(t, "route")
		c := freshComputer(t, policy)
		c.blocked = rapid.Bool().Draw(t, "firewall")
		if rapid.Bool().Draw(t, "certificate") {
			c.certs = append(c.certs, goodCert(subject, 1, epoch))
		}
		if rapid.Bool().Draw(t, "off at first") {
			c.off = epoch.Add(2 * time.Hour)
		}
		c.ca = rapid.SampledFrom([]string{"", "pend", "down"}).Draw(t, "ca")
		back := rapid.Bool().Draw(t, "and back")
		tr := newTrip(t, c, onePlan(policy, rapid.SampledFrom([]Goal{GoalSecure, GoalClose}).Draw(t, "goal"), c), 0)
		tr.travel()
		tr.arrive()
		if !tr.host().Done {
			t.Fatalf("the host ends %s (%s %s) after %v", tr.host().Outcome, tr.host().Reason, tr.host().Detail, tr.seen)
		}
		if len(tr.seen) > 20 {
			t.Fatalf("%d steps: %v", len(tr.seen), tr.seen)
		}
		if back {
			tr.write(Event{Kind: EvRollback, Actor: "ann"})
			tr.travel()
			if tr.host().Outcome != Restored || !tr.s.Finished || c.doors() != *c.first {
				t.Fatalf("rolled back, the host is %s with %+v; it was %+v", tr.host().Outcome, c.doors(), *c.first)
			}
		}
	})
}

var thumb = goodCert(subject, 1, epoch).Thumbprint

// closing is a run of close that has come as far as the removal of HTTP.
func closing() HostRun {
	c := freshComputer(nil, DefaultPolicy())
	c.certs = []pki.Certificate{goodCert(subject, 1, epoch)}
	c.https, c.thumb, c.bound, c.rule, c.armed, c.task = true, thumb, thumb, true, true, true
	c.image = &BeforeImage{Host: subject, Listeners: []Listener{{Address: "*", Transport: HTTP, Port: 5985, Enabled: true}}}
	o := c.observe()
	return HostRun{Campaign: "drill", Host: c.host, Action: ActClose, Policy: c.policy, Image: c.image, Seen: &o, Dirty: true,
		Proof: proofAt(epoch, false), ArmedAt: epoch, Done: map[StepKind]int{StepInspect: 1, StepProve: 1, StepArm: 1}}
}

// A removal that was begun may have done nothing. What is new on the host since then stops the next one.
func TestRemovalThatDidNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*HostRun)
		want   Reason
	}{
		"a client came": {func(r *HostRun) { r.Seen.Peers = Saw([]Peer{{Address: "198.51.100.7", Port: 5985}}) }, ReasonHTTPClient},
		"a policy came": {func(r *HostRun) { r.Seen.Policy = Saw(WinRMPolicy{AllowAutoConfig: &yes}) }, ReasonGPOListener},
	} {
		r := closing()
		r.Removed = true
		if s := Next(r, epoch.Add(time.Second)); s.Kind != StepRemoveHTTP {
			t.Fatalf("without it, next is %s", s.Kind)
		}
		tc.change(&r)
		if s := Next(r, epoch.Add(time.Second)); s.Outcome != Failed || s.Reason != tc.want {
			t.Errorf("%s: next is %s (%s %s)", name, s.Kind, s.Outcome, s.Reason)
		}
	}
}

// closed is the same run after the removal.
func closed() HostRun {
	r := closing()
	r.Seen.Listeners.Value = slices.DeleteFunc(r.Seen.Listeners.Value, isDoor(HTTP))
	r.Seen.HTTP.State, r.Seen.Via = DoorRefused, HTTPS
	r.Removed, r.Closed = true, proofAt(epoch, true)
	return r
}

func proofAt(at time.Time, closed bool) *Proof {
	return &Proof{At: at, Wire: thumb, Listener: thumb, Bound: thumb, Issued: thumb, Closed: closed}
}

func failed(k StepKind, r Reason, mod func(*Failure)) *Failure {
	f := &Failure{Host: subject, Step: k, Reason: r, Err: errors.New("it says")}
	if mod != nil {
		mod(f)
	}
	return f
}

// Two controllers, each with a journal of its own, meet on one host.
func TestAHostInTheMiddleOfAnotherCampaignIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, act := range []ActionKind{ActSecure, ActQuiesce, ActClose, ActRenew} {
		r := closing()
		r.Action, r.Policy.Quiesce, r.Dirty, r.ArmedAt, r.Proof, r.Done = act, Duration(time.Hour), false, time.Time{}, nil, map[StepKind]int{StepInspect: 1}
		r.Seen.Undo.Value.Campaign = "autumn"
		if s := Next(r, epoch); s.Kind != StepFinish || s.Outcome != Deferred || s.Reason != ReasonOtherCampaign || !s.Again.After(epoch.Add(r.Policy.UndoAfter.D()/2)) {
			t.Errorf("%s: %+v", act, s)
		}
		r.Seen.Undo.Value.Campaign = string(r.Campaign)
		if s := Next(r, epoch); s.Reason == ReasonOtherCampaign {
			t.Errorf("%s: our own undo: %+v", act, s)
		}
	}
}

func TestWhenHTTPMayBeRemoved(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*HostRun)
		want   StepKind
		reason Reason
	}{
		"when all is in order, HTTP is removed":      {func(*HostRun) {}, StepRemoveHTTP, ""},
		"without a proof, HTTPS is proved first":     {func(r *HostRun) { r.Proof = nil }, StepProve, ""},
		"a proof that is too old is made again":      {func(r *HostRun) { r.Proof.At = epoch.Add(-3 * time.Minute) }, StepProve, ""},
		"a proof that is just young enough is taken": {func(r *HostRun) { r.Proof.At = epoch.Add(-3*time.Minute + time.Second) }, StepRemoveHTTP, ""},
		"a proof from the future proves nothing":     {func(r *HostRun) { r.Proof.At = epoch.Add(time.Second) }, StepProve, ""},
		"a proof of another certificate does not count": {func(r *HostRun) {
			r.Proof.Wire, r.Proof.Listener, r.Proof.Bound, r.Proof.Issued = "AA", "AA", "AA", "AA"
		}, StepProve, ""},
		"a proof whose four thumbprints differ does not count":      {func(r *HostRun) { r.Proof.Bound = "AA" }, StepProve, ""},
		"an undo of this campaign under another mark is armed anew": {func(r *HostRun) { r.Seen.Undo.Value.Mark = "drill@before" }, StepArm, ""},
		"an undo that this run did not arm is armed anew":           {func(r *HostRun) { r.ArmedAt = time.Time{} }, StepArm, ""},
		"an undo whose time is half over is armed anew":             {func(r *HostRun) { r.ArmedAt = epoch.Add(-5 * time.Minute) }, StepArm, ""},
		"an undo with time left serves":                             {func(r *HostRun) { r.ArmedAt = epoch.Add(-5*time.Minute + time.Second) }, StepRemoveHTTP, ""},
		"a new proof since it was armed may hide a restart": {func(r *HostRun) {
			r.ArmedAt, r.Proof.At, r.Seen.At = epoch.Add(-2*time.Minute), epoch.Add(-time.Minute), epoch.Add(-3*time.Minute)
		}, StepInspect, ""},
		"an undo armed in the future was armed by a broken clock": {func(r *HostRun) { r.ArmedAt = epoch.Add(time.Minute) }, StepArm, ""},
		"an undo that somebody switched off is armed":             {func(r *HostRun) { r.Seen.Undo.Value.Disabled = true }, StepArm, ""},
		"the spent undo of another campaign is no obstacle":       {func(r *HostRun) { r.Seen.Undo.Value = Undo{Armed: true, Campaign: "autumn"} }, StepArm, ""},
		"once we have written here, it is ours to end":            {func(r *HostRun) { r.Seen.Undo.Value.Campaign, r.Dirty = "autumn", true }, StepRemoveHTTP, ""},
		"an undo without its task is armed":                       {func(r *HostRun) { r.Seen.Undo.Value.Task = false }, StepArm, ""},
		"an undo that was not seen is looked for again":           {func(r *HostRun) { r.Seen.Undo = Unseen[Undo]("denied") }, StepInspect, ""},
		"without an image in the journal, one is kept":            {func(r *HostRun) { r.Image = nil }, StepSaveImage, ""},
		"without an image on the host, it is kept there too":      {func(r *HostRun) { r.Seen.Image.Value = nil }, StepSaveImage, ""},
		"a host that was not just looked at is inspected":         {func(r *HostRun) { r.Seen = nil }, StepInspect, ""},
		"after a doubtful step the host is inspected": {func(r *HostRun) {
			r.Failure, r.Tries = failed(StepArm, ReasonTimeout, func(f *Failure) { f.Unsure = true }), 1
		}, StepInspect, ""},
		"somebody on HTTP stops it, and what was written goes back": {func(r *HostRun) { r.Seen.Peers.Value = []Peer{{Address: "192.0.2.9", Port: 5985}} }, StepFinish, ReasonHTTPClient},
		"a listener from Group Policy stops it":                     {func(r *HostRun) { r.Seen.Listeners.Value[0].Source = SourceGPO }, StepFinish, ReasonGPOListener},
		"a policy that would bring HTTP back stops it":              {func(r *HostRun) { r.Seen.Policy.Value.AllowAutoConfig = &yes }, StepFinish, ReasonGPOListener},
		"a policy that switches WinRM off stops it":                 {func(r *HostRun) { r.Seen.Policy.Value.AllowAutoConfig = &no }, StepFinish, ReasonGPODisablesWinRM},
		"another computer stops it":                                 {func(r *HostRun) { r.Seen.Identity.Value.FQDN = "other.corp.example" }, StepFinish, ReasonWrongHost},
		"a certificate that is no longer fit stops it":              {func(r *HostRun) { r.Seen.Certificates.Value = nil }, StepFinish, ReasonNoCertificate},
		"HTTP that came back with a spent undo was the undo":        {func(r *HostRun) { r.Removed, r.Seen.Undo.Value.Task = true, false }, StepFinish, ReasonUndoFired},
		"a removal that did not happen is begun anew":               {func(r *HostRun) { r.Removed = true }, StepRemoveHTTP, ""},
		"HTTP that is removed a fourth time goes in circles":        {func(r *HostRun) { r.Done[StepRemoveHTTP] = 3 }, StepFinish, ReasonInternal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := closing()
			tc.change(&run)
			got := Next(run, epoch)
			if got.Kind != tc.want || got.Reason != tc.reason {
				t.Errorf("next is %s (%s %s %s), want %s %s", got.Kind, got.Outcome, got.Reason, got.Detail, tc.want, tc.reason)
			}
			if got.Outcome == Refused || got.Outcome == AwaitPolicy || got.Outcome == Deferred {
				t.Errorf("%s promises that nothing was written, and the undo was armed", got.Outcome)
			}
		})
	}
}

func TestWhenTheUndoMayBeDisarmed(t *testing.T) {
	t.Parallel()
	disarmed := func(r *HostRun) {
		r.Seen.Undo, r.Closed, r.Done[StepDisarm] = Saw(Undo{}), nil, 1
	}
	for name, tc := range map[string]struct {
		change func(*HostRun)
		want   StepKind
		ends   Outcome
	}{
		"after a fresh proof that HTTP is gone":                    {func(*HostRun) {}, StepDisarm, ""},
		"not without that proof":                                   {func(r *HostRun) { r.Closed = nil }, StepProveClosed, ""},
		"not after an old one":                                     {func(r *HostRun) { r.Closed.At = epoch.Add(-time.Hour) }, StepProveClosed, ""},
		"not when the proof says nothing of HTTP":                  {func(r *HostRun) { r.Closed.Closed = false }, StepProveClosed, ""},
		"not when its thumbprints differ":                          {func(r *HostRun) { r.Closed.Wire = "AA" }, StepProveClosed, ""},
		"also when only its task is left":                          {func(r *HostRun) { r.Seen.Undo.Value.Armed = false }, StepDisarm, ""},
		"also when only its key is left":                           {func(r *HostRun) { r.Seen.Undo.Value.Task = false }, StepDisarm, ""},
		"also when it could not be looked at":                      {func(r *HostRun) { r.Seen.Undo = Unseen[Undo]("denied") }, StepDisarm, ""},
		"when it is gone in time, the action has passed":           {disarmed, StepFinish, Passed},
		"when it may have fired before, HTTP is looked for again":  {func(r *HostRun) { disarmed(r); r.ArmedAt = epoch.Add(-11 * time.Minute) }, StepProveClosed, ""},
		"when nobody knows how old it was, HTTP is looked for too": {func(r *HostRun) { disarmed(r); r.ArmedAt = time.Time{} }, StepProveClosed, ""},
		"and when that was found gone, the action has passed": {func(r *HostRun) {
			disarmed(r)
			r.ArmedAt, r.Closed = time.Time{}, proofAt(epoch, true)
		}, StepFinish, Passed},
		"somebody on HTTP is no reason to stop here":     {func(r *HostRun) { r.Seen.Peers.Value = []Peer{{Address: "192.0.2.9", Port: 5985}} }, StepDisarm, ""},
		"another computer is":                            {func(r *HostRun) { r.Seen.Identity.Value.FQDN = "other.corp.example" }, StepFinish, Unknown},
		"without a fit certificate the host is put back": {func(r *HostRun) { r.Seen.Certificates.Value = nil }, StepFinish, Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := closed()
			tc.change(&run)
			if got := Next(run, epoch); got.Kind != tc.want || got.Outcome != tc.ends {
				t.Errorf("next is %s (%s %s %s), want %s %s", got.Kind, got.Outcome, got.Reason, got.Detail, tc.want, tc.ends)
			}
		})
	}
}

// In the middle of a brown-out, or of a removal, another campaign's undo comes to be seen on the host: it is not named
// as the one to be taken away.
func TestAnothersUndoIsNotTheOneToBeTakenAway(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]HostRun{"removal": closed(), "brown-out": func() HostRun {
		r := narrowing()
		narrowedAt(&r, epoch)
		r.Narrow = narrowProof(epoch)
		return r
	}()} {
		run.Mark, run.Done = "drill@1", map[StepKind]int{StepInspect: 1}
		run.Seen.Undo = Saw(Undo{Armed: true, Task: true, Campaign: "elsewhere", Mark: "elsewhere@2"})
		if got := Next(run, epoch); got.Kind != StepDisarm || got.Mark != "drill@1" {
			t.Errorf("%s: next is %s of %q (%s)", name, got.Kind, got.Mark, got.Detail)
		}
		run.Seen.Undo = Saw(Undo{Armed: true, Task: true, Campaign: "drill", Mark: "drill@0"})
		if got := Next(run, epoch); got.Kind != StepDisarm || got.Mark != "drill@0" {
			t.Errorf("%s: next is %s of %q (%s)", name, got.Kind, got.Mark, got.Detail)
		}
	}
}

// A host that this campaign has written to, on which another campaign has armed its undo meanwhile.
func TestNoUndoIsArmedOverAnotherCampaigns(t *testing.T) {
	t.Parallel()
	foreign := Saw(Undo{Armed: true, Task: true, Campaign: "elsewhere", Mark: "elsewhere@2"})
	for name, tc := range map[string]struct {
		undo Seen[Undo]
		want StepKind
		was  string
	}{
		"another campaign's":                     {foreign, StepFinish, ""},
		"another campaign's, which has fired":    {Saw(Undo{Armed: true, Campaign: "elsewhere", Mark: "elsewhere@2"}), StepArm, "elsewhere@2"},
		"of an earlier attempt of this campaign": {Saw(Undo{Armed: true, Task: true, Campaign: "drill", Mark: "drill@1"}), StepArm, "drill@1"},
		"none":                                   {Saw(Undo{}), StepArm, ""},
	} {
		for kind, run := range map[string]HostRun{"removal": closing(), "brown-out": narrowing()} {
			run.Dirty, run.Proof, run.ArmedAt, run.Seen.Undo = true, proofAt(epoch, false), time.Time{}, tc.undo
			if got := Next(run, epoch); got.Kind != tc.want || got.Was != tc.was || got.Kind == StepFinish && (got.Outcome != Failed || got.Reason != ReasonOtherCampaign) {
				t.Errorf("%s, %s: next is %s over %q (%s %s)", kind, name, got.Kind, got.Was, got.Reason, got.Detail)
			}
		}
	}
}
