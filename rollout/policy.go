package rollout

import (
	"errors"
	"fmt"
	"time"

	"wavelock/pki"
)

// Goal is how far a campaign goes.
type Goal string

// The goals.
const (
	GoalSecure  Goal = "secure"  // HTTPS beside HTTP
	GoalClose   Goal = "close"   // HTTPS, then HTTP removed
	GoalRenew   Goal = "renew"   // the next certificate on hosts that have HTTPS; HTTP is left as it is
	GoalRestore Goal = "restore" // back to the before-image that an earlier campaign left on the host
)

// Actions lists what the goal does to a host, in order.
func (g Goal) Actions() []ActionKind {
	switch g {
	case GoalSecure:
		return []ActionKind{ActSecure}
	case GoalRestore:
		return []ActionKind{ActRestore}
	case GoalClose:
		return []ActionKind{ActSecure, ActClose}
	case GoalRenew:
		return []ActionKind{ActRenew}
	}
	return nil
}

// Policy is what a campaign may do and when it has to stop. It is part of the
// plan, so the approval covers it.
type Policy struct {
	Template    string      `json:"template"`               // certificate template, by its common name
	Issuers     []string    `json:"issuers,omitempty"`      // distinguished names of the enterprise CAs; empty accepts any chain to the roots
	Route       Route       `json:"route,omitempty"`        // self when empty
	Routes      []RouteRule `json:"routes,omitempty"`       // hosts with another route or template
	PendingFor  Duration    `json:"pending_for,omitempty"`  // a request that the CA has not decided is given up after this long; a week when 0
	Revocation  Revocation  `json:"revocation,omitempty"`   // soft when empty
	MinLeft     Duration    `json:"min_left"`               // a certificate with less left is not fit
	RenewBefore Duration    `json:"renew_before,omitempty"` // a certificate is renewed so long before its end; a third of its life, 30 days at most, when 0
	Port        int         `json:"port"`                   // of the HTTPS listener
	HTTPPort    int         `json:"http_port"`              // of the HTTP listener
	Sources     []string    `json:"sources,omitempty"`      // addresses that may connect to the HTTPS port; empty means any
	Profiles    []string    `json:"profiles"`               // firewall profiles of the rule

	// HTTP is removed only from a host whose connections were sampled over census_for and census_samples times.
	// A client that was last seen longer ago than clients_within does not count any more; 0 never forgets one.
	CensusFor     Duration `json:"census_for,omitzero"`
	CensusSamples int      `json:"census_samples,omitempty"`
	ClientsWithin Duration `json:"clients_within,omitzero"`
	Controllers   []string `json:"controllers,omitempty"` // addresses of ours, not counted as clients of HTTP

	// Quiesce is the brown-out: for so long the host's firewall lets only us in on the HTTP port, before the listener
	// goes. Nobody may be turned away in that time. Zero does without.
	Quiesce Duration `json:"quiesce,omitzero"`

	UndoAfter  Duration `json:"undo_after"`  // the host puts HTTP back by itself after this long without a confirmation
	ProofFresh Duration `json:"proof_fresh"` // HTTP is removed only this soon after a proof
	MaxSkew    Duration `json:"max_skew"`    // clock difference that Kerberos and certificates bear

	FailureLimit   int      `json:"failure_limit"`             // failed hosts in the whole campaign; reaching it stops the campaign
	FailurePercent int      `json:"failure_percent,omitempty"` // the same in percent of its hosts; planning turns it into a number, and the smaller one counts
	Retries        int      `json:"retries"`                   // of a step, for errors of the kind that passes
	RetryWait      Duration `json:"retry_wait,omitzero"`       // before the first retry; it doubles with each, to a minute
	DeferFor       Duration `json:"defer_for"`                 // an unreachable host is tried again after this long
	Deferrals      int      `json:"deferrals"`                 // and at most so often
	PollFor        Duration `json:"poll_for"`                  // pending requests and awaited policies are looked at this often
	RestoreTries   int      `json:"restore_tries"`             // before a host is left to a person
	// RestorePassed also takes back the hosts of a halted wave that had passed.
	RestorePassed bool `json:"restore_passed,omitempty"`
	// PassUnproven lets the next wave begin although no host of this one reached the goal.
	PassUnproven bool     `json:"pass_unproven,omitempty"`
	Waivers      []Waiver `json:"waivers,omitempty"`

	Maintenance  Maintenance `json:"maintenance,omitzero"`    // when something may begin
	AtOnce       []Bound     `json:"at_once,omitempty"`       // beside the waves' in_flight
	SecondPerson bool        `json:"second_person,omitempty"` // each wave that removes HTTP waits for somebody else than who approved the plan
	ApprovalFor  Duration    `json:"approval_for,omitzero"`   // an approval that was not made use of by then has expired; 0: it stays
}

// Revocation says what it means that nobody can say whether a certificate was
// revoked. One that was revoked never passes, unless nobody is asked.
type Revocation string

// The policies of revocation.
const (
	RevocationOff  Revocation = "off"  // nobody is asked
	RevocationSoft Revocation = "soft" // the doubt is written into the proof
	RevocationHard Revocation = "hard" // the proof fails
)

// Waiver lets a named finding pass, with a person's name and reason.
type Waiver struct {
	Reason Reason `json:"reason"`         // a finding's code
	Host   HostID `json:"host,omitempty"` // empty: every host
	// Template or CA is what a finding of the audit is about; such a waiver is for no host.
	Template string    `json:"template,omitempty"`
	CA       string    `json:"ca,omitempty"`
	By       string    `json:"by"`             // who answers for it
	Why      string    `json:"why"`            // said wherever the finding is shown
	Until    time.Time `json:"until,omitzero"` // when it ends, such as 2027-03-31T00:00:00Z; the configuration has to say
}

// DefaultPolicy is careful: ten minutes until the undo, three between proof and removal.
func DefaultPolicy() Policy {
	return Policy{
		Template: "WinRMHTTPS", MinLeft: Duration(7 * 24 * time.Hour), Port: 5986, HTTPPort: 5985,
		Profiles:  []string{"domain", "private"},
		UndoAfter: Duration(10 * time.Minute), ProofFresh: Duration(3 * time.Minute), MaxSkew: Duration(5 * time.Minute),
		ClientsWithin: Duration(30 * 24 * time.Hour),
		FailureLimit:  5, Retries: 2, RetryWait: Duration(500 * time.Millisecond), DeferFor: Duration(time.Hour), Deferrals: 24,
		PollFor: Duration(5 * time.Minute), RestoreTries: 12,
	}
}

// Validate names everything that is wrong with the policy.
func (p Policy) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(p.Template == "", "template: no certificate template is named")
	bad(p.Port < 1 || p.Port > 65535, "port: %d is no TCP port", p.Port)
	bad(p.HTTPPort < 1 || p.HTTPPort > 65535, "http_port: %d is no TCP port", p.HTTPPort)
	bad(p.UndoAfter < Duration(time.Second), "undo_after: %v leaves no time to confirm", p.UndoAfter)
	bad(p.Quiesce < 0, "quiesce: %v is negative", p.Quiesce)
	bad(p.CensusFor < 0 || p.CensusSamples < 0 || p.ClientsWithin < 0, "census_for, census_samples and clients_within are not negative")
	bad(p.ProofFresh <= 0, "proof_fresh: HTTP is never removed without a fresh proof")
	bad(p.ProofFresh > Duration(15*time.Minute), "proof_fresh: %v is not fresh; 15m at most", p.ProofFresh)
	bad(p.FailureLimit < 1, "failure_limit: %d; the campaign has to stop at some number of failures, 1 at least", p.FailureLimit)
	bad(p.FailurePercent < 0 || p.FailurePercent > 100, "failure_percent: %d is not between 0 and 100", p.FailurePercent)
	bad(p.Retries < 0, "retries: %d is negative", p.Retries)
	bad(p.RetryWait < 0, "retry_wait: %v is negative", p.RetryWait)
	bad(p.ApprovalFor < 0, "approval_for: %v is negative", p.ApprovalFor)
	for i, b := range p.AtOnce {
		if err := b.validate(); err != nil {
			errs = append(errs, fmt.Errorf("at_once, entry %d: %w", i+1, err))
		}
	}
	if _, err := p.Maintenance.read(); err != nil {
		errs = append(errs, err)
	}
	bad(p.RestoreTries < 1, "restore_tries: %d; a failed host needs a way back", p.RestoreTries)
	bad(p.DeferFor <= 0 || p.PollFor <= 0, "defer_for and poll_for: a positive time is needed")
	p.badRoutes(bad)
	for _, s := range p.Sources {
		_, address := spanOf(s)
		bad(!address && s != "LocalSubnet", "sources: %q is no address, prefix or range; for a group's members use source_groups", s)
	}
	bad(p.RenewBefore < 0, "renew_before: %v is negative", p.RenewBefore)
	bad(p.Revocation != "" && p.Revocation != RevocationOff && p.Revocation != RevocationSoft && p.Revocation != RevocationHard, "revocation: %q is not off, soft or hard", p.Revocation)
	for i, w := range p.Waivers {
		bad(w.By == "" || w.Why == "" || w.Reason == "", "waiver %d: a reason code, a name and a reason are needed", i+1)
		audit := pki.KnownFinding(string(w.Reason))
		bad(audit && w.Template == "" && w.CA == "", "waiver %d: %s is said of a template or a CA: name it", i+1, w.Reason)
		bad(!audit && w.Template+w.CA != "", "waiver %d: %s is said of a host, not of a template or a CA", i+1, w.Reason)
		bad(w.Host != "" && w.Template+w.CA != "", "waiver %d: it names a host besides a template or a CA", i+1)
	}
	return errors.Join(errs...)
}

func (w Waiver) holds(now time.Time) bool { return w.Until.IsZero() || now.Before(w.Until) }

// waiver is one of the finding on the host: one that holds now, else the one that ran out last.
func (p Policy) waiver(r Reason, h HostID, now time.Time) (last Waiver, is bool) {
	for _, w := range p.Waivers {
		if w.Reason != r || w.Template+w.CA != "" || w.Host != "" && w.Host != h {
			continue
		}
		if w.holds(now) {
			return w, true
		}
		if !is || w.Until.After(last.Until) {
			last, is = w, true
		}
	}
	return last, is
}

func (p Policy) waived(r Reason, h HostID, now time.Time) bool {
	w, is := p.waiver(r, h, now)
	return is && w.holds(now)
}

// AuditWaivers are the waivers of findings about templates and CAs that hold now.
func (p Policy) AuditWaivers(now time.Time) []pki.Waiver {
	var all []pki.Waiver
	for _, w := range p.Waivers {
		if subject := w.Template + w.CA; subject != "" && w.holds(now) {
			all = append(all, pki.Waiver{Code: string(w.Reason), Subject: subject, By: w.By, Why: w.Why})
		}
	}
	return all
}
