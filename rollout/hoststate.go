package rollout

import (
	"encoding/json"
	"time"

	"wavelock/pki"
)

// HostState is where one host stands. A snapshot has a hundred thousand of them, and most fields of most are empty.
type HostState struct {
	Wave       int            `json:",omitzero"` // in which it is worked on, from 1
	Next       int            `json:",omitzero"` // index of its next action among the goal's
	Running    ActionKind     `json:",omitzero"` // empty when nobody works on it
	Attempt    int            `json:",omitzero"` // counts the actions given to workers
	Open       StepKind       `json:",omitzero"` // a step that started and has no end
	Wrote      bool           `json:",omitzero"` // a writing step of this campaign was started
	Dirty      bool           `json:",omitzero"` // a writing step of the running action was started
	Removed    bool           `json:",omitzero"` // the removal of HTTP was started in the running action
	Imaged     bool           `json:",omitzero"` // its before-image is kept
	Narrowed   time.Time      `json:",omitzero"` // since when HTTP is narrowed to us; zero when it is not
	Soaked     bool           `json:",omitzero"` // the brown-out was seen to its end and nobody was turned away
	Done       bool           `json:",omitzero"` // the goal was reached
	Failed     bool           `json:",omitzero"` // it was counted against the budget
	Outcome    Outcome        `json:",omitzero"` // of the last action that ended; empty before the first
	Reason     Reason         `json:",omitzero"`
	Detail     string         `json:",omitzero"`
	Cause      Reason         `json:",omitzero"` // why the host has to go back, whatever the way back meets
	Because    string         `json:",omitzero"` // its detail
	Class      Class          `json:",omitzero"`
	Again      time.Time      `json:",omitzero"` // not before: deferred, pending, await-policy, soaking, unknown
	Tries      int            `json:",omitzero"` // in a row with the same waiting outcome
	Restores   int            `json:",omitzero"`
	Proof      *Proof         `json:",omitzero"` // the last one
	Issued     pki.Thumbprint `json:",omitzero"`
	Request    *CertRequest   `json:",omitzero"` // on its way; replaced as a whole, never changed
	Retired    Reason         `json:",omitzero"` // why the directory does not have it as the plan has; empty when it has
	RetiredWhy string         `json:",omitzero"` // its detail
	Began      time.Time      `json:",omitzero"`
	Ended      time.Time      `json:",omitzero"`
}

// later reports whether the host waits for something outside this campaign.
func (h HostState) later() bool {
	return h.Running == "" && !h.Done && (h.Outcome == Deferred || h.Outcome == Pending || h.Outcome == AwaitPolicy)
}

// soaks reports whether the host is in its brown-out. Its wave waits for it.
func (h HostState) soaks() bool { return h.Running == "" && h.Outcome == Soaking }

// mustReturn reports whether the host has to be put back to its before-image.
func (h HostState) mustReturn() bool {
	return h.Running == "" && !h.Done && ((h.Outcome == Failed && h.Wrote) || h.Outcome == Unknown)
}

// shut reports whether HTTP is narrowed on a host that nobody works on. Its clients are turned away and its undo is
// disarmed, so a campaign that goes no further takes the rule back first.
func (h HostState) shut() bool {
	return h.Running == "" && !h.Done && !h.Narrowed.IsZero() && h.Outcome != NeedsHuman
}

// Held reports whether the campaign is in the middle of the host: somebody works on it, or it must be taken further or
// back by this campaign. Another one keeps away from it until then.
func (h HostState) Held() bool { return h.Running != "" || h.soaks() || h.mustReturn() || h.shut() }

// settled reports whether the host needs nothing more in its wave.
func (h HostState) settled() bool {
	switch {
	case h.Running != "" || h.mustReturn():
		return false
	case h.Done, h.later(), h.gone():
		return true
	}
	return h.Outcome == Refused || h.Outcome == Restored || h.Outcome == NeedsHuman || h.Outcome == Failed
}

// applyHost moves one host by an event of the attempt that is under way.
func (s *State) applyHost(h *HostState, e Event) {
	if e.Kind == EvAction {
		if e.Action != "" && e.Attempt > h.Attempt {
			s.start(h, e)
		}
		return
	}
	if e.Attempt != h.Attempt || h.Running == "" {
		return // a worker that was declared dead and was not
	}
	if e.Class != "" {
		h.Class = e.Class
	}
	switch e.Kind {
	case EvStepOpen:
		h.Open = e.Step
		h.Wrote = h.Wrote || e.Step.Writes() && h.Running != ActRenew // which puts nothing back
		h.Dirty = h.Dirty || e.Step.Writes()
		h.Removed = h.Removed || e.Step == StepRemoveHTTP
	case EvStepDone:
		h.Open = ""
		h.Imaged = h.Imaged || e.Step == StepSaveImage
		switch e.Step {
		case StepNarrow:
			h.Narrowed = e.At
		case StepWiden, StepRestore:
			h.Narrowed, h.Soaked = time.Time{}, false
		}
		h.learn(e)
	case EvStepFail:
		h.Open = ""
		h.forgetRequest(e)
	case EvSettled:
		s.settle(h, e)
	}
}

// start gives the host to a worker. It may be the next attempt at an action whose worker is gone.
func (s *State) start(h *HostState, e Event) {
	if h.Running == "" {
		s.inFlight++
		s.hold(e.Host, 1)
	}
	delete(s.waiting, e.Host)
	if e.Wave > 0 && e.Wave != h.Wave && e.Wave <= len(s.Waves) {
		w := &s.Waves[e.Wave-1]
		w.Joined = append(w.Joined, e.Host)
		h.Wave = e.Wave
	}
	// What an attempt began that was given up still counts, and so does a renewal of which nobody knows how it ended.
	if h.Running == "" && !(e.Action == ActRenew && h.Outcome == Unknown) {
		h.Dirty, h.Removed = false, false
	}
	h.Running, h.Attempt, h.Open = e.Action, e.Attempt, ""
	if h.Began.IsZero() {
		h.Began = e.At
	}
	if e.Action == ActRestore {
		h.Restores++
		if h.Cause == "" {
			h.Because = e.Detail // nothing is wrong with the host: its wave is taken back, or all of it
		}
	}
}

// learn keeps what later steps rely on of what a step brought back.
func (h *HostState) learn(e Event) {
	if len(e.Data) == 0 || e.Step == StepInspect { // what was seen is most of a journal, and none of it is kept here
		return
	}
	var r struct {
		Proof      *Proof         `json:"proof"`
		Thumbprint pki.Thumbprint `json:"thumbprint"`
		Request    *CertRequest   `json:"request"`
	}
	if json.Unmarshal(e.Data, &r) != nil {
		return // written by a newer version; the parts that matter are in the event itself
	}
	if r.Proof != nil {
		h.Proof = r.Proof
	}
	if r.Thumbprint != "" {
		h.Issued = r.Thumbprint
	}
	h.learnRequest(e, r.Request)
}

// settle ends the action that was under way.
func (s *State) settle(h *HostState, e Event) {
	if h.Running != "" {
		s.inFlight--
		s.hold(e.Host, -1)
	}
	act := h.Running
	if act == ActRestore && e.Outcome == Failed {
		e.Outcome = NeedsHuman // or the same would be tried for ever
	}
	h.Running, h.Open, h.Ended = "", "", e.At
	if h.Outcome == e.Outcome {
		h.Tries++
	} else {
		h.Tries = 1
	}
	switch {
	case act != ActRestore:
		h.Cause, h.Because = e.Reason, e.Detail
	case e.Outcome == Restored && e.Reason == "":
		e.Reason, e.Detail = h.Cause, h.Because // why it had to be put back is what people want to know
	}
	h.Outcome, h.Reason, h.Detail, h.Again = e.Outcome, e.Reason, e.Detail, e.Until
	h.Done = false
	if e.Outcome != Pending && e.Outcome != Deferred && e.Outcome != Unknown {
		h.Request = nil // it was used, or is given up
	}
	if e.Outcome == Restored { // also where nothing had to be done for it
		h.Narrowed, h.Soaked = time.Time{}, false
	}
	s.score(h, act, e.Outcome)
	if h.later() {
		s.waiting[e.Host] = true
	}
}

// score takes the host a step towards the goal, or counts it against the limits of failures.
func (s *State) score(h *HostState, act ActionKind, outcome Outcome) {
	switch outcome {
	case Passed:
		h.Soaked = h.Soaked || act == ActQuiesce
		if h.Next < len(s.goal) && act == s.goal[h.Next] {
			h.Next++
		}
		h.Done = h.Next == len(s.goal)
	case Restored:
		if h.Next < len(s.goal) && s.goal[h.Next] == ActRestore {
			h.Next++
		}
		h.Done = s.plan.Goal == GoalRestore && h.Next == len(s.goal)
	case Failed, Unknown, NeedsHuman:
		asked := s.plan.Goal == GoalRestore && s.Rollback == "" // the way back is the way forward
		// Once a host, and not for a way back that is hard: the budget is of what was done. Nor for a computer that was
		// being taken away meanwhile: that says nothing about the others.
		if !h.Failed && h.Retired == "" && ((act != ActRestore && outcome != NeedsHuman) || asked) {
			h.Failed = true
			s.Failures++
			s.Waves[h.Wave-1].Failures++
		}
	}
}
