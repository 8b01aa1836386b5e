package rollout

import (
	"slices"
	"strings"
	"time"
)

// Approval is a person's word for a plan or for one of its waves.
type Approval struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Why    string    `json:"why,omitempty"`
	Ticket string    `json:"ticket,omitempty"` // change ticket
	Hash   string    `json:"hash"`             // of the plan that was approved
}

// NewApproval is the event of a person's approval of the plan (wave 0) or of a wave, bound to the plan's hash.
func NewApproval(p *Plan, wave int, why, ticket string) Event {
	e := Event{Kind: EvApproved, Wave: wave, Detail: why, Why: why, Ticket: ticket, Hash: p.Hash()}
	if wave == 0 {
		e.Detail = e.Hash
	}
	return e
}

func approvalOf(e Event) Approval {
	return Approval{By: e.Actor, At: e.At, Why: e.Why, Ticket: e.Ticket, Hash: e.Hash}
}

// expired reports whether an approval was not made use of in time. One that was made "later" than now, by a clock that
// was set back, is as old as one made just now.
func (p Policy) expired(a Approval, now time.Time) bool {
	return p.ApprovalFor > 0 && now.Sub(a.At) > p.ApprovalFor.D()
}

// SamePerson compares names as Windows and its directory do.
func SamePerson(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

// removes reports whether the campaign takes HTTP away or narrows it.
func (p *Plan) removes() bool { return slices.Contains(p.Goal.Actions(), ActClose) }

// Asks reports whether a wave waits for a person's word of its own.
func (p *Plan) Asks(wave int) bool {
	return wave >= 1 && wave <= len(p.Waves) && (p.Waves[wave-1].Approval || p.SecondPerson())
}

// SecondPerson reports whether waves want somebody else's word than the plan's.
func (p *Plan) SecondPerson() bool { return p.Policy.SecondPerson && p.removes() }

// BarredFrom reports whether a person's approval of a wave would not count, as they approved the plan.
func BarredFrom(p *Plan, s *State, person string) bool {
	return p.SecondPerson() && SamePerson(person, s.By)
}

// AwaitedApproval says in words which approval a wave (from 1) still waits for; it is empty when there is none.
func AwaitedApproval(p *Plan, s *State, wave int, now time.Time) (why string) {
	early, unproven := s.early(p, wave)
	if !p.Asks(wave) && !unproven {
		return ""
	}
	why = "an approval"
	if p.SecondPerson() {
		why = "the approval of a second person, as HTTP is removed in it: somebody else than " + s.By
	}
	for _, a := range s.Waves[wave-1].Approvals[early:] {
		switch {
		case BarredFrom(p, s, a.By):
		case p.Policy.expired(a, now):
			why = "an approval: that of " + a.By + " has expired"
		default:
			return ""
		}
	}
	return why
}

func (d *decider) needsApproval(n int) string { return AwaitedApproval(d.p, d.s, n, d.now) }

// ApprovalExpired reports whether the plan's approval has expired before anything was begun.
func ApprovalExpired(p *Plan, s *State, now time.Time) bool {
	return s.Waves[0].Status == WaveWaiting && p.Policy.expired(s.Approval, now)
}
