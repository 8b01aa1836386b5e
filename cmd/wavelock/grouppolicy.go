package main

import (
	"context"
	"fmt"
	"strings"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// withPolicies adds to a view what has to be changed in Group Policy.
func (a *app) withPolicies(ctx context.Context, cfg Config, j *journal.Journal, plan *rollout.Plan, state *rollout.State, v rollout.View) (rollout.View, error) {
	var failed error
	v.Policies = rollout.PolicyChanges(plan, state, func(id rollout.HostID) string {
		r, ok, err := j.Host(ctx, id)
		if err != nil && failed == nil {
			failed = err
		}
		if !ok || r.Observation == nil {
			return ""
		}
		return r.Observation.Winner("AllowAutoConfig")
	}, cfg.PolicyGroup)
	return v, failed
}

// showPolicies prints what the campaign waits for in Group Policy.
func (a *app) showPolicies(changes []rollout.PolicyChange) {
	for _, c := range changes {
		names := make([]string, len(c.Computers))
		for i, id := range c.Computers {
			names[i] = string(id)
		}
		gpo := "not told by the hosts"
		if c.GPO != "" {
			gpo = fmt.Sprintf("%q", c.GPO)
		}
		fmt.Fprintf(a.out, "\nGROUP POLICY TO CHANGE, wave %d\n  object     %s\n  policy     %s\n             %s\n  registry   %s\n  now        %s\n  wanted     %s\n  group      %s\n  computers  %s\n",
			c.Wave, printable(gpo), c.Path, c.Setting, c.Key, c.Now, c.Want, printable(c.Group), strings.Join(names, "\n             "))
		for i, s := range c.Do {
			fmt.Fprintf(a.out, "  %-9s  %s\n", map[bool]string{true: "to do"}[i == 0], printable(s))
		}
		for i, s := range c.Revert {
			fmt.Fprintf(a.out, "  %-9s  %s\n", map[bool]string{true: "to revert"}[i == 0], printable(s))
		}
	}
}
