package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/hook"
	"wavelock/rollout/journal"
)

// Observe is the standing mode of wavelock serve.
type Observe struct {
	Every    rollout.Duration `yaml:"every"`    // a whole look at every selected host; 0: never
	Sample   rollout.Duration `yaml:"sample"`   // who is connected, in between; 0: only with the whole looks
	Parallel int              `yaml:"parallel"` // hosts at once; 0: limits.parallel
	Open     []rollout.Goal   `yaml:"open"`     // goals of the campaigns that drift opens; each waits for its approval
	Renew    bool             `yaml:"renew"`    // certificates that are due are renewed; this is their approval, given beforehand
}

func (o Observe) validate(bad func(wrong bool, format string, args ...any)) {
	bad(o.Every < 0 || o.Sample < 0, "observe: every and sample are not negative")
	bad(o.Every > 0 && o.Every < rollout.Duration(time.Second), "observe.every: %v is too often", o.Every)
	bad(o.Sample > 0 && o.Every == 0, "observe.sample: needs observe.every, too")
	bad(o.Renew && o.Every == 0, "observe.renew: needs observe.every, too")
	bad(o.Parallel < 0 || o.Parallel > 5000, "observe.parallel: %d is not between 1 and 5000", o.Parallel)
	for _, g := range o.Open {
		bad(!slices.Contains([]rollout.Goal{rollout.GoalSecure, rollout.GoalClose, rollout.GoalRenew}, g), "observe.open: %q is not secure, close or renew", g)
	}
}

// standing observes the fleet for as long as the dashboard is served. A round that
// fails is told and tried again: the dashboard goes on.
type standing struct {
	app     *app
	cfg     Config
	journal *journal.Journal
	log     *slog.Logger
	hooks   *hook.Hooks // nil: nobody is told
}

func (a *app) newStanding(cfg Config, j *journal.Journal) (*standing, error) {
	hooks, err := a.hooks(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Observe.Parallel > 0 {
		cfg.Limits.Parallel = cfg.Observe.Parallel
	}
	quiet := *a
	quiet.quiet, quiet.in, quiet.log = true, nil, a.serveLog() // no progress in a log, and nobody to ask for a password
	return &standing{app: &quiet, cfg: cfg, journal: j, log: a.serveLog(), hooks: hooks}, nil
}

// tell lets hooks hear of the drift that is new or over. That one does not answer stops nothing.
func (s *standing) tell(ctx context.Context, news []rollout.Drift) {
	now := s.app.now()
	m := hook.Message{ID: fmt.Sprintf("drift-%d", now.UnixNano()), On: hook.DriftFound, At: now.UTC(), Drifts: news,
		Detail: "computers are not as they were left, or are again"}
	for _, d := range news {
		m.Hosts = append(m.Hosts, d.Host)
	}
	if err := s.hooks.Tell(ctx, m); err != nil {
		s.log.Error("tell of drift", "err", err)
	}
}

// run looks at the fleet until ctx ends.
func (s *standing) run(ctx context.Context) {
	whole := time.NewTicker(s.cfg.Observe.Every.D())
	defer whole.Stop()
	var samples <-chan time.Time
	if s.cfg.Observe.Sample > 0 {
		t := time.NewTicker(s.cfg.Observe.Sample.D())
		defer t.Stop()
		samples = t.C
	}
	s.try(ctx, "look at the fleet", s.round)
	for {
		select {
		case <-ctx.Done():
			return
		case <-whole.C:
			s.try(ctx, "look at the fleet", s.round)
		case <-samples:
			s.try(ctx, "sample the fleet's connections", s.sample)
		}
	}
}

func (s *standing) try(ctx context.Context, what string, do func(context.Context) error) {
	begun := s.app.now()
	err := do(ctx)
	switch {
	case err == nil:
		s.log.Info(what, "took", s.app.now().Sub(begun).Round(time.Millisecond))
	case ctx.Err() == nil:
		hint := ""
		var hinted interface{ Hint() string }
		if errors.As(err, &hinted) {
			hint = hinted.Hint()
		}
		s.log.Error(what, "err", err, "hint", hint)
	}
}

func (s *standing) sample(ctx context.Context) error {
	v, err := s.app.openSurvey(ctx, s.cfg)
	if err != nil {
		return err
	}
	defer v.close()
	return v.sample(ctx, s.journal)
}

// round is one whole look: what was seen is kept, held to the baselines, told, and
// by policy made into campaigns that wait for their approval.
func (s *standing) round(ctx context.Context) error {
	v, err := s.app.openSurvey(ctx, s.cfg)
	if err != nil {
		return err
	}
	defer v.close()
	records, news, err := s.app.keepLook(ctx, s.cfg, v, s.journal)
	if err != nil {
		return err
	}
	for _, d := range news {
		s.log.Warn("drift", "host", d.Host, "reason", d.Reason, "detail", d.Detail, "over", !d.Ended.IsZero())
	}
	if len(news) > 0 {
		s.tell(ctx, news)
	}
	return errors.Join(s.open(ctx, records), s.renew(ctx, records))
}

// renew replaces what is due, where the configuration has said that nobody needs to be asked.
func (s *standing) renew(ctx context.Context, records []journal.Record) error {
	if !s.cfg.Observe.Renew {
		return nil
	}
	n, err := s.app.reconcile(ctx, s.cfg, s.journal, records)
	if n > 0 {
		s.log.Warn("certificates were due", "hosts", n, "err", err)
	}
	return err
}

// open makes campaigns for the drifts that have none yet.
func (s *standing) open(ctx context.Context, records []journal.Record) error {
	drifts, err := s.journal.Drifts(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range s.cfg.Observe.Open {
		busy, err := held(ctx, s.journal, "", g)
		if err != nil {
			return err
		}
		var subjects []rollout.Subject
		for _, r := range records {
			mine := func(d rollout.Drift) bool {
				return d.Host == r.Host.ID && d.Campaign == "" && d.Cure(s.cfg.Observe.Open) == g
			}
			if _, is := busy[r.Host.ID]; is {
				continue // its drift is still there when that campaign has ended
			}
			if r.Observation != nil && r.Problem == "" && slices.ContainsFunc(drifts, mine) {
				subjects = append(subjects, rollout.Subject{Host: r.Host, Observation: *r.Observation})
			}
		}
		if len(subjects) > 0 {
			errs = append(errs, s.openOne(ctx, g, subjects))
		}
	}
	return errors.Join(errs...)
}

func (s *standing) openOne(ctx context.Context, g rollout.Goal, subjects []rollout.Subject) error {
	now := s.app.now()
	id := rollout.CampaignID(fmt.Sprintf("drift-%s-%s", g, now.UTC().Format("20060102-150405")))
	in := rollout.Intent{ID: id, Made: now, MadeBy: "wavelock serve", Goal: g, Seed: 1, Policy: s.cfg.Policy,
		Waves: []rollout.WaveRule{{Name: "drift", InFlight: 1, Limit: 1}}} // one after the other: something changed them
	if free := rollout.NewPlan(in, subjects); len(free.Hosts) == 0 {
		return nil // every one of them has something in its way, which the findings say
	}
	plan, err := s.app.planFor(ctx, s.cfg, in, subjects, nil)
	if err != nil {
		return err
	}
	file := filepath.Join(s.cfg.dir, string(id)+".json")
	if err := writePlan(file, plan); err != nil {
		return err
	}
	if err := s.journal.Create(ctx, plan, rollout.Event{Campaign: id, At: now, Actor: "wavelock serve", Kind: rollout.EvCreated}); err != nil {
		return err
	}
	s.log.Warn("a campaign was opened for drift; it waits for its approval", "campaign", id, "hosts", len(plan.Hosts), "plan", file)
	var hosts []rollout.HostID
	for _, h := range plan.Hosts {
		hosts = append(hosts, h.Host.ID)
	}
	_, err = s.journal.Restand(ctx, hosts, func(_ rollout.HostID, st rollout.Standing) (rollout.Standing, []rollout.Drift) {
		return st.Opened(id, g, s.cfg.Observe.Open), nil
	})
	return err
}

// keepLook looks at every host, keeps it, and answers what is new.
func (a *app) keepLook(ctx context.Context, cfg Config, v *survey, j *journal.Journal) ([]journal.Record, []rollout.Drift, error) {
	records, err := v.whole(ctx)
	if err != nil {
		return nil, nil, err
	}
	tellNeighbours(records)
	if err := j.SaveHosts(ctx, records); err != nil {
		return nil, nil, err
	}
	if err := recall(ctx, j, records); err != nil {
		return nil, nil, err
	}
	news, err := judgeDrift(ctx, cfg, j, records, a.now())
	return records, news, err
}

// tellNeighbours adds to the hosts what only others know of them: who collects their
// events over HTTP, and whose events they collect.
func tellNeighbours(records []journal.Record) {
	var known []rollout.HostID
	var seen []rollout.Observation
	for _, r := range records {
		known = append(known, r.Host.ID)
		if r.Observation != nil && r.Problem == "" {
			seen = append(seen, *r.Observation)
		}
	}
	of := rollout.NeighboursOf(known, seen)
	for i := range records {
		if n, ok := of[records[i].Host.ID]; ok {
			records[i].Host.Neighbours = n
		}
	}
}
