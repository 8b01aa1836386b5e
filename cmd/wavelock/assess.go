package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"wavelock/ldapdisco"
	"wavelock/rollout"
	"wavelock/rollout/journal"
	"wavelock/rollout/machine"
)

func newAssess(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "assess", GroupID: "look", Args: exactly(),
		Short: "Look at every selected host, and judge it",
		Long: `Read every selected host over WS-Management: listeners, certificates, TLS
bindings, policies, firewall, services, who is connected. Nothing on a host is
changed. What was seen is kept in the database, where wavelock plan finds it.`,
		Example: "  wavelock assess\n  wavelock assess -o json | jq '.[] | select(.class == \"unknown\")'",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.assess(c.Context(), cfg)
		},
	}
}

// assessed is one host as assess prints it.
type assessed struct {
	Host     rollout.HostID    `json:"host"`
	OU       string            `json:"ou,omitempty"`
	Class    rollout.Class     `json:"class"`
	Problem  string            `json:"problem,omitempty"`
	Findings []rollout.Finding `json:"findings,omitempty"`
}

func (a *app) assess(ctx context.Context, cfg Config) error {
	records, err := a.observe(ctx, cfg)
	if err != nil {
		return err
	}
	t := table{head: []string{"HOST", "CLASS", "FINDINGS"}}
	docs := make([]assessed, 0, len(records))
	classes := map[rollout.Class]int{}
	for _, r := range records {
		doc := cfg.judge(r, a.now())
		classes[doc.Class]++
		docs = append(docs, doc)
		t.add(doc.Host, doc.Class, doc.summary())
	}
	if err := t.write(a.out, a.output, docs); err != nil {
		return err
	}
	var parts []string
	for _, c := range rollout.Classes() {
		if classes[c] > 0 {
			parts = append(parts, plural(classes[c], "host")+" "+string(c))
		}
	}
	a.progress("%s", strings.Join(parts, ", "))
	return nil
}

func (c Config) judge(r journal.Record, now time.Time) assessed {
	doc := assessed{Host: r.Host.ID, OU: r.Host.OU, Class: rollout.ClassUnknown, Problem: r.Problem}
	if r.Observation != nil && r.Problem == "" { // else nothing was seen
		as := rollout.Assess(r.Host, *r.Observation, c.Policy, now)
		doc.Class, doc.Findings = as.Class, as.Findings
	}
	return doc
}

// problemText is a code with its meaning, where the code is one of ours.
func problemText(code string) string {
	if title := rollout.Reason(code).Title(); title != code {
		return code + ": " + title
	}
	return code
}

func (d assessed) summary() string {
	var parts []string
	if d.Problem != "" {
		parts = append(parts, problemText(d.Problem))
	}
	for _, f := range d.Findings {
		s := string(f.Reason)
		if f.Severity != rollout.Blocker || f.Waived != "" {
			s = "(" + s + ")"
		}
		parts = append(parts, s+": "+f.Detail)
	}
	return strings.Join(parts, "; ")
}

// observe reads every selected host and keeps what it saw.
func (a *app) observe(ctx context.Context, cfg Config) ([]journal.Record, error) {
	s, err := a.openSurvey(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer s.close()
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	records, news, err := a.keepLook(ctx, cfg, s, j)
	if err != nil {
		return nil, err
	}
	for _, d := range news {
		a.progress("drift: %s", driftWords(d))
	}
	return records, nil
}

// recall adds what the journal has of the hosts' clients to what was just seen.
func recall(ctx context.Context, j *journal.Journal, records []journal.Record) error {
	for _, r := range records {
		if r.Observation == nil {
			continue
		}
		c, err := j.Census(ctx, r.Host.ID)
		if err != nil {
			return err
		}
		if c.Samples > 0 {
			r.Observation.Census = rollout.Saw(c)
		}
	}
	return nil
}

// inventory asks the directory for computers and for the enterprise roots.
func (a *app) inventory(ctx context.Context, cfg Config) ([]found, ldapdisco.Roots, error) {
	var none ldapdisco.Roots
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return nil, none, err
	}
	defer d.Close()
	computers, err := a.computers(ctx, cfg, d)
	if err != nil {
		return nil, none, err
	}
	roots, err := d.Roots(ctx)
	if err != nil {
		return nil, none, directoryError(err)
	}
	return computers, roots, nil
}

// look sees the computers, so many at once. Logons that are refused from the beginning end it:
// a wrong password for a thousand hosts locks the account.
func (a *app) look(ctx context.Context, cfg Config, computers []found, see func(context.Context, rollout.Host) (rollout.Observation, error)) ([]journal.Record, error) {
	records := make([]journal.Record, len(computers))
	ticker := newTicker(a, "looked at", len(computers))
	defer ticker.done()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cfg.Limits.Parallel)
	var guard logonGuard
	for i, f := range computers {
		records[i] = journal.Record{Host: f.Host, Problem: f.Problem, SeenAt: a.now()}
		if f.Problem != "" {
			ticker.add()
			continue
		}
		g.Go(func() error {
			defer ticker.add()
			o, err := see(ctx, f.Host)
			if err := guard.judge(err); err != nil {
				return err
			}
			if err != nil {
				o = rollout.Observation{Host: f.Host.ID, At: a.now(), Identity: rollout.Unseen[rollout.Identity](err.Error())}
				records[i].Problem = problemOf(err)
			}
			records[i].Observation, records[i].Class = &o, rollout.ClassOf(o)
			return ctx.Err()
		})
	}
	return records, g.Wait()
}

func inspect(ctx context.Context, fleet *machine.Fleet, h rollout.Host, limit time.Duration) (rollout.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := fleet.Open(ctx, h)
	if err != nil {
		return rollout.Observation{}, err
	}
	defer m.Close()
	res, err := m.Do(ctx, rollout.Step{Kind: rollout.StepInspect})
	if err != nil {
		return rollout.Observation{}, err
	}
	return *res.Seen, nil
}

// logonGuard stops a run in which the credentials are wrong everywhere, before
// the account is locked: three refusals before the first success.
type logonGuard struct {
	mu      sync.Mutex // guards what follows
	refused int
	proven  bool
}

func (g *logonGuard) judge(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.proven = true
	}
	if problemOf(err) == string(rollout.ReasonLogonRefused) && !g.proven {
		if g.refused++; g.refused >= 3 {
			return failWith(exitLogon, rollout.ReasonLogonRefused.Hint(), "the first three hosts refused the credentials, so no more are asked: %w", err)
		}
	}
	return nil
}

// problemOf is the reason code of an error of a host, empty for none.
func problemOf(err error) string {
	var f *rollout.Failure
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f):
		return string(f.Reason)
	}
	return string(rollout.ReasonProtocol)
}
