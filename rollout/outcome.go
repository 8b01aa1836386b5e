package rollout

import "time"

// Outcome is how an action ended for one host.
type Outcome string

// The outcomes. Pass and fail are judged; unknown pauses; the others are neither.
const (
	Passed      Outcome = "passed"
	Failed      Outcome = "failed"
	Unknown     Outcome = "unknown"      // an act began and how it ended is not known
	Deferred    Outcome = "deferred"     // not reachable before anything was written: later, outside the budget
	Refused     Outcome = "refused"      // a blocker: nothing was written by this action
	Pending     Outcome = "pending"      // the CA has the request and has not decided
	AwaitPolicy Outcome = "await-policy" // Group Policy owns HTTP; the policy has to change
	Soaking     Outcome = "soaking"      // HTTP is narrowed to us, and it is watched who is turned away
	Restored    Outcome = "restored"     // put back to the before-image
	NeedsHuman  Outcome = "needs-human"  // the way back failed too
)

// Failure says that a step did not succeed: for whom, while doing what, why, and
// what is known of the host's state. Drivers return it; the core decides on it.
type Failure struct {
	Host   HostID
	Step   StepKind
	Reason Reason
	// Unsure means that the host may or may not have done it: the connection broke
	// after the request had left. The host is inspected before anything else.
	Unsure bool
	// Transient means that trying the same again may help.
	Transient bool
	// RetryAfter is the peer's own wish, as a CA has for a pending request.
	RetryAfter time.Duration
	Err        error
}

func (f *Failure) Error() string {
	s := string(f.Step) + " on " + string(f.Host) + ": " + string(f.Reason)
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Unwrap gives the driver's own error.
func (f *Failure) Unwrap() error { return f.Err }

// Hint is what to do about it.
func (f *Failure) Hint() string { return f.Reason.Hint() }
