package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// completion answers words for the shell. A shell that completes shows no errors
// and waits for nothing long: without a configuration or a database there are none.
type completion func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

const noFiles = cobra.ShellCompDirectiveNoFileComp

// only completes the first argument and no more.
func only(args, choices []string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return choices, noFiles
}

// first completes the first argument and no more.
func (c completion) first(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return c(cmd, args, begun)
}

// each completes one argument after the other, none of them twice.
func (c completion) each(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	words, how := c(cmd, args, begun)
	return slices.DeleteFunc(words, func(w string) bool {
		name, _, _ := strings.Cut(w, "\t")
		return slices.Contains(args, name)
	}), how
}

// fromJournal completes with what the database knows, which is not brought up to date for that.
func (a *app) fromJournal(names func(context.Context, *journal.Journal, []string) []string) completion {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		cfg, err := loadConfig(a.config)
		if err != nil || (!journal.Shared(cfg.Database) && !exists(cfg.path(cfg.Database))) {
			return nil, noFiles
		}
		ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
		defer cancel()
		j, err := journal.Open(ctx, journal.Config{Path: cfg.database(), AsIs: true, Now: a.now, Policy: cfg.Policy, Posture: cfg.Posture})
		if err != nil {
			return nil, noFiles
		}
		defer j.Close()
		return names(ctx, j, args), noFiles
	}
}

func (a *app) completeCampaigns() completion {
	return a.fromJournal(func(ctx context.Context, j *journal.Journal, _ []string) []string {
		var names []string
		campaigns, _ := j.Campaigns(ctx) // no names, then
		for _, c := range campaigns {
			names = append(names, string(c.ID))
		}
		return names
	})
}

// completeWaves lists the waves of the campaign that is the first argument.
func (a *app) completeWaves() completion {
	return a.fromJournal(func(ctx context.Context, j *journal.Journal, args []string) []string {
		if len(args) == 0 {
			return nil
		}
		plan, state, err := j.Replay(ctx, rollout.CampaignID(args[0]))
		if err != nil {
			return nil
		}
		var waves []string
		for _, w := range rollout.NewView(plan, state, a.now()).Waves {
			waves = append(waves, fmt.Sprintf("%d\t%s, %s, %s", w.Number, w.Name, plural(w.Hosts, "host"), w.Status))
		}
		return waves
	})
}

func (a *app) completeHosts() completion {
	return a.fromJournal(func(ctx context.Context, j *journal.Journal, _ []string) []string {
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

// completeZones lists the zones of the configuration.
func (a *app) completeZones() completion {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		cfg, err := loadConfig(a.config)
		if err != nil {
			return nil, noFiles
		}
		var zones []string
		for _, z := range cfg.Zones {
			if !slices.Contains(zones, string(z.Zone)) {
				zones = append(zones, string(z.Zone))
			}
		}
		return zones, noFiles
	}
}

// completeFrom completes a flag with fixed words.
func completeFrom(words ...string) completion {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return slices.Clone(words), noFiles
	}
}

// completeFiles completes with files of these endings.
func completeFiles(endings ...string) completion {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return endings, cobra.ShellCompDirectiveFilterFileExt
	}
}

func completeOutput(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	formats := []string{"table", "json", "yaml", "csv"}
	if c.Annotations[sarifAllowed] != "" {
		formats = append(formats, "sarif")
	}
	return formats, noFiles
}

func completeFolders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func completeNothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, noFiles
}

// completes gives flags of a command their words. What takes a free text gets no file names.
func completes(c *cobra.Command, flags map[string]completion) {
	for name, words := range flags {
		_ = c.RegisterFlagCompletionFunc(name, words) // the flag is there; a test looks
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
