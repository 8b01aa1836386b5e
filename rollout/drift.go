package rollout

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"wavelock/pki"
)

// Baseline is the state of a host that later looks are held to: what a campaign
// left, else what was seen first.
type Baseline struct {
	At      time.Time      `json:"at"`
	By      string         `json:"by"`                // the campaign, or a person who accepted what was there
	HTTP    bool           `json:"http"`              // it had an HTTP listener
	HTTPS   pki.Thumbprint `json:"https,omitempty"`   // of its HTTPS listener; empty: it had none
	Sources []string       `json:"sources,omitempty"` // from where its firewall rules let connections to the HTTPS port in; "any" is all
}

// Drift is a host that left its baseline without us.
type Drift struct {
	Host     HostID     `json:"host"`
	Reason   Reason     `json:"reason"`
	Detail   string     `json:"detail"`
	First    time.Time  `json:"first"`
	Last     time.Time  `json:"last"`
	Ended    time.Time  `json:"ended,omitzero"`     // it is as it was again, or somebody accepted it
	Why      string     `json:"why,omitempty"`      // it ended
	Campaign CampaignID `json:"campaign,omitempty"` // that was opened for it
}

// Standing is how one host stands to its baseline.
type Standing struct {
	Baseline *Baseline `json:"baseline,omitempty"`
	Drifts   []Drift   `json:"drifts,omitempty"` // open ones, and the last that ended
}

// keptDrifts is how many drifts of a host that ended are remembered.
const keptDrifts = 20

// driftReasons are the ways in which a host leaves its baseline; With looks for each of them.
var driftReasons = []Reason{ReasonHTTPBack, ReasonPolicyRecreated, ReasonHTTPSGone, ReasonCertificateReplaced, ReasonRuleWidened}

// NewBaseline is what an observation shows. It answers false when too little was read to hold a host to it.
func NewBaseline(o Observation, p Policy, by string) (Baseline, bool) {
	if o.Via == "" || !o.Listeners.Known || !strings.EqualFold(o.Identity.Value.FQDN, string(o.Host)) {
		return Baseline{}, false
	}
	_, http := o.listener(HTTP)
	b := Baseline{At: o.At, By: by, HTTP: http || o.HTTP.State == DoorOpen}
	if l, ok := o.listener(HTTPS); ok {
		b.HTTPS = l.Thumbprint
	}
	if o.Firewall.Known {
		b.Sources = sourcesOf(o.Firewall.Value, p.Port)
	}
	return b, true
}

// sourcesOf is from where the rules let connections to the port in.
func sourcesOf(f Firewall, port int) []string {
	var list []string
	for _, r := range f.Rules {
		if !r.Allow || !r.Active || !coversPort(r.Ports, port) {
			continue
		}
		remote := r.Remote
		if len(remote) == 0 {
			remote = []string{"any"}
		}
		for _, s := range remote {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	slices.Sort(list)
	return list
}

// With is the standing after a look that nobody's campaign stands behind, and what
// is new in it: drifts that began, and drifts that ended. What was not read says nothing.
func (s Standing) With(o Observation, p Policy, now time.Time) (next Standing, news []Drift) {
	here, ok := NewBaseline(o, p, "first seen")
	if !ok {
		return s, nil
	}
	if s.Baseline == nil {
		return Standing{Baseline: &here, Drifts: s.Drifts}, nil
	}
	next.Baseline = s.Baseline
	next.Drifts = slices.Clone(s.Drifts)
	for _, r := range driftReasons {
		detail, verdict := s.Baseline.drifted(r, o, p, here, now)
		if verdict == notKnown {
			continue
		}
		i := slices.IndexFunc(next.Drifts, func(d Drift) bool { return d.Reason == r && d.Ended.IsZero() })
		switch {
		case verdict == isOff && i < 0:
			next.Drifts = append(next.Drifts, Drift{Host: o.Host, Reason: r, Detail: detail, First: o.At, Last: o.At})
			news = append(news, next.Drifts[len(next.Drifts)-1])
		case verdict == isOff:
			next.Drifts[i].Last, next.Drifts[i].Detail = o.At, detail
		case i >= 0:
			next.Drifts[i].Ended, next.Drifts[i].Why = o.At, "it is as it was"
			news = append(news, next.Drifts[i])
		}
	}
	next.trim()
	return next, news
}

// Settle makes what a campaign left, or what a person accepts, the new baseline.
// Every open drift ends with it.
func (s Standing) Settle(o Observation, p Policy, by, why string) (Standing, []Drift) {
	here, ok := NewBaseline(o, p, by)
	if !ok {
		return s, nil
	}
	next := Standing{Baseline: &here, Drifts: slices.Clone(s.Drifts)}
	var news []Drift
	for i := range next.Drifts {
		if d := &next.Drifts[i]; d.Ended.IsZero() {
			d.Ended, d.Why = o.At, why
			news = append(news, *d)
		}
	}
	next.trim()
	return next, news
}

// Open are the drifts that have not ended.
func (s Standing) Open() []Drift {
	var open []Drift
	for _, d := range s.Drifts {
		if d.Ended.IsZero() {
			open = append(open, d)
		}
	}
	return open
}

func (s *Standing) trim() {
	ended := len(s.Drifts) - len(s.Open())
	s.Drifts = slices.DeleteFunc(s.Drifts, func(d Drift) bool {
		if d.Ended.IsZero() || ended <= keptDrifts {
			return false
		}
		ended--
		return true
	})
}

type verdict int

const (
	notKnown verdict = iota
	isFine
	isOff
)

func (b Baseline) drifted(r Reason, o Observation, p Policy, here Baseline, now time.Time) (string, verdict) {
	switch r {
	case ReasonHTTPBack, ReasonPolicyRecreated:
		return b.httpBack(r, o, here)
	case ReasonHTTPSGone:
		return b.httpsGone(o, here)
	case ReasonCertificateReplaced:
		return b.replaced(o, p, here, now)
	case ReasonRuleWidened:
		return b.widened(o, p, here)
	}
	return "", notKnown
}

// httpBack tells a listener that Group Policy made again from one that a person or
// a program made: the first comes back however often it is removed.
func (b Baseline) httpBack(r Reason, o Observation, here Baseline) (string, verdict) {
	if b.HTTP || !here.HTTP {
		return "", isFine
	}
	l, listed := o.listener(HTTP)
	auto := o.Policy.Value.AllowAutoConfig
	byPolicy := (listed && l.Source == SourceGPO) || (o.Policy.Known && auto != nil && *auto)
	switch {
	case !o.Policy.Known && l.Source != SourceGPO:
		return "", notKnown // it cannot be told which of the two it is
	case byPolicy != (r == ReasonPolicyRecreated):
		return "", isFine
	case byPolicy:
		return fmt.Sprintf("Group Policy made the HTTP listener again%s", o.winner("AllowAutoConfig")), isOff
	case listed:
		return fmt.Sprintf("an HTTP listener on %d is there again", l.Port), isOff
	}
	return "HTTP answers again, although no listener is configured", isOff
}

func (b Baseline) httpsGone(o Observation, here Baseline) (string, verdict) {
	switch {
	case b.HTTPS == "":
		return "", isFine
	case here.HTTPS == "":
		return "the HTTPS listener is gone", isOff
	case o.HTTPS.State == DoorRefused:
		return "there is an HTTPS listener, and its port refuses connections", isOff
	}
	return "", isFine
}

// replaced compares the listener and http.sys with the certificate of the baseline.
func (b Baseline) replaced(o Observation, p Policy, here Baseline, now time.Time) (string, verdict) {
	switch {
	case b.HTTPS == "" || here.HTTPS == "":
		return "", isFine
	case here.HTTPS != b.HTTPS:
		fit := "and it is not fit"
		req := pki.Requirement{Name: string(o.Host), MinLeft: p.MinLeft.D(), Issuers: p.Issuers, Prefer: here.HTTPS}
		if c := pki.Choose(o.Certificates.Value, req, now).Certificate; c != nil && c.Thumbprint == here.HTTPS {
			fit = "which is fit"
		}
		return fmt.Sprintf("the listener has the certificate %s, %s; it had %s", here.HTTPS.Short(), fit, b.HTTPS.Short()), isOff
	case !o.Bindings.Known:
		return "", notKnown
	case o.bound(p.Port) != b.HTTPS:
		return fmt.Sprintf("http.sys has the certificate %s, the listener %s", o.bound(p.Port).Short(), b.HTTPS.Short()), isOff
	}
	return "", isFine
}

func (b Baseline) widened(o Observation, p Policy, here Baseline) (string, verdict) {
	if !o.Firewall.Known {
		return "", notKnown
	}
	if len(b.Sources) == 0 {
		return "", isFine
	}
	var more []string
	for _, s := range here.Sources {
		if !slices.ContainsFunc(b.Sources, func(had string) bool { return covers(had, s) }) {
			more = append(more, s)
		}
	}
	if len(more) == 0 {
		return "", isFine
	}
	return fmt.Sprintf("connections to %d are let in from %s, too", p.Port, strings.Join(more, ", ")), isOff
}

// covers reports whether everybody in the second source is in the first. Both are
// as a firewall rule has them: any, LocalSubnet, an address, a prefix, a mask or a range.
func covers(had, now string) bool {
	if strings.EqualFold(had, now) || strings.EqualFold(had, "any") {
		return true
	}
	a, okA := spanOf(had)
	b, okB := spanOf(now)
	return okA && okB && a.from.Is4() == b.from.Is4() && a.from.Compare(b.from) <= 0 && b.to.Compare(a.to) <= 0
}

// span is a range of addresses, both ends in it.
type span struct{ from, to netip.Addr }

func spanOf(s string) (span, bool) {
	if from, to, ok := strings.Cut(s, "-"); ok {
		a, errA := netip.ParseAddr(strings.TrimSpace(from))
		b, errB := netip.ParseAddr(strings.TrimSpace(to))
		return span{a, b}, errA == nil && errB == nil && a.Is4() == b.Is4() && a.Compare(b) <= 0
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return span{addr, addr}, true
	}
	addr, mask, ok := strings.Cut(s, "/")
	if m, err := netip.ParseAddr(mask); ok && err == nil && m.Is4() { // 192.0.2.0/255.255.255.0, as the firewall writes it
		bits := 0
		for b := m.As4(); bits < 32 && b[bits/8]&(0x80>>(bits%8)) != 0; bits++ {
		}
		s = fmt.Sprintf("%s/%d", addr, bits)
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return span{}, false
	}
	return span{prefix.Masked().Addr(), lastOf(prefix)}, true
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// cures are the goals whose campaigns mend a drift. HTTP that Group Policy makes
// again, and a firewall rule that somebody widened, are no campaign's matter.
var cures = map[Reason][]Goal{
	ReasonHTTPBack:            {GoalClose},
	ReasonHTTPSGone:           {GoalSecure},
	ReasonCertificateReplaced: {GoalRenew, GoalSecure},
}

// Cure is the first of the goals whose campaign would mend the drift; empty when none would.
func (d Drift) Cure(goals []Goal) Goal {
	for _, g := range goals {
		if slices.Contains(cures[d.Reason], g) {
			return g
		}
	}
	return ""
}

// Opened notes the campaign that was opened for the drifts that its goal mends.
func (s Standing) Opened(id CampaignID, g Goal, goals []Goal) Standing {
	s.Drifts = slices.Clone(s.Drifts)
	for i := range s.Drifts {
		if d := &s.Drifts[i]; d.Ended.IsZero() && d.Campaign == "" && d.Cure(goals) == g {
			d.Campaign = id
		}
	}
	return s
}
