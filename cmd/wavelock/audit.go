package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wavelock/pki"
)

func newPKI(a *app) *cobra.Command {
	c := &cobra.Command{Use: "pki", GroupID: "look", Args: knownCommand,
		Short:   "Judge the certification authorities and templates",
		Example: "  wavelock pki audit",
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newAudit(a))
	return c
}

type auditOptions struct {
	FailOn string
	NoWeb  bool
}

func newAudit(a *app) *cobra.Command {
	o := auditOptions{FailOn: string(pki.Warning)}
	c := &cobra.Command{
		Use: "audit", Args: exactly(), Annotations: map[string]string{sarifAllowed: "yes"},
		Short: "Judge every CA, root and template: fit for WinRM, dangerous?",
		Long: `Judge the public key infrastructure as the directory describes it. Nothing is
changed. It looks at
  the templates by which hosts would enroll: fit for WinRM, and open to them?
  published templates: does one give the domain away (ESC1-4, 9, 13, 15, 17)?
  CAs and roots: dates, chains, lists of revoked certificates
  the CAs' web servers, once, without credentials: is /certsrv/ there?
  with a Kerberos relay.credential: does a CA take unsealed calls (ESC11)?

What the directory does not tell (ESC6, 7 and 16 are in a CA's registry) is "not
judged", with the way to look at it. policy.waivers takes findings out.

Exit code 9: a dangerous or unfit shape that nobody waived; 10: a warning.`,
		Example: "  wavelock pki audit\n  wavelock pki audit -o sarif > pki.sarif\n  wavelock pki audit --fail-on blocker",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.audit(c.Context(), cfg, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.FailOn, "fail-on", o.FailOn, "least `SEVERITY` that does not end with 0: info, warning, blocker, never")
	f.BoolVar(&o.NoWeb, "no-web", false, "do not ask the CAs' web servers")
	completes(c, map[string]completion{"fail-on": completeFrom("info", "warning", "blocker", "never")})
	return c
}

func (a *app) audit(ctx context.Context, cfg Config, o auditOptions) error {
	if !slices.Contains([]string{"info", "warning", "blocker", "never"}, o.FailOn) {
		return failWith(exitUsage, "use info, warning, blocker or never", "--fail-on %q is unknown", o.FailOn)
	}
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return err
	}
	defer d.Close()
	computers, err := a.computers(ctx, cfg, d)
	if err != nil {
		return err
	}
	inv, err := a.infrastructure(ctx, cfg, d)
	if err != nil {
		return err
	}
	var reusing int
	if inv.Wanted, reusing, err = a.wanted(ctx, cfg, d, inv, manageable(computers)); err != nil {
		return err
	}
	if o.NoWeb {
		for i := range inv.Authorities {
			inv.Authorities[i].WebDoubt = "its web server was not asked (--no-web)"
		}
	} else {
		a.askWeb(ctx, cfg, inv)
	}
	a.tryUnsealed(ctx, cfg, inv)
	judged := pki.Audit(inv, a.now())
	waivers := cfg.Policy.AuditWaivers(a.now())
	for i := range judged {
		judged[i] = judged[i].Waive(waivers)
	}
	if err := a.showAudit(judged, reusing); err != nil {
		return err
	}
	return auditVerdict(judged, o.FailOn)
}

// auditVerdict is the exit code by the gravest finding.
func auditVerdict(judged []pki.Judgement, failOn string) error {
	worst := pki.Worst(judged)
	if failOn == "never" || worst == "" || !worst.AtLeast(pki.Severity(failOn)) {
		return nil
	}
	n := 0
	for _, j := range judged {
		for _, f := range j.Findings {
			if f.Waived == "" && f.Severity == worst {
				n++
			}
		}
	}
	code := exitWarnings
	if worst == pki.Blocker {
		code = exitFindings
	}
	return failWith(code, "each row says what is wrong; -o json has what to do about it", "%s", plural(n, string(worst)))
}

// auditRow is one finding as JSON shows it.
type auditRow struct {
	Kind     pki.Kind     `json:"kind"`
	Name     string       `json:"name"`
	Severity pki.Severity `json:"severity"`
	Code     string       `json:"code"`
	Detail   string       `json:"detail"`
	Hint     string       `json:"hint"`
	Waived   string       `json:"waived,omitempty"`
}

// openRow is one question that nobody answered.
type openRow struct {
	Kind pki.Kind `json:"kind"`
	Name string   `json:"name"`
	pki.Open
}

func (a *app) showAudit(judged []pki.Judgement, reusing int) error {
	if a.output == "sarif" {
		return writeSARIF(a.out, judged)
	}
	t := table{head: []string{"WHAT", "NAME", "SEVERITY", "CODE", "FINDING"}}
	rows := []auditRow{}
	open := []openRow{}
	for _, j := range judged {
		for _, q := range j.Open {
			open = append(open, openRow{j.Kind, j.Name, q})
			t.add(j.Kind, j.Name, "not judged", q.Code, q.Detail)
		}
		for _, f := range j.Findings {
			rows = append(rows, auditRow{j.Kind, j.Name, f.Severity, f.Code, f.Detail, f.Hint(), f.Waived})
			severity := string(f.Severity)
			if f.Waived != "" {
				severity = "waived"
			}
			t.add(j.Kind, j.Name, severity, f.Code, f.Detail+whoWaived(f))
		}
	}
	doc := struct {
		Judged   []pki.Judgement `json:"judged"`
		Findings []auditRow      `json:"findings"`
		Open     []openRow       `json:"notJudged"`
	}{judged, rows, open}
	if err := t.write(a.out, a.output, doc); err != nil {
		return err
	}
	a.sumUpAudit(judged, reusing, len(open))
	return nil
}

// sumUpAudit says beside the findings what each route's template is fit for, and how much was looked at.
func (a *app) sumUpAudit(judged []pki.Judgement, reusing, open int) {
	clean := 0
	for _, j := range judged {
		if len(j.Findings) == 0 {
			clean++
		}
		if j.Route == "" {
			continue
		}
		verdict := "fit"
		if !j.Findings.Fit() {
			verdict = "not fit"
		}
		a.progress("template %s (%s, %s): %s", j.Name, j.Route, plural(j.Hosts, "host"), verdict)
	}
	if reusing > 0 {
		a.progress("%s only reuse certificates, as domain controllers always do", plural(reusing, "host"))
	}
	a.progress("%d of %d CAs, roots and templates are without a finding", clean, len(judged))
	if open > 0 {
		a.progress("%s could not be judged; -o json has how to look by hand", plural(open, "question"))
	}
}

func whoWaived(f pki.Finding) string {
	if f.Waived == "" {
		return ""
	}
	return fmt.Sprintf(" (waived by %s)", strings.TrimSpace(f.Waived))
}
