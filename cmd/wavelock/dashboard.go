package main

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/journal"
	"wavelock/rollout/web"
)

// dashboard shows the journal.
func (a *app) dashboard(ctx context.Context, cfg Config, j *journal.Journal, door doorway) http.Handler {
	p := newPages(a, cfg, j)
	c := web.Config{Ahead: true, Source: p, Census: p, Log: a.serveLog(), Version: versionString(), Now: a.now, Accounts: door.accounts, Secure: door.secure, ScrapeToken: door.scrape}
	if door.accounts != nil {
		c.Speaker = speaker{a, j}
		c.Witness = j
	}
	return web.New(ctx, c)
}

// pages gives the dashboard what the journal has. Campaigns are followed rather
// than replayed for each page.
type pages struct {
	a       *app
	cfg     Config
	journal *journal.Journal

	mu       sync.Mutex // guards followed
	followed map[rollout.CampaignID]*followed

	counting sync.Mutex // guards what follows
	counted  time.Time
	clients  web.Clientele
}

var (
	_ web.Source = (*pages)(nil)
	_ web.Census = (*pages)(nil)
)

func newPages(a *app, cfg Config, j *journal.Journal) *pages {
	return &pages{a: a, cfg: cfg, journal: j, followed: map[rollout.CampaignID]*followed{}}
}

// followed is a campaign that is moved on by what is written of it.
type followed struct {
	mu    sync.Mutex // guards what follows
	plan  *rollout.Plan
	state *rollout.State
	view  rollout.View
	drawn time.Time
	won   map[rollout.HostID]rollout.PolicyValue // of hosts that wait for Group Policy
	asked time.Time                              // since when won is kept
	rows  []rollout.HostView
	rowed int64 // Seq of rows
}

func (p *pages) Version(ctx context.Context) (string, error) { return p.journal.Version(ctx) }

func (p *pages) Summaries(ctx context.Context, after int64) ([]rollout.Summary, int64, error) {
	return p.journal.Summaries(ctx, after)
}

func (p *pages) History(ctx context.Context, after int64) iter.Seq2[rollout.ClassChange, error] {
	return p.journal.History(ctx, after)
}

// censusAge is how long the censuses of the fleet are shown before they are read again.
const censusAge = 15 * time.Second

// Clients is who still uses HTTP, over all samples of all hosts.
func (p *pages) Clients(ctx context.Context) (web.Clientele, error) {
	p.counting.Lock()
	defer p.counting.Unlock()
	now := p.a.now()
	if !p.counted.IsZero() && now.Sub(p.counted) < censusAge {
		return p.clients, nil
	}
	all, err := p.journal.Censuses(ctx)
	if err != nil {
		return web.Clientele{}, err
	}
	known, err := p.journal.HostCount(ctx)
	if err != nil {
		return web.Clientele{}, err
	}
	var c rollout.Clientele
	for range known - len(all) { // never sampled, so not known
		c.Add("", rollout.Census{}, p.cfg.Policy, now)
	}
	samples := map[string]int{}
	first := map[string]time.Time{}
	for id, census := range all {
		c.Add(id, census, p.cfg.Policy, now)
		for _, k := range census.UsersOf(p.cfg.Policy.HTTPPort, p.cfg.Policy, now) {
			s := k.At(p.cfg.Policy.HTTPPort)
			samples[k.Address] += s.Samples
			if f := first[k.Address]; f.IsZero() || s.First.Before(f) {
				first[k.Address] = s.First
			}
		}
	}
	c.Sort()
	out := web.Clientele{}
	if c.Hosts > 0 {
		out.Words = c.Words()
	}
	for _, s := range c.Sources {
		slices.Sort(s.Hosts)
		out.Clients = append(out.Clients, web.Client{Address: s.Address, Name: s.Name, Hosts: s.Hosts, First: first[s.Address], Last: s.Last, Samples: samples[s.Address], NotMoved: s.NotMoved})
	}
	p.clients, p.counted = out, now
	return out, nil
}

func (p *pages) Campaigns(ctx context.Context) ([]rollout.CampaignID, error) {
	return p.journal.CampaignIDs(ctx)
}

// follow is the campaign as it is now, locked.
func (p *pages) follow(ctx context.Context, id rollout.CampaignID) (*followed, error) {
	p.mu.Lock()
	f := p.followed[id]
	if f == nil {
		f = &followed{}
		p.followed[id] = f
	}
	p.mu.Unlock()
	f.mu.Lock()
	if err := p.catchUp(ctx, id, f); err != nil {
		f.mu.Unlock()
		var unknown *journal.UnknownCampaignError
		if errors.As(err, &unknown) {
			p.mu.Lock()
			delete(p.followed, id) // or names that people make up stay in memory
			p.mu.Unlock()
			return nil, &web.NotFoundError{What: "The campaign"}
		}
		return nil, err
	}
	return f, nil
}

func (p *pages) catchUp(ctx context.Context, id rollout.CampaignID, f *followed) error {
	if f.plan == nil {
		plan, state, err := p.journal.Replay(ctx, id)
		if err != nil {
			return err
		}
		f.plan, f.state = plan, state
	}
	for ev, err := range p.journal.Events(ctx, id, f.state.Seq) {
		if err != nil {
			return err
		}
		f.state.Apply(ev)
	}
	return nil
}

func (p *pages) Campaign(ctx context.Context, id rollout.CampaignID) (web.Campaign, error) {
	f, err := p.follow(ctx, id)
	if err != nil {
		return web.Campaign{}, err
	}
	defer f.mu.Unlock()
	now := p.a.now()
	if f.drawn.IsZero() || f.view.Seq != f.state.Seq || now.Sub(f.drawn) >= time.Second {
		f.view, f.drawn = p.a.view(ctx, p.journal, f.plan, f.state), now
		if err := p.addPolicies(ctx, f, now); err != nil {
			return web.Campaign{}, err
		}
	}
	head, err := p.journal.HashAt(ctx, id, f.state.Seq)
	c := web.Campaign{View: f.view, Made: f.plan.Made, MadeBy: f.plan.MadeBy, Head: head}
	c.SecondPerson, c.Expired = f.plan.SecondPerson(), c.Approved != "" && rollout.ApprovalExpired(f.plan, f.state, now)
	whole := web.Approval{Name: "the plan", Needs: true}
	if c.Approved != "" {
		whole.Given = []rollout.Approval{f.state.Approval}
	}
	c.Approvals = append(c.Approvals, whole)
	for i, w := range f.plan.Waves {
		c.Approvals = append(c.Approvals, web.Approval{Wave: i + 1, Name: w.Name, Needs: f.plan.Asks(i + 1), Waits: rollout.AwaitedApproval(f.plan, f.state, i+1, now), Given: slices.Clone(f.state.Waves[i].Approvals)})
	}
	return c, err
}

// wonAge is how long it is believed which policy object wins on a host before its observation is read again.
const wonAge = time.Minute

// addPolicies adds to the view what has to be changed in Group Policy.
func (p *pages) addPolicies(ctx context.Context, f *followed, now time.Time) error {
	if f.won == nil || now.Sub(f.asked) >= wonAge {
		f.won, f.asked = map[rollout.HostID]rollout.PolicyValue{}, now
	}
	var failed error
	f.view.Policies = rollout.PolicyChanges(f.plan, f.state, func(id rollout.HostID) rollout.PolicyValue {
		v, known := f.won[id]
		if !known {
			var err error
			if v, err = winnerOn(ctx, p.journal, id); err != nil && failed == nil {
				failed = err
			}
			f.won[id] = v
		}
		return v
	}, p.cfg.PolicyGroup)
	return failed
}

func (p *pages) Rows(ctx context.Context, id rollout.CampaignID) ([]rollout.HostView, error) {
	f, err := p.follow(ctx, id)
	if err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if f.rows == nil || f.rowed != f.state.Seq {
		rows := make([]rollout.HostView, 0, len(f.plan.Hosts))
		for _, ph := range f.plan.Hosts {
			rows = append(rows, rollout.HostRow(f.plan, f.state, ph))
		}
		f.rows, f.rowed = rows, f.state.Seq
	}
	return f.rows, nil
}

func (p *pages) Events(ctx context.Context, id rollout.CampaignID, host rollout.HostID, before int64, limit int) ([]rollout.Event, error) {
	return p.journal.Latest(ctx, id, host, before, limit)
}

func (p *pages) Host(ctx context.Context, id rollout.HostID) (web.Dossier, error) {
	r, known, err := p.journal.Host(ctx, id)
	if err != nil {
		return web.Dossier{}, err
	}
	past, err := p.chapters(ctx, id)
	if err != nil {
		return web.Dossier{}, err
	}
	if !known && len(past) == 0 {
		return web.Dossier{}, &web.NotFoundError{What: "A computer of that name"}
	}
	r.Host.ID = id
	d := p.cfg.dossier(r, p.a.now())
	out := web.Dossier{Host: r.Host, Problem: r.Problem, Class: d.class(), SeenAt: r.SeenAt, Observation: r.Observation, Findings: d.Findings, Would: d.Would, Past: past}
	if o := r.Observation; o != nil && o.Via != "" && r.Problem == "" {
		var unread error
		v := rollout.JudgePosture(*o, p.cfg.Posture).WithShares(id, func(server rollout.HostID) *rollout.PostureSummary {
			s, err := p.shares(ctx, server)
			unread = err
			return s
		})
		if unread != nil {
			return web.Dossier{}, unread
		}
		out.Posture = &v
	}
	if o := r.Observation; o != nil && o.Census.Known {
		out.Users = o.Census.Value.Words(p.cfg.Policy, p.a.now())
	}
	if c := d.Fit.Certificate; c != nil {
		out.Fit = certificateView(*c)
	}
	for _, x := range d.Fit.Rejected {
		out.Rejected = append(out.Rejected, web.RejectedView{Thumbprint: string(x.Thumbprint), Code: x.Code, Detail: x.Detail})
	}
	return out, nil
}

// shares is the posture of a file server; nil where nobody has looked at one of that name.
func (p *pages) shares(ctx context.Context, server rollout.HostID) (*rollout.PostureSummary, error) {
	r, _, err := p.journal.Host(ctx, server)
	o := r.Observation
	if err != nil || o == nil || o.Via == "" || r.Problem != "" {
		return nil, err
	}
	return rollout.JudgePosture(*o, p.cfg.Posture).Summary(), nil
}

func certificateView(c pki.Certificate) *web.CertificateView {
	return &web.CertificateView{Thumbprint: string(c.Thumbprint), Subject: c.Subject, Issuer: c.Issuer, NotAfter: c.NotAfter}
}

// chapters are the campaigns that have the host, the newest first.
func (p *pages) chapters(ctx context.Context, id rollout.HostID) ([]web.Chapter, error) {
	ids, err := p.journal.CampaignIDs(ctx)
	if err != nil {
		return nil, err
	}
	var all []web.Chapter
	for i := len(ids) - 1; i >= 0; i-- {
		ch, ok, err := p.chapter(ctx, ids[i], id)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, ch)
		}
	}
	return all, nil
}

func (p *pages) chapter(ctx context.Context, id rollout.CampaignID, host rollout.HostID) (web.Chapter, bool, error) {
	ch := web.Chapter{Campaign: id}
	f, err := p.follow(ctx, id)
	if err != nil {
		return ch, false, err
	}
	h := f.state.Hosts[host]
	if h == nil {
		f.mu.Unlock()
		return ch, false, nil
	}
	ch.Row = rollout.HostRow(f.plan, f.state, rollout.Planned{Host: rollout.Host{ID: host}})
	if h.Outcome == rollout.AwaitPolicy {
		var won rollout.PolicyValue
		if won, err = winnerOn(ctx, p.journal, host); err != nil {
			f.mu.Unlock()
			return ch, false, err
		}
		if c, waits := rollout.PolicyChangeOf(f.plan, f.state, host, won, p.cfg.PolicyGroup); waits {
			ch.Policy = &c
		}
	}
	f.mu.Unlock()
	for ev, err := range p.journal.HostEvents(ctx, id, host) {
		if err != nil {
			return ch, false, err
		}
		ev.Data = nil
		ch.Events = append(ch.Events, ev)
	}
	ch.Image, err = p.journal.Image(ctx, id, host)
	return ch, true, err
}
