package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"wavelock/ldapdisco"
	"wavelock/rollout"
)

// zoneOf is the zone of the first rule that fits.
func (c Config) zoneOf(h rollout.Host) rollout.Zone {
	for _, z := range c.Zones {
		if (z.Site == "" || strings.EqualFold(z.Site, h.Site)) && (z.OU == "" || inOU(h.OU, z.OU)) {
			return z.Zone
		}
	}
	return ""
}

// maxListed bounds a list of computers: what is more is no list that a person made.
const maxListed = 1 << 20

// listed are the names of select.list: a CSV file with a column host, name, computer or dnshostname, else its first column.
func (c Config) listed() ([]string, error) {
	if c.Select.List == "" {
		return nil, nil
	}
	f, err := os.Open(c.path(c.Select.List))
	if err != nil {
		return nil, failWith(exitUsage, "see select.list in the configuration", "read the list of computers %s: %w", c.Select.List, unwrapPath(err))
	}
	defer f.Close()
	r := csv.NewReader(io.LimitReader(f, 64<<20))
	r.FieldsPerRecord, r.TrimLeadingSpace, r.Comment = -1, true, '#'
	column, first := 0, true
	var names []string
	for {
		row, err := r.Read()
		switch {
		case errors.Is(err, io.EOF):
			return names, nil
		case err != nil:
			return nil, failWith(exitUsage, "it has to be a CSV file with one computer a line", "read the list of computers %s: %w", c.Select.List, err)
		}
		if first {
			first = false
			row[0] = strings.TrimPrefix(row[0], "\ufeff") // as Excel begins a file
			if i := slices.IndexFunc(row, isHostColumn); i >= 0 {
				column = i
				continue
			}
		}
		if column >= len(row) || strings.TrimSpace(row[column]) == "" {
			continue
		}
		if names = append(names, strings.TrimSpace(row[column])); len(names) > maxListed {
			return nil, failWith(exitUsage, "narrow by OU or group instead", "the list of computers %s has more than %d names", c.Select.List, maxListed)
		}
	}
}

func isHostColumn(head string) bool {
	return slices.Contains([]string{"host", "hostname", "name", "computer", "dnshostname", "fqdn"}, strings.ToLower(strings.TrimSpace(head)))
}

// asksForSites reports whether anything in the configuration depends on the sites of computers.
func (c Config) asksForSites() bool {
	return len(c.Select.Sites) > 0 || slices.ContainsFunc(c.Zones, func(z ZoneRule) bool { return z.Site != "" }) ||
		slices.ContainsFunc(c.Waves, func(w rollout.WaveRule) bool { return w.Site != "" })
}

// place finds the sites of computers by their addresses and the subnets of the forest, where anything depends on it: the
// directory itself knows only those of domain controllers. A computer that DNS does not know is in no site.
func (a *app) place(ctx context.Context, cfg Config, domain ldapdisco.Domain, all []found) ([]found, error) {
	if !cfg.asksForSites() {
		return all, nil
	}
	for _, site := range cfg.Select.Sites {
		if !slices.ContainsFunc(domain.Sites, func(s string) bool { return strings.EqualFold(s, site) }) {
			return nil, failWith(exitUsage, "its sites are "+listed(domain.Sites, 8), "select.sites: the forest has no site %q", site)
		}
	}
	g, lookups := errgroup.WithContext(ctx)
	g.SetLimit(max(1, cfg.Limits.Parallel))
	for i := range all {
		f := &all[i]
		if f.Host.Site != "" || f.Problem != "" {
			continue
		}
		g.Go(func() error {
			addrs, err := cfg.lookup(lookups, string(f.Host.ID))
			if err == nil && len(addrs) > 0 {
				f.Host.Site = domain.SiteOf(addrs[0])
				f.Host.Zone = cfg.zoneOf(f.Host)
			}
			return lookups.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("look for the sites of the computers: %w", err)
	}
	if len(cfg.Select.Sites) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(f found) bool {
		return f.Problem != ldapdisco.NotFound && !slices.ContainsFunc(cfg.Select.Sites, func(s string) bool { return strings.EqualFold(s, f.Host.Site) })
	}), nil
}
