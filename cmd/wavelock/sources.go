package main

import (
	"context"
	"slices"
	"time"

	"wavelock/ldapdisco"
	"wavelock/rollout"
)

// scoped is the policy with the addresses of the computers that may start remote
// connections: those of the configuration, and of the members of its groups.
func (a *app) scoped(ctx context.Context, cfg Config, d *ldapdisco.Directory, p rollout.Policy) (rollout.Policy, error) {
	if len(cfg.SourceGroups) == 0 {
		return p, nil
	}
	p.Sources = slices.Clone(p.Sources)
	found, missing := 0, 0
	for c, err := range d.Computers(ctx, ldapdisco.Query{Groups: cfg.SourceGroups, Now: a.now()}) {
		if err != nil {
			return p, directoryError(err)
		}
		lookup, cancel := context.WithTimeout(ctx, 10*time.Second)
		addresses, err := cfg.lookup(lookup, c.DNSHostName)
		cancel()
		if err != nil || len(addresses) == 0 {
			missing++
			a.progress("source_groups: %s has no address and may not start remote connections: %v", c.Account, err)
			continue
		}
		for _, ip := range addresses {
			found++
			if s := ip.Unmap().String(); !slices.Contains(p.Sources, s) {
				p.Sources = append(p.Sources, s)
			}
		}
	}
	if found == 0 { // no source at all would mean that everybody may
		return p, failWith(exitError, "see wavelock discover for the groups of computers, and the resolver",
			"source_groups: none of the members of %s has an address (%s without)", listed(cfg.SourceGroups, 3), plural(missing, "computer"))
	}
	slices.Sort(p.Sources)
	return p, nil
}
