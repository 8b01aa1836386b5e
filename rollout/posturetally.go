package rollout

import (
	"cmp"
	"slices"
)

// PostureTally is the posture of a fleet.
type PostureTally struct {
	Judged int            `json:"judged"` // hosts
	Not    int            `json:"not_judged"`
	Mean   int            `json:"mean"` // of the scores
	Checks []TalliedCheck `json:"checks"`

	sum          int
	bad, unknown map[string]int
}

// TalliedCheck is how one check came out over the hosts that were judged.
type TalliedCheck struct {
	PostureCheck
	OK      int `json:"ok"`
	Bad     int `json:"bad"`
	Unknown int `json:"unknown"`
}

// Add counts one host; nil is one that was not judged.
func (t *PostureTally) Add(s *PostureSummary) {
	if s == nil {
		t.Not++
		return
	}
	if t.bad == nil {
		t.bad, t.unknown = map[string]int{}, map[string]int{}
	}
	t.Judged++
	t.sum += s.Score
	for _, id := range s.Bad {
		t.bad[id]++
	}
	for _, id := range s.Unknown {
		t.unknown[id]++
	}
}

// Count fills in the mean and the checks, in the order in which they are made.
func (t *PostureTally) Count() {
	t.Checks = nil
	if t.Judged > 0 {
		t.Mean = t.sum / t.Judged
	}
	for _, c := range PostureChecks() {
		bad, unknown := t.bad[c.ID], t.unknown[c.ID]
		t.Checks = append(t.Checks, TalliedCheck{c, t.Judged - bad - unknown, bad, unknown})
	}
}

// Unfulfilled are the checks that not every host fulfils, the one that most fail first.
func (t *PostureTally) Unfulfilled() []TalliedCheck {
	list := slices.DeleteFunc(slices.Clone(t.Checks), func(c TalliedCheck) bool { return c.Bad+c.Unknown == 0 })
	slices.SortStableFunc(list, func(a, b TalliedCheck) int {
		return cmp.Or(cmp.Compare(b.Bad, a.Bad), cmp.Compare(b.Unknown, a.Unknown))
	})
	return list
}
