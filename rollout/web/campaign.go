package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"wavelock/rollout"
)

// Limits of what the campaign's page shows of each list; the rest is a page of its own.
const (
	shownTroubles = 25
	shownFlight   = 12
	shownEvents   = 15
	shownRoster   = 25
	shownPolicies = 20
	shownForGroup = 200 // computers that a group has to be given
)

type campaignPage struct {
	Campaign
	Now      time.Time
	Parts    []part // of all hosts
	Board    []waveCard
	Flight   []rollout.HostView
	Troubles []rollout.HostView
	Left     []rollout.LeftOut
	AllLeft  int
	Policies []policyCard
	Changes  []rollout.Change // in the directory since the plan was made
	MoreNew  int              // of them
	Events   []rollout.Event
	Words    []wordForm
	Said     string // the word that was just said
	Refused  string // why it could not be
	Told     []told // who approved what
}

// part is a share of a progress bar, in thousandths of its width.
type part struct {
	Name, Title string
	N, X, Width int
}

// policyCard is what a person has to change in Group Policy.
type policyCard struct {
	Change    rollout.PolicyChange
	Computers []rollout.HostID // the first of them
	More      int
	Link      string // to all of them
}

func policyCards(c Campaign) (cards []policyCard) {
	for _, p := range c.Policies[:min(shownPolicies, len(c.Policies))] {
		n := min(shownForGroup, len(p.Computers))
		cards = append(cards, policyCard{p, p.Computers[:n], len(p.Computers) - n, fmt.Sprintf("/campaign/%s/hosts?status=%s&wave=%d", c.Campaign, rollout.AwaitPolicy, p.Wave)})
	}
	return cards
}

// waveCard is a wave on the board.
type waveCard struct {
	rollout.WaveView
	Parts   []part
	Pending int // not begun
	Soaks   time.Time
	Word    *wordForm // its approval, where it waits for one
	Asks    Approval
	Barred  bool // whoever looks cannot give it: they approved the plan
}

func parts(total int, named ...part) []part {
	var out []part
	sum := 0
	for _, p := range named {
		if p.N == 0 || total == 0 {
			continue
		}
		p.X = sum * 1000 / total
		sum += p.N
		p.Width = sum*1000/total - p.X
		out = append(out, p)
	}
	return out
}

func cardOf(v rollout.WaveView) waveCard {
	c := waveCard{WaveView: v}
	c.Pending = max(0, v.Hosts-v.Done-v.Running-v.Waiting-v.Refused-v.Restored-v.Broken-v.Retired)
	c.Parts = parts(v.Hosts, part{Name: "done", Title: "done", N: v.Done}, part{Name: "running", Title: "being worked on", N: v.Running},
		part{Name: "waiting", Title: "wait for something else", N: v.Waiting}, part{Name: "refused", Title: "refused, nothing written", N: v.Refused}, part{Name: "retired", Title: "retired, not begun", N: v.Retired},
		part{Name: "restored", Title: "put back", N: v.Restored}, part{Name: "failed", Title: "failed", N: v.Broken}, part{Name: "pending", Title: "not begun", N: c.Pending})
	return c
}

// progressOf is the same over all waves.
func progressOf(board []waveCard, hosts int) []part {
	sums := map[string]*part{}
	var order []*part
	for _, name := range []string{"done", "running", "waiting", "refused", "retired", "restored", "failed", "pending"} {
		p := &part{Name: name}
		sums[name], order = p, append(order, p)
	}
	for _, c := range board {
		for _, p := range c.Parts {
			sums[p.Name].N += p.N
			sums[p.Name].Title = p.Title
		}
	}
	flat := make([]part, len(order))
	for i, p := range order {
		flat[i] = *p
	}
	return parts(hosts, flat...)
}

// told is one approval as the page lists it.
type told struct {
	What string
	rollout.Approval
	Short bool // it is not enough: it expired, or somebody else has to give it
}

func toldOf(c Campaign) (list []told) {
	for _, a := range c.Approvals {
		what := a.Name
		if a.Wave > 0 {
			what = fmt.Sprintf("wave %d · %s", a.Wave, a.Name)
		}
		for _, g := range a.Given {
			list = append(list, told{what, g, a.Waits != "" || (a.Wave == 0 && c.Expired)})
		}
	}
	return list
}

type campaignsPage struct {
	Campaigns []Campaign
	Now       time.Time
}

func (s *server) campaigns(w http.ResponseWriter, r *http.Request) {
	all, err := s.allCampaigns(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, r, "campaigns.html", page{Title: "Campaigns", Active: "campaigns", Body: campaignsPage{all, s.Now()}})
}

func (s *server) campaign(w http.ResponseWriter, r *http.Request) {
	s.showCampaign(w, r, http.StatusOK, r.URL.Query().Get("said"), "")
}

func (s *server) showCampaign(w http.ResponseWriter, r *http.Request, status int, said, refused string) {
	id := rollout.CampaignID(r.PathValue("id"))
	c, err := s.Source.Campaign(r.Context(), id)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := campaignPage{Campaign: c, Now: s.Now(), Said: saidText[said], Refused: refused, Told: toldOf(c), Policies: policyCards(c)}
	for _, v := range c.Waves {
		card := cardOf(v)
		for _, a := range c.Approvals {
			if a.Wave == v.Number {
				card.Asks = a
			}
		}
		p.Board = append(p.Board, card)
	}
	p.Parts = progressOf(p.Board, c.Hosts)
	p.Troubles, p.Left, p.AllLeft = c.Troubles[:min(shownTroubles, len(c.Troubles))], c.LeftOut[:min(shownTroubles, len(c.LeftOut))], len(c.LeftOut)
	if r := c.Roster; r != nil {
		all := slices.Concat(r.Retired, r.Added)
		p.Changes = all[:min(shownRoster, len(all))]
		p.MoreNew = len(all) + r.More - len(p.Changes)
	}
	if p.Events, err = s.Source.Events(r.Context(), id, "", 0, shownEvents); err != nil {
		s.fail(w, r, err)
		return
	}
	if c.InFlight > 0 {
		if p.Flight, err = s.inFlight(r.Context(), id); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	if v := visitorOf(r); v != nil && s.Speaker != nil {
		p.Words = wordsFor(v.person, c)
		for i := range p.Board {
			p.Board[i].Word, p.Board[i].Barred = waveWord(v.person, c, p.Board[i])
		}
	}
	s.showStatus(w, r, status, "campaign.html", page{Title: string(id), Active: "campaigns", Body: p})
}

// inFlight are hosts that are worked on, as many as are shown.
func (s *server) inFlight(ctx context.Context, id rollout.CampaignID) ([]rollout.HostView, error) {
	rows, err := s.Source.Rows(ctx, id)
	if err != nil {
		return nil, err
	}
	var running []rollout.HostView
	for _, h := range rows {
		if h.Status == "running" && len(running) < shownFlight {
			running = append(running, h)
		}
	}
	return running, nil
}

type campaignHostsPage struct {
	ID       rollout.CampaignID
	Rows     []rollout.HostView
	Pager    pager
	Now      time.Time
	Statuses []statusCount
	Status   string
}

type statusCount struct {
	Status string
	N      int
	Link   string
}

func (s *server) campaignRows(w http.ResponseWriter, r *http.Request) (rollout.CampaignID, []rollout.HostView, []statusCount, bool) {
	id := rollout.CampaignID(r.PathValue("id"))
	rows, err := s.Source.Rows(r.Context(), id)
	if err != nil {
		s.fail(w, r, err)
		return id, nil, nil, false
	}
	v := r.URL.Query()
	q, status, wave := strings.ToLower(strings.TrimSpace(v.Get("q"))), v.Get("status"), v.Get("wave")
	counts := map[string]int{}
	var out []rollout.HostView
	for _, h := range rows {
		if (q != "" && !strings.Contains(strings.ToLower(string(h.Host)), q)) || (wave != "" && strconv.Itoa(h.Wave) != wave) {
			continue
		}
		counts[h.Status]++
		if status == "" || h.Status == status {
			out = append(out, h)
		}
	}
	var list []statusCount
	for st, n := range counts {
		list = append(list, statusCount{st, n, with(v, r.URL.Path, "status", st)})
	}
	slices.SortFunc(list, func(a, b statusCount) int { return strings.Compare(a.Status, b.Status) })
	return id, out, list, true
}

func (s *server) campaignHosts(w http.ResponseWriter, r *http.Request) {
	id, rows, counts, ok := s.campaignRows(w, r)
	if !ok {
		return
	}
	p := newPager(r.URL, parseQuery(r.URL.Query()), len(rows))
	for _, key := range []string{"status", "wave"} {
		if v := r.URL.Query().Get(key); v != "" {
			p.Chips, p.Hidden[key] = append(p.Chips, chip{key, v, with(r.URL.Query(), r.URL.Path, key, "")}), v
		}
	}
	s.show(w, r, "campaignhosts.html", page{Title: "Computers of " + string(id), Active: "campaigns",
		Body: campaignHostsPage{id, cut(p, rows), p, s.Now(), counts, r.URL.Query().Get("status")}})
}

func (s *server) campaignHostsCSV(w http.ResponseWriter, r *http.Request) {
	_, rows, _, ok := s.campaignRows(w, r)
	if !ok {
		return
	}
	s.csv(w, r, "campaign-hosts", []string{"host", "ou", "wave", "status", "action", "step", "class", "reason", "title", "detail", "again", "proved", "wire"}, func(row func(...string)) {
		for _, h := range rows {
			title, proved, wire := "", "", ""
			if h.Reason != "" {
				title = h.Reason.Title()
			}
			if h.Proof != nil {
				proved, wire = stamp(h.Proof.At), string(h.Proof.Wire)
			}
			row(string(h.Host), h.OU, strconv.Itoa(h.Wave), h.Status, string(h.Action), string(h.Step), string(h.Class), string(h.Reason), title, h.Detail, stamp(h.Again), proved, wire)
		}
	})
}
