package main

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"wavelock/rollout"
	"wavelock/rollout/journal"
	"wavelock/rollout/machine"
)

func newCensus(a *app) *cobra.Command {
	o := censusOptions{Every: time.Minute}
	c := &cobra.Command{
		Use: "census", GroupID: "look", Args: exactly(),
		Short: "Sample who is connected to 5985 and 5986 of the hosts",
		Long: `Ask every selected host who is connected to its WinRM ports, once or for a time,
and keep who was seen, first and last, in how many samples. Nothing on a host is
changed. assess, run and serve add samples, too.

A census says that none was seen in so many samples, never that nobody is there.
A client seen on HTTP and never on HTTPS blocks its removal (client-not-moved).`,
		Example: "  wavelock census --for 8h --every 1m\n  wavelock census --show -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.census(c.Context(), cfg, o)
		},
	}
	f := c.Flags()
	f.DurationVar(&o.For, "for", 0, "sample for that `TIME` (default: once)")
	f.DurationVar(&o.Every, "every", o.Every, "`TIME` from one sample's beginning to the next one's")
	f.BoolVar(&o.Show, "show", false, "sample nothing, show what is known")
	completes(c, map[string]completion{"for": completeNothing, "every": completeNothing})
	return c
}

type censusOptions struct {
	For, Every time.Duration
	Show       bool
}

func (a *app) census(ctx context.Context, cfg Config, o censusOptions) error {
	if o.For < 0 || o.Every <= 0 {
		return failWith(exitUsage, "use --for 8h --every 1m", "--for %v and --every %v are no times to sample", o.For, o.Every)
	}
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	if o.Show {
		return a.showKnownCensus(ctx, cfg, j)
	}
	s, err := a.openSurvey(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.close()
	end := a.now().Add(o.For)
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for n := 1; ; n++ {
		if err := s.sample(ctx, j); err != nil {
			return err
		}
		if !a.now().Add(o.Every).Before(end) {
			break
		}
		a.progress("sample %d; the next in %v, the last at %s", n, o.Every, end.Format("15:04"))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	hosts := make([]rollout.HostID, len(s.computers))
	for i, f := range s.computers {
		hosts[i] = f.Host.ID
	}
	return a.showCensus(ctx, cfg, j, hosts)
}

// survey is the selected hosts and the way to them, for one look or many.
type survey struct {
	app       *app
	cfg       Config
	computers []found
	roots     [][]byte
	logins    *hostLogins
	fleet     *machine.Fleet
	names     map[string]string // of addresses that were looked up
}

func (a *app) openSurvey(ctx context.Context, cfg Config) (*survey, error) {
	computers, roots, err := a.inventory(ctx, cfg)
	if err != nil {
		return nil, err
	}
	logins, err := a.hostLogins(cfg)
	if err != nil {
		return nil, err
	}
	s := &survey{app: a, cfg: cfg, computers: computers, roots: roots.Trusted(), logins: logins, names: map[string]string{}}
	if s.fleet, err = a.fleet(cfg, logins, roots.Trusted(), cfg.Policy, roots.Intermediates...); err != nil {
		logins.close()
		return nil, err
	}
	return s, nil
}

func (s *survey) close() { s.logins.close() }

// whole looks at everything of every host.
func (s *survey) whole(ctx context.Context) ([]journal.Record, error) {
	records, err := s.app.look(ctx, s.cfg, s.computers, func(ctx context.Context, h rollout.Host) (rollout.Observation, error) {
		return inspect(ctx, s.fleet, h, s.cfg.Limits.StepTime.D())
	})
	if err == nil {
		s.nameClients(ctx, records)
		s.nameObjects(ctx, records)
	}
	return records, err
}

// sample looks who is connected to every host, and keeps it.
func (s *survey) sample(ctx context.Context, j *journal.Journal) error {
	records, err := s.app.look(ctx, s.cfg, s.computers, func(ctx context.Context, h rollout.Host) (rollout.Observation, error) {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.Limits.StepTime.D())
		defer cancel()
		m, err := s.fleet.Open(ctx, h)
		if err != nil {
			return rollout.Observation{}, err
		}
		defer m.Close()
		return m.Sample(ctx)
	})
	if err != nil {
		return err
	}
	s.nameClients(ctx, records)
	var looks []rollout.Observation
	for _, r := range records {
		if r.Observation != nil {
			looks = append(looks, *r.Observation)
		}
	}
	return j.SaveCensus(ctx, looks)
}

// nameClients names who is connected: by the addresses at which the directory's
// computers were just reached, else by DNS, where a name leads back to its address.
func (s *survey) nameClients(ctx context.Context, records []journal.Record) {
	hosts := map[string]string{}
	var strangers []string
	each(records, func(r journal.Record, _ *rollout.Peer) { // the hosts first
		if ip, _, err := net.SplitHostPort(r.Observation.HTTP.Address); err == nil {
			hosts[ip] = string(r.Host.ID)
		}
	})
	each(records, func(_ journal.Record, p *rollout.Peer) {
		if p == nil || p.Self {
			return
		}
		if _, known := s.names[p.Address]; !known && hosts[p.Address] == "" && !slices.Contains(strangers, p.Address) {
			strangers = append(strangers, p.Address)
		}
	})
	s.lookUp(ctx, strangers)
	each(records, func(_ journal.Record, p *rollout.Peer) {
		if p == nil || p.Self {
			return
		}
		if p.Name = hosts[p.Address]; p.Name == "" {
			p.Name = s.names[p.Address]
		}
	})
}

// each calls f for every host that was seen, with no peer, and for each of its peers.
func each(records []journal.Record, f func(journal.Record, *rollout.Peer)) {
	for _, r := range records {
		if r.Observation == nil {
			continue
		}
		f(r, nil)
		for i := range r.Observation.Peers.Value {
			f(r, &r.Observation.Peers.Value[i])
		}
	}
}

// lookUp asks DNS who the addresses are, and remembers the answers.
func (s *survey) lookUp(ctx context.Context, addresses []string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // names are a courtesy: a census does not wait longer for them
	defer cancel()
	var mu sync.Mutex // guards s.names
	var g errgroup.Group
	g.SetLimit(16) // questions to the resolver at once
	for _, address := range addresses {
		g.Go(func() error {
			name := s.cfg.nameOf(ctx, address)
			mu.Lock()
			defer mu.Unlock()
			s.names[address] = name
			return nil
		})
	}
	_ = g.Wait() // no one fails
}

// nameOf is the DNS name of an address, when that name has the address, too.
func (c Config) nameOf(ctx context.Context, address string) string {
	names, err := c.resolver().LookupAddr(ctx, address)
	if err != nil {
		return ""
	}
	for _, n := range names {
		back, err := c.resolver().LookupHost(ctx, n)
		if err == nil && slices.Contains(back, address) {
			return trimDot(n)
		}
	}
	return ""
}
