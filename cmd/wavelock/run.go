package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"wavelock/rollout"
	"wavelock/rollout/engine"
	"wavelock/rollout/journal"
)

func newRun(a *app) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use: "run FILE", GroupID: "roll", Args: exactly("the plan file"),
		Short: "Carry out a plan, or resume it",
		Long: `Carry out a plan, or go on where an earlier run ended, however that was. The
plan has to be approved: by wavelock approve, by --yes, or on the terminal,
where you are asked.

Ctrl-C begins nothing new, ends the steps in flight and leaves a state that the
next run goes on from. A second run at the same time is refused.`,
		Example:           "  wavelock run spring.json\n  wavelock run spring.json --yes --stay",
		ValidArgsFunction: completeFiles("json").first,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			plan, err := readPlan(args[0])
			if err != nil {
				return err
			}
			return a.run(c.Context(), cfg, plan, o)
		},
	}
	c.Flags().BoolVar(&o.Yes, "yes", false, "approve the plan without being asked")
	c.Flags().StringSliceVar(&o.Zones, "zones", nil, "with PostgreSQL: `ZONES` that this process works for itself; none leaves all to wavelock worker (default: all)")
	c.Flags().BoolVar(&o.Standby, "standby", false, "with PostgreSQL: wait until the process that coordinates is gone, and go on in its place")
	c.Flags().BoolVar(&o.Stay, "stay", false, "keep running while hosts wait for their policy, CA or the network")
	completes(c, map[string]completion{"zones": a.completeZones()})
	return c
}

type runOptions struct {
	Yes, Stay, Standby bool
	Zones              []string // of this process; see zonesFor
}

func (a *app) run(ctx context.Context, cfg Config, plan rollout.Plan, o runOptions) error {
	a.announced()
	outliveReaders()
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	return a.runIn(ctx, cfg, j, plan, o)
}

// runIn runs the campaign in a journal that is open.
func (a *app) runIn(ctx context.Context, cfg Config, j *journal.Journal, plan rollout.Plan, o runOptions) error {
	zones, err := zonesFor(cfg, plan, o)
	if err != nil {
		return err
	}
	hooks, err := a.hooks(cfg)
	if err != nil {
		return err
	}
	release, err := a.coordinate(ctx, j, o)
	if err != nil {
		return err
	}
	defer release()
	if err := a.permitted(ctx, cfg, j, plan, o); err != nil {
		return err
	}
	logins, err := a.hostLogins(cfg)
	if err != nil {
		return err
	}
	defer logins.close()
	ec, err := a.engineFor(ctx, cfg, j, plan, logins)
	if err != nil {
		return err
	}
	show := newProgress(a, plan, ec.State.Seq)
	observer, told := a.tell(hooks, &plan, ec.State.Seq, show.event)
	defer told()
	ec.Queue, ec.Zones, ec.Observer, ec.Stay = queueFor(j, zones), zones, observer, o.Stay
	if hooks != nil {
		ec.Gate = gate{hooks, &plan, plan.Hash(), a.now}
	}
	e := engine.New(ec)
	if a.news != nil && show.live {
		a.news.through(show.note)
	}
	ending, err := a.drive(ctx, j, plan, e, show)
	if err != nil {
		return fmt.Errorf("run %s: %w", plan.ID, err)
	}
	v, err := a.withPolicies(context.WithoutCancel(ctx), cfg, j, ec.Plan, ec.State, e.View())
	if err != nil {
		return err
	}
	return a.conclude(ctx, v, ending)
}

// permitted enters the plan in the journal, and reports what speaks against working on it.
func (a *app) permitted(ctx context.Context, cfg Config, j *journal.Journal, plan rollout.Plan, o runOptions) error {
	if err := j.Create(ctx, plan, rollout.Event{Campaign: plan.ID, At: a.now(), Actor: person(), Kind: rollout.EvCreated}); err != nil {
		return err
	}
	if err := notElsewhere(ctx, j, plan); err != nil {
		return err
	}
	if err := a.templatesStillFit(ctx, cfg, j, plan); err != nil {
		return err
	}
	return a.ensureApproved(ctx, j, plan, o)
}

// engineFor has what the engine works with and on; who looks on is not in it.
func (a *app) engineFor(ctx context.Context, cfg Config, j *journal.Journal, plan rollout.Plan, l *hostLogins) (engine.Config, error) {
	fleet, err := a.fleet(cfg, l, plan.Roots, plan.Policy, plan.Issuing...)
	if err != nil {
		return engine.Config{}, err
	}
	issuer, err := a.issuer(ctx, cfg, plan)
	if err != nil {
		return engine.Config{}, err
	}
	kept, state, err := replay(ctx, j, plan.ID)
	if err != nil {
		return engine.Config{}, err
	}
	return engine.Config{
		Plan: kept, State: state, Store: j, Machines: machines{fleet, j}, Issuer: issuer,
		Actor: person(), Parallel: cfg.Limits.Parallel, StepTime: cfg.Limits.StepTime.D(), Now: a.now, Log: a.logger(),
		Passing: journal.Passing, Seen: a.keep(j, plan.ID),
		Directory: a.rosterFor(cfg, &plan), CompareEvery: cfg.Limits.CompareEvery.D(),
	}, nil
}

// templatesStillFit judges the templates again before the first host is touched: they may have been changed since the
// plan was made. A campaign that has begun is not stopped by that, its hosts are judged one by one.
func (a *app) templatesStillFit(ctx context.Context, cfg Config, j *journal.Journal, plan rollout.Plan) error {
	_, state, err := replay(ctx, j, plan.ID)
	if err != nil || len(plan.Templates) == 0 {
		return err
	}
	for _, h := range state.Hosts {
		if h.Attempt > 0 {
			return nil
		}
	}
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return err
	}
	defer d.Close()
	hosts := make([]rollout.Host, len(plan.Hosts))
	for i, ph := range plan.Hosts {
		hosts[i] = ph.Host
	}
	cfg.Policy = plan.Policy
	now, err := a.templatesFor(ctx, cfg, d, hosts)
	if err != nil {
		return err
	}
	if err := rollout.Unfit(plan.Policy, now, a.now()); err != nil {
		return failWith(exitFindings, err.Hint(), "%s cannot start: %w", plan.ID, err)
	}
	return nil
}

// drive runs the engine while progress is shown and keys are read.
func (a *app) drive(ctx context.Context, j *journal.Journal, plan rollout.Plan, e *engine.Engine, show *progress) (engine.Ending, error) {
	defer show.start(e.View)()
	in, _ := a.in.(*os.File) // else nobody can press anything
	k := keyboard{in: in, show: show, view: e.View, say: func(ctx context.Context, w word) error { return a.say(ctx, j, plan.ID, w) }}
	defer k.listen(ctx)()
	told := context.AfterFunc(ctx, func() {
		if n := e.View().InFlight; n > 0 {
			show.note(fmt.Sprintf("stopping after the steps of %s; Ctrl-C again does not wait", plural(n, "host")))
		}
	})
	defer told()
	return e.Run(ctx)
}

// outliveReaders keeps a campaign going when who read its output is gone, such as head behind a pipe.
func outliveReaders() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // what is handled is not passed on to hooks, unlike what is ignored
}

// interruption is a run that a person or the system ended early.
type interruption struct{ state string }

func (i *interruption) Error() string { return i.state }
func (i *interruption) Unwrap() error { return context.Canceled }

// ensureApproved compares the plan with the approval in the journal, and asks
// for one where there is none.
func (a *app) ensureApproved(ctx context.Context, j *journal.Journal, plan rollout.Plan, o runOptions) error {
	_, state, err := replay(ctx, j, plan.ID)
	if err != nil {
		return err
	}
	switch {
	case state.Approved == plan.Hash() && !rollout.ApprovalExpired(&plan, state, a.now()), state.Aborted != "", state.Rollback != "":
		return nil // the way back needs no approval
	case state.Approved != "" && state.Approved != plan.Hash():
		return failWith(exitPlan, "plan and approve again under another name", "the journal has an approval of %.12s for %s, this plan is %.12s", state.Approved, plan.ID, plan.Hash())
	case !o.Yes:
		if err := a.ask(plan); err != nil {
			return err
		}
	}
	wave, why := 0, ""
	return a.say(ctx, j, plan.ID, approval(&wave, &why))
}

// ask lets the person at the terminal approve the plan by typing the campaign's name.
func (a *app) ask(plan rollout.Plan) error {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return failWith(exitWaiting, "approve it with wavelock approve, or run it with --yes", "the plan %s is not approved, and there is nobody to ask", plan.ID)
	}
	fmt.Fprintf(a.err, "%s will be changed in %s, hash %.12s.\nType %s to approve: ", plural(len(plan.Hosts), "host"), plural(len(plan.Waves), "wave"), plan.Hash(), plan.ID)
	line, err := whileAsking(f, func() (string, error) { return bufio.NewReader(f).ReadString('\n') })
	if errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil || strings.TrimSpace(line) != string(plan.ID) {
		return failWith(exitWaiting, "nothing was changed", "the plan %s was not approved", plan.ID)
	}
	return nil
}

// conclude prints what came of it and answers with the exit code that fits.
func (a *app) conclude(ctx context.Context, v rollout.View, ending engine.Ending) error {
	if err := a.showView(v); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.EIO) {
		return err // that nobody looks any more is none
	}
	switch {
	case ending.Over && v.Failures == 0:
		return nil
	case v.Status == "halted":
		return failWith(exitHalted, "find out why with the reasons above; wavelock resume "+string(v.Campaign)+" goes on without that wave", "%s", v.Why)
	case ctx.Err() != nil:
		return &interruption{ending.Hold}
	case ending.Over:
		return nil
	}
	return failWith(exitWaiting, whatNext(v), "%s", ending.Hold)
}

// whatNext is how a campaign that waits for somebody goes on.
func whatNext(v rollout.View) string {
	if v.Status == "paused" {
		return fmt.Sprintf("wavelock resume %s, then run it again", v.Campaign)
	}
	if i := slices.IndexFunc(v.Waves, func(w rollout.WaveView) bool { return w.Status == rollout.WaveWaiting }); i >= 0 && strings.Contains(v.Why, "approval") {
		return fmt.Sprintf("wavelock approve %s --wave %d, then run it again", v.Campaign, v.Waves[i].Number)
	}
	return "run it again to look at them again; --stay keeps looking"
}

// zonesOf are the zones that this process works for: all of the plan's.
func zonesOf(plan rollout.Plan) []rollout.Zone {
	var zones []rollout.Zone
	for _, h := range plan.Hosts {
		if !slices.Contains(zones, h.Host.Zone) {
			zones = append(zones, h.Host.Zone)
		}
	}
	return zones
}

// keep remembers what a host looked like at the end of an action, for report and
// the next plan. The journal of the campaign does not depend on it.
func (a *app) keep(j *journal.Journal, id rollout.CampaignID) func(context.Context, rollout.Host, rollout.Observation) {
	return func(ctx context.Context, h rollout.Host, o rollout.Observation) {
		ctx = context.WithoutCancel(ctx) // a run that is ended keeps what it saw, and forgets nothing that was known before
		before, known, err := j.Host(ctx, h.ID)
		if err != nil {
			a.logger().Warn("what was seen of a host is not kept", "host", h.ID, "err", err)
			return
		}
		if known && before.Observation != nil {
			o = o.Remember(*before.Observation)
		}
		r := journal.Record{Host: h, Class: rollout.ClassOf(o), SeenAt: a.now(), Observation: &o, Left: id}
		if err := j.SaveHosts(ctx, []journal.Record{r}); err != nil {
			a.logger().Warn("what was seen of a host is not kept", "host", h.ID, "err", err)
		}
	}
}
