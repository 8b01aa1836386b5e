package rollout

import (
	"iter"
	"maps"
	"slices"
	"time"
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
	// was so.
	Unproven string
	// Early is how many approvals of the next wave had been given by then: they counted on what this one would prove.
	Early int
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
