package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

func newReport(a *app) *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use: "report", GroupID: "look", Args: exactly(),
		Short: "Report the coverage of HTTPS; as a file, evidence",
		Long: `Report the coverage of all known hosts, by class and OU. With --out it is a file
for an auditor: HTML (ready to print), CSV or JSON by its ending, with the time,
the hash of every plan and the heads of the hash chains.

Exit code 9 says that a file does not fit the journal (--verify).`,
		Example: `  wavelock report
  wavelock report --out 2026-03.html --at 2026-03-31
  wavelock report --verify 2026-03.html
  wavelock report --schema > report.schema.json`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := errors.Join(oneOf(c, "out", "verify", "schema"), oneOf(c, "at", "verify", "schema")); err != nil {
				return err
			}
			if o.schema {
				_, err := a.out.Write(reportSchema)
				return err
			}
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.reportWith(c.Context(), cfg, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.out, "out", "", "`FILE` to write: .html, .csv or .json")
	f.StringVar(&o.at, "at", "", "past `DAY` like 2026-03-31 (its end, UTC), or a time like 2026-03-31T12:00:00Z")
	f.StringVar(&o.verify, "verify", "", "`FILE` to hold against the journal")
	f.BoolVar(&o.schema, "schema", false, "print the JSON schema of a report, and end")
	completes(c, map[string]completion{"out": completeFiles("html", "csv", "json"), "verify": completeFiles("html", "csv", "json"), "at": completeNothing})
	return c
}

type reportOptions struct {
	out, at, verify string
	schema          bool
}

func (a *app) reportWith(ctx context.Context, cfg Config, o reportOptions) error {
	if o.out == "" && o.at == "" && o.verify == "" {
		return a.report(ctx, cfg)
	}
	at := a.now()
	if o.at != "" {
		var err error
		if at, err = pastDate(o.at, a.now()); err != nil {
			return err
		}
	}
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	switch {
	case o.verify != "":
		return a.verifyEvidence(ctx, j, o.verify)
	case o.out != "":
		return a.writeEvidence(ctx, j, o.out, at, o.at == "")
	}
	e, err := a.gather(ctx, j, at, false)
	if err != nil {
		return err
	}
	t := classTable(e.OUs, e.Hosts, e.Classes)
	return t.write(a.out, a.output, e)
}

// pastDate takes a day, which ends at its last second, or a time.
func pastDate(s string, now time.Time) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if t, err = time.Parse(time.DateOnly, s); err == nil && !t.After(now) {
			return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil
		}
	}
	if err != nil {
		return t, failWith(exitUsage, "write 2026-03-31 or 2026-03-31T12:00:00Z", "--at %q is no date", s)
	}
	if t.After(now) {
		return t, failWith(exitUsage, "leave --at out for how it is now", "--at %q lies in the future", s)
	}
	return t, nil
}

// coverage is how far the fleet is, as last observed.
type coverage struct {
	At        time.Time `json:"at"`
	Hosts     int       `json:"hosts"`
	HTTPSOnly int       `json:"https-only"`
	Both      int       `json:"both"`
	HTTPOnly  int       `json:"http-only"`
	None      int       `json:"none"`
	Unknown   int       `json:"unknown"`

	Clientele rollout.Clientele `json:"clientele"` // who still uses HTTP
	// Initiators is how many computers can still start a remote connection.
	Initiators rollout.Initiators   `json:"initiators"`
	Posture    rollout.PostureTally `json:"posture"`
	Drift      []rollout.Drift      `json:"drift,omitempty"` // hosts that are not as they were left
	OUs        []rollout.OUView     `json:"ous"`
	Computers  []covered            `json:"computers"`
}

type covered struct {
	Host  rollout.HostID `json:"host"`
	OU    string         `json:"ou,omitempty"`
	Class rollout.Class  `json:"class"`
	Seen  time.Time      `json:"seen,omitzero"`
	Why   string         `json:"why,omitempty"`
}

func (c *coverage) counter(k rollout.Class) *int {
	switch k {
	case rollout.ClassHTTPSOnly:
		return &c.HTTPSOnly
	case rollout.ClassBoth:
		return &c.Both
	case rollout.ClassHTTPOnly:
		return &c.HTTPOnly
	case rollout.ClassNone:
		return &c.None
	}
	return &c.Unknown
}

func newCoverage(records []journal.Record, p rollout.Policy, rules rollout.PostureRules, now time.Time) coverage {
	c := coverage{At: now, Hosts: len(records)}
	ous := map[string]*rollout.OUView{}
	for _, r := range records {
		class := r.Class
		if class == "" {
			class = rollout.ClassUnknown
		}
		*c.counter(class)++
		o := ous[r.Host.OU]
		if o == nil {
			o = &rollout.OUView{OU: r.Host.OU, Classes: map[rollout.Class]int{}}
			ous[r.Host.OU] = o
		}
		o.Hosts++
		o.Classes[class]++
		if r.Observation == nil {
			c.Clientele.Add(r.Host.ID, rollout.Census{}, p, now)
		} else {
			c.Clientele.Add(r.Host.ID, r.Observation.Census.Value, p, now)
			c.Initiators.Add(rollout.EntryOf(*r.Observation))
		}
		var posture *rollout.PostureSummary
		if o := r.Observation; o != nil && o.Via != "" && r.Problem == "" {
			posture = rollout.JudgePosture(*o, rules).Summary()
		}
		c.Posture.Add(posture)
		row := covered{Host: r.Host.ID, OU: r.Host.OU, Class: class, Why: r.Problem}
		if r.Observation != nil {
			row.Seen = r.Observation.At
		}
		c.Computers = append(c.Computers, row)
	}
	for _, o := range ous {
		c.OUs = append(c.OUs, *o)
	}
	c.Clientele.Sort()
	c.Initiators.Count()
	c.Posture.Count()
	slices.SortFunc(c.OUs, func(a, b rollout.OUView) int { return cmp.Compare(a.OU, b.OU) })
	return c
}

func (a *app) report(ctx context.Context, cfg Config) error {
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	records, err := j.Hosts(ctx)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return failWith(exitError, "run wavelock assess first", "no host is known yet")
	}
	c := newCoverage(records, cfg.Policy, cfg.Posture, a.now())
	if c.Drift, err = j.Drifts(ctx); err != nil {
		return err
	}
	if err := a.showCoverage(c); err != nil {
		return err
	}
	return a.showDrift(ctx, j)
}

// showCoverage prints classes by OU; as CSV it lists the computers.
func (a *app) showCoverage(c coverage) error {
	if a.output == "csv" {
		t := table{head: []string{"host", "ou", "class", "seen", "why"}}
		for _, r := range c.Computers {
			t.add(r.Host, r.OU, r.Class, r.Seen.Format(time.RFC3339), r.Why)
		}
		return t.write(a.out, a.output, c)
	}
	all := map[rollout.Class]int{}
	for _, k := range rollout.Classes() {
		all[k] = *c.counter(k)
	}
	t := classTable(c.OUs, c.Hosts, all)
	if err := t.write(a.out, a.output, c); err != nil {
		return err
	}
	if a.output == "table" && c.Hosts > 0 {
		fmt.Fprintf(a.out, "\n%d of %d hosts (%d %%) answer over HTTPS only\n", c.HTTPSOnly, c.Hosts, rollout.Percent(c.HTTPSOnly, c.Hosts))
		fmt.Fprintln(a.out, c.Initiators.Words())
		if err := a.showPosture(c.Posture); err != nil {
			return err
		}
		return a.showClientele(c.Clientele)
	}
	return nil
}

// showPosture prints what surrounds the listeners, the checks that most hosts fail first.
func (a *app) showPosture(p rollout.PostureTally) error {
	if p.Judged == 0 {
		return nil
	}
	fmt.Fprintf(a.out, "\nPosture of %d hosts: %d of 100 on average\n\n", p.Judged, p.Mean)
	t := table{head: []string{"CHECK", "NOT FULFILLED", "NOT KNOWN"}}
	for _, c := range p.Unfulfilled() {
		t.add(c.Title, c.Bad, c.Unknown)
	}
	return t.align(a.out)
}

// classTable is how many hosts of each OU, and of all, are of each class.
func classTable(ous []rollout.OUView, hosts int, classes map[rollout.Class]int) table {
	t := table{head: []string{"OU", "HOSTS"}}
	for _, k := range rollout.Classes() {
		t.head = append(t.head, string(k))
	}
	for _, o := range append(slices.Clone(ous), rollout.OUView{OU: "all", Hosts: hosts, Classes: classes}) {
		cells := []any{o.OU, o.Hosts}
		for _, k := range rollout.Classes() {
			cells = append(cells, o.Classes[k])
		}
		t.add(cells...)
	}
	return t
}
