package rollout

import (
	"cmp"
	"fmt"
	"slices"
)

// PolicyChange is what a person has to change in Group Policy for some hosts of a
// wave: this program writes no policy. The hosts wait without holding a slot, and
// are proved and gated like any other when the policy has applied.
type PolicyChange struct {
	Wave      int      `json:"wave"`
	GPO       string   `json:"gpo,omitempty"`   // the object that wins; empty: the host does not say
	Links     []string `json:"links,omitempty"` // where the object is linked, by the directory
	File      string   `json:"file,omitempty"`  // where its files are, UNC
	Path      string   `json:"path"`
	Setting   string   `json:"setting"`
	Key       string   `json:"key"`
	Now       string   `json:"now"`
	Want      string   `json:"want"`
	Group     string   `json:"group"` // of the directory, for these computers
	Computers []HostID `json:"computers"`
	Do        []string `json:"do"`
	Revert    []string `json:"revert"`
}

// PolicyChanges are those that the campaign waits for, by wave and by the object that
// wins. Group names the directory's group for the computers; empty: one for each wave.
func PolicyChanges(p *Plan, s *State, winner func(HostID) PolicyValue, group string) []PolicyChange {
	var all []PolicyChange
	for _, ph := range p.Hosts {
		id := ph.Host.ID
		if !s.Hosts[id].awaitsPolicy() {
			continue
		}
		won, wave := winner(id), s.Hosts[id].Wave
		i := slices.IndexFunc(all, func(c PolicyChange) bool { return c.Wave == wave && c.GPO == won.GPO })
		if i < 0 {
			c, _ := PolicyChangeOf(p, s, id, won, group)
			all = append(all, c)
			continue
		}
		if won.Object != nil {
			all[i].Links, all[i].File = won.Object.Links, won.Object.Path
		}
		all[i].Computers = append(all[i].Computers, id)
	}
	slices.SortStableFunc(all, func(a, b PolicyChange) int { return cmp.Or(cmp.Compare(a.Wave, b.Wave), cmp.Compare(a.GPO, b.GPO)) })
	return all
}

func (h HostState) awaitsPolicy() bool { return h.Outcome == AwaitPolicy && h.Running == "" }

// PolicyChangeOf is the one that a single host waits for; false when it waits for none.
func PolicyChangeOf(p *Plan, s *State, id HostID, won PolicyValue, group string) (PolicyChange, bool) {
	h := s.Hosts[id]
	if h == nil || !h.awaitsPolicy() {
		return PolicyChange{}, false
	}
	c := newPolicyChange(h.Wave, won.GPO, groupOf(p, h.Wave, group))
	c.Computers = []HostID{id}
	if won.Object != nil {
		c.Links, c.File = won.Object.Links, won.Object.Path
	}
	return c, true
}

func groupOf(p *Plan, wave int, group string) string {
	return cmp.Or(group, fmt.Sprintf("%s-wave-%d", p.ID, wave))
}

// newPolicyChange is for the policy that makes the HTTP listener. It is set to Not
// Configured: Disabled would switch WinRM off over HTTPS as well. A weaker object
// cannot take a value back, so the computers are kept out of the one that wins.
func newPolicyChange(wave int, gpo, group string) PolicyChange {
	object := fmt.Sprintf("the Group Policy object %q", gpo)
	find := []string(nil)
	if gpo == "" {
		object = "the Group Policy object that sets it"
		find = []string{"gpresult /scope computer /h report.html on one of the computers names the object that wins"}
	}
	return PolicyChange{Wave: wave, GPO: gpo, Group: group,
		Path:    `Computer Configuration\Policies\Administrative Templates\Windows Components\Windows Remote Management (WinRM)\WinRM Service`,
		Setting: "Allow remote server management through WinRM",
		Key:     `HKLM\SOFTWARE\Policies\Microsoft\Windows\WinRM\Service, AllowAutoConfig`,
		Now:     "Enabled (1): makes the HTTP listener on 5985, and makes it again at every refresh",
		Want:    "Not Configured (no value); not Disabled (0), which switches WinRM off over HTTPS as well",
		Do: append(find,
			fmt.Sprintf("put the computers into the group %s of the directory", group),
			fmt.Sprintf("deny that group 'Apply group policy' on %s; it stays as it is for all others", object),
			"restart the computers, or let the next refresh pass after their tickets were renewed (klist -li 0x3e7 purge, then gpupdate /target:computer)",
			"nothing else: wavelock looks again by itself, proves HTTPS, and counts the computers as it counts the others"),
		Revert: []string{
			fmt.Sprintf("take the computers out of %s, or lift the denial on %s", group, object),
			"gpupdate /target:computer /force: the HTTP listener is back with the refresh"},
	}
}
