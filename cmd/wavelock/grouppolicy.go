package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// withPolicies adds to a view what has to be changed in Group Policy.
func (a *app) withPolicies(ctx context.Context, cfg Config, j *journal.Journal, plan *rollout.Plan, state *rollout.State, v rollout.View) (rollout.View, error) {
	var failed error
	v.Policies = rollout.PolicyChanges(plan, state, func(id rollout.HostID) rollout.PolicyValue {
		v, err := winnerOn(ctx, j, id)
		if err != nil && failed == nil {
			failed = err
		}
		return v
	}, cfg.PolicyGroup)
	return v, failed
}

// winnerOn is the policy that makes the HTTP listener of a host, by the host itself; empty when it does not say.
func winnerOn(ctx context.Context, j *journal.Journal, id rollout.HostID) (rollout.PolicyValue, error) {
	r, _, err := j.Host(ctx, id)
	if err != nil || r.Observation == nil {
		return rollout.PolicyValue{}, err
	}
	v, _ := r.Observation.WinnerOf("AllowAutoConfig")
	return v, nil
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
		fmt.Fprintf(a.out, "\nGROUP POLICY TO CHANGE, wave %d\n  object     %s\n%s  policy     %s\n             %s\n  registry   %s\n  now        %s\n  wanted     %s\n  group      %s\n  computers  %s\n",
			c.Wave, printable(gpo), linkLines(c), c.Path, c.Setting, c.Key, c.Now, c.Want, printable(c.Group), strings.Join(names, "\n             "))
		for i, s := range c.Do {
			fmt.Fprintf(a.out, "  %-9s  %s\n", map[bool]string{true: "to do"}[i == 0], printable(s))
		}
		for i, s := range c.Revert {
			fmt.Fprintf(a.out, "  %-9s  %s\n", map[bool]string{true: "to revert"}[i == 0], printable(s))
		}
	}
}

// linkLines are the lines that say where the directory has the object.
func linkLines(c rollout.PolicyChange) string {
	var b strings.Builder
	for i, l := range c.Links {
		fmt.Fprintf(&b, "  %-9s  %s\n", map[bool]string{true: "linked to"}[i == 0], printable(l))
	}
	if c.File != "" {
		fmt.Fprintf(&b, "  files      %s\n", printable(c.File))
	}
	return b.String()
}

// nameObjects adds to what the hosts say of winning policies what the directory has of
// the objects: name, files and links. An account that may not read them is no reason
// to stop: the hosts' own names stay.
func (s *survey) nameObjects(ctx context.Context, records []journal.Record) {
	wins := func(r journal.Record) bool { return r.Observation != nil && len(r.Observation.PolicyValues.Value) > 0 }
	if !slices.ContainsFunc(records, wins) {
		return
	}
	objects, err := s.policyObjects(ctx)
	if err != nil {
		s.app.logger().Warn("the links of Group Policy objects could not be read", "err", err)
		return
	}
	for _, r := range records {
		if !wins(r) {
			continue
		}
		for i := range r.Observation.PolicyValues.Value {
			v := &r.Observation.PolicyValues.Value[i]
			v.Object = objects[v.ID]
		}
	}
}

func (s *survey) policyObjects(ctx context.Context) (map[string]*rollout.PolicyObject, error) {
	d, err := s.app.openDirectory(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	list, err := d.PolicyObjects(ctx)
	if err != nil {
		return nil, err
	}
	objects := map[string]*rollout.PolicyObject{}
	for _, p := range list {
		o := &rollout.PolicyObject{Name: p.Name, Path: p.Path}
		for _, l := range p.Links {
			where := l.Container
			switch {
			case l.Disabled:
				where += " (link disabled)"
			case l.Enforced:
				where += " (enforced)"
			}
			o.Links = append(o.Links, where)
		}
		objects[p.ID] = o
	}
	return objects, nil
}
