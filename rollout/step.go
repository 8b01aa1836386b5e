package rollout

import (
	"time"

	"wavelock/pki"
)

// ActionKind is one thing that a campaign does to a host, made of steps.
type ActionKind string

// The actions.
const (
	ActObserve ActionKind = "observe" // read only
	ActSecure  ActionKind = "secure"  // certificate, HTTPS listener, firewall rule, proof
	ActQuiesce ActionKind = "quiesce" // narrow HTTP to ourselves for a time, commit-confirmed
	ActClose   ActionKind = "close"   // remove the HTTP listener, commit-confirmed
	ActRenew   ActionKind = "renew"   // the next certificate for the HTTPS listener
	ActRestore ActionKind = "restore" // back to the before-image
)

// StepKind is one step of an action. Every step observes, compares, acts if
// needed and proves; running it twice is harmless.
type StepKind string

// The steps.
const (
	StepInspect     StepKind = "inspect"      // read the host; nothing is written
	StepSaveImage   StepKind = "save-image"   // keep the before-image on the host and in the journal
	StepEnroll      StepKind = "enroll"       // the host asks the CA for a certificate
	StepRequest     StepKind = "make-request" // the host makes key and request, for another to carry to the CA
	StepSubmit      StepKind = "ask-ca"       // carry the request to the CA, or ask what became of it; nothing is done to the host
	StepAccept      StepKind = "accept"       // the host binds what the CA issued to its key
	StepListen      StepKind = "listen-https" // create or rebind the HTTPS listener
	StepAllow       StepKind = "allow-https"  // firewall rule for 5986
	StepProve       StepKind = "prove-https"  // from outside, on a new connection
	StepArm         StepKind = "arm-undo"     // register the way back on the host
	StepNarrow      StepKind = "narrow-http"  // one block rule: HTTP for us alone
	StepProveNarrow StepKind = "prove-narrow" // HTTPS works on a new connection, and HTTP still does for us
	StepWiden       StepKind = "widen-http"   // delete the block rule, when there is nothing left to block
	StepRemoveHTTP  StepKind = "remove-http"  // delete the HTTP listener over HTTPS
	StepProveClosed StepKind = "prove-closed" // HTTP is gone, HTTPS works on a new connection
	StepDisarm      StepKind = "disarm-undo"  // over the session that proved it
	StepRestore     StepKind = "put-back"     // listener, rule and task back to the before-image
	StepFinish      StepKind = "finish"       // no step: the action has ended
)

// Writes reports whether the step changes something on the host.
func (k StepKind) Writes() bool {
	switch k {
	case StepSaveImage, StepEnroll, StepRequest, StepAccept, StepListen, StepAllow, StepArm, StepNarrow, StepWiden, StepRemoveHTTP, StepDisarm, StepRestore:
		return true
	}
	return false
}

// Step is one thing to do to one host, with everything needed to do it,
// or the end of the action.
type Step struct {
	Kind StepKind `json:"kind"`
	Why  string   `json:"why,omitempty"`

	Wait time.Duration `json:"wait,omitempty"` // before it is tried: what failed may pass by then

	Brief      bool           `json:"brief,omitempty"` // inspect: without what only a report asks for
	Campaign   string         `json:"campaign,omitempty"`
	Thumbprint pki.Thumbprint `json:"thumbprint,omitempty"` // listen, prove, prove-closed: the certificate that must be there
	Hostname   string         `json:"hostname,omitempty"`   // listen: the certificate's common name
	Port       int            `json:"port,omitempty"`
	Template   string         `json:"template,omitempty"` // enroll, make-request
	Request    *CertRequest   `json:"request,omitempty"`  // ask-ca, accept
	Sources    []string       `json:"sources,omitempty"`  // allow: addresses that may connect; empty means any
	Profiles   []string       `json:"profiles,omitempty"` // allow: firewall profiles
	Keep       []string       `json:"keep,omitempty"`     // narrow: the addresses that stay allowed, as the host sees them
	UndoAfter  time.Duration  `json:"undo_after,omitempty"`
	Mark       string         `json:"mark,omitempty"`      // arm: the undo's own; narrow, remove, disarm: that of the undo that is counted on, or taken away
	Was        string         `json:"was,omitempty"`       // arm: the mark that was seen on the host; another one there is somebody else's
	Kept       bool           `json:"kept,omitempty"`      // arm: HTTP is gone already, and its listener is in the before-image: in a renewal, the last resort
	Back       pki.Thumbprint `json:"back,omitempty"`      // arm: a renewal: the way back is the HTTPS listener as it is, with this certificate
	Alone      bool           `json:"alone,omitempty"`     // prove-closed: HTTP was never there or is not ours to remove, and its port is not asked
	KeepRule   bool           `json:"keep_rule,omitempty"` // put-back: the rule for the HTTPS port stays, or nobody would get in
	At         time.Time      `json:"at,omitzero"`         // arm, narrow: when it was decided; the undo fires no earlier than UndoAfter later
	Until      time.Time      `json:"until,omitzero"`      // remove, narrow: it is not begun later, as the undo may fire by then
	Image      *BeforeImage   `json:"image,omitempty"`     // save-image, put-back

	// Of a StepFinish:
	Outcome Outcome   `json:"outcome,omitempty"`
	Reason  Reason    `json:"reason,omitempty"`
	Detail  string    `json:"detail,omitempty"`
	Again   time.Time `json:"again,omitzero"` // when to look again: deferred, pending, await-policy
}

// Result is what a step brought back.
type Result struct {
	// Seen is what was read: everything after an inspect, else the parts that the step read back.
	Seen       *Observation   `json:"seen,omitempty"`
	Proof      *Proof         `json:"proof,omitempty"`
	Thumbprint pki.Thumbprint `json:"thumbprint,omitempty"` // enroll, accept: the new certificate
	Request    *CertRequest   `json:"request,omitempty"`    // make-request: made; ask-ca: pending, or issued and judged
	Image      *BeforeImage   `json:"image,omitempty"`      // save-image: what was kept
}

// Proof is what a fresh connection to the HTTPS port showed. A step brings one back only where all of it held: chain,
// name and dates, the host's own answer, and that the thumbprints agree.
type Proof struct {
	At       time.Time      `json:"at"`
	Address  string         `json:"address"`
	From     string         `json:"from,omitempty"` // a probe's own address as the host sees it
	Name     string         `json:"name"`           // the name that was verified
	Wire     pki.Thumbprint `json:"wire"`           // presented in the handshake
	Listener pki.Thumbprint `json:"listener"`
	Bound    pki.Thumbprint `json:"bound"`  // http.sys
	Issued   pki.Thumbprint `json:"issued"` // the certificate that was chosen or enrolled
	Chain    []string       `json:"chain"`  // subjects, leaf first
	NotAfter time.Time      `json:"not_after"`
	TLS      string         `json:"tls"`
	Cipher   string         `json:"cipher"`
	Answered string         `json:"answered"` // the host's own name, from the authenticated call
	// Revocation is what was found out about it: good, or the reason why nothing could be. Empty: it was not asked.
	Revocation string `json:"revocation,omitempty"`
	Closed     bool   `json:"closed,omitempty"`   // HTTP was also shown to be gone
	Narrowed   bool   `json:"narrowed,omitempty"` // HTTP was also shown to be there for us
}

// Agree reports whether the four thumbprints are the same one.
func (p Proof) Agree() bool {
	return p.Wire != "" && p.Wire == p.Listener && p.Wire == p.Bound && p.Wire == p.Issued
}
