package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"wavelock/ldapdisco"
	"wavelock/rollout"
	"wavelock/rollout/engine"
)

// selection stands for what the configuration selects. What it excludes is no part of that: who is excluded later is
// told by name. The names in a list are none either: who is written into it later was added.
func (c Config) selection() string {
	s := c.Select
	s.Exclude, s.NotOUs, s.NotGroups, s.StaleAfter = nil, nil, nil, 0
	b, err := json.Marshal(s)
	if err != nil {
		panic("the selection is plain data: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// rosterFor asks the directory who was added and who is retired since the plan was made. It asks nobody for a password:
// a campaign may run for days, and its terminal is for its progress.
func (a *app) rosterFor(cfg Config, plan *rollout.Plan) engine.Directory {
	quiet := *a
	quiet.quiet, quiet.in = true, nil
	quiet.typed, quiet.warned = maps.Clone(a.typed), maps.Clone(a.warned)
	return func(ctx context.Context) (rollout.Listing, error) { return quiet.listing(ctx, cfg, plan) }
}

func (a *app) listing(ctx context.Context, cfg Config, plan *rollout.Plan) (rollout.Listing, error) {
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return rollout.Listing{}, err
	}
	defer d.Close()
	selected, err := a.computers(ctx, cfg, d)
	if err != nil {
		return rollout.Listing{}, err
	}
	l := rollout.Listing{Selection: cfg.selection(), Planned: make(map[rollout.HostID]rollout.Account, len(plan.Hosts))}
	now := make(map[rollout.HostID]found, len(selected))
	for _, f := range selected {
		now[f.Host.ID] = f
		if f.Problem == "" {
			l.Selected = append(l.Selected, f.Host)
		}
	}
	var elsewhere []rollout.Host
	for _, ph := range plan.Hosts {
		if f, is := now[ph.Host.ID]; is && f.Host.GUID == ph.Host.GUID {
			l.Planned[ph.Host.ID] = accountOf(f)
		} else {
			elsewhere = append(elsewhere, ph.Host)
		}
	}
	return l, a.seek(ctx, cfg, d, elsewhere, l.Planned)
}

// atOnce is how many accounts are looked for in one question.
const atOnce = 100

// seek looks for hosts that are not among those selected: moved, disabled long enough to be of no interest, or gone.
func (a *app) seek(ctx context.Context, cfg Config, d *ldapdisco.Directory, hosts []rollout.Host, into map[rollout.HostID]rollout.Account) error {
	for some := range slices.Chunk(hosts, atOnce) {
		names := make([]string, len(some))
		byName := map[string]rollout.HostID{}
		for i, h := range some {
			names[i] = h.Account
			if names[i] == "" {
				names[i], _, _ = strings.Cut(string(h.ID), ".")
			}
			byName[strings.ToLower(strings.TrimSuffix(names[i], "$"))] = h.ID
		}
		for c, err := range d.Computers(ctx, ldapdisco.Query{Include: names}) {
			if err != nil {
				return directoryError(err)
			}
			if id, is := byName[strings.ToLower(c.Name)]; is {
				into[id] = accountOf(cfg.toHost(c, ""))
			}
		}
	}
	return nil
}

func accountOf(f found) rollout.Account {
	acc := rollout.Account{Host: f.Host}
	switch f.Problem {
	case ldapdisco.NotFound:
		acc = rollout.Account{Missing: true}
	case ldapdisco.Disabled:
		acc.Disabled = true
	case ldapdisco.Excluded:
		acc.Excluded = f.Detail
	case ldapdisco.NoDNSName:
		acc.Host.ID = "" // toHost gives it the account's name
	}
	return acc
}

// showRoster prints who was added, and who is retired without its being seen among the hosts.
func (a *app) showRoster(v rollout.View) {
	r := v.Roster
	if r == nil || r.Same(rollout.Roster{}) {
		return
	}
	fmt.Fprintf(a.out, "\nin the directory, as of %s: %s\n", v.Listed.Local().Format("2006-01-02 15:04"), r.Words())
	t := table{head: []string{"HOST", "OU", "SINCE THE PLAN", "DETAIL"}}
	for _, c := range append(slices.Clone(r.Retired), r.Added...) {
		t.add(c.Host, c.OU, c.Reason, c.Detail)
	}
	if len(t.rows) > 0 {
		_ = t.align(a.out) // as the campaign above it
	}
}
