package rollout

import (
	"cmp"
	"slices"
	"time"
)

// EvidenceForm is the version of the report's form.
const EvidenceForm = "wavelock-report/1"

// Evidence is a report of the coverage at one time with what proves it: the place
// in the history of the classes, and of each campaign the plan's hash and the head
// of its chain.
type Evidence struct {
	Form      string             `json:"form"`
	At        time.Time          `json:"at"` // of what is reported
	Made      time.Time          `json:"made"`
	MadeBy    string             `json:"made_by"`
	Version   string             `json:"version"` // of the program
	History   EvidenceMark       `json:"history"` // the last change of a class that is counted
	Hosts     int                `json:"hosts"`
	Classes   map[Class]int      `json:"classes"`
	OUs       []OUView           `json:"ous"`
	Campaigns []EvidenceCampaign `json:"campaigns"`
	Computers []EvidenceComputer `json:"computers"`
	Formula   string             `json:"posture_formula"` // how the computers' scores are made
}

// EvidenceMark is a place in a hash chain.
type EvidenceMark struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"` // SHA-256 in hexadecimal; empty before the first
}

// EvidenceCampaign is a campaign as its chain tells it up to the head.
type EvidenceCampaign struct {
	ID       CampaignID   `json:"id"`
	Goal     Goal         `json:"goal"`
	Plan     string       `json:"plan"` // hash
	Head     EvidenceMark `json:"head"`
	Approved string       `json:"approved_by"`
	Status   string       `json:"status"`
	Hosts    int          `json:"hosts"`
	Done     int          `json:"done"`
	Failures int          `json:"failures"`
}

// EvidenceComputer is one host. Its class is proved by the history; the rest is
// what the last observation said when the report was made.
type EvidenceComputer struct {
	Host        HostID    `json:"host"`
	OU          string    `json:"ou"`
	Class       Class     `json:"class"`
	Since       time.Time `json:"since"` // of this class
	Seen        time.Time `json:"seen,omitzero"`
	Blocker     Reason    `json:"blocker,omitempty"`
	Certificate string    `json:"certificate,omitempty"` // thumbprint
	Expires     time.Time `json:"expires,omitzero"`
	Posture     *int      `json:"posture,omitempty"` // score of 100; absent where it was not judged
}

// Truth is what a history says of every host at one place of it and one time.
type Truth struct {
	Class map[HostID]Class
	Since map[HostID]time.Time
}

// TruthAt reads the changes up to a position and a time.
func TruthAt(changes []ClassChange, last int64, at time.Time) Truth {
	t := Truth{Class: map[HostID]Class{}, Since: map[HostID]time.Time{}}
	sorted := slices.Clone(changes)
	slices.SortFunc(sorted, func(a, b ClassChange) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.N, b.N)) })
	for _, c := range sorted {
		if c.N <= last && !c.At.After(at) {
			t.Class[c.Host], t.Since[c.Host] = c.Class, c.At
		}
	}
	return t
}

// Count fills the counters from the computers.
func (e *Evidence) Count() {
	e.Hosts, e.Classes, e.OUs = len(e.Computers), map[Class]int{}, []OUView{}
	for _, c := range Classes() {
		e.Classes[c] = 0
	}
	at := map[string]int{}
	for _, c := range e.Computers {
		i, known := at[c.OU]
		if !known {
			i = len(e.OUs)
			at[c.OU] = i
			e.OUs = append(e.OUs, OUView{OU: c.OU, Classes: map[Class]int{}})
		}
		e.Classes[c.Class]++
		e.OUs[i].Hosts++
		e.OUs[i].Classes[c.Class]++
	}
	slices.SortFunc(e.OUs, func(a, b OUView) int { return cmp.Compare(a.OU, b.OU) })
}
