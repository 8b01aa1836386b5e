package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"wavelock/rollout"
	"wavelock/rollout/machine"
)

func newVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "verify CAMPAIGN", GroupID: "look", Args: exactly("the name of a campaign"),
		Short: "Prove HTTPS of a campaign's finished hosts again, from here",
		Long: `Prove again, on a new connection to each host that the campaign has finished,
that HTTPS works: chain to the enterprise roots, name, usage, dates, revocation
as policy.revocation has it, the same certificate issued, configured, bound and
presented, and an authenticated call.
Nothing is changed. Ends with 9 when a host is not as it should be.`,
		Example:           "  wavelock verify spring\n  wavelock verify spring -o csv > evidence.csv",
		ValidArgsFunction: a.completeCampaigns(),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.verify(c.Context(), cfg, rollout.CampaignID(args[0]))
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

func (a *app) verify(ctx context.Context, cfg Config, id rollout.CampaignID) error {
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	plan, state, err := replay(ctx, j, id)
	if err != nil {
		return err
	}
	logins, err := a.hostLogins(cfg)
	if err != nil {
		return err
	}
	defer logins.close()
	fleet, err := a.fleet(cfg, logins, plan.Roots, plan.Policy)
	if err != nil {
		return err
	}
	var hosts []rollout.Host
	for _, ph := range plan.Hosts {
		if state.Hosts[ph.Host.ID].Done {
			hosts = append(hosts, ph.Host)
		}
	}
	return a.showVerdicts(a.proveAll(ctx, cfg, plan, fleet, hosts))
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
