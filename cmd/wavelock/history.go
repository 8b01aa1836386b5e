package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

func newJournal(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "journal", GroupID: "look", Args: knownCommand,
		Short: "Check, copy and read the record of what was done",
		Long: `Every campaign's events are a chain: each has a SHA-256 hash over the hash
before it and its own bytes. Write the hash of the last event (the head) down
elsewhere, and nobody can change the record without its being seen.`,
		Example: "  wavelock journal verify\n  wavelock journal export spring --out spring.jsonl\n  wavelock journal show web01",
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newJournalVerify(a), newJournalExport(a), newJournalShow(a))
	return c
}

func newJournalVerify(a *app) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use: "verify [CAMPAIGN]", Args: atMost("the name of a campaign"),
		Short: "Check the chains, and name the first event that was changed",
		Long: `Check the chain of one campaign, of an exported file, or all there are: then
also the history of the coverage and the record of accesses. The first event
that is not what was written is named. That a record was cut off at its end
shows only against a hash that was written down elsewhere: --head.

Exit code 9 says that something was changed.`,
		Example:           "  wavelock journal verify\n  wavelock journal verify spring --head 9f86d081884c7d65\n  wavelock journal verify --file spring.jsonl",
		ValidArgsFunction: a.completeCampaigns().first,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case o.File != "" && len(args) > 0:
				return failWith(exitUsage, "give one of them", "a campaign of the database and an exported file are two journals")
			case o.Head != "" && o.File == "" && len(args) == 0:
				return failWith(exitUsage, "name the campaign", "--head is the head of one campaign")
			case o.File != "":
				return a.verifyExport(o)
			}
			return a.withJournal(c.Context(), func(ctx context.Context, j *journal.Journal) error { return a.verifyChains(ctx, j, args, o) })
		},
	}
	c.Flags().StringVar(&o.Head, "head", "", "`HASH` of the last event as it was written down, or its beginning")
	c.Flags().StringVar(&o.File, "file", "", "exported `FILE` instead of the database; - is standard input")
	completes(c, map[string]completion{"head": completeNothing, "file": completeFiles("jsonl")})
	return c
}

type verifyOptions struct{ Head, File string }

// withJournal opens the configuration's database for one command.
func (a *app) withJournal(ctx context.Context, do func(context.Context, *journal.Journal) error) error {
	cfg, err := loadConfig(a.config)
	if err != nil {
		return err
	}
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	return do(ctx, j)
}

// checked is one chain after it was walked.
type checked struct {
	Campaign rollout.CampaignID `json:"campaign"`
	Events   int64              `json:"events"`
	Head     string             `json:"head"`
	Broken   int64              `json:"broken_at,omitempty"` // Seq of the first event that is not what was written
	Why      string             `json:"why,omitempty"`
}

func (a *app) verifyChains(ctx context.Context, j *journal.Journal, args []string, o verifyOptions) error {
	campaigns, err := j.Campaigns(ctx)
	if err != nil {
		return err
	}
	var ids []rollout.CampaignID
	for _, c := range campaigns {
		ids = append(ids, c.ID)
	}
	if len(args) > 0 {
		ids = []rollout.CampaignID{rollout.CampaignID(args[0])}
	}
	var rows []checked
	for _, id := range ids {
		seq, head, err := j.Head(ctx, id)
		if err != nil {
			return nearCampaign(ctx, j, err)
		}
		row, err := weighed(checked{Campaign: id, Events: seq, Head: head}, j.Verify(ctx, id), o.Head)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if len(args) == 0 {
		if err := otherChains(ctx, j); err != nil {
			return err
		}
	}
	return a.showChecked(rows)
}

// otherChains walks the history of the coverage and the record of accesses, which are of no campaign.
func otherChains(ctx context.Context, j *journal.Journal) error {
	err := func() error {
		for _, err := range j.History(ctx, 0) {
			if err != nil {
				return err
			}
		}
		for before := int64(0); ; {
			some, err := j.Accesses(ctx, before, 1000)
			if err != nil || len(some) == 0 {
				return err
			}
			if before = some[len(some)-1].N; before <= 1 {
				return nil
			}
		}
	}()
	var history *journal.HistoryError
	var access *journal.AccessError
	if errors.As(err, &history) || errors.As(err, &access) {
		return failWith(exitFindings, (&journal.AccessError{}).Hint(), "the journal is broken: %w", err)
	}
	return err
}

func (a *app) verifyExport(o verifyOptions) error {
	in := a.in
	if o.File != "-" {
		f, err := os.Open(o.File)
		if err != nil {
			return failWith(exitUsage, "wavelock journal export makes one", "read the journal %s: %w", o.File, unwrapPath(err))
		}
		defer f.Close()
		in = f
	}
	id, seq, head, verdict := journal.VerifyExport(in)
	if broken := (*journal.ChainError)(nil); id == "" && errors.As(verdict, &broken) {
		return failWith(exitFindings, "wavelock journal export writes such a file; if it was one, its beginning was changed", "%s is no exported journal: %s", o.File, broken.Why)
	}
	row, err := weighed(checked{Campaign: id, Events: seq, Head: head}, verdict, o.Head)
	if err != nil {
		return err
	}
	return a.showChecked([]checked{row})
}

// weighed is a chain with what was found; other errors than a broken chain are answered as such.
func weighed(c checked, verdict error, head string) (checked, error) {
	var broken *journal.ChainError
	switch {
	case errors.As(verdict, &broken):
		c.Broken, c.Why = broken.Seq, broken.Why
	case verdict != nil:
		return c, verdict
	case !strings.HasPrefix(c.Head, strings.ToLower(head)):
		c.Broken, c.Why = c.Events, "the head is not the one that was written down: events are missing at the end, or were added"
	}
	return c, nil
}

func (a *app) showChecked(rows []checked) error {
	t := table{head: []string{"CAMPAIGN", "EVENTS", "HEAD", "RESULT"}}
	var first *checked
	for i, r := range rows {
		result := "as it was written"
		if r.Broken > 0 {
			result = fmt.Sprintf("broken at event %d: %s", r.Broken, r.Why)
			if first == nil {
				first = &rows[i]
			}
		}
		t.add(r.Campaign, r.Events, r.Head, result)
	}
	if err := t.write(a.out, a.output, rows); err != nil || first == nil {
		return err
	}
	return failWith(exitFindings, (&journal.ChainError{}).Hint(), "the journal of %s is broken at event %d: %s", first.Campaign, first.Broken, first.Why)
}

func newJournalExport(a *app) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "export CAMPAIGN", Args: exactly("the name of a campaign"),
		Short: "Write a campaign's events with their hashes, one a line",
		Long: `Write every event of a campaign as one line of JSON with its hash. The hash is
SHA-256 over the hash before it (as 32 bytes; none for the first) and the bytes
of the event, so an auditor can check the file without this program.`,
		Example:           "  wavelock journal export spring --out spring.jsonl\n  wavelock journal export spring | wavelock journal verify --file -",
		ValidArgsFunction: a.completeCampaigns().first,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withJournal(c.Context(), func(ctx context.Context, j *journal.Journal) error {
				id := rollout.CampaignID(args[0])
				if out == "" || out == "-" {
					return nearCampaign(ctx, j, j.Export(ctx, id, a.out))
				}
				return nearCampaign(ctx, j, writeStream(out, 0o600, func(w io.Writer) error { return j.Export(ctx, id, w) }))
			})
		},
	}
	c.Flags().StringVar(&out, "out", "", "`FILE` to write (default: standard output)")
	return c
}

func newJournalShow(a *app) *cobra.Command {
	var campaign string
	c := &cobra.Command{
		Use: "show HOST", Args: exactly("the name of a host"),
		Short:             "List every event of one host",
		Example:           "  wavelock journal show web01\n  wavelock journal show web01.corp.example --campaign spring -o json",
		ValidArgsFunction: a.completeHosts().first,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withJournal(c.Context(), func(ctx context.Context, j *journal.Journal) error {
				return a.showEvents(ctx, j, args[0], rollout.CampaignID(campaign))
			})
		},
	}
	c.Flags().StringVar(&campaign, "campaign", "", "only of this `CAMPAIGN`")
	completes(c, map[string]completion{"campaign": a.completeCampaigns()})
	return c
}

func (a *app) showEvents(ctx context.Context, j *journal.Journal, name string, only rollout.CampaignID) error {
	id := rollout.HostID(strings.ToLower(name))
	r, unknown := findHost(ctx, j, name)
	if unknown == nil {
		id = r.Host.ID // a short name; one that is in campaigns alone has to be given in full
	}
	campaigns, err := j.Campaigns(ctx)
	if err != nil {
		return err
	}
	if only != "" && !slices.ContainsFunc(campaigns, func(c journal.Campaign) bool { return c.ID == only }) {
		return nearCampaign(ctx, j, &journal.UnknownCampaignError{ID: only})
	}
	t := table{head: []string{"CAMPAIGN", "EVENT", "AT", "BY", "WHAT", "ACTION", "STEP", "OUTCOME", "DETAIL"}}
	events := []rollout.Event{}
	for _, c := range campaigns {
		if only != "" && c.ID != only {
			continue
		}
		for e, err := range j.HostEvents(ctx, c.ID, id) {
			if err != nil {
				return err
			}
			events = append(events, e)
			detail := e.Detail
			if e.Reason != "" && !strings.Contains(detail, string(e.Reason)) {
				detail = strings.TrimSuffix(string(e.Reason)+": "+detail, ": ")
			}
			t.add(c.ID, e.Seq, e.At.UTC().Format(time.RFC3339), e.Actor, e.Kind, e.Action, e.Step, e.Outcome, detail)
		}
	}
	if len(events) == 0 {
		if unknown != nil {
			return unknown
		}
		return failWith(exitError, "wavelock status lists the campaigns, wavelock host what is known of a host", "no campaign has an event of %s", id)
	}
	return t.write(a.out, a.output, events)
}
