package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A wave is there to show that the next one may begin. One in which no host reached the goal has shown nothing: its
// canary was switched off, waits for its policy, was refused, or is retired. Then the next wave does not begin by
// itself. The wave stays open, so that a host which comes back is taken and proves it after all, or a person approves
// the next wave, knowing of it. The way back waits for nobody.

// opensNext reports whether the next wave depends on what this one, from 1, has shown.
func (p *Plan) opensNext(wave int) bool {
	return wave >= 1 && wave < len(p.Waves) && p.Goal != GoalRestore && !p.Policy.PassUnproven
}

// proved reports whether a host reached the goal in the wave.
func (s *State) proved(wave int) bool {
	for _, h := range s.members(wave) {
		if h.Done {
			return true
		}
	}
	return false
}

// early is how many approvals of a wave do not count because they were given before it was known that the wave before
// it would prove nothing, and whether that is so.
func (s *State) early(p *Plan, wave int) (approvals int, unproven bool) {
	if !p.opensNext(wave - 1) {
		return 0, false
	}
	before := s.Waves[wave-2]
	if before.Status != WaveOpen || before.Unproven == "" || s.proved(wave-1) {
		return 0, false
	}
	return min(max(before.Early, 0), len(s.Waves[wave-1].Approvals)), true
}

// unproven keeps a wave open that has nothing more to do and has proved nothing, and says so once.
func (d *decider) unproven(n int) bool {
	if !d.p.opensNext(n) || d.s.proved(n) || !d.leads(n) {
		return false
	}
	if d.s.Waves[n-1].Unproven == "" {
		d.event(Event{Kind: EvWaveUnproven, Wave: n, Reason: ReasonWaveUnproven, Detail: d.s.shares(n)})
		return true
	}
	why := d.needsApproval(n + 1)
	if why == "" {
		return false
	}
	d.hold("%s: no host of wave %d is done (%s); wave %d waits for one of them, or for %s", ReasonWaveUnproven, n, d.s.shares(n), n+1, why)
	return true
}

// leads reports whether there is a host after the wave that something would be begun on.
func (d *decider) leads(n int) bool {
	for later := n + 1; later <= len(d.p.Waves); later++ {
		for _, h := range d.s.members(later) {
			if !h.settled() {
				return true
			}
		}
	}
	return false
}

// awaited reports whether a host is tried again however often it was deferred: its wave waits for it.
func (d *decider) awaited(n int, h *HostState) bool {
	return h.Wave == n && d.s.Waves[n-1].Unproven != "" && d.p.opensNext(n) && !h.gone() && !h.halfWay()
}

// shares says in words how the hosts of a wave stand.
func (s *State) shares(wave int) string {
	counts := map[string]int{}
	for _, h := range s.members(wave) {
		counts[h.word()]++
	}
	parts := make([]string, 0, len(counts))
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprint(counts[word], " ", word))
	}
	if len(parts) == 0 {
		return "none is left in it"
	}
	return strings.Join(parts, ", ")
}
