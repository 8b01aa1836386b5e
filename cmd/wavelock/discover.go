package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"wavelock/ldapdisco"
)

func newDiscover(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "discover", GroupID: "look", Args: exactly(),
		Short:   "List the domain's computers, CAs and templates from the directory",
		Long:    "List the selected computers, the certification authorities and their templates.\nOnly LDAP is asked: no computer is touched, nothing is changed.",
		Example: "  wavelock discover\n  wavelock discover -o csv > computers.csv",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.discover(c.Context(), cfg)
		},
	}
}

// discovery is what discover prints as JSON.
type discovery struct {
	Computers   []found               `json:"computers"`
	Authorities []ldapdisco.Authority `json:"authorities"`
}

func (a *app) discover(ctx context.Context, cfg Config) error {
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return err
	}
	defer d.Close()
	computers, err := a.computers(ctx, cfg, d)
	if err != nil {
		return err
	}
	authorities, err := d.Authorities(ctx)
	if err != nil {
		return directoryError(err)
	}
	t := table{head: []string{"HOST", "OU", "OS", "ROLES", "PROBLEM"}}
	problems := 0
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
	if err := t.write(a.out, a.output, discovery{Computers: computers, Authorities: authorities}); err != nil {
		return err
	}
	a.progress("%d computers, %d of them with a problem", len(computers), problems)
	for _, ca := range authorities {
		a.progress("CA %s on %s issues %s", ca.Name, ca.DNSHostName, listed(ca.Templates, 6))
	}
	return nil
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
