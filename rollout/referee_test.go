package rollout

import (
	"reflect"
	"slices"
)

// referee looks at a decision before anybody acts on it.
func (d *drill) referee(dec Decision) {
	if again := Decide(d.p, d.s, d.now); !reflect.DeepEqual(again, dec) {
		d.t.Fatalf("asked twice, Decide says\n%+v and\n%+v", dec, again)
	}
	idle := d.inFlight() == 0 && len(dec.Actions) == 0 && len(dec.Events) == 0
	if dec.Idle != idle {
		d.t.Fatalf("idle is %v with %d in flight and %+v", dec.Idle, d.inFlight(), dec)
	}
	if dec.Over != d.finished {
		d.t.Fatalf("over is %v; the books say finished %v", dec.Over, d.finished)
	}
	for _, e := range dec.Events {
		d.refereeEvent(e)
	}
	room := map[HostID]bool{}
	for _, a := range dec.Actions {
		if room[a.Host] {
			d.t.Fatalf("%s is given two actions at once", a.Host)
		}
		room[a.Host] = true
		d.refereeAction(a)
	}
	if len(dec.Actions) > 0 {
		d.refereeNumbers(dec)
	}
	if len(dec.Events) == 0 {
		d.refereeWork(dec)
	}
	if idle && !dec.Over {
		d.refereeIdle(dec)
	}
}

func (d *drill) refereeEvent(e Event) {
	unapproved := d.approved != d.p.Hash() && !(e.Kind == EvFinished && (d.aborted || d.rollback)) // giving up needs no approval
	if unapproved || d.finished || (d.planStale() && e.Kind != EvFinished) {
		d.t.Fatalf("%s without an approval or after the end", e.Kind)
	}
	switch e.Kind {
	case EvWaveOpened:
		if d.waves[e.Wave-1].status != WaveWaiting || !d.soakOver(e.Wave, d.now) || d.stopsForward() {
			d.t.Fatalf("wave %d opens; earlier waves over: %v, stopped: %v", e.Wave, d.soakOver(e.Wave, d.now), d.stopsForward())
		}
		if !d.waveApproved(e.Wave) {
			d.t.Fatalf("wave %d opens without its approval", e.Wave)
		}
		if !d.insideWindow() {
			d.t.Fatalf("wave %d opens at %v, outside the windows", e.Wave, d.now)
		}
	case EvWavePassed:
		if d.waveOver(e.Wave) || d.halted > 0 || d.unsettled(e.Wave) > 0 || d.inFlight() > 0 {
			d.t.Fatalf("wave %d passes with %d hosts unsettled and %d in flight", e.Wave, d.unsettled(e.Wave), d.inFlight())
		}
		if d.stuck(e.Wave) {
			d.t.Fatalf("wave %d passes and nothing was proved in it; approvals of the next one: %+v", e.Wave, d.waves[e.Wave].approved)
		}
		if soak := d.rules(e.Wave).Soak; e.Wave <= len(d.p.Waves) && !e.Until.Equal(d.now.Add(soak.D())) && soak > 0 {
			d.t.Fatalf("wave %d soaks until %v", e.Wave, e.Until)
		}
	case EvWaveUnproven:
		if w := d.waves[e.Wave-1]; w.status != WaveOpen || w.unproven || !d.gates(e.Wave) || d.shown(e.Wave) || d.unsettled(e.Wave) > 0 || d.inFlight() > 0 {
			d.t.Fatalf("wave %d, %s, is said to have proved nothing with %d hosts unsettled and %d in flight", e.Wave, w.status, d.unsettled(e.Wave), d.inFlight())
		}
	case EvWaveHalted:
		if d.waves[e.Wave-1].status != WaveOpen || !d.overBudget(e.Wave) {
			d.t.Fatalf("wave %d is halted with %d failures, %d in the campaign", e.Wave, d.waves[e.Wave-1].failures, d.failures)
		}
	case EvWaveEnded:
		if d.waves[e.Wave-1].status != WaveHalted || d.toReturn(e.Wave) > 0 || d.inFlight() > 0 {
			d.t.Fatalf("wave %d ends with %d hosts to be put back and %d in flight", e.Wave, d.toReturn(e.Wave), d.inFlight())
		}
	case EvFinished:
		d.refereeFinish()
	default:
		d.t.Fatalf("nobody but a person or a worker says %s", e.Kind)
	}
}

func (d *drill) refereeFinish() {
	if d.inFlight() > 0 {
		d.t.Fatalf("the campaign finishes with %d hosts in flight", d.inFlight())
	}
	for _, id := range d.order {
		h := d.hosts[id]
		switch {
		case h.returns():
			d.t.Fatalf("the campaign finishes and %s, %s, was not put back", id, h.last)
		case d.shut(h):
			d.t.Fatalf("the campaign finishes, and HTTP is narrowed on %s, %s", id, h.last)
		case d.rollback && h.wrote && h.last != Restored && h.last != NeedsHuman:
			d.t.Fatalf("rolled back, and %s is still %s", id, h.last)
		}
	}
	if d.rollback || d.aborted {
		return
	}
	for n := range d.waves {
		if !d.waveOver(n + 1) {
			d.t.Fatalf("the campaign finishes with wave %d %s", n+1, d.waves[n].status)
		}
	}
}

func (d *drill) waveOver(n int) bool {
	s := d.waves[n-1].status
	return s == WavePassed || s == WaveEnded
}

// stopsForward reports whether a person or a budget forbids that anything goes forward.
func (d *drill) stopsForward() bool {
	return d.paused || d.aborted || d.rollback || d.finished || d.halted > 0
}

func (d *drill) overBudget(n int) bool {
	return d.waves[n-1].failures >= d.rules(n).Limit || d.failures >= d.p.Policy.FailureLimit
}

// unsettled counts the hosts of a wave that still need something in it.
func (d *drill) unsettled(n int) (left int) {
	for _, id := range d.order {
		if h := d.hosts[id]; h.wave == n && !d.gone(h) && (h.running != "" || h.returns() || h.last == "" || h.last == Soaking || (h.last == Passed && !d.done(h))) {
			left++
		}
	}
	return left
}

// goesBack reports whether a host of a halted wave has to be put back.
func (d *drill) goesBack(h *hostBook) bool {
	switch {
	case h.running != "" || h.last == Restored || h.last == NeedsHuman:
		return false
	case d.done(h):
		return d.p.Policy.RestorePassed && h.wrote
	}
	return h.wrote || h.last == Unknown
}

func (d *drill) toReturn(n int) (left int) {
	for _, h := range d.hosts {
		if h.wave == n && d.goesBack(h) {
			left++
		}
	}
	return left
}

func (d *drill) refereeAction(a Action) {
	h := d.hosts[a.Host]
	switch {
	case h == nil:
		d.t.Fatalf("%s is not in the plan", a.Host)
	case d.approved != d.p.Hash():
		d.t.Fatalf("%v without an approval of this plan", a)
	case d.finished:
		d.t.Fatalf("%v after the end", a)
	case h.running != "":
		d.t.Fatalf("%v while %s runs there", a, h.running)
	case a.Attempt != h.attempt+1:
		d.t.Fatalf("%v after attempt %d", a, h.attempt)
	case a.Kind == ActRestore:
		d.refereeRestore(a, h)
	default:
		d.refereeForward(a, h)
	}
}

func (d *drill) refereeRestore(a Action, h *hostBook) {
	switch {
	case !h.wrote && h.last != Unknown:
		d.t.Fatalf("%v of a host that nobody wrote to", a)
	case h.last == Restored || h.last == NeedsHuman:
		d.t.Fatalf("%v of a host that is %s", a, h.last)
	case h.last == Unknown && d.now.Before(h.due):
		d.t.Fatalf("%v before its time", a)
	case d.rollback || h.returns():
	case d.shut(h) && (d.aborted || d.spent(h)): // nobody would open it else
	case d.waves[h.wave-1].status == WaveHalted && d.goesBack(h):
	default:
		d.t.Fatalf("%v without a reason: the host is %s", a, h.last)
	}
}

func (d *drill) refereeForward(a Action, h *hostBook) {
	switch {
	case d.stopsForward():
		d.t.Fatalf("%v although paused %v, aborted %v, rolled back %v, halted %d", a, d.paused, d.aborted, d.rollback, d.halted)
	case h.passed >= len(d.goal()) || a.Kind != d.goal()[h.passed]:
		d.t.Fatalf("%v of a host with %d actions behind it", a, h.passed)
	case a.Kind == ActClose && h.passed == 0:
		d.t.Fatalf("%v before the host was secured", a)
	case d.waves[a.Wave-1].status != WaveOpen:
		d.t.Fatalf("%v while that wave is %s", a, d.waves[a.Wave-1].status)
	case d.overBudget(a.Wave):
		d.t.Fatalf("%v after %d failures of the wave and %d of the campaign", a, d.waves[a.Wave-1].failures, d.failures)
	case !d.mayBegin(h):
		d.t.Fatalf("%v at %v, outside the windows or too late", a, d.now)
	case !d.ready(a.Host, a.Wave):
		d.t.Fatalf("%v of a host that is %s, due %v, for the %d. time", a, h.last, h.due, h.row)
	}
	for _, id := range d.order {
		if d.hosts[id].inDoubt() {
			d.t.Fatalf("%v while it is not known what happened on %s", a, id)
		}
	}
}

// room is how many hosts may be worked on at once in the situation of the books.
func (d *drill) room() int {
	switch {
	case d.rollback:
		widest := slices.MaxFunc(d.p.Waves, func(a, b Wave) int { return a.InFlight - b.InFlight })
		return widest.InFlight
	case d.aborted:
		return d.p.Waves[0].InFlight
	case d.halted > 0:
		return d.rules(d.halted).InFlight
	}
	for n := range d.waves {
		if d.waves[n].status == WaveOpen {
			return d.rules(n + 1).InFlight
		}
	}
	return 0
}

func (d *drill) refereeNumbers(dec Decision) {
	if n := d.inFlight() + len(dec.Actions); n > d.room() {
		d.t.Fatalf("%d hosts would be in flight, %d may", n, d.room())
	}
	left := d.zoneRoom(dec.Actions)
	for _, a := range dec.Actions {
		if z := d.hosts[a.Host].zone; a.Kind != ActRestore && left[z] < 0 {
			d.t.Fatalf("%v makes too many at once in %s", a, z)
		}
	}
}

// zoneRoom is how many more hosts the bounds let begin in each zone, next to those in flight and the actions.
func (d *drill) zoneRoom(actions []Action) map[Zone]int {
	left := map[Zone]int{"z0": 1000, "z1": 1000}
	if len(d.p.Policy.AtOnce) > 0 {
		left["z0"], left["z1"] = d.p.Policy.AtOnce[0].Max, d.p.Policy.AtOnce[0].Max
	}
	for _, h := range d.hosts {
		if h.running != "" {
			left[h.zone]--
		}
	}
	for _, a := range actions {
		left[d.hosts[a.Host].zone]--
	}
	return left
}

// refereeWork finds out idleness: doing less than the rules allow is wrong too.
func (d *drill) refereeWork(dec Decision) {
	if d.approved != d.p.Hash() || d.finished {
		return
	}
	if d.planStale() && !d.rollback && !d.aborted {
		if len(dec.Actions) > 0 {
			d.t.Fatalf("%+v with an approval that has expired", dec)
		}
		return
	}
	back, zones := d.work()
	room := max(0, d.room()-d.inFlight())
	want := min(room, back)
	left := d.zoneRoom(slices.DeleteFunc(slices.Clone(dec.Actions), func(a Action) bool { return a.Kind != ActRestore }))
	forward := 0
	for z, n := range zones {
		forward += min(n, max(0, left[z]))
	}
	want += min(room-want, forward)
	if len(dec.Actions) != want {
		d.t.Fatalf("%d actions where %d to put back and %d forward could begin and there is room for %d: %+v", len(dec.Actions), back, forward, room, dec)
	}
}

// work counts what could begin now.
func (d *drill) work() (back int, forward map[Zone]int) {
	open, doubt := 0, false
	forward = map[Zone]int{}
	for n := range d.waves {
		if d.waves[n].status == WaveOpen {
			open = n + 1
		}
	}
	for _, id := range d.order {
		h := d.hosts[id]
		doubt = doubt || h.inDoubt()
		var may bool
		switch {
		case d.rollback:
			may = h.running == "" && (h.wrote || h.last == Unknown) && h.last != Restored && h.last != NeedsHuman
		case d.aborted:
			may = h.returns() || d.shut(h)
		case d.halted > 0:
			may = d.waves[d.halted-1].status == WaveHalted && h.wave == d.halted && d.goesBack(h)
		default:
			may = open > 0 && (h.wave == open && h.returns() || d.shut(h) && h.waits() && d.spent(h) && !d.now.Before(h.due))
		}
		if may && (h.last != Unknown || !d.now.Before(h.due)) {
			back++
		}
		if open > 0 && !may && d.ready(id, open) && d.mayBegin(h) {
			forward[h.zone]++
		}
	}
	if d.stopsForward() || doubt {
		clear(forward)
	}
	return back, forward
}

// shut reports whether HTTP is narrowed on a host that nobody works on and no person was called to.
func (d *drill) shut(h *hostBook) bool {
	return h.running == "" && h.narrow && !d.done(h) && h.last != NeedsHuman && h.last != Restored
}

// refereeIdle asks what an idle campaign waits for.
func (d *drill) refereeIdle(dec Decision) {
	if dec.Hold == "" {
		d.t.Fatalf("nothing happens and nobody is told why: %+v", dec)
	}
	if !dec.Wake.IsZero() && !dec.Wake.After(d.now) {
		d.t.Fatalf("it wants to be woken at %v, and it is %v", dec.Wake, d.now)
	}
	if dec.Wake.IsZero() && !d.needsPerson() {
		d.t.Fatalf("stuck: nothing in flight, no time to wake, no person to ask: %+v", dec)
	}
}

func (d *drill) needsPerson() bool {
	switch {
	case d.approved != d.p.Hash(), d.planStale(), d.paused, d.halted > 0 && d.waves[d.halted-1].status == WaveEnded:
		return true
	}
	for n := range d.p.Waves {
		if d.waves[n].status == WaveWaiting {
			return !d.waveApproved(n+1) || n > 0 && d.waves[n-1].status == WaveOpen && d.stuck(n)
		}
	}
	return false
}
