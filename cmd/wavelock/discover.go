package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"wavelock/ldapdisco"
	"wavelock/pki"
)

func newDiscover(a *app) *cobra.Command {
	templates := false
	c := &cobra.Command{
		Use: "discover", GroupID: "look", Args: exactly(),
		Short: "List the domain's computers, CAs and templates",
		Long: `List the selected computers and the certification authorities. Only the
directory is asked: no computer is touched.

With --templates the table is of the templates: what for, how long, which key,
who names the holder, who may enroll, and whether hosts could get one by it.`,
		Example: "  wavelock discover\n  wavelock discover -o csv > computers.csv\n  wavelock discover --templates",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.discover(c.Context(), cfg, templates)
		},
	}
	c.Flags().BoolVar(&templates, "templates", false, "list the templates, not the computers")
	return c
}

// discovery is what discover prints as JSON.
type discovery struct {
	Computers   []found               `json:"computers"`
	Authorities []ldapdisco.Authority `json:"authorities"`
	Templates   []discoveredTemplate  `json:"templates"`

	OtherDomains []string `json:"otherDomains,omitempty"` // of the forest; nothing of theirs is read
}

// discoveredTemplate is a template with what people ask about it.
type discoveredTemplate struct {
	Name      string       `json:"name"`
	Version   int          `json:"schema_version"`
	Usages    []string     `json:"usages"`
	Validity  string       `json:"validity"`
	Renewal   string       `json:"renewal"` // so long before the end
	Key       string       `json:"key"`
	Subject   string       `json:"subject"`
	Enrollees []string     `json:"enrollees"`
	Issuers   []string     `json:"issuers,omitempty"`
	Fit       bool         `json:"fit"` // for a computer that enrolls by itself, whether or not it may
	Findings  pki.Findings `json:"findings,omitempty"`
}

func (a *app) discover(ctx context.Context, cfg Config, onlyTemplates bool) error {
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return err
	}
	defer d.Close()
	computers, err := a.computers(ctx, cfg, d)
	if err != nil {
		return err
	}
	domain, err := d.Domain(ctx)
	if err != nil {
		return directoryError(err)
	}
	authorities, err := d.Authorities(ctx)
	if err != nil {
		return directoryError(err)
	}
	inv, err := a.infrastructure(ctx, cfg, d)
	if err != nil {
		return err
	}
	templates := describeTemplates(inv, cfg)
	t, problems := computerTable(computers)
	if onlyTemplates {
		t = templateTable(templates)
	}
	if err := t.write(a.out, a.output, discovery{Computers: computers, OtherDomains: domain.Others, Authorities: authorities, Templates: templates}); err != nil {
		return err
	}
	a.progress("%d computers, %d of them with a problem", len(computers), problems)
	if len(domain.Others) > 0 {
		a.progress("the forest has other domains, of which nothing is read: %s", listed(domain.Others, 6))
	}
	for _, ca := range authorities {
		a.progress("CA %s on %s issues %s", ca.Name, ca.DNSHostName, listed(ca.Templates, 6))
	}
	return nil
}

func computerTable(computers []found) (t table, problems int) {
	t = table{head: []string{"HOST", "OU", "OS", "ROLES", "PROBLEM"}}
	for _, f := range computers {
		var roles []string
		for _, r := range f.Host.Roles {
			roles = append(roles, string(r))
		}
		if f.Problem != "" {
			problems++
		}
		t.add(f.Host.ID, f.Host.OU, f.Host.OS, strings.Join(roles, " "), f.Problem)
	}
	return t, problems
}

// describeTemplates judges each template for a computer that would enroll by itself; who may is listed, not judged.
func describeTemplates(inv pki.Inventory, cfg Config) []discoveredTemplate {
	var all []discoveredTemplate
	for _, t := range inv.Templates {
		issuers := inv.PublishedBy(t.Name)
		findings := pki.CheckTemplate(t, pki.Use{Route: pki.Self, PublishedBy: issuers, MinLeft: cfg.Policy.MinLeft.D(), LinkedPolicies: inv.LinkedPolicies, Names: inv.Names})
		all = append(all, discoveredTemplate{Name: t.Name, Version: t.SchemaVersion, Usages: t.Usages(), Validity: pki.Days(t.Validity), Renewal: pki.Days(t.Overlap), Key: t.Key(),
			Subject: t.Subject(), Enrollees: t.Enrollees(inv.Names), Issuers: issuers, Fit: findings.Fit(), Findings: findings})
	}
	return all
}

func templateTable(templates []discoveredTemplate) table {
	t := table{head: []string{"TEMPLATE", "VERSION", "FOR", "VALID", "RENEWED", "KEY", "SUBJECT", "ENROLL", "VERDICT"}}
	for _, d := range templates {
		verdict := "fit"
		var codes []string
		for _, f := range d.Findings {
			if f.Severity == pki.Blocker {
				codes = append(codes, f.Code)
			}
		}
		if len(codes) > 0 {
			verdict = strings.Join(codes, " ")
		}
		t.add(d.Name, d.Version, listed(d.Usages, 3), d.Validity, d.Renewal, d.Key, d.Subject, listed(d.Enrollees, 4), verdict)
	}
	return t
}

// listed is the beginning of a list, and how much is left away.
func listed(items []string, most int) string {
	if len(items) == 0 {
		return "nothing"
	}
	if len(items) <= most {
		return strings.Join(items, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(items[:most], ", "), len(items)-most)
}
