package web

import (
	"net/http"
	"slices"
	"strconv"

	"wavelock/rollout"
)

// postureFleet is the posture of all hosts that were looked at.
type postureFleet struct {
	rollout.PostureTally
	Buckets []scoreBucket
	Most    int
	Formula string
	Weights int
}

// scoreBucket counts hosts by score.
type scoreBucket struct {
	Title string
	Hosts int
}

func postureCheck(id string) rollout.PostureCheck {
	all := rollout.PostureChecks()
	if i := slices.IndexFunc(all, func(c rollout.PostureCheck) bool { return c.ID == id }); i >= 0 {
		return all[i]
	}
	return rollout.PostureCheck{ID: id, Title: id}
}

func newPostureFleet(hosts []*rollout.Summary) postureFleet {
	p := postureFleet{Formula: rollout.PostureFormula, Buckets: []scoreBucket{{Title: "90 to 100"}, {Title: "75 to 89"}, {Title: "50 to 74"}, {Title: "25 to 49"}, {Title: "under 25"}}}
	for _, h := range hosts {
		p.Add(h.Posture)
		if h.Posture != nil {
			p.Buckets[scoreRank(h.Posture.Score)].Hosts++
		}
	}
	p.Count()
	for _, b := range p.Buckets {
		p.Most = max(p.Most, b.Hosts)
	}
	for _, c := range p.Checks {
		p.Weights += c.Weight
	}
	return p
}

func scoreRank(score int) int {
	return slices.IndexFunc([]int{90, 75, 50, 25, 0}, func(least int) bool { return score >= least })
}

func (s *server) posture(w http.ResponseWriter, r *http.Request) {
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, r, "posture.html", page{Title: "Posture", Active: "posture", Body: newPostureFleet(f.hosts)})
}

func (s *server) postureCSV(w http.ResponseWriter, r *http.Request) {
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	head := []string{"host", "ou", "seen", "score"}
	for _, c := range rollout.PostureChecks() {
		head = append(head, c.ID)
	}
	s.csv(w, r, "posture", head, func(row func(...string)) {
		for _, h := range f.hosts {
			if h.Posture == nil {
				continue
			}
			cells := []string{string(h.Host), h.OU, stamp(h.Seen), strconv.Itoa(h.Posture.Score)}
			for _, c := range rollout.PostureChecks() {
				state := rollout.PostureOK
				switch {
				case slices.Contains(h.Posture.Bad, c.ID):
					state = rollout.PostureBad
				case slices.Contains(h.Posture.Unknown, c.ID):
					state = rollout.PostureUnknown
				}
				cells = append(cells, string(state))
			}
			row(cells...)
		}
	})
}
