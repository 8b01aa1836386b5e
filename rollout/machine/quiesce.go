package machine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"wavelock/rollout"
)

// narrow blocks the HTTP port for everybody but ourselves, over the HTTPS session
// that was just proved: where that is lost, so may be the undo.
func (m *Machine) narrow(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	d := m.doors[rollout.HTTPS]
	if d == nil || !d.proved || !d.session.Secure() {
		return rollout.Result{}, m.fail(step.Kind, rollout.ReasonUndoNotArmed, errors.New("HTTP is narrowed over a proved HTTPS session only"))
	}
	defer d.session.Pin(d.conn)()
	line, err := narrowLine(step.Port, step.Keep)
	if err != nil {
		return rollout.Result{}, err
	}
	if err := m.stillArmed(ctx, d, step); err != nil {
		return rollout.Result{}, err
	}
	rule, err := m.addRule(ctx, d, line)
	if err != nil {
		return rollout.Result{}, err
	}
	if rule.Allow || !rule.Active {
		return rollout.Result{}, m.fail(step.Kind, rollout.ReasonNarrowFailed, fmt.Errorf("the rule %s was read back as allow %v, active %v", rule.Name, rule.Allow, rule.Active))
	}
	return rollout.Result{Seen: m.withRule(rule)}, nil
}

// widen deletes the block rule again.
func (m *Machine) widen(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	d, err := m.any(ctx)
	if err != nil {
		return rollout.Result{}, err
	}
	// The exit code of a rule that is not there is no error: what counts is what is left.
	name := rollout.BlockRule(step.Port)
	res, err := d.run(ctx, widenLine(step.Port))
	if err != nil {
		return rollout.Result{}, err
	}
	if _, found := ruleIn(res.Stdout); found {
		return rollout.Result{}, m.fail(step.Kind, rollout.ReasonFirewallFailed, fmt.Errorf("the rule %s is still there", name))
	}
	fw := m.seen.Firewall.Value
	var rules []rollout.FirewallRule
	for _, r := range fw.Rules {
		if r.Name != name {
			rules = append(rules, r)
		}
	}
	fw.Rules = rules
	m.seen.Firewall = rollout.Saw(fw)
	return rollout.Result{Seen: &rollout.Observation{Firewall: m.seen.Firewall}}, nil
}

// proveNarrow shows, on new connections, that HTTPS works and that HTTP still
// answers us: a rule that covered our own address would be found out here, while
// the undo is armed.
func (m *Machine) proveNarrow(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	d, p, err := m.prove(ctx, step)
	if err != nil {
		return rollout.Result{}, err
	}
	res, err := d.run(ctx, findRule(rollout.BlockRule(m.cfg.HTTPPort)))
	if err != nil {
		return rollout.Result{}, err
	}
	if rule, found := ruleIn(res.Stdout); !found || rule.Allow || !rule.Active {
		return rollout.Result{}, m.fail(step.Kind, rollout.ReasonNarrowFailed, fmt.Errorf("the rule %s is not on the host", rollout.BlockRule(m.cfg.HTTPPort)))
	}
	if state, err := m.knock(ctx); state != rollout.DoorOpen {
		return rollout.Result{}, m.fail(step.Kind, rollout.ReasonNarrowFailed, fmt.Errorf("HTTP is %s for us, too: %w", state, errors.Join(err, errors.New("the rule leaves out other addresses than ours"))))
	}
	p.Narrowed = true
	m.confirmed = d.session
	return rollout.Result{Proof: &p, Seen: &rollout.Observation{Listeners: m.seen.Listeners}}, nil
}

var logPath = regexp.MustCompile(`(?i)^(%(systemroot|windir)%|[a-z]:)(\\[a-z0-9 _.-]+)+$`)

// checkLogPath refuses what is more than a path: the host's registry is data, not syntax.
func checkLogPath(path string) error {
	if !logPath.MatchString(path) {
		return fmt.Errorf("the firewall's log %q is not read: it is no plain path", path)
	}
	return nil
}

// readDrops reads who was turned away at the HTTP port, in the log of every
// profile that is on and in the one before it: Windows renames a log that is full.
// A host that logs nothing cannot tell: that is not the same as nobody.
func (m *Machine) readDrops(ctx context.Context, d *door, fw rollout.Firewall, sys rollout.System) ([]rollout.Drop, error) {
	var paths []string
	for _, p := range fw.Profiles {
		if p.Enabled && p.DropLog != "" && !slices.Contains(paths, p.DropLog) {
			paths = append(paths, p.DropLog)
		}
	}
	if len(paths) == 0 {
		return nil, errors.New("the firewall does not log what it drops")
	}
	var drops []rollout.Drop
	for _, path := range paths {
		if err := checkLogPath(path); err != nil {
			return nil, err
		}
		res, err := d.run(ctx, dropsLine(path, m.cfg.HTTPPort))
		if err != nil {
			return nil, err
		}
		some, err := parseDrops(string(res.Stdout), sys)
		if err != nil {
			return nil, err
		}
		drops = append(drops, some...)
	}
	isOurs := m.addresses() // another worker may have narrowed HTTP to itself: our own tries since are no client's
	return slices.DeleteFunc(drops, func(d rollout.Drop) bool { return isOurs(d.Address) }), nil
}

// parseDrops reads lines of the firewall's log: date, time, action, protocol,
// source, destination, source port, destination port. Its times are local, and by
// the host's clock.
func parseDrops(text string, sys rollout.System) ([]rollout.Drop, error) {
	zone := time.FixedZone("", int(sys.Offset/time.Second))
	drops := []rollout.Drop{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || f[2] != "DROP" {
			continue
		}
		at, err := time.ParseInLocation(time.DateTime, f[0]+" "+f[1], zone)
		if err != nil {
			return nil, fmt.Errorf("read the firewall's log: %w", err)
		}
		port, err := strconv.Atoi(f[7])
		if err != nil {
			return nil, fmt.Errorf("read the firewall's log: the port %q is no number", f[7])
		}
		drops = append(drops, rollout.Drop{At: at.Add(-sys.ClockSkew).UTC(), Address: strings.Clone(f[4]), Port: port})
	}
	return drops, nil
}

// addRule runs the line that adds a rule and prints it.
func (m *Machine) addRule(ctx context.Context, d *door, line string) (rollout.FirewallRule, error) {
	res, err := d.run(ctx, line)
	if err != nil {
		return rollout.FirewallRule{}, err
	}
	rule, found := ruleIn(res.Stdout)
	if !found {
		return rule, &CommandError{Line: line, Code: res.ExitCode, Output: string(res.Stdout) + string(res.Stderr)}
	}
	return rule, nil
}

// ruleIn is the last rule that the output has.
func ruleIn(out []byte) (rule rollout.FirewallRule, found bool) {
	for l := range strings.Lines(string(out)) {
		if v, ok := parseRegValue(strings.TrimLeft(strings.TrimRight(l, "\r\n"), " ")); ok {
			rule, found = parseRule(v.name, v.data)
		}
	}
	return rule, found
}

// withRule is the firewall as last seen, and the rule.
func (m *Machine) withRule(rule rollout.FirewallRule) *rollout.Observation {
	fw := m.seen.Firewall.Value
	fw.Rules = append(append([]rollout.FirewallRule(nil), fw.Rules...), rule)
	m.seen.Firewall = rollout.Saw(fw)
	return &rollout.Observation{Firewall: m.seen.Firewall}
}

// markOurs tells our own connections among those that the host lists: by our address, or, where it is translated on the
// way, by our port, which most translations keep. The port of somebody else may be the same by chance, so it says nothing
// where there are two of them.
func markOurs(peers []rollout.Peer, remote []int, ours netip.AddrPort, isOurs func(address string) bool) {
	found, byPort := false, -1
	for i := range peers {
		peers[i].Self = isOurs(peers[i].Address)
		switch found = found || peers[i].Self; {
		case !ours.IsValid() || remote[i] != int(ours.Port()):
		case byPort == -1:
			byPort = i
		default:
			byPort = -2
		}
	}
	if !found && byPort >= 0 {
		peers[byPort].Self = true
	}
}
