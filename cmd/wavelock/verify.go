package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"wavelock/rollout"
	"wavelock/rollout/journal"
	"wavelock/rollout/machine"
)

func newVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "verify [CAMPAIGN]", GroupID: "look", Args: atMost("the name of a campaign"),
		Short: "Prove HTTPS of finished hosts again, from here",
		Long: `Prove again, on a new connection to each host that a campaign has finished, that
HTTPS works: chain, name, usage, dates, revocation, the same certificate issued,
configured, bound and presented, and an authenticated call. Without a name all
hosts are proved that any campaign has finished. Nothing is changed.

Exit code 9 says that a host is not as it should be.`,
		Example:           "  wavelock verify\n  wavelock verify spring -o csv > evidence.csv",
		ValidArgsFunction: a.completeCampaigns().first,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.verify(c.Context(), cfg, args)
		},
	}
}

// verdict is what verify says of one host.
type verdict struct {
	Host   rollout.HostID `json:"host"`
	Class  rollout.Class  `json:"class"`
	OK     bool           `json:"ok"`
	Reason string         `json:"reason,omitempty"`
	Proof  *rollout.Proof `json:"proof,omitempty"`
}

func (a *app) verify(ctx context.Context, cfg Config, names []string) error {
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	all, err := finished(ctx, j, names)
	if err != nil {
		return err
	}
	logins, err := a.hostLogins(cfg)
	if err != nil {
		return err
	}
	defer logins.close()
	if len(all) == 0 {
		a.progress("no campaign has finished a host yet; wavelock assess shows how the hosts stand")
	}
	verdicts := []verdict{}
	for _, f := range all {
		fleet, err := a.fleet(cfg, logins, f.plan.Roots, f.plan.Policy, f.plan.Issuing...)
		if err != nil {
			return err
		}
		verdicts = append(verdicts, a.proveAll(ctx, cfg, f.plan, fleet, f.hosts)...)
	}
	return a.showVerdicts(verdicts)
}

// finishedHosts are the hosts that a campaign is the last to have finished.
type finishedHosts struct {
	plan  *rollout.Plan
	hosts []rollout.Host
}

// finished lists the hosts of the named campaign, or of all, the youngest first. A host that a later campaign restored
// has nothing left to prove.
func finished(ctx context.Context, j *journal.Journal, names []string) ([]finishedHosts, error) {
	ids := make([]rollout.CampaignID, 0, len(names))
	for _, n := range names {
		ids = append(ids, rollout.CampaignID(n))
	}
	if len(names) == 0 {
		campaigns, err := j.Campaigns(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range slices.Backward(campaigns) {
			ids = append(ids, c.ID)
		}
	}
	var all []finishedHosts
	judged := map[rollout.HostID]bool{}
	for _, id := range ids {
		plan, state, err := replay(ctx, j, id)
		if err != nil {
			return nil, err
		}
		f := finishedHosts{plan: plan}
		for _, ph := range plan.Hosts {
			if id := ph.Host.ID; state.Hosts[id].Done && !judged[id] {
				judged[id] = true
				f.hosts = append(f.hosts, ph.Host)
			}
		}
		if len(f.hosts) > 0 && (plan.Goal != rollout.GoalRestore || len(names) > 0) {
			all = append(all, f)
		}
	}
	return all, nil
}

func (a *app) proveAll(ctx context.Context, cfg Config, plan *rollout.Plan, fleet *machine.Fleet, hosts []rollout.Host) []verdict {
	verdicts := make([]verdict, len(hosts))
	ticker := newTicker(a, "proved", len(hosts))
	defer ticker.done()
	var g errgroup.Group
	g.SetLimit(cfg.Limits.Parallel)
	for i, h := range hosts {
		g.Go(func() error {
			defer ticker.add()
			verdicts[i] = proveHost(ctx, plan, fleet, h, cfg.Limits.StepTime.D())
			return nil
		})
	}
	_ = g.Wait() // the verdicts carry the errors
	return verdicts
}

func proveHost(ctx context.Context, plan *rollout.Plan, fleet *machine.Fleet, h rollout.Host, limit time.Duration) verdict {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	v := verdict{Host: h.ID, Class: rollout.ClassUnknown}
	fail := func(err error) verdict {
		v.Reason = err.Error()
		return v
	}
	m, err := fleet.Open(ctx, h)
	if err != nil {
		return fail(err)
	}
	defer m.Close()
	res, err := m.Do(ctx, rollout.Step{Kind: rollout.StepInspect})
	if err != nil {
		return fail(err)
	}
	v.Class = rollout.ClassOf(*res.Seen)
	want := rollout.ClassBoth
	if plan.Goal == rollout.GoalClose {
		want = rollout.ClassHTTPSOnly
	}
	for _, l := range res.Seen.Listeners.Value {
		if l.Transport != rollout.HTTPS {
			continue
		}
		proof, err := m.Do(ctx, rollout.Step{Kind: rollout.StepProve, Thumbprint: l.Thumbprint, Port: plan.Policy.Port})
		if err != nil {
			return fail(err)
		}
		v.Proof = proof.Proof
	}
	switch {
	case v.Proof == nil:
		return fail(errors.New("it has no HTTPS listener"))
	case v.Class != want && v.Class != rollout.ClassHTTPSOnly:
		return fail(errors.New("it is " + string(v.Class) + ", the goal was " + string(want)))
	}
	v.OK = true
	return v
}

func (a *app) showVerdicts(verdicts []verdict) error {
	t := table{head: []string{"HOST", "CLASS", "VERDICT", "ISSUED", "LISTENER", "HTTP.SYS", "WIRE", "VALID UNTIL", "TLS", "REVOCATION"}}
	bad := 0
	for _, v := range verdicts {
		word, p := "proved", v.Proof
		if !v.OK {
			bad++
			word = v.Reason
		}
		if p == nil {
			p = &rollout.Proof{}
		}
		until := ""
		if !p.NotAfter.IsZero() {
			until = p.NotAfter.Format(time.DateOnly)
		}
		t.add(v.Host, v.Class, word, p.Issued.Short(), p.Listener.Short(), p.Bound.Short(), p.Wire.Short(), until, p.TLS, p.Revocation)
	}
	if err := t.write(a.out, a.output, verdicts); err != nil {
		return err
	}
	if bad > 0 {
		return failWith(exitFindings, "each row says what is wrong", "%d of %d hosts could not be proved", bad, len(verdicts))
	}
	a.progress("%s proved", plural(len(verdicts), "host"))
	return nil
}
