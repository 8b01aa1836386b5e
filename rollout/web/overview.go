package web

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"wavelock/rollout"
)

type overviewPage struct {
	Now       time.Time
	Total     tally
	Chart     *chart
	Past      *rollout.CoveragePoint // when a date was asked for
	Date      string
	DateError string
	Campaigns []Campaign
	Blockers  []kind
	Most      int // hosts of the commonest blocker
	Days      []daysLeft
	MostDays  int
	Soon      int // certificates that somebody has to look after
	Clients   []Client
	AllClient int
	Words     string // of the census
	Starts    rollout.Initiators
	Dims      []dimView
}

// dimView is the coverage by one thing, its largest groups.
type dimView struct {
	Key, Title string
	Groups     []group
	All        int
}

// shownGroups is how many groups of a dimension the overview shows.
const shownGroups = 8

func (s *server) overview(w http.ResponseWriter, r *http.Request) {
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := overviewPage{Now: s.Now(), Total: f.total, Chart: newChart(f.series), Days: f.days, Starts: f.starts}
	if p.Date = r.URL.Query().Get("at"); p.Date != "" {
		s.pastCoverage(r.Context(), &p)
	}
	if p.Campaigns, err = s.allCampaigns(r.Context()); err != nil {
		s.fail(w, r, err)
		return
	}
	clients, err := s.httpClients(r.Context(), f)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p.AllClient, p.Clients, p.Words = len(clients.Clients), clients.Clients[:min(shownGroups, len(clients.Clients))], clients.Words
	for _, k := range f.kinds {
		if k.Severity == rollout.Blocker && len(p.Blockers) < shownGroups {
			p.Blockers, p.Most = append(p.Blockers, k), max(p.Most, k.Hosts)
		}
	}
	for _, d := range f.days {
		p.MostDays = max(p.MostDays, d.Hosts)
		if d.Bad {
			p.Soon += d.Hosts
		}
	}
	for _, d := range dimensions {
		groups := f.dims[d.Key]
		if len(groups) > 1 || (len(groups) == 1 && groups[0].Value != "") {
			p.Dims = append(p.Dims, dimView{d.Key, d.Title, groups[:min(shownGroups, len(groups))], len(groups)})
		}
	}
	s.show(w, r, "overview.html", page{Title: "Overview", Active: "overview", Body: p})
}

func (s *server) pastCoverage(ctx context.Context, p *overviewPage) {
	at, err := parseDate(p.Date)
	if err != nil {
		p.DateError = err.Error()
		return
	}
	past, err := s.fleet.at(ctx, at)
	if err != nil {
		p.DateError = err.Error()
		return
	}
	p.Past = &past
}

func (s *server) allCampaigns(ctx context.Context) ([]Campaign, error) {
	ids, err := s.Source.Campaigns(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Campaign, 0, len(ids))
	for _, id := range slices.Backward(ids) {
		c, err := s.Source.Campaign(ctx, id)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// httpClients are those who still use HTTP, the one with most hosts first.
func (s *server) httpClients(ctx context.Context, f *fleet) (Clientele, error) {
	if s.Census != nil {
		return s.Census.Clients(ctx)
	}
	at := map[string]int{}
	var list []Client
	for _, h := range f.hosts {
		for _, address := range h.Clients {
			i, known := at[address]
			if !known {
				i = len(list)
				at[address] = i
				list = append(list, Client{Address: address})
			}
			c := &list[i]
			c.Hosts = append(c.Hosts, h.Host)
			if h.Seen.After(c.Last) {
				c.Last = h.Seen
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Client) int {
		if n := len(b.Hosts) - len(a.Hosts); n != 0 {
			return n
		}
		return strings.Compare(a.Address, b.Address)
	})
	return Clientele{Clients: list}, nil
}

type dimensionPage struct {
	Key, Title string
	Groups     []group
	Pager      pager
}

func (s *server) dimension(w http.ResponseWriter, r *http.Request) {
	key, asCSV := strings.CutSuffix(r.PathValue("dim"), ".csv")
	i := slices.IndexFunc(dimensions, func(d dimension) bool { return d.Key == key })
	if i < 0 {
		s.fail(w, r, &NotFoundError{"The coverage by that"})
		return
	}
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q, groups := parseQuery(r.URL.Query()), f.dims[key]
	if q.Q != "" {
		groups = slices.DeleteFunc(slices.Clone(groups), func(g group) bool { return !strings.Contains(strings.ToLower(g.Value), q.Q) })
	}
	if asCSV {
		s.groupsCSV(w, r, key, groups)
		return
	}
	p := newPager(r.URL, q, len(groups))
	d := dimensions[i]
	s.show(w, r, "dimension.html", page{Title: "Coverage by " + strings.ToLower(d.Title), Active: "overview", Body: dimensionPage{d.Key, d.Title, cut(p, groups), p}})
}

func (s *server) groupsCSV(w http.ResponseWriter, r *http.Request, key string, groups []group) {
	head := []string{key, "hosts"}
	for _, c := range rollout.Classes() {
		head = append(head, string(c))
	}
	s.csv(w, r, "coverage-"+key, head, func(row func(...string)) {
		for _, g := range groups {
			cells := []string{g.Value, strconv.Itoa(g.Hosts)}
			for _, c := range rollout.Classes() {
				cells = append(cells, strconv.Itoa(g.Classes[c]))
			}
			row(cells...)
		}
	})
}

type clientsPage struct {
	Clients []Client
	Pager   pager
	Now     time.Time
	Census  bool // samples over time, rather than one look
	Words   string
}

func (s *server) clients(w http.ResponseWriter, r *http.Request) {
	all, ok := s.askClients(w, r)
	if !ok {
		return
	}
	p := newPager(r.URL, parseQuery(r.URL.Query()), len(all.Clients))
	s.show(w, r, "clients.html", page{Title: "Who still uses HTTP", Active: "overview", Body: clientsPage{cut(p, all.Clients), p, s.Now(), s.Census != nil, all.Words}})
}

func (s *server) askClients(w http.ResponseWriter, r *http.Request) (Clientele, bool) {
	f, err := s.fleet.get(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return Clientele{}, false
	}
	all, err := s.httpClients(r.Context(), f)
	if err != nil {
		s.fail(w, r, err)
		return Clientele{}, false
	}
	if q := strings.TrimSpace(strings.ToLower(r.URL.Query().Get("q"))); q != "" {
		all.Clients = slices.DeleteFunc(slices.Clone(all.Clients), func(c Client) bool { return !strings.Contains(strings.ToLower(c.Address+"\n"+c.Name), q) })
	}
	return all, true
}

func (s *server) clientsCSV(w http.ResponseWriter, r *http.Request) {
	all, ok := s.askClients(w, r)
	if !ok {
		return
	}
	s.csv(w, r, "http-clients", []string{"address", "name", "host", "first", "last", "samples", "hosts_never_https"}, func(row func(...string)) {
		for _, c := range all.Clients {
			for _, h := range c.Hosts {
				row(c.Address, c.Name, string(h), stamp(c.First), stamp(c.Last), strconv.Itoa(c.Samples), strconv.Itoa(c.NotMoved))
			}
		}
	})
}
