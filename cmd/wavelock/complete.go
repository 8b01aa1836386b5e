package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"wavelock/rollout/journal"
)

// only completes the first argument and no more.
func only(args, choices []string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return choices, cobra.ShellCompDirectiveNoFileComp
}

// completion answers names for the shell. A shell that completes shows no errors
// and waits for nothing long: without a configuration or a database there are no names.
type completion func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// fromJournal completes with what the local database knows.
func (a *app) fromJournal(names func(context.Context, *journal.Journal) []string) completion {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		cfg, err := loadConfig(a.config)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
		defer cancel()
		if !journal.Shared(cfg.Database) && !exists(cfg.path(cfg.Database)) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		j, err := a.openJournal(ctx, cfg)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer j.Close()
		return names(ctx, j), cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completeCampaigns() completion {
	return a.fromJournal(func(ctx context.Context, j *journal.Journal) []string {
		var names []string
		campaigns, _ := j.Campaigns(ctx) // no names, then
		for _, c := range campaigns {
			names = append(names, string(c.ID))
		}
		return names
	})
}

func (a *app) completeHosts() completion {
	return a.fromJournal(func(ctx context.Context, j *journal.Journal) []string {
		var names []string
		for r, err := range j.EachHost(ctx) {
			if err != nil {
				break
			}
			names = append(names, string(r.Host.ID)+"\t"+string(r.Class))
		}
		return names
	})
}

// completeFrom completes a flag with fixed words.
func completeFrom(words ...string) completion {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return slices.Clone(words), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeTemplates asks the directory, where that can be done without asking a
// person for a password.
func (a *app) completeTemplates() completion {
	return func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		const no = cobra.ShellCompDirectiveNoFileComp
		cfg, err := loadConfig(a.config)
		if err != nil {
			return nil, no
		}
		ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
		defer cancel()
		silent := *a
		silent.in = nil // nobody is asked
		d, err := silent.openDirectory(ctx, cfg)
		if err != nil {
			return nil, no
		}
		defer d.Close()
		cas, _ := d.Authorities(ctx) // no names, then
		return issued(cas), no
	}
}
