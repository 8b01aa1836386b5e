package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"wavelock/pki"
)

// A renewal gives the HTTPS listener of a host its next certificate: the one that
// autoenrollment has put beside the old one, or one that is asked for now. It is
// proved like everything else. The undo is armed before the listener is touched, also
// where HTTP is open, as those who have moved would not find it. Its way back is the
// HTTPS listener with the certificate that let us in; where HTTP is gone, the HTTP
// listener of the before-image is the last resort, should that certificate not be in
// the store any more. A renewal whose proof fails ends when the undo was seen to have
// fired; one that fails before it touched the listener changes nothing.

// longestBefore is how long before its end a certificate is renewed at the latest
// wish of ours: after the six weeks at which autoenrollment does it by itself.
const longestBefore = 30 * 24 * time.Hour

// renewBefore is how long before its end a certificate is due: as the policy says,
// else a third of its life.
func (p Policy) renewBefore(c pki.Certificate) time.Duration {
	if p.RenewBefore > 0 {
		return p.RenewBefore.D()
	}
	return min(c.NotAfter.Sub(c.NotBefore)/3, longestBefore)
}

// renewal is the certificate that the listener should have, preferably the one that
// it has. The error says why none in the store will do.
func (p Policy) renewal(h Host, o Observation, now time.Time) (pki.Certificate, error) {
	req := pki.Requirement{Name: string(h.ID), Issuers: p.Issuers}
	if l, ok := o.listener(HTTPS); ok {
		req.Prefer = l.Thumbprint
	}
	var young []pki.Certificate
	var due pki.Choice
	for _, c := range o.Certificates.Value {
		if left, least := c.NotAfter.Sub(now), p.renewBefore(c); left > 0 && left < least {
			due.Rejected = append(due.Rejected, pki.Rejection{Thumbprint: c.Thumbprint, Subject: c.Subject, Code: "expires-soon",
				Detail: fmt.Sprintf("%v left, it is renewed %v before its end", left.Round(time.Minute), least.Round(time.Minute))})
			continue
		}
		young = append(young, c)
	}
	choice := pki.Choose(young, req, now)
	if choice.Certificate == nil {
		choice.Rejected = slices.Concat(due.Rejected, choice.Rejected)
		return pki.Certificate{}, fmt.Errorf("none of %d certificates in the store will do: %s", len(o.Certificates.Value), choice.Why())
	}
	return *choice.Certificate, nil
}

// Due is why a host's HTTPS listener should have another certificate than it has.
type Due struct {
	Reason Reason `json:"reason"`
	Why    string `json:"why"`
}

// NeedsRenewal reports whether the host's HTTPS listener should have another
// certificate than it has, and why. A host that was not seen, or has no such listener, needs none.
func (p Policy) NeedsRenewal(h Host, o Observation, now time.Time) (Due, bool) {
	l, has := o.listener(HTTPS)
	if !has || !o.Certificates.Known || !o.Bindings.Known {
		return Due{}, false
	}
	want, err := p.renewal(h, o, now)
	revoked := o.revoked(l.Thumbprint)
	switch {
	case revoked != "":
		return Due{ReasonRevoked, fmt.Sprintf("the CA took %s back, which the listener has: %s", l.Thumbprint.Short(), revoked)}, true
	case o.untrusted(l.Thumbprint) != "":
		return Due{ReasonUntrusted, fmt.Sprintf("the listener has %s, %s", l.Thumbprint.Short(), o.untrusted(l.Thumbprint))}, true
	case err != nil:
		return Due{ReasonNoCertificate, err.Error()}, true
	case want.Thumbprint != l.Thumbprint:
		return Due{ReasonCertificateReplaced, fmt.Sprintf("the listener has %s, %s takes its place", l.Thumbprint.Short(), want.Thumbprint.Short())}, true
	case o.bound(p.Port) != want.Thumbprint:
		return Due{ReasonThumbprintDiffers, fmt.Sprintf("the listener has %s, http.sys has %s", l.Thumbprint.Short(), o.bound(p.Port).Short())}, true
	}
	return Due{}, false
}

// revoked is what is known of the CA having taken the certificate back; empty: nothing.
func (o Observation) revoked(t pki.Thumbprint) string {
	for _, c := range o.Certificates.Value {
		if c.Thumbprint == t {
			return c.Revoked
		}
	}
	return ""
}

// untrusted is why the certificate leads to no root of the forest; empty: it does, or nobody looked.
func (o Observation) untrusted(t pki.Thumbprint) string {
	for _, c := range o.Certificates.Value {
		if c.Thumbprint == t {
			return c.Untrusted
		}
	}
	return ""
}

// notRevoked: clients that ask the CA refuse the listener's certificate, and those
// that do not ask trust what somebody else may have.
func notRevoked(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	l, has := o.listener(HTTPS)
	if !has || o.revoked(l.Thumbprint) == "" {
		return Finding{}, false
	}
	return warning(ReasonRevoked, "the HTTPS listener has %s: %s", l.Thumbprint.Short(), o.revoked(l.Thumbprint))
}

// DueForRenewal are the subjects that need one: what the standing mode looks for, and
// what a plan with GoalRenew is made of.
func (p Policy) DueForRenewal(subjects []Subject, now time.Time) []Subject {
	var due []Subject
	for _, s := range subjects {
		if _, needs := p.NeedsRenewal(s.Host, s.Observation, now); needs {
			due = append(due, s)
		}
	}
	return due
}

func nextRenew(run HostRun, now time.Time) Step {
	listener, has := run.Seen.listener(HTTPS)
	if !has {
		return run.refuse(ReasonNothingToRenew, "it has no HTTPS listener whose certificate could be renewed")
	}
	want, err := run.Policy.renewal(run.Host, *run.Seen, now)
	route, _ := run.Policy.RouteOf(run.Host)
	ready := err == nil && listener.Thumbprint == want.Thumbprint && run.Seen.bound(run.Policy.Port) == want.Thumbprint
	switch {
	case run.Dirty && !run.Seen.Undo.Known: // whether it has fired or still may, nobody can say
		if run.Done[StepInspect] <= run.Policy.Retries {
			return Step{Kind: StepInspect, Brief: true, Why: "the undo was not read: " + run.Seen.Undo.Why}
		}
		return renewUncertain(run, ReasonNotReadable, "the undo was not read: "+run.Seen.Undo.Why, now)
	case run.spent():
		return finish(Failed, ReasonUndoFired, "it fired, or its task was deleted, before the new certificate was confirmed: "+run.cameBack(listener))
	case ready && !run.undone() && !run.proved(want.Thumbprint):
		return run.prove(StepProve, want.Thumbprint)
	case ready && !run.undone():
		return finish(Passed, "", "")
	case ready:
		s := nextClosed(run, want.Thumbprint, now)
		s.Alone = s.Kind == StepProveClosed && (run.listsHTTP() || !run.keptHTTP())
		return s
	case err != nil && run.Host.Has(RoleDomainController):
		return run.refuse(ReasonDCReuseOnly, err.Error())
	case err != nil && route == RouteReuse:
		return run.refuse(ReasonReuseOnly, err.Error())
	case run.lacksImage():
		return run.saveImage(now)
	case err != nil:
		return run.enroll(err, now)
	case run.Done[StepListen] > 0:
		return run.prove(StepProve, want.Thumbprint) // whatever is still wrong, the proof says what
	case !(run.undone() && run.armed(now)):
		// What http.sys has is what let us in, whatever the listener says.
		s := run.arm(now)
		if s.Kind == StepFinish {
			return s
		}
		s.Kept, s.Back = !run.listsHTTP() && run.keptHTTP(), cmp.Or(run.Seen.bound(run.Policy.Port), listener.Thumbprint)
		return s
	}
	return Step{Kind: StepListen, Campaign: string(run.Campaign), Mark: run.Mark, Thumbprint: want.Thumbprint, Hostname: want.CommonName, Port: run.Policy.Port, Until: run.armedUntil()}
}

// cameBack says what an undo of a renewal left.
func (run HostRun) cameBack(listener Listener) string {
	has := "the HTTPS listener has " + listener.Thumbprint.Short()
	if run.listsHTTP() {
		return has + ", and HTTP is there, which a close campaign takes away again"
	}
	return has
}

func (run HostRun) listsHTTP() bool {
	_, open := run.Seen.listener(HTTP)
	return open
}

// guarded reports whether the undo of a renewal will still fire: what failed is not over.
func (run HostRun) guarded() bool {
	if run.Action != ActRenew || run.Seen == nil {
		return false
	}
	u := run.Seen.Undo
	return u.Known && u.Value.Active() && u.Value.Campaign == string(run.Campaign)
}

// undone reports whether an undo is armed on the host, or half armed.
func (run HostRun) undone() bool {
	u := run.Seen.Undo
	return u.Known && (u.Value.Armed || u.Value.Task)
}

// spent reports whether an undo of this campaign has fired: its mark is there, and its task is not.
func (run HostRun) spent() bool {
	u := run.Seen.Undo
	return u.Known && u.Value.Armed && !u.Value.Task && u.Value.Campaign == string(run.Campaign)
}

// keptHTTP reports whether the before-image has an HTTP listener that an undo could bring back.
func (run HostRun) keptHTTP() bool {
	return run.Image != nil && slices.ContainsFunc(run.Image.Listeners, isDoor(HTTP))
}

// renewUncertain is how a renewal ends whose last step may or may not have been done:
// the host is looked at again, and the renewal goes on from there.
func renewUncertain(run HostRun, r Reason, detail string, now time.Time) Step {
	if run.Waited >= run.Policy.RestoreTries {
		return finish(NeedsHuman, r, detail)
	}
	return finishUntil(Unknown, r, detail, now.Add(run.lookAgain()))
}

// MustEnroll reports whether the host needs a certificate that it does not have yet.
func (p Policy) MustEnroll(h Host, o Observation, now time.Time) bool {
	_, err := p.renewal(h, o, now)
	return err != nil
}
