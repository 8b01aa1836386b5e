package rollout

import (
	"fmt"
	"slices"
	"time"
)

// Action is one thing for the engine to give to a worker.
type Action struct {
	Host    HostID
	Kind    ActionKind
	Wave    int
	Attempt int // of the host, after this
	Why     string
}

// Decision is what should happen next, and why nothing else does.
type Decision struct {
	Events  []Event // to be recorded: waves that open, pass, halt and end; the campaign that finishes
	Actions []Action
	Hold    string    // why nothing more happens now, in words for a person
	Wake    time.Time // when to decide again although nothing has happened
	Idle    bool      // nothing is in flight, and nothing will happen without a person or before Wake
	Over    bool      // nothing will ever happen again
}

// Decide compares the plan with the state. It does no I/O and reads no clock.
// Whoever acts on a decision applies its events first.
func Decide(p *Plan, s *State, now time.Time) Decision {
	d := decider{p: p, s: s, now: now}
	d.decide()
	d.d.Idle = s.inFlight == 0 && len(d.d.Actions) == 0 && len(d.d.Events) == 0
	return d.d
}

type decider struct {
	p   *Plan
	s   *State
	now time.Time
	d   Decision

	begun map[bucket]int // hosts that this decision lets begin
	late  bool           // there is a host whose brown-out would not end in this window
}

func (d *decider) decide() {
	s := d.s
	switch {
	case s.Finished:
		d.d.Over = true
	case s.Approved == "" && (s.Aborted != "" || s.Rollback != ""):
		d.windDown("given up before it was approved") // nothing was touched
	case s.Approved == "":
		d.hold("the plan waits for an approval of its hash")
	case s.Approved != s.hashOf(d.p):
		d.hold("the plan is not the one that was approved")
	case s.Rollback == "" && s.Aborted == "" && ApprovalExpired(d.p, s, d.now):
		d.hold("the plan waits for an approval: that of %s has expired", s.By)
	case s.Rollback != "":
		d.rollBack()
	case s.Aborted != "":
		d.windDown("aborted by " + s.Aborted)
	case s.Halted > 0:
		d.afterHalt()
	default:
		d.forward()
	}
}

func (d *decider) hold(format string, args ...any) {
	if d.d.Hold == "" {
		d.d.Hold = fmt.Sprintf(format, args...)
	}
}

func (d *decider) event(e Event) {
	e.Campaign, e.At = d.p.ID, d.now
	d.d.Events = append(d.d.Events, e)
}

func (d *decider) wake(at time.Time) {
	if !at.IsZero() && (d.d.Wake.IsZero() || at.Before(d.d.Wake)) {
		d.d.Wake = at
	}
}

func (d *decider) act(id HostID, kind ActionKind, wave int, why string) {
	h := d.s.Hosts[id]
	if kind == ActRestore {
		d.count(id) // it does not wait for room, and takes it
	}
	d.d.Actions = append(d.d.Actions, Action{Host: id, Kind: kind, Wave: wave, Attempt: h.Attempt + 1, Why: why})
}

// rollBack restores every host that was touched, as fast as the widest wave allows.
func (d *decider) rollBack() {
	room := 1
	for _, w := range d.p.Waves {
		room = max(room, w.InFlight)
	}
	room -= d.s.inFlight
	left := 0
	for id, h := range d.s.all() {
		if touched := h.Wrote || h.Outcome == Unknown; !touched || h.Outcome == Restored || h.Outcome == NeedsHuman || h.Running != "" {
			continue
		}
		left++
		d.restore(id, h, &room, "the whole campaign is rolled back")
	}
	d.finishWhenQuiet(left, "rolled back by "+d.s.Rollback)
}

// windDown ends a campaign that goes no further: hosts that failed are still put back.
func (d *decider) windDown(why string) {
	room, left := d.p.Waves[0].InFlight-d.s.inFlight, 0
	for id, h := range d.s.all() {
		if h.mustReturn() || h.shut() {
			left++
			d.restore(id, h, &room, why)
		}
	}
	d.finishWhenQuiet(left, why)
}

func (d *decider) finishWhenQuiet(left int, why string) {
	if left == 0 && d.s.inFlight == 0 {
		d.event(Event{Kind: EvFinished, Detail: why})
		return
	}
	d.hold("%s; %d hosts are still being put back", why, left+d.s.inFlight)
}

// restore puts a host back when there is room. One in doubt is given the time
// that it was promised; nobody waits for a CA or a policy to go back.
func (d *decider) restore(id HostID, h *HostState, room *int, why string) {
	if h.Outcome == Unknown && d.now.Before(h.Again) {
		d.wake(h.Again)
		return
	}
	if *room > 0 {
		*room--
		back := ActRestore
		if d.p.Goal == GoalRenew { // a renewal in doubt is looked at, and goes on
			back = ActRenew
		}
		d.act(id, back, h.Wave, why)
	}
}

// afterHalt restores the halted wave, then waits for a person.
func (d *decider) afterHalt() {
	n := d.s.Halted
	w := &d.s.Waves[n-1]
	if w.Status == WaveEnded {
		d.hold("wave %d was halted and put back (%s); wavelock resume goes on without it", n, w.Why)
		return
	}
	room, left := d.wave(n).InFlight-d.s.inFlight, 0
	for id, h := range d.s.members(n) {
		switch {
		case h.Running != "":
			left++
		case d.goesBack(h):
			left++
			d.restore(id, h, &room, fmt.Sprintf("wave %d was halted", n))
		}
	}
	if left == 0 && d.s.inFlight == 0 {
		d.event(Event{Kind: EvWaveEnded, Wave: n, Detail: w.Why})
		return
	}
	d.hold("wave %d is halted (%s); %d of its hosts are being put back", n, w.Why, left)
}

// goesBack reports whether a host of a halted wave is put back: all that were
// touched and had not passed, and by policy those that had.
func (d *decider) goesBack(h *HostState) bool {
	if h.Outcome == Restored || h.Outcome == NeedsHuman || !h.Wrote {
		return h.mustReturn()
	}
	return !h.Done || d.p.Policy.RestorePassed
}

// forward opens, fills and closes waves in their order.
func (d *decider) forward() {
	for n := 1; n <= len(d.s.Waves); n++ {
		switch w := &d.s.Waves[n-1]; w.Status {
		case WavePassed, WaveEnded:
			// A wave that was opened stays open when the clock is set back behind the soak before it.
			if n < len(d.s.Waves) && d.s.Waves[n].Status == WaveWaiting && d.now.Before(w.SoakUntil) {
				d.wake(w.SoakUntil)
				d.hold("wave %d soaks until %s", n, w.SoakUntil.Format(time.TimeOnly))
				return
			}
			continue
		case WaveWaiting:
			d.open(n)
		case WaveOpen:
			d.work(n)
		}
		return
	}
	d.event(Event{Kind: EvFinished})
}

func (d *decider) open(n int) {
	last := n == len(d.s.Waves)
	switch {
	case d.s.Paused != "":
		d.hold("paused by %s", d.s.Paused)
	case last && len(d.s.waiting) == 0:
		d.event(Event{Kind: EvWavePassed, Wave: n})
	case d.needsApproval(n) != "":
		d.hold("wave %d waits for %s", n, d.needsApproval(n))
	case !d.s.calendar.open(d.now):
		d.outside()
	default:
		d.event(Event{Kind: EvWaveOpened, Wave: n})
	}
}

// work admits hosts of an open wave, or closes it. Everything that stops
// admission is looked at before anything is admitted.
func (d *decider) work(n int) {
	if why := d.tooManyFailed(n); why != "" {
		d.event(Event{Kind: EvWaveHalted, Wave: n, Detail: why})
		return
	}
	room := d.wave(n).InFlight - d.s.inFlight
	open := d.takeBack(n, &room)
	d.reopen(&room)
	if d.s.Paused != "" {
		d.hold("paused by %s", d.s.Paused)
	}
	soaking, crowded := 0, 0
	inside := d.s.calendar.open(d.now)
	for id, h := range d.s.members(n) {
		if h.settled() || h.mustReturn() {
			continue
		}
		open++
		if h.soaks() && d.now.Before(h.Again) {
			soaking++
			d.wake(h.Again)
			continue
		}
		if h.Running != "" || room <= 0 || d.d.Hold != "" || !(inside && d.inTime(h) || h.halfWay()) {
			continue
		}
		if !d.roomFor(id) {
			crowded++
			continue
		}
		room--
		d.act(id, d.s.goal[h.Next], n, "")
	}
	d.again(n, inside, &room)
	if !inside {
		d.outside()
	}
	if crowded > 0 && len(d.d.Actions) == 0 {
		d.hold("%d hosts wait until others of their zone, site or service are done", crowded)
	}
	if d.late && len(d.d.Actions) == 0 {
		d.hold("a brown-out of %v would not end before the maintenance window closes", d.p.Policy.Quiesce)
	}
	if soaking > 0 {
		d.hold("HTTP is narrowed on %d hosts, and it is watched who is turned away", soaking)
	}
	d.close(n, open)
}

// tooManyFailed says which limit has been reached, the wave's or the campaign's; empty while the wave may go on.
func (d *decider) tooManyFailed(n int) string {
	switch failed, limit := d.s.Waves[n-1].Failures, d.wave(n).Limit; {
	case failed >= limit:
		return fmt.Sprintf("%d failed, the limit is %d", failed, limit)
	case d.s.Failures >= d.p.Policy.FailureLimit:
		return fmt.Sprintf("%d failed in the whole campaign, the limit is %d", d.s.Failures, d.p.Policy.FailureLimit)
	}
	return ""
}

// takeBack puts the hosts of a wave back that have to go back, before anything new begins. It counts them.
func (d *decider) takeBack(n int, room *int) (open int) {
	for id, h := range d.s.members(n) {
		if h.Outcome == Unknown { // also while somebody is there to find out
			d.hold("what happened on %s is not known; nothing new starts until it is", id)
		}
		if h.mustReturn() {
			open++
			d.restore(id, h, room, "its "+string(h.Reason)+" is taken back")
		}
	}
	return open
}

// outside holds until the next window opens.
func (d *decider) outside() {
	opens := d.s.calendar.opens(d.now)
	if opens.IsZero() {
		d.hold("no maintenance window opens any more; make a new plan")
		return
	}
	d.wake(opens)
	d.hold("outside the maintenance windows; the next one opens %s", opens.Format("Mon 2006-01-02 15:04 MST"))
}

// inTime reports whether what the host needs next can be brought to its end before the window closes. Only a brown-out
// takes long enough to matter; the others are ended even when the window closes meanwhile.
func (d *decider) inTime(h *HostState) bool {
	if d.s.goal[h.Next] != ActQuiesce || !h.Narrowed.IsZero() {
		return true
	}
	ends := d.s.calendar.closes(d.now)
	if ends.IsZero() || d.now.Add(d.p.Policy.Quiesce.D()).Before(ends) {
		return true
	}
	opens := d.s.calendar.opens(ends)
	d.wake(opens)
	d.late = true
	return false
}

// halfWay reports whether HTTP is narrowed on the host: it goes on to its end, whatever the time.
func (h *HostState) halfWay() bool { return !h.Narrowed.IsZero() }

// reopen puts hosts back that are given up in the middle of their brown-out.
func (d *decider) reopen(room *int) {
	if d.p.Policy.Quiesce == 0 {
		return
	}
	for _, id := range d.s.Waiting() {
		if h := d.s.Hosts[id]; h.shut() && d.spent(h) && !d.now.Before(h.Again) {
			d.restore(id, h, room, "HTTP is narrowed on it, and it was deferred too often")
		}
	}
}

// again takes hosts back in that had waited for something and whose time has come; outside the maintenance windows those
// alone on which HTTP is narrowed.
func (d *decider) again(n int, inside bool, room *int) {
	if *room <= 0 || d.d.Hold != "" {
		for id := range d.s.waiting { // nobody is taken in, so the order does not matter
			if h := d.s.Hosts[id]; d.now.Before(h.Again) {
				d.wake(h.Again)
			}
		}
		return
	}
	for _, id := range d.s.Waiting() {
		h := d.s.Hosts[id]
		if d.now.Before(h.Again) {
			d.wake(h.Again)
			continue
		}
		if d.spent(h) && !d.awaited(n, h) || *room <= 0 || d.d.Hold != "" || !(inside && d.inTime(h) || h.halfWay()) || !d.roomFor(id) {
			continue
		}
		*room--
		d.act(id, d.s.goal[h.Next], n, "tried again: "+string(h.Reason))
	}
}

// spent reports whether a host that waits is not tried again: it was as often as the policy allows, or is retired.
func (d *decider) spent(h *HostState) bool {
	return h.gone() || h.Outcome == Deferred && h.Tries > d.p.Policy.Deferrals
}

// close ends a wave whose hosts have all settled. The last one, which the plan
// does not have, stays open as long as hosts wait for something.
func (d *decider) close(n, open int) {
	if open > 0 || d.s.inFlight > 0 || len(d.d.Actions) > 0 {
		return
	}
	last := n == len(d.s.Waves)
	if last {
		left := slices.DeleteFunc(d.s.Waiting(), func(id HostID) bool { h := d.s.Hosts[id]; return d.spent(h) && !h.shut() })
		if len(left) > 0 {
			d.hold("%d hosts wait for something else: unreachable, their policy or their CA", len(left))
			return
		}
	}
	if d.unproven(n) {
		return
	}
	e := Event{Kind: EvWavePassed, Wave: n}
	if soak := d.wave(n).Soak; soak > 0 && !last {
		e.Until = d.now.Add(soak.D())
	}
	d.event(e)
}

// wave is the n-th wave's rules; the one after the last has those of the last.
func (d *decider) wave(n int) Wave { return d.p.Waves[min(n, len(d.p.Waves))-1] }
