package rollout

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func quiescing() Policy {
	p := DefaultPolicy()
	p.Quiesce = Duration(48 * time.Hour)
	return p
}

// narrowing is a run of quiesce on a host that has both doors and was just looked at.
func narrowing() HostRun {
	h, o := healthy()
	image := &BeforeImage{Host: subject}
	o.Image = Saw(image)
	return HostRun{Campaign: "drill", Host: h, Action: ActQuiesce, Policy: quiescing(), Seen: &o, Image: image, Done: map[StepKind]int{StepInspect: 1}}
}

// narrowedAt puts the block rule on the host of the run.
func narrowedAt(r *HostRun, since time.Time) {
	r.NarrowedAt = since
	r.Seen.Firewall.Value.Rules = append(r.Seen.Firewall.Value.Rules, FirewallRule{Name: "wavelock-block-5985", Active: true, Ports: []string{"5985"}})
}

func TestStepsOfQuiesce(t *testing.T) {
	t.Parallel()
	armed := func(r *HostRun) {
		r.Proof, r.ArmedAt, r.Seen.Undo = proofAt(epoch, false), epoch, Saw(Undo{Armed: true, Task: true, Campaign: "drill"})
	}
	soaking := func(r *HostRun) { narrowedAt(r, epoch.Add(-time.Hour)) }
	over := func(r *HostRun) { narrowedAt(r, epoch.Add(-48*time.Hour)) }
	for name, tc := range map[string]struct {
		change func(*HostRun)
		want   StepKind
		ends   Outcome
		reason Reason
	}{
		"HTTPS is proved first":                {func(*HostRun) {}, StepProve, "", ""},
		"the image comes before everything":    {func(r *HostRun) { r.Image = nil }, StepSaveImage, "", ""},
		"then the undo is armed":               {func(r *HostRun) { r.Proof = proofAt(epoch, false) }, StepArm, "", ""},
		"an undo of unknown age is armed anew": {func(r *HostRun) { armed(r); r.ArmedAt = time.Time{} }, StepArm, "", ""},
		"a new proof since then may hide a restart": {func(r *HostRun) {
			armed(r)
			r.ArmedAt, r.Seen.At = epoch.Add(-time.Minute), epoch.Add(-2*time.Minute)
		}, StepInspect, "", ""},
		"then HTTP is narrowed":                    {armed, StepNarrow, "", ""},
		"a proof that is old is made anew":         {func(r *HostRun) { armed(r); r.Proof = proofAt(epoch.Add(-5*time.Minute), false) }, StepProve, "", ""},
		"a host that does not see us is refused":   {func(r *HostRun) { armed(r); r.Seen.Peers.Value = nil }, StepFinish, Refused, ReasonSelfNotSeen},
		"our address may be named":                 {func(r *HostRun) { armed(r); r.Seen.Peers.Value, r.Policy.Controllers = nil, []string{"198.51.100.7"} }, StepNarrow, "", ""},
		"a rule of a former process is made anew":  {func(r *HostRun) { armed(r); narrowedAt(r, time.Time{}) }, StepNarrow, "", ""},
		"what was narrowed is proved":              {func(r *HostRun) { armed(r); narrowedAt(r, epoch) }, StepProveNarrow, "", ""},
		"a proof of HTTPS alone does not count":    {func(r *HostRun) { armed(r); narrowedAt(r, epoch); r.Narrow = proofAt(epoch, false) }, StepProveNarrow, "", ""},
		"then the undo is disarmed":                {func(r *HostRun) { armed(r); narrowedAt(r, epoch); r.Narrow = narrowProof(epoch) }, StepDisarm, "", ""},
		"and an old proof does not do for that":    {func(r *HostRun) { armed(r); narrowedAt(r, epoch); r.Narrow = narrowProof(epoch.Add(-time.Hour)) }, StepProveNarrow, "", ""},
		"then it soaks":                            {soaking, StepFinish, Soaking, ReasonSoaking},
		"to the end":                               {over, StepFinish, Passed, ""},
		"but what this run did proves nothing yet": {func(r *HostRun) { over(r); r.Done[StepDisarm] = 1 }, StepFinish, Soaking, ReasonSoaking},
		"somebody who is turned away ends it": {func(r *HostRun) {
			over(r)
			r.Seen.Drops = Saw([]Drop{{At: epoch.Add(-time.Hour), Address: "192.0.2.9", Port: 5985}})
		}, StepFinish, Failed, ReasonTurnedAway},
		"so does one in the second in which HTTP was narrowed, which the log does not divide": {func(r *HostRun) {
			narrowedAt(r, epoch.Add(-time.Hour+900*time.Millisecond))
			r.Seen.Drops = Saw([]Drop{{At: epoch.Add(-time.Hour), Address: "192.0.2.9", Port: 5985}})
		}, StepFinish, Failed, ReasonTurnedAway},
		"one who was turned away before, or elsewhere, does not": {func(r *HostRun) {
			over(r)
			r.Seen.Drops = Saw([]Drop{{At: epoch.Add(-49 * time.Hour), Address: "192.0.2.9", Port: 5985}, {At: epoch, Address: "192.0.2.9", Port: 445}})
		}, StepFinish, Passed, ""},
		"a log that was not read is looked at again": {func(r *HostRun) { over(r); r.Seen.Drops = Unseen[[]Drop]("denied") }, StepInspect, "", ""},
		"and then proves nothing": {func(r *HostRun) {
			over(r)
			r.Seen.Drops, r.Done[StepInspect] = Unseen[[]Drop]("the firewall does not log what it drops"), r.Policy.Retries+1
		}, StepFinish, Failed, ReasonNoDropLog},
		"unless somebody takes that upon himself": {func(r *HostRun) {
			over(r)
			r.Seen.Drops = Unseen[[]Drop]("the firewall does not log what it drops")
			r.Policy.Waivers = []Waiver{{Reason: ReasonNoDropLog, By: "ann", Why: "the help desk listens"}}
		}, StepFinish, Passed, ""},
		"somebody who is still connected ends it": {func(r *HostRun) {
			over(r)
			r.Seen.Peers.Value = []Peer{{Address: "192.0.2.9", Port: 5985}}
		}, StepFinish, Failed, ReasonHTTPClient},
		"a firewall that does not run keeps nobody out": {func(r *HostRun) {
			over(r)
			r.Seen.Services.Value = []WindowsService{{Name: "Schedule", Running: true}, {Name: "MpsSvc"}}
		}, StepFinish, Failed, ReasonFirewallOff},
		"nor does one whose profile was switched off": {func(r *HostRun) { over(r); r.Seen.Firewall.Value.Profiles[0].Enabled = false }, StepFinish, Failed, ReasonFirewallOff},
		"it is not narrowed where it does not run":    {func(r *HostRun) { armed(r); r.Seen.Services.Value[1].Running = false }, StepFinish, Refused, ReasonFirewallOff},
		"a rule that is gone is a failure":            {func(r *HostRun) { r.NarrowedAt = epoch.Add(-time.Hour) }, StepFinish, Failed, ReasonUndoFired},
		"without HTTP there is nothing to narrow":     {func(r *HostRun) { r.Seen.Listeners.Value = r.Seen.Listeners.Value[1:] }, StepFinish, Passed, ""},
		"nor where an undo that has fired left its mark": {func(r *HostRun) {
			r.Seen.Listeners.Value = r.Seen.Listeners.Value[1:]
			r.Seen.Undo = Saw(Undo{Armed: true, Campaign: "winter", Mark: "winter@1"})
		}, StepFinish, Passed, ""},
		"nor where the rule of an earlier campaign was left": {func(r *HostRun) {
			r.Seen.Listeners.Value = r.Seen.Listeners.Value[1:]
			narrowedAt(r, time.Time{})
		}, StepFinish, Passed, ""},
		"a host that is off is deferred":              {func(r *HostRun) { soaking(r); *r.Seen = Observation{} }, StepFinish, Deferred, ReasonUnreachable},
		"a policy that owns HTTP is waited for":       {func(r *HostRun) { r.Seen.Listeners.Value[0].Source = SourceGPO }, StepFinish, AwaitPolicy, ReasonGPOListener},
		"but not with the door half shut":             {func(r *HostRun) { soaking(r); r.Seen.Listeners.Value[0].Source = SourceGPO }, StepFinish, Failed, ReasonGPOListener},
		"a certificate that is not fit any more ends": {func(r *HostRun) { soaking(r); r.Seen.Certificates.Value = nil }, StepFinish, Failed, ReasonNoCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := narrowing()
			tc.change(&run)
			got := Next(run, epoch)
			if got.Kind != tc.want || got.Outcome != tc.ends || got.Reason != tc.reason {
				t.Errorf("next is %s (%s %s %s), want %s (%s %s)", got.Kind, got.Outcome, got.Reason, got.Detail, tc.want, tc.ends, tc.reason)
			}
			end := run.NarrowedAt.Add(run.Policy.Quiesce.D())
			if got.Outcome == Soaking && (!got.Again.After(epoch) || got.Again.After(end) && got.Again.After(epoch.Add(time.Second))) {
				t.Errorf("looked at again at %v, its end is %v", got.Again, end)
			}
		})
	}
}

func narrowProof(at time.Time) *Proof {
	p := proofAt(at, false)
	p.Narrowed = true
	return p
}

// TestNoRemovalWithoutItsSoak shuts the way around the brown-out.
func TestNoRemovalWithoutItsSoak(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*HostRun)
		want   StepKind
		reason Reason
	}{
		"never soaked":              {func(r *HostRun) {}, StepFinish, ReasonNotSoaked},
		"soaked, the rule is gone":  {func(r *HostRun) { r.Soaked = true }, StepFinish, ReasonNotSoaked},
		"narrowed, not to the end":  {func(r *HostRun) { narrowedAt(r, epoch) }, StepFinish, ReasonNotSoaked},
		"soaked":                    {func(r *HostRun) { narrowedAt(r, epoch); r.Soaked = true }, StepProve, ""},
		"no brown-out is asked for": {func(r *HostRun) { r.Policy.Quiesce = 0 }, StepProve, ""},
	} {
		run := narrowing()
		run.Action = ActClose
		tc.change(&run)
		if got := Next(run, epoch); got.Kind != tc.want || got.Reason != tc.reason {
			t.Errorf("%s: next is %s (%s %s), want %s (%s)", name, got.Kind, got.Outcome, got.Reason, tc.want, tc.reason)
		}
	}
}

func TestTheBlockRuleGoesWithTheListener(t *testing.T) {
	t.Parallel()
	run := narrowing()
	run.Action, run.ArmedAt = ActClose, epoch
	narrowedAt(&run, epoch)
	run.Seen.Listeners.Value = run.Seen.Listeners.Value[1:]
	run.Closed = proofAt(epoch, true)
	run.Done[StepDisarm] = 1
	if got := Next(run, epoch); got.Kind != StepWiden || got.Port != 5985 {
		t.Errorf("next is %+v", got)
	}
}

func TestActionsOfAPlan(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		goal    Goal
		quiesce time.Duration
		want    []ActionKind
	}{
		{GoalSecure, 0, []ActionKind{ActSecure}},
		{GoalSecure, time.Hour, []ActionKind{ActSecure}},
		{GoalClose, 0, []ActionKind{ActSecure, ActClose}},
		{GoalClose, time.Hour, []ActionKind{ActSecure, ActQuiesce, ActClose}},
	} {
		p := &Plan{Goal: tc.goal, Policy: Policy{Quiesce: Duration(tc.quiesce)}}
		if got := p.Actions(); !slices.Equal(got, tc.want) {
			t.Errorf("%s with a brown-out of %v: %v, want %v", tc.goal, tc.quiesce, got, tc.want)
		}
	}
	if got := GoalClose.Actions(); len(got) != 2 {
		t.Errorf("the goal itself became %v", got)
	}
}

func TestComplement(t *testing.T) {
	t.Parallel()
	const all6 = "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	for _, tc := range []struct{ keep, want string }{
		{"10.0.0.5", "0.0.0.0-10.0.0.4 10.0.0.6-255.255.255.255 " + all6},
		{"10.0.0.5 10.0.0.6", "0.0.0.0-10.0.0.4 10.0.0.7-255.255.255.255 " + all6},
		{"10.0.0.6 10.0.0.5 10.0.0.6", "0.0.0.0-10.0.0.4 10.0.0.7-255.255.255.255 " + all6},
		{"0.0.0.0 255.255.255.255", "0.0.0.1-255.255.255.254 " + all6},
		{"::ffff:10.0.0.5", "0.0.0.0-10.0.0.4 10.0.0.6-255.255.255.255 " + all6},
		{"2001:db8::1", "0.0.0.0-255.255.255.255 ::-2001:db8:: 2001:db8::2-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"fe80::1%12", "0.0.0.0-255.255.255.255 ::-fe80:: fe80::2-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		got, err := Complement(strings.Fields(tc.keep))
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("without %s: %v %v, want %s", tc.keep, got, err, tc.want)
		}
	}
	for _, bad := range []string{"", "here", "10.0.0.0/8"} {
		if got, err := Complement(strings.Fields(bad)); err == nil {
			t.Errorf("without %q: %v", bad, got)
		}
	}
}

// FuzzComplement asks of every address whether exactly the kept ones are left out.
func FuzzComplement(f *testing.F) {
	f.Add("10.0.0.5,2001:db8::1", "10.0.0.5")
	f.Add("0.0.0.0,255.255.255.255", "0.0.0.1")
	f.Fuzz(func(t *testing.T, list, one string) {
		keep := strings.Split(list, ",")
		ranges, err := Complement(keep)
		a, bad := netip.ParseAddr(one)
		if err != nil || bad != nil {
			return
		}
		a = a.Unmap().WithZone("")
		kept := slices.ContainsFunc(keep, func(s string) bool {
			k, err := netip.ParseAddr(s)
			return err == nil && k.Unmap().WithZone("") == a
		})
		covered := slices.ContainsFunc(ranges, func(s string) bool {
			from, to, _ := strings.Cut(s, "-")
			return netip.MustParseAddr(from).Compare(a) <= 0 && a.Compare(netip.MustParseAddr(to)) <= 0
		})
		if covered == kept {
			t.Errorf("%s is blocked %v and kept %v by %v", a, covered, kept, ranges)
		}
	})
}
