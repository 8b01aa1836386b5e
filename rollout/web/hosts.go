package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"wavelock/rollout"
)

// pageSize is how many rows a table shows at once.
const pageSize = 100

// query is what a list of hosts is narrowed and sorted by: all of it from the address.
type query struct {
	Q       string // part of the name or OU
	Class   string
	Dim     map[string]string // by the keys of dimensions; "-" stands for hosts without a value
	Finding string
	Cert    string // key of a bucket
	Client  string // address that was connected over HTTP
	Posture string // a check that is not fulfilled; with ? before it, one that is not known
	Starts  string // who can start a connection to it: everybody, some, unknown
	Sort    string // host, class, seen, expires
	Down    bool
	Page    int
}

// filters are the parameters that narrow a list, with their titles.
var filters = []struct{ Key, Title string }{{"class", "class"}, {"ou", "OU"}, {"site", "site"}, {"os", "system"}, {"role", "role"}, {"zone", "zone"},
	{"finding", "finding"}, {"cert", "certificate"}, {"client", "HTTP client"}, {"posture", "posture"}, {"starts", "lets in"}}

func parseQuery(v url.Values) query {
	q := query{Q: strings.ToLower(strings.TrimSpace(v.Get("q"))), Class: v.Get("class"), Dim: map[string]string{}, Finding: v.Get("finding"),
		Cert: v.Get("cert"), Client: v.Get("client"), Posture: v.Get("posture"), Starts: v.Get("starts"), Sort: v.Get("sort"), Page: 1}
	for _, d := range dimensions {
		if s := v.Get(d.Key); s != "" {
			q.Dim[d.Key] = s
		}
	}
	if s, down := strings.CutPrefix(q.Sort, "-"); down {
		q.Sort, q.Down = s, true
	}
	if n, err := strconv.Atoi(v.Get("page")); err == nil && n > 0 && n < 1<<20 {
		q.Page = n
	}
	return q
}

// pick are the hosts that fit, in the order that was asked for.
func (f *fleet) pick(q query, now time.Time) []*rollout.Summary {
	var out []*rollout.Summary
	for i, s := range f.hosts {
		if (q.Q == "" || strings.Contains(f.lower[i], q.Q)) && q.fits(s, now) {
			out = append(out, s)
		}
	}
	by := map[string]func(a, b *rollout.Summary) int{
		"class":   func(a, b *rollout.Summary) int { return cmp.Compare(classRank(a.Class), classRank(b.Class)) },
		"seen":    func(a, b *rollout.Summary) int { return a.Seen.Compare(b.Seen) },
		"expires": func(a, b *rollout.Summary) int { return cmp.Compare(expiry(a), expiry(b)) },
		"score":   func(a, b *rollout.Summary) int { return cmp.Compare(scoreOf(a), scoreOf(b)) },
		"ou":      func(a, b *rollout.Summary) int { return cmp.Compare(a.OU, b.OU) },
	}[q.Sort]
	if by != nil {
		slices.SortStableFunc(out, by)
	}
	if q.Down {
		slices.Reverse(out)
	}
	return out
}

func classRank(c rollout.Class) int { return slices.Index(rollout.Classes(), c) }

// scoreOf sorts hosts that were not judged behind all others.
func scoreOf(s *rollout.Summary) int {
	if s.Posture == nil {
		return 1000
	}
	return s.Posture.Score
}

// expiry sorts hosts without a certificate behind all others.
func expiry(s *rollout.Summary) int64 {
	if s.Certificate == nil || s.Certificate.NotAfter.IsZero() {
		return 1 << 62
	}
	return s.Certificate.NotAfter.Unix()
}

func (q query) fits(s *rollout.Summary, now time.Time) bool {
	if q.Class != "" && q.Class != string(s.Class) {
		return false
	}
	for _, d := range dimensions {
		want, asked := q.Dim[d.Key]
		if want == "-" {
			want = ""
		}
		if asked && !slices.ContainsFunc(d.of(s), func(v string) bool { return strings.EqualFold(v, want) }) {
			return false
		}
	}
	if q.Finding != "" && s.Problem != q.Finding &&
		!slices.ContainsFunc(s.Findings, func(f rollout.SummaryFinding) bool { return string(f.Reason) == q.Finding }) {
		return false
	}
	if q.Cert != "" {
		if i := bucketOf(s, now); i < 0 || buckets[i].Key != q.Cert {
			return false
		}
	}
	return q.fitsPosture(s) && (q.Starts == "" || q.Starts == startsOf(s)) && (q.Client == "" || slices.Contains(s.Clients, q.Client))
}

// startsOf is who can start a connection to the host; empty: nobody has looked.
func startsOf(s *rollout.Summary) string {
	switch {
	case s.Entry == nil && !s.Observed:
		return ""
	case s.Entry == nil || s.Entry.Unread:
		return "unknown"
	case s.Entry.Open():
		return "everybody"
	}
	return "some"
}

func (q query) fitsPosture(s *rollout.Summary) bool {
	switch check, unknown := strings.CutPrefix(q.Posture, "?"); {
	case q.Posture == "":
		return true
	case s.Posture == nil:
		return false
	case unknown:
		return slices.Contains(s.Posture.Unknown, check)
	}
	return slices.Contains(s.Posture.Bad, q.Posture)
}

// pager says where in a long table the page is.
type pager struct {
	From, To, Total int
	Page, Pages     int
	Prev, Next      string // addresses; empty at the ends
	CSV             string
	SortBy          map[string]string // address that sorts by a column
	Sorted          map[string]string // ascending, descending
	Chips           []chip
	Q               string
	Hidden          map[string]string // parameters that a search keeps
}

// chip is a filter that is set, with the address without it.
type chip struct{ Title, Value, Without string }

func with(v url.Values, path, key, value string) string {
	c := url.Values{}
	for k, s := range v {
		if k != "page" && k != key {
			c[k] = s
		}
	}
	if value != "" {
		c.Set(key, value)
	}
	if len(c) == 0 {
		return path
	}
	return path + "?" + c.Encode()
}

func newPager(u *url.URL, q query, total int, columns ...string) pager {
	v := u.Query()
	p := pager{Total: total, Pages: max(1, (total+pageSize-1)/pageSize), SortBy: map[string]string{}, Sorted: map[string]string{}, Q: v.Get("q"), Hidden: map[string]string{}}
	p.Page = min(q.Page, p.Pages)
	p.From, p.To = min((p.Page-1)*pageSize+1, total), min(p.Page*pageSize, total)
	if p.Page > 1 {
		p.Prev = with(v, u.Path, "page", strconv.Itoa(p.Page-1))
	}
	if p.Page < p.Pages {
		p.Next = with(v, u.Path, "page", strconv.Itoa(p.Page+1))
	}
	p.CSV = with(v, strings.TrimSuffix(u.Path, "/")+".csv", "page", "")
	for _, c := range columns {
		p.SortBy[c] = with(v, u.Path, "sort", c)
		if q.Sort == c || (q.Sort == "" && c == "host") {
			p.Sorted[c] = "ascending"
			p.SortBy[c] = with(v, u.Path, "sort", "-"+c)
			if q.Down {
				p.Sorted[c], p.SortBy[c] = "descending", with(v, u.Path, "sort", c)
			}
		}
	}
	for _, f := range filters {
		if s := v.Get(f.Key); s != "" {
			p.Chips = append(p.Chips, chip{f.Title, s, with(v, u.Path, f.Key, "")})
			p.Hidden[f.Key] = s
		}
	}
	if s := v.Get("sort"); s != "" {
		p.Hidden["sort"] = s
	}
	return p
}

// cut is the page's part of the rows.
func cut[T any](p pager, rows []T) []T {
	if p.Total == 0 {
		return nil
	}
	return rows[p.From-1 : p.To]
}

type hostsPage struct {
	Pager pager
	Hosts []*rollout.Summary
	Now   time.Time
	Tabs  []tab
}

// tab is a class with its number of hosts among those that fit otherwise.
type tab struct {
	Title, Link string
	N           int
	On          bool
}

// tabsOf counts the classes of what fits everything but the class.
func (f *fleet) tabsOf(u *url.URL, q query, now time.Time) (tabs []tab, picked []*rollout.Summary) {
	class := q.Class
	q.Class = ""
	all, counts := f.pick(q, now), map[rollout.Class]int{}
	for _, s := range all {
		counts[s.Class]++
		if class == "" || class == string(s.Class) {
			picked = append(picked, s)
		}
	}
	tabs = append(tabs, tab{"All", with(u.Query(), u.Path, "class", ""), len(all), class == ""})
	for _, c := range rollout.Classes() {
		tabs = append(tabs, tab{classTitle(c), with(u.Query(), u.Path, "class", string(c)), counts[c], class == string(c)})
	}
	return tabs, picked
}

func (s *server) hosts(w http.ResponseWriter, r *http.Request) {
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q := parseQuery(r.URL.Query())
	tabs, all := f.tabsOf(r.URL, q, s.Now())
	p := newPager(r.URL, q, len(all), "host", "ou", "class", "seen", "expires")
	s.show(w, r, "hosts.html", page{Title: "Computers", Active: "hosts", Body: hostsPage{p, cut(p, all), s.Now(), tabs}})
}

func (s *server) hostsCSV(w http.ResponseWriter, r *http.Request) {
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	all := f.pick(parseQuery(r.URL.Query()), s.Now())
	s.csv(w, r, "hosts", []string{"host", "ou", "site", "os", "roles", "zone", "class", "seen", "problem", "blocker", "detail", "certificate", "expires", "http_clients", "posture_score"}, func(row func(...string)) {
		for _, h := range all {
			b, _ := h.Blocked()
			var thumb, expires string
			if c := h.Certificate; c != nil {
				thumb, expires = string(c.Thumbprint), stamp(c.NotAfter)
			}
			score := ""
			if h.Posture != nil {
				score = strconv.Itoa(h.Posture.Score)
			}
			roles := make([]string, len(h.Roles))
			for i, role := range h.Roles {
				roles[i] = string(role)
			}
			row(string(h.Host), h.OU, h.Site, h.OS, strings.Join(roles, " "), string(h.Zone), string(h.Class), stamp(h.Seen), h.Problem,
				string(b.Reason), b.Detail, thumb, expires, strings.Join(h.Clients, " "), score)
		}
	})
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
