package rollout

import (
	"reflect"
	"testing"
)

func TestAdvance(t *testing.T) {
	t.Parallel()
	inspected := freshComputer(nil, DefaultPolicy()).observe()
	for name, tc := range map[string]struct {
		step    Step
		res     Result
		failure *Failure
		holds   func(before, after HostRun) bool
	}{
		"a writing step makes the run dirty even when it fails": {Step{Kind: StepEnroll}, Result{}, failed(StepEnroll, ReasonEnrollFailed, nil), func(_, r HostRun) bool { return r.Dirty && r.Tries == 1 && r.Failure != nil && r.Done[StepEnroll] == 0 }},
		"a reading step does not":                               {Step{Kind: StepProve}, Result{Proof: proofAt(epoch, false)}, nil, func(_, r HostRun) bool { return !r.Dirty && r.Proof != nil && r.Done[StepProve] == 1 }},
		"a removal that fails was begun":                        {Step{Kind: StepRemoveHTTP}, Result{}, failed(StepRemoveHTTP, ReasonTimeout, nil), func(_, r HostRun) bool { return r.Removed }},
		"an inspection replaces all that was seen":              {Step{Kind: StepInspect}, Result{Seen: &inspected}, nil, func(_, r HostRun) bool { return reflect.DeepEqual(*r.Seen, inspected) }},
		"the image is what was to be kept":                      {Step{Kind: StepSaveImage, Image: &BeforeImage{Host: subject}}, Result{}, nil, func(_, r HostRun) bool { return r.Image != nil }},
		"a failed save keeps no image":                          {Step{Kind: StepSaveImage, Image: &BeforeImage{Host: subject}}, Result{}, failed(StepSaveImage, ReasonImageFailed, nil), func(_, r HostRun) bool { return r.Image == nil }},
		"the time of arming is kept":                            {Step{Kind: StepArm, At: epoch}, Result{}, nil, func(_, r HostRun) bool { return r.ArmedAt.Equal(epoch) }},
		"an undo that was not armed has no time":                {Step{Kind: StepArm, At: epoch}, Result{}, failed(StepArm, ReasonUndoNotArmed, nil), func(_, r HostRun) bool { return r.ArmedAt.IsZero() }},
		"a proof of the open door is not one of the closed":     {Step{Kind: StepProve}, Result{Proof: proofAt(epoch, false)}, nil, func(_, r HostRun) bool { return r.Closed == nil }},
		"disarming ends what was proved before":                 {Step{Kind: StepDisarm}, Result{}, nil, func(_, r HostRun) bool { return r.Closed == nil }},
		"after the way back the host is looked at again":        {Step{Kind: StepRestore}, Result{Seen: &inspected}, nil, func(_, r HostRun) bool { return r.Seen == nil && r.Done[StepRestore] == 1 }},
		"what was not read back stays as it was seen": {Step{Kind: StepAllow}, Result{Seen: &Observation{Firewall: Saw(Firewall{Total: 7})}}, nil, func(b, r HostRun) bool {
			return r.Seen.Firewall.Value.Total == 7 && reflect.DeepEqual(r.Seen.Listeners, b.Seen.Listeners)
		}},
		"the enrolled certificate is remembered": {Step{Kind: StepEnroll}, Result{Thumbprint: thumb}, nil, func(_, r HostRun) bool { return r.Issued == thumb }},
		"success forgets the failure before":     {Step{Kind: StepInspect}, Result{Seen: &inspected}, nil, func(_, r HostRun) bool { return r.Failure == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, same := securing(), securing()
			after := before.Advance(tc.step, tc.res, tc.failure)
			if !tc.holds(before, after) {
				t.Errorf("it does not hold of %+v", after)
			}
			if !reflect.DeepEqual(before, same) {
				t.Errorf("the run that was passed in changed to %+v", before)
			}
		})
	}
}

func TestACrashIsNotBelieved(t *testing.T) {
	t.Parallel()
	p := onePlan(DefaultPolicy(), GoalClose, freshComputer(nil, DefaultPolicy()))
	h := HostState{Running: ActClose, Wrote: true, Dirty: true, Removed: true, Proof: proofAt(epoch, false), Outcome: Passed, Tries: 9}
	run := NewRun(p, p.Hosts[0], h, nil)
	if run.Seen != nil || run.Proof != nil || run.Closed != nil || !run.ArmedAt.IsZero() {
		t.Errorf("an earlier process is believed: %+v", run)
	}
	if !run.Dirty || !run.Removed || run.Basis != "" || run.Waited != 0 {
		t.Errorf("what was begun is forgotten: %+v", run)
	}
	if run := NewRun(p, p.Hosts[0], HostState{Running: ActRestore, Outcome: Unknown, Tries: 4}, nil); run.Waited != 4 || run.Basis == "" {
		t.Errorf("a host that was in doubt four times has waited %d, basis %q", run.Waited, run.Basis)
	}
	if run := NewRun(p, p.Hosts[0], HostState{Running: ActRestore, Outcome: Deferred, Tries: 20}, nil); run.Waited != 0 {
		t.Errorf("a laptop that was off %d times is given up at its first restore", run.Waited)
	}
}
