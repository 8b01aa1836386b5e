package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/journal"
)

func newHost(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "host NAME", GroupID: "look", Args: exactly("the name of a host"),
		Short: "Explain one computer: what is known, what blocks it, what to do",
		Long: `Tell what is known of one computer, what stands in its way, what a campaign
would do to it, what campaigns have done to it, and what to do. It reads the
database only; wavelock assess looks anew.`,
		Example:           "  wavelock host web01\n  wavelock host web01.corp.example -o json",
		ValidArgsFunction: a.completeHosts().first,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.host(c.Context(), cfg, args[0])
		},
	}
}

// dossier is all that is known of one host.
type dossier struct {
	Record   journal.Record    `json:"record"`
	Findings []rollout.Finding `json:"findings,omitempty"`
	Fit      pki.Choice        `json:"certificates"`
	Would    []string          `json:"would"`
	Past     []chapter         `json:"campaigns,omitempty"`
	Advice   []explanation     `json:"advice,omitempty"`
}

// chapter is what one campaign did to the host.
type chapter struct {
	Campaign rollout.CampaignID   `json:"campaign"`
	Row      rollout.HostView     `json:"host"`
	Events   []rollout.Event      `json:"events"`
	Image    *rollout.BeforeImage `json:"before_image,omitempty"`
}

func (a *app) host(ctx context.Context, cfg Config, name string) error {
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	r, err := findHost(ctx, j, name)
	if err != nil {
		return err
	}
	d := cfg.dossier(r, a.now())
	if d.Past, err = chapters(ctx, j, r.Host.ID); err != nil {
		return err
	}
	d.Advice = advice(d)
	if a.output != "table" {
		return a.hostRows(d)
	}
	_, err = fmt.Fprint(a.out, d.text(a.now()))
	return err
}

// dossier is what the host's last observation means under this configuration.
func (c Config) dossier(r journal.Record, now time.Time) dossier {
	d := dossier{Record: r}
	if r.Observation != nil && r.Problem == "" {
		d.Findings = rollout.Assess(r.Host, *r.Observation, c.Policy, now).Findings
		d.Fit = pki.Choose(r.Observation.Certificates.Value, pki.Requirement{Name: string(r.Host.ID), MinLeft: c.Policy.MinLeft.D(), Issuers: c.Policy.Issuers}, now)
	}
	d.Would = foresee(c, r, d)
	return d
}

// findHost takes a full name, or a short one that only one host has.
func findHost(ctx context.Context, j *journal.Journal, name string) (journal.Record, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	var hits []journal.Record
	var names, all []string
	for r, err := range j.EachHost(ctx) {
		if err != nil {
			return journal.Record{}, err
		}
		short, _, _ := strings.Cut(string(r.Host.ID), ".")
		all = append(all, short)
		if strings.Contains(name, ".") {
			all[len(all)-1] = string(r.Host.ID)
		}
		switch id := string(r.Host.ID); {
		case id == name:
			return r, nil
		case strings.HasPrefix(id, name+"."):
			hits, names = append(hits, r), append(names, id)
		}
	}
	switch {
	case len(hits) == 1:
		return hits[0], nil
	case len(hits) > 1:
		return journal.Record{}, failWith(exitUsage, "use its full name", "%q is %s", name, strings.Join(names, " and "))
	case len(all) == 0:
		return journal.Record{}, failWith(exitError, "run wavelock assess first", "no host is known yet")
	}
	return journal.Record{}, failWith(exitError, didYouMean(name, all, "wavelock discover lists the directory's, wavelock assess looks at them"), "no host %q is known", name)
}

// chapters are the campaigns that have the host.
func chapters(ctx context.Context, j *journal.Journal, id rollout.HostID) ([]chapter, error) {
	campaigns, err := j.Campaigns(ctx)
	if err != nil {
		return nil, err
	}
	var all []chapter
	for _, c := range campaigns {
		plan, state, err := replay(ctx, j, c.ID)
		if err != nil {
			return nil, err
		}
		ph, ok := plan.Host(id)
		if !ok {
			continue
		}
		ch := chapter{Campaign: c.ID, Row: rollout.HostRow(plan, state, ph)}
		for ev, err := range j.HostEvents(ctx, c.ID, id) {
			if err != nil {
				return nil, err
			}
			ev.Data = nil // the whole observation, which is no reading matter
			ch.Events = append(ch.Events, ev)
		}
		if ch.Image, err = j.Image(ctx, c.ID, id); err != nil {
			return nil, err
		}
		all = append(all, ch)
	}
	return all, nil
}

// foresee is what a campaign with this configuration would do to the host, as
// far as the last observation tells.
func foresee(cfg Config, r journal.Record, d dossier) []string {
	if r.Problem != "" || r.Observation == nil {
		return []string{"nothing: it is left out of a plan until it could be looked at"}
	}
	as := rollout.Assessment{Findings: d.Findings}
	var would []string
	for _, act := range cfg.Goal.Actions() {
		if f, no := as.Blocking(act); no {
			return append(would, blockedWord(act, f))
		}
		would = append(would, actWord(act, cfg, *r.Observation, d.Fit))
	}
	return would
}

func blockedWord(act rollout.ActionKind, f rollout.Finding) string {
	switch f.Reason {
	case rollout.ReasonNotObserved:
		return fmt.Sprintf("%s: deferred until it answers (%s)", act, f.Reason)
	case rollout.ReasonGPOListener:
		return fmt.Sprintf("%s: waits until the policy has changed, then proved like the others (%s)", act, f.Reason)
	}
	return fmt.Sprintf("%s: refused, nothing is written (%s)", act, f.Reason)
}

func actWord(act rollout.ActionKind, cfg Config, o rollout.Observation, fit pki.Choice) string {
	if act == rollout.ActClose {
		if rollout.ClassOf(o) == rollout.ClassHTTPSOnly {
			return "close: nothing to remove, only proved again"
		}
		return fmt.Sprintf("close: proved on a new connection; the undo is armed on the host (%v); the HTTP listener is removed; proved again; the undo is taken away", cfg.Policy.UndoAfter)
	}
	certificate := fmt.Sprintf("a new certificate from the template %s", cfg.Policy.Template)
	if c := fit.Certificate; c != nil {
		if slices.ContainsFunc(o.Listeners.Value, func(l rollout.Listener) bool { return l.Transport == rollout.HTTPS && l.Thumbprint == c.Thumbprint }) {
			return "secure: nothing to write, only proved again"
		}
		certificate = fmt.Sprintf("the certificate %s, valid until %s", c.Thumbprint.Short(), c.NotAfter.Format(time.DateOnly))
	}
	return fmt.Sprintf("secure: the before-image is kept; HTTPS listener on %d with %s; firewall rule where none lets it in; proved from here", cfg.Policy.Port, certificate)
}

// advice is the text of every code that stands in the host's way.
func advice(d dossier) []explanation {
	var all []explanation
	seen := map[string]bool{}
	add := func(code string) {
		if e, ok := explained(code); ok && !seen[code] {
			seen[code] = true
			all = append(all, e)
		}
	}
	add(d.Record.Problem)
	for _, f := range d.Findings {
		add(string(f.Reason))
	}
	if n := len(d.Past); n > 0 && d.Past[n-1].Row.Status != string(rollout.Unknown) { // of which the state says how it goes on
		add(string(d.Past[n-1].Row.Reason))
	}
	return all
}

// hostRows is the dossier for programs: one row an event as CSV.
func (a *app) hostRows(d dossier) error {
	t := table{head: []string{"CAMPAIGN", "AT", "EVENT", "ACTION", "STEP", "OUTCOME", "REASON", "DETAIL"}}
	for _, ch := range d.Past {
		for _, e := range ch.Events {
			t.add(ch.Campaign, e.At.Format(time.RFC3339), e.Kind, e.Action, e.Step, e.Outcome, e.Reason, e.Detail)
		}
	}
	return t.write(a.out, a.output, d)
}
