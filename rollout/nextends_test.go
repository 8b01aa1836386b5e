package rollout

import (
	"slices"
	"testing"
	"time"

	"wavelock/pki"
)

// securing is a run of secure on a host that was just looked at and has only HTTP.
func securing() HostRun {
	c := freshComputer(nil, DefaultPolicy())
	o := c.observe()
	return HostRun{Campaign: "drill", Host: c.host, Action: ActSecure, Policy: c.policy, Basis: o.Fingerprint(), Seen: &o, Done: map[StepKind]int{StepInspect: 1}}
}

func TestStepsOfSecure(t *testing.T) {
	t.Parallel()
	image := &BeforeImage{Host: subject}
	imaged := func(r *HostRun) { r.Image, r.Seen.Image = image, Saw(image) }
	enrolled := func(r *HostRun) {
		imaged(r)
		r.Seen.Certificates.Value = []pki.Certificate{goodCert(subject, 1, epoch)}
	}
	listening := func(r *HostRun) {
		enrolled(r)
		r.Seen.Listeners.Value = append(r.Seen.Listeners.Value, Listener{Address: "*", Transport: HTTPS, Port: 5986, Enabled: true, Thumbprint: thumb})
		r.Seen.Bindings.Value = []Binding{{Endpoint: "0.0.0.0:5986", Thumbprint: thumb, AppID: WinRMAppID}}
		r.Dirty = true
	}
	for name, tc := range map[string]struct {
		change func(*HostRun)
		want   StepKind
		ends   Outcome
		reason Reason
	}{
		"the image comes first":                            {func(*HostRun) {}, StepSaveImage, "", ""},
		"then a certificate":                               {imaged, StepEnroll, "", ""},
		"a CA that answered with nothing fit is a failure": {func(r *HostRun) { imaged(r); r.Done[StepEnroll] = 1 }, StepFinish, Failed, ReasonNoCertificate},
		"a domain controller does not enroll":              {func(r *HostRun) { r.Host.Roles = []Role{RoleDomainController} }, StepFinish, Refused, ReasonDCReuseOnly},
		"a domain controller with a fit certificate goes on": {func(r *HostRun) {
			enrolled(r)
			r.Host.Roles, r.Dirty = []Role{RoleDomainController}, true
		}, StepListen, "", ""},
		"then the listener":                                 {func(r *HostRun) { enrolled(r); r.Dirty = true }, StepListen, "", ""},
		"then the firewall":                                 {listening, StepAllow, "", ""},
		"an open firewall is left alone":                    {func(r *HostRun) { listening(r); r.Seen.Firewall.Value.Profiles[0].BlockIn = false }, StepProve, "", ""},
		"a rule that did not help is not added twice":       {func(r *HostRun) { listening(r); r.Done[StepAllow] = 1 }, StepProve, "", ""},
		"a firewall that was not read gets the rule":        {func(r *HostRun) { listening(r); r.Seen.Firewall = Unseen[Firewall]("denied") }, StepAllow, "", ""},
		"a listener with another certificate is bound anew": {func(r *HostRun) { listening(r); r.Seen.Listeners.Value[1].Thumbprint = "AA" }, StepListen, "", ""},
		"a binding with another certificate is bound anew":  {func(r *HostRun) { listening(r); r.Seen.Bindings.Value[0].Thumbprint = "AA" }, StepListen, "", ""},
		"the proof is the end": {func(r *HostRun) {
			listening(r)
			r.Done[StepAllow], r.Proof = 1, proofAt(epoch, false)
		}, StepFinish, Passed, ""},
		"a host that changed since the plan is refused":  {func(r *HostRun) { r.Seen.Service.Value.IPv4Filter = "10.0.0.0/8" }, StepFinish, Refused, ReasonStateMoved},
		"its own changes are no reason to refuse":        {func(r *HostRun) { r.Dirty, r.Seen.Service.Value.IPv4Filter = true, "10.0.0.0/8" }, StepSaveImage, "", ""},
		"a host that does not answer is deferred":        {func(r *HostRun) { *r.Seen = Observation{HTTP: Door{State: DoorSilent}, HTTPS: Door{State: DoorSilent}} }, StepFinish, Deferred, ReasonUnreachable},
		"a name that does not resolve is deferred":       {func(r *HostRun) { *r.Seen = Observation{HTTP: Door{State: DoorNoName}, HTTPS: Door{State: DoorNoName}} }, StepFinish, Deferred, ReasonNoName},
		"once it was written to, silence is unknown":     {func(r *HostRun) { r.Dirty, *r.Seen = true, Observation{} }, StepFinish, Unknown, ReasonUnreachable},
		"a policy on the HTTP listener does not stop it": {func(r *HostRun) { r.Seen.Listeners.Value[0].Source, r.Basis = SourceGPO, "" }, StepSaveImage, "", ""},
		"listeners that were not read are read again":    {func(r *HostRun) { r.Seen.Listeners = Unseen[[]Listener]("denied") }, StepInspect, "", ""},
		"and when that does not help nothing is written": {func(r *HostRun) {
			r.Seen.Listeners, r.Done[StepInspect] = Unseen[[]Listener]("denied"), 3
		}, StepFinish, Refused, ReasonNotReadable},
		"the image of a former campaign stays the truth":       {func(r *HostRun) { r.Seen.Image = Saw(image) }, StepSaveImage, "", ""},
		"a clone that carries another host's image is refused": {func(r *HostRun) { r.Seen.Image = Saw(&BeforeImage{Host: "golden.corp.example"}) }, StepFinish, Refused, ReasonImageFailed},
		"a driver that inspects and sees nothing is stopped":   {func(r *HostRun) { r.Seen, r.Done[StepInspect] = nil, 7 }, StepFinish, Failed, ReasonInternal},
		"an action that nobody knows is a defect":              {func(r *HostRun) { r.Action = "dance" }, StepFinish, Failed, ReasonInternal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := securing()
			tc.change(&run)
			got := Next(run, epoch)
			if got.Kind != tc.want || got.Outcome != tc.ends || got.Reason != tc.reason {
				t.Errorf("next is %s (%s %s %s), want %s (%s %s)", got.Kind, got.Outcome, got.Reason, got.Detail, tc.want, tc.ends, tc.reason)
			}
		})
	}
}

func TestWhatIsKeptInTheImage(t *testing.T) {
	t.Parallel()
	run := securing()
	step := Next(run, epoch)
	if step.Image == nil || step.Image.Host != subject || !slices.ContainsFunc(step.Image.Listeners, isDoor(HTTP)) {
		t.Fatalf("the first image is %+v", step.Image)
	}
	former := &BeforeImage{Host: subject, Campaign: "winter"}
	run.Seen.Image = Saw(former)
	if got := Next(run, epoch).Image; got != former {
		t.Errorf("over a kept image, %+v is kept", got)
	}
	run = securing()
	run.Image = &BeforeImage{Host: subject, Campaign: "in the journal"}
	if got := Next(run, epoch); got.Kind != StepSaveImage || got.Image != run.Image {
		t.Errorf("what the journal has and the host lost is kept as %s %+v", got.Kind, got.Image)
	}
}

func TestAfterAFailure(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		failure *Failure
		change  func(*HostRun)
		want    StepKind
		ends    Outcome
		again   time.Duration
	}{
		"a clear failure ends the action":                 {failed(StepEnroll, ReasonEnrollDenied, nil), nil, StepFinish, Failed, 0},
		"an error that passes is tried again":             {failed(StepListen, ReasonTimeout, func(f *Failure) { f.Transient = true }), nil, StepInspect, "", 0},
		"but not for ever":                                {failed(StepListen, ReasonTimeout, func(f *Failure) { f.Transient = true }), func(r *HostRun) { r.Tries = 3 }, StepFinish, Failed, 0},
		"a doubtful write that stays doubtful is unknown": {failed(StepListen, ReasonTimeout, func(f *Failure) { f.Unsure = true }), func(r *HostRun) { r.Tries, r.Dirty = 3, true }, StepFinish, Unknown, 5*time.Minute + time.Second},
		"a pending request is neither":                    {failed(StepEnroll, ReasonEnrollPending, nil), nil, StepFinish, Pending, 5 * time.Minute},
		"a pending request waits as long as the CA says":  {failed(StepEnroll, ReasonEnrollPending, func(f *Failure) { f.RetryAfter = time.Hour }), nil, StepFinish, Pending, time.Hour},
		"an inspection that fails early is a failure":     {failed(StepInspect, ReasonLogonRefused, nil), nil, StepFinish, Failed, 0},
		"an inspection that fails later is unknown":       {failed(StepInspect, ReasonLogonRefused, nil), func(r *HostRun) { r.Dirty = true }, StepFinish, Unknown, time.Hour},
		"a restore that fails is looked at again":         {failed(StepRestore, ReasonTimeout, nil), func(r *HostRun) { r.Action = ActRestore }, StepFinish, Unknown, 5*time.Minute + time.Second},
		"until it is a person's turn":                     {failed(StepRestore, ReasonTimeout, nil), func(r *HostRun) { r.Action, r.Waited = ActRestore, 12 }, StepFinish, NeedsHuman, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := securing()
			run.Failure, run.Tries = tc.failure, 1
			if tc.change != nil {
				tc.change(&run)
			}
			got := Next(run, epoch)
			if got.Kind != tc.want || got.Outcome != tc.ends {
				t.Fatalf("next is %s (%s), want %s (%s)", got.Kind, got.Outcome, tc.want, tc.ends)
			}
			if again := (got.Again.Sub(epoch)); tc.again != 0 && again != tc.again {
				t.Errorf("again in %v, want %v", again, tc.again)
			}
			if tc.ends != "" && (got.Reason != tc.failure.Reason || got.Detail == "") {
				t.Errorf("it ends for %q %q", got.Reason, got.Detail)
			}
		})
	}
}

func TestWayBack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*HostRun)
		want   StepKind
		ends   Outcome
		reason Reason
	}{
		"what was written is put back":                          {func(*HostRun) {}, StepRestore, "", ""},
		"the host's own image serves when the journal has none": {func(r *HostRun) { r.Image = nil }, StepRestore, "", ""},
		"nobody goes back to an image of another host":          {func(r *HostRun) { r.Image = &BeforeImage{Host: "golden.corp.example"} }, StepFinish, NeedsHuman, ReasonNoImage},
		"without any image it is a person's turn":               {func(r *HostRun) { r.Image, r.Seen.Image.Value = nil, nil }, StepFinish, NeedsHuman, ReasonNoImage},
		"an image that could not be read is not missing":        {func(r *HostRun) { r.Image, r.Seen.Image = nil, Unseen[*BeforeImage]("denied") }, StepFinish, Unknown, ReasonNotReadable},
		"a host that looks as before is restored":               {clean, StepFinish, Restored, ""},
		"not while the undo's task is left":                     {func(r *HostRun) { clean(r); r.Seen.Undo.Value.Task = true }, StepRestore, "", ""},
		"not while the undo's key is left":                      {func(r *HostRun) { clean(r); r.Seen.Undo.Value.Armed = true }, StepRestore, "", ""},
		"not while the firewall rule is left": {func(r *HostRun) {
			clean(r)
			r.Seen.Firewall.Value.Rules = []FirewallRule{{Name: "wavelock-https-5986"}}
		}, StepRestore, "", ""},
		"somebody else's rule is left alone":               {func(r *HostRun) { clean(r); r.Seen.Firewall.Value.Rules = []FirewallRule{{Name: "WINRM-HTTP-In-TCP"}} }, StepFinish, Restored, ""},
		"not while HTTP is missing":                        {func(r *HostRun) { clean(r); r.Seen.Listeners.Value = nil }, StepRestore, "", ""},
		"not with HTTP on another port":                    {func(r *HostRun) { clean(r); r.Seen.Listeners.Value[0].Port = 80 }, StepRestore, "", ""},
		"not when the listeners were not read":             {func(r *HostRun) { clean(r); r.Seen.Listeners = Unseen[[]Listener]("denied") }, StepRestore, "", ""},
		"not when the undo was not read":                   {func(r *HostRun) { clean(r); r.Seen.Undo = Unseen[Undo]("denied") }, StepRestore, "", ""},
		"not when the firewall was not read":               {func(r *HostRun) { clean(r); r.Seen.Firewall = Unseen[Firewall]("denied") }, StepRestore, "", ""},
		"a host that nobody wrote to was restored already": {func(r *HostRun) { clean(r); r.Image = nil }, StepFinish, Restored, ""},
		"another computer is never put back":               {func(r *HostRun) { r.Seen.Identity.Value.FQDN = "other.corp.example" }, StepFinish, Unknown, ReasonWrongHost},
		"blockers do not stop the way back":                {func(r *HostRun) { r.Seen.System.Value.ClockSkew = time.Hour }, StepRestore, "", ""},
		"a silent host is looked at later":                 {func(r *HostRun) { *r.Seen = Observation{} }, StepFinish, Unknown, ReasonUnreachable},
		"a silent host becomes a person's turn":            {func(r *HostRun) { *r.Seen, r.Waited = Observation{}, 12 }, StepFinish, NeedsHuman, ReasonUnreachable},
		"one that does not come back is tried later":       {func(r *HostRun) { r.Done[StepRestore] = 3 }, StepFinish, Unknown, ReasonRestoreFailed},
		"and becomes a person's turn":                      {func(r *HostRun) { r.Done[StepRestore], r.Waited = 3, 12 }, StepFinish, NeedsHuman, ReasonRestoreFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := closed()
			run.Action = ActRestore
			tc.change(&run)
			got := Next(run, epoch)
			if got.Kind != tc.want || got.Outcome != tc.ends || got.Reason != tc.reason {
				t.Errorf("next is %s (%s %s %s), want %s (%s %s)", got.Kind, got.Outcome, got.Reason, got.Detail, tc.want, tc.ends, tc.reason)
			}
			if got.Kind == StepRestore && got.Image == nil {
				t.Error("put-back has no image to go back to")
			}
		})
	}
}

// clean makes the host of a restore look as its image does.
func clean(r *HostRun) {
	o := freshComputer(nil, r.Policy).observe()
	r.Seen = &o
}

func TestClosesOnlyWhatIsNotThePolicys(t *testing.T) {
	t.Parallel()
	run := closing()
	run.Dirty, run.Seen.Listeners.Value[0].Source = false, SourceGPO
	if got := Next(run, epoch); got.Outcome != AwaitPolicy || !got.Again.Equal(epoch.Add(5*time.Minute)) {
		t.Errorf("HTTP of the policy ends %s until %v", got.Outcome, got.Again)
	}
	run = closed()
	run.Removed, run.Dirty, run.Closed, run.Seen.Policy.Value.AllowAutoConfig = false, false, nil, &yes
	if got := Next(run, epoch); got.Kind != StepProveClosed {
		t.Errorf("after the policy took HTTP away, next is %s (%s %s)", got.Kind, got.Outcome, got.Detail)
	}
}

// Two undos that are armed at one time, by a clock that stands still, have different marks all the same.
func TestNoTwoUndosHaveOneMark(t *testing.T) {
	t.Parallel()
	run := closing()
	run.ArmedAt, run.Seen.Undo = time.Time{}, Saw(Undo{Armed: true, Task: true, Campaign: "drill", Mark: UndoMark("drill", epoch)})
	s := Next(run, epoch)
	if s.Kind != StepArm || s.Mark == s.Was || s.Was != UndoMark("drill", epoch) || MarkedBy(s.Mark) != "drill" {
		t.Errorf("%s with the mark %q in the place of %q", s.Kind, s.Mark, s.Was)
	}
}
