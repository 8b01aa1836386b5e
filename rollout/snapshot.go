package rollout

import (
	"encoding/json"
	"fmt"
)

// snapshotVersion is raised when the fields of State or HostState change their meaning. A snapshot of another version is
// not used: the events say the same.
const snapshotVersion = 2

type snapshot struct {
	Version int    `json:"version"`
	Plan    string `json:"plan"` // hash
	State   *State `json:"state"`
}

// Snapshot is the state as bytes, from which LoadState makes it again without the events up to its Seq.
func (s *State) Snapshot() ([]byte, error) {
	b, err := json.Marshal(snapshot{snapshotVersion, s.hash, s})
	if err != nil {
		return nil, fmt.Errorf("take a snapshot of %s: %w", s.Campaign, err)
	}
	return b, nil
}

// LoadState makes a state from a snapshot of the same plan. Events after its Seq are applied by the caller.
func LoadState(p *Plan, b []byte) (*State, error) {
	s := NewState(p)
	hosts, waves := len(s.Hosts), len(s.Waves)
	in := snapshot{State: s}
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("read a snapshot of %s: %w", p.ID, err)
	}
	if in.State == nil || in.Version != snapshotVersion || in.Plan != s.hash || s.Campaign != p.ID || len(s.Hosts) != hosts || len(s.Waves) != waves || s.Halted < 0 || s.Halted > waves {
		return nil, fmt.Errorf("the snapshot of %s is of another plan or version", p.ID)
	}
	s.line()
	for id, h := range s.Hosts {
		if h == nil || h.Wave < 1 || h.Wave > waves || h.Next < 0 || h.Next > len(s.goal) {
			return nil, fmt.Errorf("the snapshot of %s has a host %s that cannot be", p.ID, id)
		}
		if h.Running != "" {
			s.inFlight++
			s.hold(id, 1)
		}
		if h.later() {
			s.waiting[id] = true
		}
	}
	for _, w := range s.Waves {
		for _, id := range w.Joined {
			if s.Hosts[id] == nil {
				return nil, fmt.Errorf("the snapshot of %s has a host %s that the plan does not have", p.ID, id)
			}
		}
	}
	return s, nil
}
