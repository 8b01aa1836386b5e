package rollout

import (
	"slices"
	"time"

	"wavelock/pki"
)

// Summary is what lists, counts and charts need of a host: what its last
// observation came to, without the observation.
type Summary struct {
	Host     HostID `json:"host"`
	OU       string `json:"ou,omitempty"`
	Site     string `json:"site,omitempty"`
	OS       string `json:"os,omitempty"`
	Roles    []Role `json:"roles,omitempty"`
	Zone     Zone   `json:"zone,omitempty"`
	Cluster  string `json:"cluster,omitempty"`
	Problem  string `json:"problem,omitempty"` // why it cannot be managed: a code
	Class    Class  `json:"class"`
	Via      string `json:"via,omitempty"`      // the door that let us in
	Observed bool   `json:"observed,omitempty"` // somebody was there to be looked at

	Seen        time.Time        `json:"seen"`
	Certificate *HTTPSCert       `json:"certificate,omitempty"`
	Findings    []SummaryFinding `json:"findings,omitempty"`
	Clients     []string         `json:"clients,omitempty"` // who else was connected to the HTTP port
	Posture     *PostureSummary  `json:"posture,omitempty"` // nil: not judged
	Entry       *Entry           `json:"entry,omitempty"`   // nil: nobody or only an older program looked
}

// PostureSummary is a posture verdict as a list shows it.
type PostureSummary struct {
	Score   int      `json:"score"`
	Bad     []string `json:"bad,omitempty"` // ids of checks
	Unknown []string `json:"unknown,omitempty"`
	// For JoinShares: where the transcripts go, and what the host shares.
	Transcripts string         `json:"transcripts,omitempty"`
	Shares      []ShareVerdict `json:"shares,omitempty"`
}

// Summary is the verdict without its details.
func (v PostureVerdict) Summary() *PostureSummary {
	s := &PostureSummary{Score: v.Score, Transcripts: v.Transcripts, Shares: v.Shares}
	for _, r := range v.Results {
		switch r.State {
		case PostureBad:
			s.Bad = append(s.Bad, r.Check)
		case PostureUnknown:
			s.Unknown = append(s.Unknown, r.Check)
		}
	}
	return s
}

// HTTPSCert is the certificate that a host's HTTPS listener names.
type HTTPSCert struct {
	Thumbprint pki.Thumbprint `json:"thumbprint"`
	Subject    string         `json:"subject,omitempty"`
	Issuer     string         `json:"issuer,omitempty"`
	NotAfter   time.Time      `json:"not_after,omitzero"`
	Missing    bool           `json:"missing,omitempty"` // the listener names one that the store does not have
}

// SummaryFinding is a finding as a list shows it.
type SummaryFinding struct {
	Reason   Reason   `json:"reason"`
	Severity Severity `json:"severity"`
	Detail   string   `json:"detail,omitempty"`
	Waived   bool     `json:"waived,omitempty"`
}

// Blocked is the first finding that stands in the way of something.
func (s Summary) Blocked() (SummaryFinding, bool) {
	i := slices.IndexFunc(s.Findings, func(f SummaryFinding) bool { return f.Severity == Blocker && !f.Waived })
	if i < 0 {
		return SummaryFinding{}, false
	}
	return s.Findings[i], true
}

// Summarize judges an observation by the policy and keeps what lists show. The
// observation is nil for a host that was only found in the directory.
func Summarize(h Host, problem string, o *Observation, p Policy, rules PostureRules, now time.Time) Summary {
	s := Summary{Host: h.ID, OU: h.OU, Site: h.Site, OS: h.OS, Roles: h.Roles, Zone: h.Zone, Cluster: h.Cluster,
		Problem: problem, Class: ClassUnknown, Seen: now}
	if o == nil {
		return s
	}
	s.Seen, s.Class, s.Via, s.Observed = o.At, ClassOf(*o), string(o.Via), o.Via != ""
	if problem != "" {
		return s
	}
	for _, f := range Assess(h, *o, p, now).Findings {
		s.Findings = append(s.Findings, SummaryFinding{f.Reason, f.Severity, f.Detail, f.Waived != ""})
	}
	s.Certificate = httpsCert(*o)
	if s.Observed {
		s.Posture = JudgePosture(*o, rules).Summary()
	}
	e := EntryOf(*o)
	s.Entry = &e
	for _, peer := range o.Peers.Value {
		if peer.Port == p.HTTPPort && !peer.Self && !slices.Contains(p.Controllers, peer.Address) && !slices.Contains(s.Clients, peer.Address) {
			s.Clients = append(s.Clients, peer.Address)
		}
	}
	return s
}

func httpsCert(o Observation) *HTTPSCert {
	l, ok := o.listener(HTTPS)
	if !ok || l.Thumbprint == "" {
		return nil
	}
	i := slices.IndexFunc(o.Certificates.Value, func(c pki.Certificate) bool { return c.Thumbprint == l.Thumbprint })
	if i < 0 {
		return &HTTPSCert{Thumbprint: l.Thumbprint, Missing: o.Certificates.Known}
	}
	c := o.Certificates.Value[i]
	return &HTTPSCert{Thumbprint: c.Thumbprint, Subject: c.Subject, Issuer: c.Issuer, NotAfter: c.NotAfter}
}
