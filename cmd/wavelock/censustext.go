package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// hostCensus is one host as census prints it.
type hostCensus struct {
	Host   rollout.HostID  `json:"host"`
	Says   string          `json:"says"`
	Census *rollout.Census `json:"census,omitempty"` // none: unknown
	// NotMoved are the clients of HTTP that were never seen on HTTPS.
	NotMoved []rollout.Client `json:"not_moved,omitempty"`
}

// censusDoc is what census prints as JSON.
type censusDoc struct {
	Clientele rollout.Clientele `json:"clientele"`
	Hosts     []hostCensus      `json:"hosts"`
}

// showKnownCensus shows all hosts that the journal knows.
func (a *app) showKnownCensus(ctx context.Context, cfg Config, j *journal.Journal) error {
	var hosts []rollout.HostID
	for r, err := range j.EachHost(ctx) {
		if err != nil {
			return err
		}
		hosts = append(hosts, r.Host.ID)
	}
	if len(hosts) == 0 {
		return failWith(exitError, "run wavelock assess or wavelock census first", "no host is known yet")
	}
	return a.showCensus(ctx, cfg, j, hosts)
}

// showCensus prints what is known of the users of HTTP, by host and by source.
func (a *app) showCensus(ctx context.Context, cfg Config, j *journal.Journal, hosts []rollout.HostID) error {
	var doc censusDoc
	t := table{head: []string{"HOST", "SAMPLES", "USERS OF HTTP"}}
	now := a.now()
	for _, id := range hosts {
		c, err := j.Census(ctx, id)
		if err != nil {
			return err
		}
		doc.Clientele.Add(id, c, cfg.Policy, now)
		row := hostCensus{Host: id, Says: c.Words(cfg.Policy, now), NotMoved: c.NotMoved(cfg.Policy, now)}
		if c.Samples > 0 {
			row.Census = &c
		}
		doc.Hosts = append(doc.Hosts, row)
		t.add(id, c.Samples, row.Says)
	}
	doc.Clientele.Sort()
	if err := t.write(a.out, a.output, doc); err != nil || a.output != "table" {
		return err
	}
	return a.showClientele(doc.Clientele)
}

// showClientele prints who uses HTTP, by source.
func (a *app) showClientele(c rollout.Clientele) error {
	fmt.Fprintf(a.out, "\n%s\n", c.Words())
	if len(c.Sources) == 0 {
		return nil
	}
	t := table{head: []string{"CLIENT OF HTTP", "ADDRESS", "HOSTS", "NEVER ON HTTPS", "LAST SEEN", "WHERE"}}
	for _, s := range c.Sources {
		names := make([]string, len(s.Hosts))
		for i, h := range s.Hosts {
			names[i], _, _ = strings.Cut(string(h), ".")
		}
		name := s.Name
		if name == "" {
			name = "no computer that is known"
		}
		t.add(name, s.Address, len(s.Hosts), s.NotMoved, s.Last.UTC().Format(time.RFC3339), listed(names, 5))
	}
	fmt.Fprintln(a.out)
	return t.align(a.out)
}

func trimDot(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
