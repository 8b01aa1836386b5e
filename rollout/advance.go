package rollout

import (
	"maps"
)

// Job is one action on one host, as it is given to a worker. The attempt fences
// workers that were declared dead and were not.
type Job struct {
	Campaign CampaignID `json:"campaign"`
	Host     HostID     `json:"host"`
	Attempt  int        `json:"attempt"`
	Zone     Zone       `json:"zone,omitempty"`
}

// NewRun is the state of an action that a worker takes up, at its start or after
// a crash: nothing that an earlier process saw or proved is believed.
func NewRun(p *Plan, ph Planned, h HostState, image *BeforeImage) HostRun {
	run := HostRun{Campaign: p.ID, Host: ph.Host, Action: h.Running, Policy: p.Policy, Image: image,
		Issued: h.Issued, Request: h.Request, Dirty: h.Dirty, Removed: h.Removed, Done: map[StepKind]int{}}
	run.NarrowedAt, run.Soaked = h.Narrowed, h.Soaked
	if !h.Wrote {
		run.Basis = ph.Basis
	}
	if h.Outcome == Unknown { // nights when a laptop was off do not count against its way back
		run.Waited = h.Tries
	}
	return run
}

// Advance is the run after a step was tried: with what it brought back, or with
// the failure. Nothing of the run that is passed in is changed.
func (run HostRun) Advance(step Step, res Result, failure *Failure) HostRun {
	run.Dirty = run.Dirty || step.Kind.Writes()
	run.Removed = run.Removed || step.Kind == StepRemoveHTTP
	if failure != nil {
		run.Failure, run.Tries = failure, run.Tries+1
		return run
	}
	run.Failure = nil
	run.Done = maps.Clone(run.Done)
	if run.Done == nil {
		run.Done = map[StepKind]int{}
	}
	run.Done[step.Kind]++
	switch step.Kind {
	case StepInspect:
		run.Seen = res.Seen
		run.Closed, run.Narrow = nil, nil // whoever looks again may have lost the session that proved them
		return run
	case StepSaveImage:
		run.Image = step.Image
	case StepProve:
		run.Proof = res.Proof
	case StepProveClosed:
		run.Closed = res.Proof
	case StepProveNarrow:
		run.Narrow = res.Proof
	case StepArm:
		run.ArmedAt, run.Mark = step.At, step.Mark
	case StepNarrow:
		run.NarrowedAt = step.At
	case StepDisarm:
		run.Closed, run.Narrow = nil, nil // they were of the time before
	case StepRestore:
		run.Seen = nil // the way back is proved by looking again
		return run
	}
	if res.Thumbprint != "" && (step.Kind == StepEnroll || step.Kind == StepAccept) {
		run.Issued = res.Thumbprint
	}
	if res.Request != nil {
		run.Request = res.Request
	}
	if run.Seen != nil {
		seen := run.Seen.with(step.Kind, res)
		run.Seen = &seen
	}
	return run
}

// with is the observation after a step read parts of it back.
func (o Observation) with(kind StepKind, res Result) Observation {
	if part := res.Seen; part != nil {
		take(&o.Identity, part.Identity)
		take(&o.System, part.System)
		take(&o.Listeners, part.Listeners)
		take(&o.Service, part.Service)
		take(&o.Certificates, part.Certificates)
		take(&o.Bindings, part.Bindings)
		take(&o.Policy, part.Policy)
		take(&o.Firewall, part.Firewall)
		take(&o.Services, part.Services)
		take(&o.Peers, part.Peers)
		take(&o.Drops, part.Drops)
		take(&o.Undo, part.Undo)
		take(&o.Image, part.Image)
		takeDoor(&o.HTTP, part.HTTP)
		takeDoor(&o.HTTPS, part.HTTPS)
	}
	switch {
	case res.Proof == nil:
	case kind == StepProveClosed:
		o.HTTPS.State, o.HTTP.State = DoorOpen, DoorRefused
	case kind == StepProve, kind == StepProveNarrow:
		o.HTTPS.State = DoorOpen
	}
	return o
}

func take[T any](to *Seen[T], from Seen[T]) {
	if from.Known {
		*to = from
	}
}

func takeDoor(to *Door, from Door) {
	if from.State != DoorUnknown {
		*to = from
	}
}
