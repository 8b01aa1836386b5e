package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// person is who speaks to a campaign.
func person() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// word is what a person can say to a campaign: one event, if the campaign can take it.
type word func(*rollout.Plan, *rollout.State) (rollout.Event, error)

// speak writes a person's word into the journal. Whoever runs the campaign, here
// or in another process, hears it within a second.
func (a *app) speak(ctx context.Context, id string, w word) error {
	return a.withJournal(ctx, func(ctx context.Context, j *journal.Journal) error {
		return a.say(ctx, j, rollout.CampaignID(id), w)
	})
}

func (a *app) say(ctx context.Context, j *journal.Journal, id rollout.CampaignID, w word) error {
	return a.sayAs(ctx, j, id, person(), w)
}

// sayAs says it in the name of somebody.
func (a *app) sayAs(ctx context.Context, j *journal.Journal, id rollout.CampaignID, who string, w word) error {
	plan, state, err := replay(ctx, j, id)
	if err != nil {
		return err
	}
	ev, err := w(plan, state)
	if err != nil {
		return err
	}
	ev.Campaign, ev.At, ev.Actor = plan.ID, a.now(), who
	_, err = j.Append(ctx, ev)
	return err
}

// replay is a campaign as its journal tells it.
func replay(ctx context.Context, j *journal.Journal, id rollout.CampaignID) (*rollout.Plan, *rollout.State, error) {
	plan, state, err := j.Replay(ctx, id)
	return plan, state, nearCampaign(ctx, j, err)
}

// nearCampaign adds the names that may be meant to the news that there is no such campaign.
func nearCampaign(ctx context.Context, j *journal.Journal, err error) error {
	var unknown *journal.UnknownCampaignError
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	campaigns, _ := j.Campaigns(ctx) // the names are a courtesy
	for _, c := range campaigns {
		names = append(names, string(c.ID))
	}
	return failWith(exitError, didYouMean(string(unknown.ID), names, "wavelock status lists them; a plan becomes one with its first wavelock run"), "%w", err)
}

// plain is a word that any campaign can take that is not over.
func plain(kind rollout.EventKind, why *string) word {
	return func(_ *rollout.Plan, s *rollout.State) (rollout.Event, error) {
		return rollout.Event{Kind: kind, Detail: *why}, unfinished(s)
	}
}

func unfinished(s *rollout.State) error {
	if s.Finished {
		return failWith(exitError, "see wavelock status", "the campaign %s is over", s.Campaign)
	}
	return nil
}

// newWord is a command that says one word to a campaign.
func newWord(a *app, c *cobra.Command, said string, w func(why *string) word) *cobra.Command {
	var why string
	c.GroupID, c.Args, c.ValidArgsFunction = "roll", exactly("the name of a campaign"), a.completeCampaigns().first
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := a.speak(c.Context(), args[0], w(&why)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.out, said+"\n", args[0])
		return err
	}
	c.Flags().StringVar(&why, "why", "", "`REASON`, for the journal")
	completes(c, map[string]completion{"why": completeNothing})
	return c
}

func newPause(a *app) *cobra.Command {
	return newWord(a, &cobra.Command{
		Use:   "pause CAMPAIGN",
		Short: "Begin nothing new; what is in flight ends",
		Long: `Begin nothing new on any host. What is in flight ends, and hosts that failed are
still put back. wavelock resume lifts it.`,
		Example: "  wavelock pause spring --why 'change freeze'",
	}, "%s is paused", func(why *string) word { return plain(rollout.EvPaused, why) })
}

func newResume(a *app) *cobra.Command {
	return newWord(a, &cobra.Command{
		Use:   "resume CAMPAIGN",
		Short: "Lift a pause, or go on after a halted wave",
		Long: `Lift a pause, or go on after a wave that was halted and put back; the hosts of
that wave are left for another plan. wavelock run does the work.`,
		Example: "  wavelock resume spring && wavelock run spring.json",
	}, "%s goes on with wavelock run", resumption)
}

func resumption(why *string) word {
	return func(p *rollout.Plan, s *rollout.State) (rollout.Event, error) {
		if s.Halted > 0 && s.Waves[s.Halted-1].Status != rollout.WaveEnded {
			return rollout.Event{}, failWith(exitWaiting, "wavelock run brings it to its end", "wave %d of %s is still being put back", s.Halted, p.ID)
		}
		return rollout.Event{Kind: rollout.EvResumed, Detail: *why}, unfinished(s)
	}
}

func newAbort(a *app) *cobra.Command {
	return confirmed(a, "End", newWord(a, &cobra.Command{
		Use:   "abort CAMPAIGN",
		Short: "End a campaign where it is; failed hosts are put back",
		Long: `End a campaign where it is. Hosts that failed are put back, hosts that passed
stay as they are; wavelock run does what is left to do. For all of them:
rollback.`,
		Example: "  wavelock abort spring --why 'superseded by summer' && wavelock run spring.json",
	}, "%s is aborted; wavelock run brings it to its end", func(why *string) word { return plain(rollout.EvAborted, why) }))
}

// confirmed lets a person at a terminal think again; elsewhere, who types the
// command has thought.
func confirmed(a *app, what string, c *cobra.Command) *cobra.Command {
	var yes bool
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	do := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		f, ok := a.in.(*os.File)
		if yes || !ok || !term.IsTerminal(int(f.Fd())) {
			return do(c, args)
		}
		answer, err := question(a.err, bufio.NewReader(f), what+" "+args[0]+"? Type yes", "")
		if err != nil || answer != "yes" {
			return failWith(exitWaiting, "nothing was changed", "%s was not confirmed", c.CommandPath())
		}
		return do(c, args)
	}
	return c
}

func newRollback(a *app) *cobra.Command {
	return confirmed(a, "Put back every host of", newWord(a, &cobra.Command{
		Use:   "rollback CAMPAIGN",
		Short: "Put back every host that a campaign touched",
		Long: `Put every host that the campaign touched back to its before-image: the HTTP
listener first, then what was added goes. wavelock run does it.`,
		Example: "  wavelock rollback spring --why 'vendor needs 5985' && wavelock run spring.json",
	}, "%s is put back by wavelock run", takeBack))
}

func takeBack(why *string) word {
	return func(*rollout.Plan, *rollout.State) (rollout.Event, error) {
		return rollout.Event{Kind: rollout.EvRollback, Detail: *why}, nil
	}
}

func newApprove(a *app) *cobra.Command {
	var wave int
	var ticket string
	c := newWord(a, &cobra.Command{
		Use:   "approve CAMPAIGN",
		Short: "Approve a plan by its hash, or one wave that waits for it",
		Long: `Approve the plan that the journal has, or one of its waves. The journal keeps
who, when, why, the ticket and the plan's hash. With policy.second_person, waves
that remove HTTP want another person than the plan. What was not made use of
within policy.approval_for has expired.`,
		Example: `  wavelock approve spring --ticket CHG0042
  wavelock approve spring --wave 3 --ticket CHG0042 --why 'canaries were quiet'`,
	}, "%s is approved", func(why *string) word { return approvalWith(&wave, why, &ticket) })
	c.Flags().StringVar(&ticket, "ticket", "", "change `TICKET`, for the journal")
	c.Flags().IntVar(&wave, "wave", 0, "`NUMBER` of the wave, from 1 (default: the plan itself)")
	completes(c, map[string]completion{"ticket": completeNothing, "wave": a.completeWaves()})
	return c
}

func approval(wave *int, why *string) word { return approvalWith(wave, why, new(string)) }

// approvalWith binds an approval to the hash of the plan in the journal.
func approvalWith(wave *int, why, ticket *string) word {
	return func(p *rollout.Plan, s *rollout.State) (rollout.Event, error) {
		if *wave < 0 || *wave > len(p.Waves) {
			return rollout.Event{}, failWith(exitUsage, "waves are counted from 1", "%s has no wave %d", p.ID, *wave)
		}
		return rollout.NewApproval(p, *wave, *why, *ticket), unfinished(s)
	}
}
