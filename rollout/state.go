package rollout

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"time"

	"wavelock/pki"
)

// WaveStatus is where a wave stands.
type WaveStatus string

// The life of a wave.
const (
	WaveWaiting WaveStatus = "waiting"
	WaveOpen    WaveStatus = "open"
	WavePassed  WaveStatus = "passed"
	WaveHalted  WaveStatus = "halted" // its hosts are being restored
	WaveEnded   WaveStatus = "ended"  // halted and restored as far as possible
	// WaveUnproven is how an open wave is shown that has nothing more to do and has no host at the goal.
	WaveUnproven WaveStatus = "unproven"
)

// WaveState is one wave in motion.
type WaveState struct {
	Status    WaveStatus
	Approved  string // by whom last, where the plan asks for it
	Approvals []Approval
	SoakUntil time.Time // after it passed
	Failures  int       // hosts that failed or whose outcome was unknown
	// Joined are hosts of earlier waves that were deferred and are tried again here.
	Joined []HostID
	Why    string // why it was halted
	// Unproven says how its hosts stood when nothing more happened in it and none had reached the goal; empty when that never
	// was so. So many approvals of the next wave had been given by then: they counted on what this one would prove.
	Unproven string
	Early    int
}

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

// State is a campaign as its events tell it. It is made by NewState and moved by
// Apply alone; whoever calls Apply is its only owner.
type State struct {
	Campaign CampaignID
	Seq      int64  // of the last event applied
	Approved string // hash that was approved; empty before
	By       string // who approved it
	Approval Approval
	Paused   string // who paused it, and why
	Aborted  string
	Rollback string // who asked for everything to be put back
	Halted   int    // the wave that stopped the campaign, until a person resumes
	Failures int    // failed hosts since the start or since the last resume after a halt
	Finished bool
	Roster   Roster // what the directory was last seen to have otherwise than the plan
	RosterAt time.Time
	Stopped  bool        // whoever ran it last has ended in order, and nobody has begun since
	Waves    []WaveState // one for each wave of the plan, and a last one for hosts that were deferred until the end
	Hosts    map[HostID]*HostState

	inWave   [][]member // all hosts of the plan, wave by wave: what is in Hosts, in an order and without a look-up
	plan     *Plan      // that the state was made for
	hash     string     // of that plan, which takes longer to compute than everything else that is decided
	goal     []ActionKind
	inFlight int
	waiting  map[HostID]bool // hosts for which later() holds
	calendar calendar
	buckets  map[HostID][]bucket // nil where the policy has no bounds
	busy     map[bucket]int      // hosts in flight
}

// NewState is a campaign before its first event. The plan must not change any more.
func NewState(p *Plan) *State {
	s := &State{Campaign: p.ID, plan: p, hash: p.Hash(), goal: p.Actions(), Waves: make([]WaveState, len(p.Waves)+1),
		Hosts: make(map[HostID]*HostState, len(p.Hosts)), waiting: map[HostID]bool{}}
	for i := range s.Waves {
		s.Waves[i].Status = WaveWaiting
	}
	s.calendar, _ = p.Policy.Maintenance.read() // what cannot be read is never open
	if len(p.Policy.AtOnce) > 0 {
		s.buckets, s.busy = make(map[HostID][]bucket, len(p.Hosts)), map[bucket]int{}
		for _, h := range p.Hosts {
			if all := p.Policy.buckets(h.Host); len(all) > 0 {
				s.buckets[h.Host.ID] = all
			}
		}
	}
	for i, w := range p.Waves {
		for _, id := range w.Hosts {
			s.Hosts[id] = &HostState{Wave: i + 1, Class: ClassUnknown}
		}
	}
	for _, h := range p.Hosts {
		if st := s.Hosts[h.Host.ID]; st != nil {
			st.Class = h.Class
		}
	}
	s.line()
	return s
}

// member is a host in the line of its wave.
type member struct {
	id   HostID
	host *HostState
}

// line puts the hosts into the lines of their waves.
func (s *State) line() {
	s.inWave = make([][]member, len(s.plan.Waves))
	for i, w := range s.plan.Waves {
		s.inWave[i] = make([]member, len(w.Hosts))
		for k, id := range w.Hosts {
			s.inWave[i][k] = member{id, s.Hosts[id]}
		}
	}
}

// all are the hosts of the plan in the order of its waves.
func (s *State) all() iter.Seq2[HostID, *HostState] {
	return func(yield func(HostID, *HostState) bool) {
		for _, wave := range s.inWave {
			for _, m := range wave {
				if !yield(m.id, m.host) {
					return
				}
			}
		}
	}
}

// members are the hosts that the n-th wave answers for: its own that were not moved on, and those that joined it.
func (s *State) members(n int) iter.Seq2[HostID, *HostState] {
	return func(yield func(HostID, *HostState) bool) {
		if n <= len(s.inWave) {
			for _, m := range s.inWave[n-1] {
				if m.host.Wave == n && !yield(m.id, m.host) {
					return
				}
			}
		}
		for _, id := range s.Waves[n-1].Joined {
			if h := s.Hosts[id]; h.Wave == n && !yield(id, h) {
				return
			}
		}
	}
}

// hashOf is the hash of the plan, which for the state's own is known already.
func (s *State) hashOf(p *Plan) string {
	if p == s.plan {
		return s.hash
	}
	return p.Hash()
}

// InFlight is how many hosts are being worked on.
func (s *State) InFlight() int { return s.inFlight }

// Waiting lists the hosts that wait for something outside the campaign.
func (s *State) Waiting() []HostID { return slices.Sorted(maps.Keys(s.waiting)) }

// Apply moves the state by one event. Events that it does not know, of a host or
// wave that the plan does not have, or of an attempt that is over, change nothing.
func (s *State) Apply(e Event) {
	s.Seq = max(s.Seq, e.Seq)
	if e.Host != "" {
		if h := s.Hosts[e.Host]; h != nil {
			s.applyHost(h, e)
		}
		return
	}
	if e.Wave > 0 {
		if e.Wave <= len(s.Waves) {
			s.applyWave(e)
		}
		return
	}
	s.applyCampaign(e)
}

func (s *State) applyCampaign(e Event) {
	switch e.Kind {
	case EvStarted:
		s.Stopped = false
		s.lookAgain()
	case EvStopped:
		s.Stopped = true
	case EvApproved:
		s.Approved, s.By, s.Approval = e.Detail, e.Actor, approvalOf(e)
	case EvPaused:
		s.Paused = byAndWhy(e)
	case EvResumed:
		s.Paused = ""
		if s.Halted > 0 && s.Waves[s.Halted-1].Status == WaveEnded {
			s.Halted, s.Failures = 0, 0
		}
	case EvAborted:
		s.Aborted = byAndWhy(e)
	case EvRollback:
		s.Rollback = byAndWhy(e)
		s.Finished = false
	case EvFinished:
		s.Finished = true
	case EvRoster:
		s.applyRoster(e)
	}
}

// lookAgain makes hosts that wait for something due at once: whoever starts a
// campaign again does so because they think that it has come. A look that a person
// asked for is none of those that the policy allows a deferred host.
func (s *State) lookAgain() {
	for id := range s.waiting {
		h := s.Hosts[id]
		h.Again = time.Time{}
		if h.Outcome == Deferred && h.Tries > 0 {
			h.Tries--
		}
	}
}

func byAndWhy(e Event) string {
	if e.Detail == "" {
		return e.Actor
	}
	return e.Actor + ": " + e.Detail
}

func (s *State) applyWave(e Event) {
	w := &s.Waves[e.Wave-1]
	switch e.Kind {
	case EvApproved:
		if e.Hash == "" || e.Hash == s.hash { // events of before they had a hash are of this plan, too
			w.Approved = e.Actor
			w.Approvals = append(w.Approvals, approvalOf(e))
		}
	case EvWaveOpened:
		w.Status = WaveOpen
	case EvWavePassed:
		w.Status, w.SoakUntil = WavePassed, e.Until
	case EvWaveHalted:
		w.Status, w.Why = WaveHalted, e.Detail
		s.Halted = e.Wave
	case EvWaveEnded:
		w.Status = WaveEnded
	case EvWaveUnproven:
		w.Unproven = e.Detail
		if e.Wave < len(s.Waves) {
			w.Early = len(s.Waves[e.Wave].Approvals)
		}
	}
}

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

func (s *State) settle(h *HostState, e Event) {
	if h.Running != "" {
		s.inFlight--
		s.hold(e.Host, -1)
	}
	act := h.Running
	asked := s.plan.Goal == GoalRestore && s.Rollback == "" // the way back is the way forward
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
	switch e.Outcome {
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
		// Once a host, and not for a way back that is hard: the budget is of what was done. Nor for a computer that was
		// being taken away meanwhile: that says nothing about the others.
		if !h.Failed && h.Retired == "" && ((act != ActRestore && e.Outcome != NeedsHuman) || asked) {
			h.Failed = true
			s.Failures++
			s.Waves[h.Wave-1].Failures++
		}
	}
	if h.later() {
		s.waiting[e.Host] = true
	}
}
