package rollout

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"wavelock/pki"
)

// BlockRule is the name of the firewall rule of the brown-out.
func BlockRule(port int) string { return fmt.Sprintf("%sblock-%d", RuleNamePrefix, port) }

// Narrowed reports whether the block rule of the brown-out is on the host.
func (o Observation) Narrowed(port int) bool {
	return slices.ContainsFunc(o.Firewall.Value.Rules, func(r FirewallRule) bool {
		return r.Name == BlockRule(port) && !r.Allow && r.Active
	})
}

// nextQuiesce narrows HTTP to ourselves as carefully as HTTP is removed: with a
// kept before-image, a fresh proof and an armed undo, which is taken away only
// after another proof. Then it waits, and looks who was turned away.
func nextQuiesce(run HostRun, now time.Time) Step {
	want, err := run.certificate(now)
	if err != nil {
		return finish(Failed, ReasonNoCertificate, err.Error())
	}
	undo := run.Seen.Undo
	gone := undo.Known && !undo.Value.Armed && !undo.Value.Task
	narrowed := run.Seen.Narrowed(run.Policy.HTTPPort)
	_, open := run.Seen.listener(HTTP)
	switch {
	case !open && undo.Known && !undo.Value.Task && (!narrowed || run.NarrowedAt.IsZero()):
		return finish(Passed, "", "") // nothing is left that could be narrowed; a mark or a rule of before goes with the close
	case !run.NarrowedAt.IsZero() && !narrowed:
		return finish(Failed, ReasonUndoFired, "HTTP was narrowed and the block rule is gone")
	case !run.NarrowedAt.IsZero() && gone:
		return soak(run, now)
	case run.lacksImage():
		return run.saveImage(now)
	case run.NarrowedAt.IsZero():
		return narrow(run, want.Thumbprint, now)
	case !run.fresh(run.Narrow, want.Thumbprint, now) || !run.Narrow.Narrowed:
		return run.prove(StepProveNarrow, want.Thumbprint)
	}
	return run.disarm()
}

func narrow(run HostRun, want pki.Thumbprint, now time.Time) Step {
	keep := run.keep()
	undo := run.Seen.Undo
	switch {
	case len(keep) == 0:
		return run.refuse(ReasonSelfNotSeen, "none of the host's connections is ours: name our address as the host sees it in policy.controllers")
	case !run.fresh(run.Proof, want, now):
		return run.prove(StepProve, want)
	case !run.counted(undo) || !run.armed(now):
		return run.arm(now)
	case run.undoMayBeSpent():
		return run.lookAtUndo()
	}
	return Step{Kind: StepNarrow, Campaign: string(run.Campaign), Mark: run.Mark, Port: run.Policy.HTTPPort, Keep: keep, At: now, Until: run.armedUntil()}
}

// keep are our addresses as the host sees them: behind address translation they
// are not those that we have.
func (run HostRun) keep() []string {
	addrs := slices.Clone(run.Policy.Controllers)
	for _, p := range run.Seen.Peers.Value {
		if p.Self {
			addrs = append(addrs, p.Address)
		}
	}
	slices.Sort(addrs)
	return slices.Compact(addrs)
}

// soak waits for the end of the brown-out. It is over only for a fresh look that
// found the rule still there: what this run itself did proves nothing about later.
func soak(run HostRun, now time.Time) Step {
	if who := run.turnedAway(); len(who) > 0 {
		return finish(Failed, ReasonTurnedAway, fmt.Sprintf("since %s: %s", run.NarrowedAt.UTC().Format(time.DateTime), strings.Join(who, ", ")))
	}
	end := run.NarrowedAt.Add(run.Policy.Quiesce.D())
	if run.Done[StepNarrow] == 0 && run.Done[StepDisarm] == 0 {
		blind := run.Policy.waived(ReasonNoDropLog, run.Host.ID, now)
		switch unread := !run.Seen.Drops.Known && !blind; {
		case unread && run.Done[StepInspect] <= run.Policy.Retries:
			return Step{Kind: StepInspect, Brief: true, Why: "who was turned away was not read: " + run.Seen.Drops.Why}
		case unread:
			return finish(Failed, ReasonNoDropLog, run.Seen.Drops.Why)
		case !now.Before(end):
			return finish(Passed, "", "")
		}
	}
	look := now.Add(max(run.Policy.PollFor.D(), run.Policy.Quiesce.D()/24, time.Second))
	if end.Before(look) { // where it has passed meanwhile, only the look is missing
		look = now.Add(max(end.Sub(now), time.Second))
	}
	return finishUntil(Soaking, ReasonSoaking, "until "+end.UTC().Format(time.DateTime), look)
}

// logStep is how exactly the firewall's log tells the time: it leaves out the part of the second.
const logStep = time.Second

// turnedAway are the addresses that the host's firewall turned away at the HTTP
// port since it was narrowed; a worker's own are no client's.
func (run HostRun) turnedAway() []string {
	var who []string
	for _, d := range run.Seen.Drops.Value {
		if d.Port == run.Policy.HTTPPort && d.At.After(run.NarrowedAt.Add(-logStep)) && !slices.Contains(who, d.Address) && !slices.Contains(run.Policy.Controllers, d.Address) {
			who = append(who, d.Address)
		}
	}
	slices.Sort(who)
	return who
}

// Complement is every address but those that are kept, as ranges that a firewall
// rule takes. A rule that blocks beats every rule that allows: one that covered
// our own address would cut us off.
func Complement(keep []string) ([]string, error) {
	var four, six []netip.Addr
	for _, s := range keep {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("keep %q: %w", s, err)
		}
		if a = a.Unmap().WithZone(""); a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	if len(four)+len(six) == 0 {
		return nil, errors.New("a rule for every address would cut everybody off")
	}
	lastV6 := netip.AddrFrom16([16]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	ranges := without(four, netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{255, 255, 255, 255}))
	return append(ranges, without(six, netip.IPv6Unspecified(), lastV6)...), nil
}

// without lists the ranges between first and last that leave the addresses out.
func without(keep []netip.Addr, first, last netip.Addr) []string {
	slices.SortFunc(keep, netip.Addr.Compare)
	var ranges []string
	from := first
	for _, a := range slices.Compact(keep) {
		if from.Compare(a) < 0 {
			ranges = append(ranges, between(from, a.Prev()))
		}
		if a == last {
			return ranges
		}
		from = a.Next()
	}
	return append(ranges, between(from, last))
}

func between(from, to netip.Addr) string { return from.String() + "-" + to.String() }

// blockRuleWorks asks whether a local block rule would do anything on the host. It is asked at every look of a
// brown-out, too: one in which nobody was kept out proves nothing.
func blockRuleWorks(_ Host, o Observation, p Policy, _ time.Time) (Finding, bool) {
	if p.Quiesce == 0 {
		return Finding{}, false
	}
	narrowing := []ActionKind{ActQuiesce}
	if !o.Firewall.Known {
		return blocker(ReasonNotFullyObserved, narrowing, "the firewall was not read, so HTTP cannot be narrowed: %s", o.Firewall.Why)
	}
	if s, ok := o.service("mpssvc"); o.Services.Known && (!ok || !s.Running) {
		return blocker(ReasonFirewallOff, narrowing, "the firewall's service mpssvc does not run: no rule is in force")
	}
	for _, f := range o.Firewall.Value.Profiles {
		switch {
		case !slices.Contains(p.Profiles, f.Name):
		case !f.Enabled:
			return blocker(ReasonFirewallOff, narrowing, "the firewall is off in the %s profile: HTTP cannot be narrowed", f.Name)
		case !f.LocalMerge:
			return blocker(ReasonLocalRulesInert, narrowing, "AllowLocalPolicyMerge is 0 in the %s profile: a local rule cannot narrow HTTP", f.Name)
		case f.DropLog == "":
			return blocker(ReasonNoDropLog, narrowing, "the %s profile does not log dropped packets: nobody would see who is turned away", f.Name)
		}
	}
	return Finding{}, false
}
