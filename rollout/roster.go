package rollout

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Listing is what the directory has at one time, as far as it was asked: all that is selected now, and what became of
// the plan's own hosts. Who is not in it was not asked for, and nothing is concluded from that.
type Listing struct {
	Selection string             // of the configuration that asked; see Plan.Selection
	Selected  []Host             // that nothing is known against
	Planned   map[HostID]Account // by their name in the plan
}

// Account is what the directory has of one of the plan's hosts. The zero Account has nothing against it.
type Account struct {
	Host     Host   // as it is now
	Missing  bool   // the directory was asked for it, and has it not
	Disabled bool   // the account is
	Excluded string // what in the configuration excludes it now
}

// Roster is what became different in the directory since the plan was made. It is told. Hosts that were added are not
// touched: nobody approved them. On hosts that are retired nothing is begun as long as they are.
type Roster struct {
	Added   []Change `json:"added,omitempty"`
	More    int      `json:"more,omitempty"` // were added besides those that are listed
	Retired []Change `json:"retired,omitempty"`
	// Doubt says why those that are retired stay in the campaign all the same; empty when they do not.
	Doubt string `json:"doubt,omitempty"`
}

// Change is one host that the directory has otherwise than the plan.
type Change struct {
	Host   HostID `json:"host"`
	OU     string `json:"ou,omitempty"`
	Reason Reason `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// addedListed is how many hosts that were added an event names.
const addedListed = 1000

// believable is how many of the plan's hosts the directory may have lost at once. More are rather a server that does not
// have its data, or an account that may not read it.
func believable(hosts int) int { return max(3, hosts/10) }

// Compare says what is different in the directory from the plan.
func (p *Plan) Compare(l Listing) Roster {
	var r Roster
	missing := 0
	known := make(map[HostID]bool, len(p.Hosts)+len(p.Left))
	for _, ph := range p.Hosts {
		known[ph.Host.ID] = true
		a, asked := l.Planned[ph.Host.ID]
		if !asked {
			continue
		}
		if a.Missing {
			missing++
		}
		if reason, detail := a.against(ph.Host); reason != "" {
			r.Retired = append(r.Retired, Change{ph.Host.ID, ph.Host.OU, reason, detail})
		}
	}
	if most := believable(len(p.Hosts)); missing > most {
		r.Doubt = fmt.Sprintf("the directory has %d of the plan's %d hosts no more, which is taken for a wrong reading of it: they stay in the campaign", missing, len(p.Hosts))
	}
	for _, left := range p.Left {
		known[left.Host] = true
	}
	if p.Selection != "" && p.Selection == l.Selection {
		for _, h := range l.Selected {
			if !known[h.ID] {
				r.Added = append(r.Added, Change{Host: h.ID, OU: h.OU, Reason: ReasonAdded})
			}
		}
	}
	byHost := func(a, b Change) int { return cmp.Compare(a.Host, b.Host) }
	slices.SortFunc(r.Retired, byHost)
	slices.SortFunc(r.Added, byHost)
	r.More = max(0, len(r.Added)-addedListed)
	r.Added = r.Added[:len(r.Added)-r.More]
	return r
}

// against says why nothing may be begun on a host of the plan.
func (a Account) against(h Host) (Reason, string) {
	switch {
	case a.Missing:
		return ReasonAccountGone, "the directory has no such computer"
	case a.Host.GUID != "" && h.GUID != "" && a.Host.GUID != h.GUID:
		return ReasonAccountReplaced, fmt.Sprintf("the plan has objectGUID %s, the directory %s", h.GUID, a.Host.GUID)
	case a.Disabled:
		return ReasonAccountDisabled, "the account is disabled"
	case a.Host.ID != "" && a.Host.ID != h.ID:
		return ReasonRenamed, "its DNS name is " + string(a.Host.ID) + " now"
	case a.Excluded != "":
		return ReasonExcluded, a.Excluded
	}
	return "", ""
}

// Same reports whether nothing is to be told that the other roster did not.
func (r Roster) Same(o Roster) bool {
	return r.More == o.More && r.Doubt == o.Doubt && slices.Equal(r.Added, o.Added) && slices.Equal(r.Retired, o.Retired)
}

// Words is the roster in one line.
func (r Roster) Words() string {
	var parts []string
	if n := len(r.Added) + r.More; n > 0 {
		parts = append(parts, fmt.Sprintf("%s selected now that the plan does not have, and not touched", counted(n, "host is", "hosts are")))
	}
	if n := len(r.Retired); n > 0 {
		parts = append(parts, fmt.Sprintf("%s retired", counted(n, "host of the plan is", "hosts of the plan are")))
	}
	if r.Doubt != "" {
		parts = append(parts, r.Doubt)
	}
	if len(parts) == 0 {
		return "the directory has the hosts that the plan has"
	}
	return strings.Join(parts, "; ")
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

// NewRoster is the event that tells of it.
func NewRoster(r Roster) (Event, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return Event{}, fmt.Errorf("write down what changed in the directory: %w", err)
	}
	return Event{Kind: EvRoster, Detail: r.Words(), Data: data}, nil
}

// gone reports whether nothing is begun on the host because the directory does not have it as the plan has. What was
// begun is brought to its end: a host whose HTTP is narrowed, or that has to go back, is not left half-way.
func (h HostState) gone() bool {
	return h.Retired != "" && h.Running == "" && !h.Done && !h.mustReturn() && h.Narrowed.IsZero()
}

// Shelved is the status of a retired host on which something would be begun otherwise.
const Shelved = "retired"

// shelved reports whether the host would go on if it were not retired.
func (h HostState) shelved() bool {
	return h.gone() && h.Outcome != Refused && h.Outcome != Restored && h.Outcome != NeedsHuman && h.Outcome != Failed
}

// applyRoster takes note of who is retired, and of who is not any more.
func (s *State) applyRoster(e Event) {
	var r Roster
	if json.Unmarshal(e.Data, &r) != nil {
		return // written by a newer version: the plan is worked on as it is
	}
	s.Roster, s.RosterAt = r, e.At
	retired := make(map[HostID]Change, len(r.Retired))
	if r.Doubt == "" {
		for _, c := range r.Retired {
			retired[c.Host] = c
		}
	}
	for id, h := range s.Hosts {
		c, is := retired[id]
		switch {
		case is:
			h.Retired, h.RetiredWhy = c.Reason, c.Detail
		case h.Retired != "":
			s.comeBack(id, h)
		}
	}
}

// comeBack takes a host in again that was retired. If its wave is over it is tried later, like one that was switched off.
func (s *State) comeBack(id HostID, h *HostState) {
	why := h.Retired
	h.Retired, h.RetiredWhy = "", ""
	if h.Running != "" || h.settled() || h.mustReturn() || s.Waves[h.Wave-1].Status != WavePassed {
		return
	}
	h.Outcome, h.Reason, h.Detail, h.Again, h.Tries = Deferred, why, "the directory has it again as the plan has", time.Time{}, 0
	s.waiting[id] = true
}
