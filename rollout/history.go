package rollout

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// ClassChange is one line of the fleet's history: from At on, the host was of the class.
type ClassChange struct {
	N     int64     `json:"n"` // position in the history, from 1
	At    time.Time `json:"at"`
	Host  HostID    `json:"host"`
	Class Class     `json:"class"`
}

// CoveragePoint is the coverage at one time.
type CoveragePoint struct {
	At      time.Time     `json:"at"`
	Hosts   int           `json:"hosts"`
	Classes map[Class]int `json:"classes"`
}

// History is how each host's class changed. Add keeps what comes in; the answers
// are drawn from all of it.
type History struct {
	changes []ClassChange
	sorted  bool
}

// Add takes changes in, in any order.
func (h *History) Add(changes ...ClassChange) {
	h.changes = append(h.changes, changes...)
	h.sorted = len(changes) == 0 && h.sorted
}

// Len is how many changes there are.
func (h *History) Len() int { return len(h.changes) }

// Last is the position of the newest change; 0 when there is none.
func (h *History) Last() int64 {
	var n int64
	for _, c := range h.changes {
		n = max(n, c.N)
	}
	return n
}

func (h *History) sort() {
	if h.sorted {
		return
	}
	slices.SortFunc(h.changes, func(a, b ClassChange) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.N, b.N)) })
	h.sorted = true
}

// ClassesAt is the class of every host that was known at a time.
func (h *History) ClassesAt(at time.Time) map[HostID]Class {
	h.sort()
	classes := map[HostID]Class{}
	for _, c := range h.changes {
		if c.At.After(at) {
			break
		}
		classes[c.Host] = c.Class
	}
	return classes
}

// At is the coverage at a time: every host known then, by the class last seen.
func (h *History) At(at time.Time) CoveragePoint {
	p := CoveragePoint{At: at, Classes: map[Class]int{}}
	for _, c := range h.ClassesAt(at) {
		p.Hosts++
		p.Classes[c]++
	}
	return p
}

// Series is the coverage over time, from the first change until a time: so many points at the most, equally far apart
// and a second at least.
func (h *History) Series(until time.Time, points int) []CoveragePoint {
	h.sort()
	if len(h.changes) == 0 || points < 2 {
		return nil
	}
	from := h.changes[0].At
	step := max(until.Sub(from)/time.Duration(points-1), time.Second)
	now, counts, i := map[HostID]Class{}, map[Class]int{}, 0
	var series []CoveragePoint
	for k := range points {
		at := from.Add(time.Duration(k) * step)
		if last := !at.Before(until) || k == points-1; last {
			at = until
		}
		for ; i < len(h.changes) && !h.changes[i].At.After(at); i++ {
			c := h.changes[i]
			if old, known := now[c.Host]; known {
				counts[old]--
			}
			now[c.Host] = c.Class
			counts[c.Class]++
		}
		series = append(series, CoveragePoint{At: at, Hosts: len(now), Classes: maps.Clone(counts)})
		if at.Equal(until) {
			break
		}
	}
	return series
}
