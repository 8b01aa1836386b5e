package rollout

import (
	"fmt"
	"time"

	"wavelock/pki"
)

// HostRun is everything that the next step of one action on one host depends on.
// It is made by NewRun and moved by Advance.
type HostRun struct {
	Campaign CampaignID
	Host     Host
	Action   ActionKind
	Policy   Policy
	// Basis is the fingerprint that was approved. It is empty when the host was
	// never seen, or when this campaign has written to it already.
	Basis string
	// Seen is the latest that was read in this run; nil means that the host has to be
	// inspected first, which is so at the start, after a crash and after a doubtful step.
	Seen    *Observation
	Image   *BeforeImage   // as kept in the journal
	Issued  pki.Thumbprint // enrolled in this campaign
	Request *CertRequest   // on its way to the CA or back; nil when there is none
	Proof   *Proof         // of HTTPS, made in this run; a crash forgets it
	Closed  *Proof         // that HTTP is gone, made in this run
	Narrow  *Proof         // that HTTPS works and HTTP still does for us, made in this run
	Failure *Failure       // of the last step
	Dirty   bool           // a writing step of this action was started
	Removed bool           // the removal of HTTP was started in this action
	Soaked  bool           // the brown-out of this campaign was seen to its end
	// NarrowedAt is since when this campaign has HTTP narrowed.
	NarrowedAt time.Time
	ArmedAt    time.Time // when this run decided to arm the undo; a crash forgets it
	Mark       string    // of that undo
	Tries      int       // failed steps in this run
	Waited     int       // how often in a row it has not been possible to say what happened
	Done       map[StepKind]int
}

// Next says what to do to the host now. It is where the order of the steps is
// decided, and with it the safety of the whole: HTTP is removed only with a kept
// before-image, an armed undo and a fresh proof, and the undo is disarmed only
// after another one. It does no I/O and reads no clock.
func Next(run HostRun, now time.Time) Step {
	step := next(run, now)
	// The host is still to change, by itself: nobody can say yet what was left.
	if failed := step.Outcome == Failed || step.Outcome == Refused; failed && run.guarded() {
		return renewUncertain(run, step.Reason, step.Detail, now)
	}
	return step
}

func next(run HostRun, now time.Time) Step {
	if run.Failure != nil {
		if s, end := afterFailure(run, now); end {
			return s
		}
	}
	if run.Done[StepInspect] > run.Policy.Retries+4 {
		return run.stuck(StepInspect, now)
	}
	if run.Seen == nil || run.Failure != nil {
		return Step{Kind: StepInspect, Brief: run.Action != ActObserve, Wait: run.backoff(), Why: "nothing is done to a host that was not just looked at"}
	}
	if s, end := unreachable(run, now); end {
		return s
	}
	if s, end := forbidden(run, now); end {
		return s
	}
	if s, end := taken(run, now); end {
		return s
	}
	step := nextOf(run, now)
	if step.Kind != StepFinish && run.Done[step.Kind] >= 3 {
		return run.stuck(step.Kind, now)
	}
	return step
}

// backoff is how long to wait before what failed is tried again.
func (run HostRun) backoff() time.Duration {
	if run.Failure == nil || run.Tries < 1 {
		return 0
	}
	return min(run.Policy.RetryWait.D()<<min(run.Tries-1, 20), time.Minute)
}

// stuck ends an action that goes round in circles.
func (run HostRun) stuck(kind StepKind, now time.Time) Step {
	detail := fmt.Sprintf("%s was done %d times and is asked for again", kind, run.Done[kind])
	switch {
	case run.Action == ActRestore:
		return notRestored(run, ReasonRestoreFailed, detail, now)
	case run.Seen != nil && (kind == StepInspect || kind == StepArm || kind == StepProve || kind == StepProveNarrow): // which are good for a time only
		return finish(Failed, ReasonTimeout, fmt.Sprintf("%s: the host is too slow for undo_after %v and proof_fresh %v", detail, run.Policy.UndoAfter, run.Policy.ProofFresh))
	}
	return finish(Failed, ReasonInternal, detail)
}

func nextOf(run HostRun, now time.Time) Step {
	switch run.Action {
	case ActSecure:
		return nextSecure(run, now)
	case ActQuiesce:
		return nextQuiesce(run, now)
	case ActClose:
		return nextClose(run, now)
	case ActRenew:
		return nextRenew(run, now)
	case ActRestore:
		return nextRestore(run, now)
	case ActObserve:
		return finish(Passed, "", "")
	}
	return finish(Failed, ReasonInternal, fmt.Sprintf("%q is no action", run.Action))
}

func finish(o Outcome, r Reason, detail string) Step {
	return Step{Kind: StepFinish, Outcome: o, Reason: r, Detail: detail}
}

func finishUntil(o Outcome, r Reason, detail string, again time.Time) Step {
	s := finish(o, r, detail)
	s.Again = again
	return s
}

// afterFailure ends the action, or lets it go on with a fresh look at the host.
func afterFailure(run HostRun, now time.Time) (Step, bool) {
	f := run.Failure
	detail := f.Error()
	if s, end := run.submitFailed(now); end {
		return s, true
	}
	switch {
	case f.Reason == ReasonEnrollPending:
		wait := max(f.RetryAfter, run.Policy.PollFor.D())
		return finishUntil(Pending, f.Reason, detail, now.Add(wait)), true
	case (f.Unsure || f.Transient) && run.Tries <= run.Policy.Retries:
		return Step{}, false
	case run.Action == ActRestore:
		return notRestored(run, f.Reason, detail, now), true
	case run.Action == ActRenew && (f.Unsure || f.Step == StepInspect && run.Dirty):
		return renewUncertain(run, f.Reason, detail, now), true
	case f.Step == StepInspect && run.Dirty:
		return finishUntil(Unknown, f.Reason, detail, now.Add(run.Policy.DeferFor.D())), true
	case f.Unsure:
		// The undo on the host may put HTTP back; until it was seen, nothing is certain.
		return finishUntil(Unknown, f.Reason, detail, now.Add(run.lookAgain())), true
	}
	return finish(Failed, f.Reason, detail), true
}

// lookAgain is how long to wait before a host in doubt is looked at: at the second
// look, its own undo has fired.
func (run HostRun) lookAgain() time.Duration { return run.Policy.UndoAfter.D()/2 + time.Second }

// notRestored keeps trying, until it is a person's turn.
func notRestored(run HostRun, r Reason, detail string, now time.Time) Step {
	if run.Waited >= run.Policy.RestoreTries {
		return finish(NeedsHuman, r, detail)
	}
	return finishUntil(Unknown, r, detail, now.Add(run.lookAgain()))
}

// unreachable ends the action when neither door let us in.
func unreachable(run HostRun, now time.Time) (Step, bool) {
	o := run.Seen
	if o.Via != "" {
		return Step{}, false
	}
	reason := ReasonUnreachable
	if o.HTTP.State == DoorNoName {
		reason = ReasonNoName
	}
	detail := fmt.Sprintf("HTTP %s, HTTPS %s", doorWord(o.HTTP), doorWord(o.HTTPS))
	switch {
	case run.Action == ActRestore:
		return notRestored(run, reason, detail, now), true
	case run.Action == ActRenew && run.Dirty:
		return renewUncertain(run, reason, detail, now), true
	case run.Dirty:
		return finishUntil(Unknown, reason, detail, now.Add(run.lookAgain())), true
	}
	return finishUntil(Deferred, reason, detail, now.Add(run.Policy.DeferFor.D())), true
}

// gone reports whether HTTP was removed and is not to be removed once more. A
// removal that was begun may have done nothing: HTTP is open, the undo is armed
// still, and who came meanwhile would lose the way in.
func (run HostRun) gone() bool {
	_, open := run.Seen.listener(HTTP)
	return run.Removed && (!open || run.Seen.Undo.Known && !run.Seen.Undo.Value.Active())
}

// forbidden ends the action when a check forbids it. Once HTTP is gone, only the
// question whose computer this is can still stop the procedure.
func forbidden(run HostRun, now time.Time) (Step, bool) {
	a := Assess(run.Host, *run.Seen, run.Policy, now)
	if run.Action == ActRestore || run.gone() {
		if f, wrong := a.Blocking(ActSecure); wrong && f.Reason == ReasonWrongHost {
			return notRestored(run, f.Reason, f.Detail, now), true
		}
		return Step{}, false
	}
	if f, no := a.Blocking(run.Action); no {
		switch {
		case (f.Reason == ReasonNotReadable || f.Reason == ReasonNotFullyObserved) && run.Done[StepInspect] <= run.Policy.Retries:
			return Step{Kind: StepInspect, Brief: run.Action != ActObserve, Why: f.Detail}, true
		case f.Reason == ReasonWrongHost && run.Dirty && run.Action == ActRenew:
			return renewUncertain(run, f.Reason, f.Detail, now), true
		case f.Reason == ReasonWrongHost && run.Dirty:
			return finishUntil(Unknown, f.Reason, f.Detail, now.Add(run.lookAgain())), true
		case f.Reason == ReasonGPOListener && !run.Dirty && run.NarrowedAt.IsZero():
			return awaitPolicy(run, f, now)
		}
		return run.refuse(f.Reason, f.Detail), true
	}
	if run.Basis != "" && !run.Dirty && run.Seen.Fingerprint() != run.Basis {
		return finish(Refused, ReasonStateMoved, "its listeners, bindings, policy or filters are not those of the plan"), true
	}
	return Step{}, false
}

// refuse ends the action before it wrote anything; later, what it wrote has to go back.
func (run HostRun) refuse(r Reason, detail string) Step {
	if run.Dirty || !run.NarrowedAt.IsZero() {
		return finish(Failed, r, detail)
	}
	return finish(Refused, r, detail)
}

// awaitPolicy waits for Group Policy to remove HTTP; when it has, the host is
// proved like any other.
func awaitPolicy(run HostRun, f Finding, now time.Time) (Step, bool) {
	if _, open := run.Seen.listener(HTTP); !open {
		return Step{}, false
	}
	return finishUntil(AwaitPolicy, f.Reason, f.Detail, now.Add(run.Policy.PollFor.D())), true
}

func nextSecure(run HostRun, now time.Time) Step {
	want, err := run.certificate(now)
	route, _ := run.Policy.RouteOf(run.Host)
	listener, has := run.Seen.listener(HTTPS)
	ready := err == nil && has && listener.Thumbprint == want.Thumbprint && run.Seen.bound(run.Policy.Port) == want.Thumbprint
	allowed := run.Seen.Firewall.Known && allowsHTTPS(run.Seen.Firewall.Value, run.Policy.Port)
	switch {
	case ready && allowed && !run.proved(want.Thumbprint):
		return run.prove(StepProve, want.Thumbprint)
	case ready && allowed:
		return finish(Passed, "", "")
	case err != nil && run.Host.Has(RoleDomainController):
		return run.refuse(ReasonDCReuseOnly, err.Error())
	case err != nil && route == RouteReuse:
		return run.refuse(ReasonReuseOnly, err.Error())
	case has && !ready && !run.Seen.secondDoor():
		return run.refuse(ReasonOnlyDoor, "HTTPS is the only way in and needs another certificate: a campaign with the goal renew arms a way back on the host first")
	case run.lacksImage():
		return run.saveImage(now)
	case err != nil:
		return run.enroll(err, now)
	case !ready && run.Done[StepListen] == 0:
		return Step{Kind: StepListen, Thumbprint: want.Thumbprint, Hostname: want.CommonName, Port: run.Policy.Port}
	case !allowed && run.Done[StepAllow] == 0:
		return Step{Kind: StepAllow, Port: run.Policy.Port, Sources: run.Policy.Sources, Profiles: run.Policy.Profiles}
	case !run.proved(want.Thumbprint):
		return run.prove(StepProve, want.Thumbprint) // whatever is still wrong, the proof says what
	}
	return finish(Passed, "", "")
}

// secondDoor reports whether HTTP lets us in, too: a listener that something on the way shuts is no way back.
func (o Observation) secondDoor() bool {
	_, open := o.listener(HTTP)
	return open && (o.Via == HTTP || o.HTTP.State == DoorOpen)
}

func nextClose(run HostRun, now time.Time) Step {
	want, err := run.certificate(now)
	if err != nil {
		return finish(Failed, ReasonNoCertificate, err.Error())
	}
	if _, open := run.Seen.listener(HTTP); !open {
		return nextClosed(run, want.Thumbprint, now)
	}
	undo := run.Seen.Undo
	switch {
	case run.Removed && undo.Known && !undo.Value.Active():
		return finish(Failed, ReasonUndoFired, "the HTTP listener is back and the undo is spent")
	case !run.Removed && run.Policy.Quiesce > 0 && !(run.Soaked && run.Seen.Narrowed(run.Policy.HTTPPort)):
		return run.refuse(ReasonNotSoaked, "the policy asks for a brown-out, and there was none to its end")
	case run.lacksImage():
		return run.saveImage(now)
	case !run.fresh(run.Proof, want.Thumbprint, now):
		return run.prove(StepProve, want.Thumbprint)
	case !run.counted(undo) || !run.armed(now):
		// An undo that somebody else armed has an unknown age, and an old one may
		// have fired since it was looked at: it is armed anew.
		return run.arm(now)
	}
	if run.Policy.Quiesce > 0 && run.Seen.At.Before(run.ArmedAt) {
		// An undo of before, had it fired until it was replaced, would have ended the brown-out unseen.
		return Step{Kind: StepInspect, Brief: run.Action != ActObserve, Why: "the block rule has to be there still"}
	}
	if run.undoMayBeSpent() {
		return run.lookAtUndo()
	}
	return Step{Kind: StepRemoveHTTP, Campaign: string(run.Campaign), Mark: run.Mark, Port: run.Policy.HTTPPort, Thumbprint: want.Thumbprint, Until: run.armedUntil()}
}

// arm arms the undo under a mark of its own, and never in the place of one that another campaign relies on.
func (run HostRun) arm(now time.Time) Step {
	was := run.Seen.Undo.Value
	if was.Active() && was.Campaign != string(run.Campaign) {
		return finish(Failed, ReasonOtherCampaign, fmt.Sprintf("the undo on the host is armed by the campaign %s", was.Campaign))
	}
	mark := UndoMark(run.Campaign, now)
	if mark == was.Mark { // by a clock that stands still
		mark = UndoMark(run.Campaign, now.Add(time.Nanosecond))
	}
	return Step{Kind: StepArm, Campaign: string(run.Campaign), Mark: mark, Was: was.Mark, UndoAfter: run.Policy.UndoAfter.D(), At: now}
}

// disarm takes away the undo that was seen, if it is this campaign's. One without a task is spent, and only its mark is
// left to take away: it is not called by its name, as that is how the host is told of one that may fire yet.
func (run HostRun) disarm() Step {
	s := Step{Kind: StepDisarm, Campaign: string(run.Campaign), Mark: run.Mark}
	switch u := run.Seen.Undo; {
	case u.Known && !u.Value.Task:
		s.Mark = ""
	case u.Value.Campaign == s.Campaign:
		s.Mark = u.Value.Mark
	}
	return s
}

// counted reports whether the undo on the host is the one that this run armed, and would fire.
func (run HostRun) counted(undo Seen[Undo]) bool {
	return undo.Known && undo.Value.Active() && undo.Value.Mark == run.Mark
}

// armed reports whether this run armed the undo, so lately that there is time left to confirm.
func (run HostRun) armed(now time.Time) bool {
	return !run.ArmedAt.IsZero() && !now.Before(run.ArmedAt) && now.Before(run.armedUntil())
}

// armedUntil is when the undo that this run armed has half of its time left. What
// needs it is begun before, or not at all: a worker may be stopped in between.
func (run HostRun) armedUntil() time.Time { return run.ArmedAt.Add(run.Policy.UndoAfter.D() / 2) }

// taken ends the action on a host in the middle of somebody else's removal of HTTP:
// another controller with a journal of its own. Two that arm and disarm the one undo
// of a host would leave it without any.
func taken(run HostRun, now time.Time) (Step, bool) {
	undo := run.Seen.Undo
	if run.Action == ActObserve || run.Action == ActRestore || run.Dirty || !run.NarrowedAt.IsZero() {
		return Step{}, false
	}
	if !undo.Known || !undo.Value.Active() || undo.Value.Campaign == string(run.Campaign) {
		return Step{}, false
	}
	return finishUntil(Deferred, ReasonOtherCampaign, fmt.Sprintf("the undo on the host is armed by the campaign %s", undo.Value.Campaign),
		now.Add(max(run.Policy.DeferFor.D(), run.lookAgain()))), true
}

// undoMayBeSpent reports whether the host was proved on a new connection after its
// undo was armed and not looked at since: a restart in between would have fired it.
func (run HostRun) undoMayBeSpent() bool {
	return run.Proof != nil && run.Proof.At.After(run.ArmedAt) && run.Seen.At.Before(run.Proof.At)
}

func (run HostRun) lookAtUndo() Step {
	return Step{Kind: StepInspect, Brief: true, Why: "the undo has to be armed still"}
}

// nextClosed goes on where HTTP is gone: prove it, then take the undo away. One
// that may have fired before it was taken away means that all is proved again.
func nextClosed(run HostRun, want pki.Thumbprint, now time.Time) Step {
	undo := run.Seen.Undo
	gone := undo.Known && !undo.Value.Armed && !undo.Value.Task
	inTime := !run.ArmedAt.IsZero() && now.Before(run.ArmedAt.Add(run.Policy.UndoAfter.D()))
	switch {
	case gone && inTime && run.Done[StepDisarm] > 0:
		return endOfClose(run)
	case !run.fresh(run.Closed, want, now) || !run.Closed.Closed:
		return run.prove(StepProveClosed, want)
	case !gone:
		return run.disarm()
	}
	return endOfClose(run)
}

// endOfClose ends the action. Where the listener is gone, a rule that blocks its port
// would only hide that something else answers there one day.
func endOfClose(run HostRun) Step {
	if run.Seen.Narrowed(run.Policy.HTTPPort) {
		return Step{Kind: StepWiden, Port: run.Policy.HTTPPort}
	}
	return finish(Passed, "", "")
}

func nextRestore(run HostRun, now time.Time) Step {
	image := run.Image
	if image == nil && run.Seen.Image.Known {
		image = run.Seen.Image.Value
	}
	switch {
	case image == nil && run.Seen.clean(false):
		return finish(Restored, "", "nothing had been written")
	case image == nil && !run.Seen.readable():
		return notRestored(run, ReasonNotReadable, "whether the host carries a before-image, an undo or a rule of ours could not be read", now)
	case image == nil, image.Host != run.Host.ID:
		return finish(NeedsHuman, ReasonNoImage, "neither the journal nor the host has a before-image of this host")
	}
	return run.wayBack(*image, now)
}

// bound is the certificate that http.sys would present on the port.
func (o Observation) bound(port int) pki.Thumbprint {
	for _, b := range o.Bindings.Value {
		if b.Endpoint == fmt.Sprintf("0.0.0.0:%d", port) {
			return b.Thumbprint
		}
	}
	return ""
}

// certificate is the one that the host's listener should have. What the
// listener has stays as long as it is fit.
func (run HostRun) certificate(now time.Time) (pki.Certificate, error) {
	req := pki.Requirement{Name: string(run.Host.ID), MinLeft: run.Policy.MinLeft.D(), Issuers: run.Policy.Issuers}
	if l, ok := run.Seen.listener(HTTPS); ok {
		req.Prefer = l.Thumbprint
	}
	choice := pki.Choose(run.Seen.Certificates.Value, req, now)
	if choice.Certificate == nil {
		return pki.Certificate{}, fmt.Errorf("none of %d certificates in the store is fit: %s", len(run.Seen.Certificates.Value), choice.Why())
	}
	return *choice.Certificate, nil
}

// lacksImage reports whether the before-image is missing in one of its two places.
func (run HostRun) lacksImage() bool {
	onHost := run.Seen.Image
	return run.Image == nil || (onHost.Known && onHost.Value == nil && run.Done[StepSaveImage] == 0)
}

func (run HostRun) saveImage(now time.Time) Step {
	o := run.Seen
	step := Step{Kind: StepSaveImage, Campaign: string(run.Campaign), Image: run.Image}
	switch kept := o.Image.Value; {
	case kept != nil && kept.Host != run.Host.ID:
		return run.refuse(ReasonImageFailed, fmt.Sprintf("the host carries a before-image of %s", kept.Host)) // a clone
	case kept != nil:
		step.Image = kept // a former campaign kept it and was not taken back: that one is the truth
	case step.Image == nil:
		step.Image = &BeforeImage{Host: run.Host.ID, At: now.UTC(), Campaign: string(run.Campaign), Listeners: o.Listeners.Value,
			Bindings: o.Bindings.Value, Rules: o.Firewall.Value.Rules}
	}
	return step
}

func (run HostRun) prove(kind StepKind, want pki.Thumbprint) Step {
	return Step{Kind: kind, Thumbprint: want, Port: run.Policy.Port}
}

// proved reports whether this run has shown that the certificate is served.
func (run HostRun) proved(want pki.Thumbprint) bool {
	return run.Proof != nil && run.Proof.Agree() && run.Proof.Wire == want
}

// fresh reports whether the proof is of this certificate, complete, and young enough to act on.
func (run HostRun) fresh(p *Proof, want pki.Thumbprint, now time.Time) bool {
	return p != nil && p.Agree() && p.Wire == want && !p.At.After(now) && now.Sub(p.At) < run.Policy.ProofFresh.D()
}
