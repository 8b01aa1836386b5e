package web

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"wavelock/rollout"
)

type findingsPage struct {
	Kinds []kind
	Total tally
	Most  int
	Pager pager
}

func (s *server) findings(w http.ResponseWriter, r *http.Request) {
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := findingsPage{Kinds: f.kinds, Total: f.total, Pager: newPager(r.URL, query{Page: 1}, len(f.kinds))}
	for _, k := range f.kinds {
		p.Most = max(p.Most, k.Hosts)
	}
	s.show(w, r, "findings.html", page{Title: "Findings", Active: "findings", Body: p})
}

func (s *server) findingsCSV(w http.ResponseWriter, r *http.Request) {
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.csv(w, r, "findings", []string{"host", "ou", "severity", "reason", "title", "detail", "waived", "hint", "seen"}, func(row func(...string)) {
		for _, h := range f.hosts {
			if h.Problem != "" {
				p := rollout.Reason(h.Problem)
				row(string(h.Host), h.OU, string(rollout.Blocker), h.Problem, p.Title(), "", "", p.Hint(), stamp(h.Seen))
			}
			for _, x := range h.Findings {
				row(string(h.Host), h.OU, string(x.Severity), string(x.Reason), x.Reason.Title(), x.Detail, strconv.FormatBool(x.Waived), x.Reason.Hint(), stamp(h.Seen))
			}
		}
	})
}

// issuer is one CA as the hosts' certificates know it.
type issuer struct {
	Name  string
	Hosts int
	First time.Time // the next one that ends
	Soon  int       // that end within thirty days, or have ended
}

type certificatesPage struct {
	Now       time.Time
	Days      []daysLeft
	Most      int
	Issuers   []issuer
	Pager     pager
	Hosts     []*rollout.Summary // with a certificate, the next to end first
	With      int
	Without   int    // no HTTPS listener
	Enrolling []kind // findings that are about certificates and the CA
}

// ofPKI are the reasons that are about certificates, the CA and the directory.
var ofPKI = []rollout.Reason{rollout.ReasonNoCertificate, rollout.ReasonDCReuseOnly, rollout.ReasonEnrollDenied, rollout.ReasonEnrollPending,
	rollout.ReasonEnrollFailed, rollout.ReasonReuseOnly, rollout.ReasonEnrollExpired, rollout.ReasonEnrollRequest, rollout.ReasonEnrollAnswer,
	rollout.ReasonCAUnavailable, rollout.ReasonUntrusted, rollout.ReasonMissingLink, rollout.ReasonSelfSigned, rollout.ReasonExpired,
	rollout.ReasonNotYetValid, rollout.ReasonWrongName, rollout.ReasonWrongUsage, rollout.ReasonWeakChain, rollout.ReasonThumbprintDiffers,
	rollout.ReasonPortTaken, rollout.ReasonNoName, rollout.ReasonWrongHost}

func (s *server) certificates(w http.ResponseWriter, r *http.Request) {
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	now := s.Now()
	p := certificatesPage{Now: now, Days: f.days, Issuers: issuers(f.hosts, now)}
	for _, d := range f.days {
		p.Most, p.With = max(p.Most, d.Hosts), p.With+d.Hosts
	}
	p.Without = len(f.hosts) - p.With
	if p.Enrolling, err = s.troubleWithPKI(r, f); err != nil {
		s.fail(w, r, err)
		return
	}
	all := withCertificate(f, parseQuery(r.URL.Query()), now)
	p.Pager = newPager(r.URL, parseQuery(r.URL.Query()), len(all))
	p.Hosts = cut(p.Pager, all)
	s.show(w, r, "certificates.html", page{Title: "Certificates and PKI", Active: "certificates", Body: p})
}

func withCertificate(f *fleet, q query, now time.Time) []*rollout.Summary {
	q.Sort = "expires"
	return slices.DeleteFunc(f.pick(q, now), func(h *rollout.Summary) bool { return h.Certificate == nil })
}

func issuers(hosts []*rollout.Summary, now time.Time) []issuer {
	at := map[string]*issuer{}
	for _, h := range hosts {
		c := h.Certificate
		if c == nil || c.Issuer == "" {
			continue
		}
		i := at[c.Issuer]
		if i == nil {
			i = &issuer{Name: c.Issuer, First: c.NotAfter}
			at[c.Issuer] = i
		}
		i.Hosts++
		if c.NotAfter.Before(i.First) {
			i.First = c.NotAfter
		}
		if c.NotAfter.Sub(now) < 30*24*time.Hour {
			i.Soon++
		}
	}
	list := make([]issuer, 0, len(at))
	for _, i := range at {
		list = append(list, *i)
	}
	slices.SortFunc(list, func(a, b issuer) int { return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Name, b.Name)) })
	return list
}

// troubleWithPKI is what observations and campaigns found about it.
func (s *server) troubleWithPKI(r *http.Request, f *fleet) ([]kind, error) {
	counts := map[rollout.Reason]int{}
	for _, k := range f.kinds {
		counts[k.Reason] += k.Hosts
	}
	all, err := s.allCampaigns(r.Context())
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		for _, h := range c.Troubles {
			counts[h.Reason]++
		}
	}
	var list []kind
	for _, reason := range ofPKI {
		if counts[reason] > 0 {
			list = append(list, kind{Reason: reason, Severity: rollout.Blocker, Hosts: counts[reason]})
		}
	}
	slices.SortStableFunc(list, func(a, b kind) int { return b.Hosts - a.Hosts })
	return list, nil
}

func (s *server) certificatesCSV(w http.ResponseWriter, r *http.Request) {
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	now := s.Now()
	s.csv(w, r, "certificates", []string{"host", "ou", "thumbprint", "subject", "issuer", "not_after", "days_left", "in_store"}, func(row func(...string)) {
		for _, h := range withCertificate(f, parseQuery(r.URL.Query()), now) {
			c := h.Certificate
			days := ""
			if !c.NotAfter.IsZero() {
				days = strconv.Itoa(int(c.NotAfter.Sub(now) / (24 * time.Hour)))
			}
			row(string(h.Host), h.OU, string(c.Thumbprint), c.Subject, c.Issuer, stamp(c.NotAfter), days, strconv.FormatBool(!c.Missing))
		}
	})
}
