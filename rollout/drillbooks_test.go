package rollout

import (
	"encoding/json"
	"slices"
	"time"
)

// book enters an event that was written. What may be written is checked before,
// by the referee.
func (d *drill) book(e Event) {
	switch {
	case e.Host != "":
		d.bookHost(d.hosts[e.Host], e)
	case e.Wave > 0:
		d.bookWave(d.waves[e.Wave-1], e)
	default:
		d.bookCampaign(e)
	}
}

func (d *drill) bookCampaign(e Event) {
	switch e.Kind {
	case EvStarted: // by somebody who wants to know now
		for _, h := range d.hosts {
			if h.running == "" && h.waits() {
				h.due = time.Time{}
				if h.last == Deferred {
					h.row = max(0, h.row-1)
				}
			}
		}
	case EvApproved:
		d.approved, d.by, d.at = e.Detail, e.Actor, e.At
	case EvPaused:
		d.paused = true
	case EvResumed:
		d.paused = false
		if d.halted > 0 && d.waves[d.halted-1].status == WaveEnded {
			d.halted, d.failures = 0, 0
		}
	case EvAborted:
		d.aborted = true
	case EvRollback:
		d.rollback, d.finished = true, false
	case EvFinished:
		d.finished = true
	case EvRoster:
		d.bookRoster(e)
	}
}

func (d *drill) bookRoster(e Event) {
	var r Roster
	if err := json.Unmarshal(e.Data, &r); err != nil {
		d.t.Fatal(err)
	}
	for id, h := range d.hosts {
		was := h.retired
		h.retired = r.Doubt == "" && slices.ContainsFunc(r.Retired, func(c Change) bool { return c.Host == id })
		begun := h.running != "" || h.waits() || h.returns() || d.done(h)
		over := h.last == Refused || h.last == Restored || h.last == NeedsHuman || h.last == Failed
		if was && !h.retired && !begun && !over && d.waves[h.wave-1].status == WavePassed {
			h.last, h.row, h.due = Deferred, 0, time.Time{} // later, as its own wave is over
		}
	}
}

func (d *drill) bookWave(w *waveBook, e Event) {
	switch e.Kind {
	case EvApproved:
		w.approved = append(w.approved, Approval{By: e.Actor, At: e.At})
	case EvWaveOpened:
		w.status = WaveOpen
	case EvWavePassed:
		w.status, w.soak = WavePassed, e.Until
	case EvWaveHalted:
		w.status, d.halted = WaveHalted, e.Wave
	case EvWaveEnded:
		w.status = WaveEnded
	case EvWaveUnproven:
		w.unproven = true
		if e.Wave < len(d.waves) {
			d.waves[e.Wave].asked = len(d.waves[e.Wave].approved)
		}
	}
}

func (d *drill) bookHost(h *hostBook, e Event) {
	switch e.Kind {
	case EvAction:
		h.running, h.attempt, h.step, h.open, h.dirty = e.Action, e.Attempt, 0, false, false
		h.wave = e.Wave
		d.touched++
	case EvStepOpen:
		h.open = true
		h.wrote = h.wrote || e.Step.Writes()
		h.dirty = h.dirty || e.Step.Writes()
	case EvStepDone, EvStepFail:
		h.open = false
		h.step++
		if e.Kind == EvStepDone && e.Step == StepNarrow {
			h.narrow = true
		}
		if e.Kind == EvStepDone && e.Step == StepRestore {
			h.narrow = false
		}
	case EvSettled:
		d.bookEnd(h, e)
	}
}

func (d *drill) bookEnd(h *hostBook, e Event) {
	act, outcome := h.running, e.Outcome
	if act == ActRestore && outcome == Failed {
		outcome = NeedsHuman // a way back that failed for good is a person's turn
	}
	h.running, h.open, h.due = "", false, e.Until
	if h.last != outcome {
		h.row = 0
	}
	h.row++
	h.last = outcome
	if outcome == Soaking {
		d.soaks++
	}
	if outcome == Passed {
		h.passed++
	}
	// Only what a campaign did to its hosts is charged to the budget, once a host;
	// that the way back is hard is not another failure.
	if act != ActRestore && (outcome == Failed || outcome == Unknown) && !h.counted && !h.retired {
		h.counted = true
		d.failures++
		d.waves[h.wave-1].failures++
	}
}

// soakOver reports whether every earlier wave has come to its end, and the soak of the last of them is over. That of
// one before was over when the next was opened, whatever the clock says now.
func (d *drill) soakOver(n int, now time.Time) bool {
	for i, w := range d.waves[:n-1] {
		if (w.status != WavePassed && w.status != WaveEnded) || (i == n-2 && now.Before(w.soak)) {
			return false
		}
	}
	return true
}

// insideWindow is the nightly window of drawPlan, computed in another way.
func (d *drill) insideWindow() bool {
	return len(d.p.Policy.Maintenance.Windows) == 0 || d.now.UTC().Hour() >= 22 || d.now.UTC().Hour() < 4
}

// mayBegin reports whether the time of the day lets a host go on.
func (d *drill) mayBegin(h *hostBook) bool {
	if h.narrow || len(d.p.Policy.Maintenance.Windows) == 0 {
		return true
	}
	if !d.insideWindow() {
		return false
	}
	if d.goal()[h.passed] != ActQuiesce {
		return true
	}
	end := d.now.UTC().Truncate(24 * time.Hour).Add(4 * time.Hour)
	if d.now.UTC().Hour() >= 22 {
		end = end.Add(24 * time.Hour)
	}
	return d.now.Add(d.p.Policy.Quiesce.D()).Before(end)
}

func (d *drill) stale(at time.Time) bool {
	return d.p.Policy.ApprovalFor > 0 && d.now.After(at.Add(d.p.Policy.ApprovalFor.D()))
}

// planStale reports whether the plan's approval was not made use of in time.
func (d *drill) planStale() bool {
	return d.approved == d.p.Hash() && d.waves[0].status == WaveWaiting && d.stale(d.at)
}

// waveApproved reports whether a wave has the approvals that it needs.
func (d *drill) waveApproved(n int) bool {
	if n > len(d.p.Waves) || !d.second() && !d.p.Waves[n-1].Approval {
		return true
	}
	return d.approvedFrom(n, 0)
}

func (d *drill) second() bool { return d.p.Policy.SecondPerson && d.p.Goal == GoalClose }

// approvedFrom reports whether one of a wave's approvals counts, those before the first not looked at.
func (d *drill) approvedFrom(n, first int) bool {
	second := d.second()
	for _, a := range d.waves[n-1].approved[first:] {
		if !d.stale(a.At) && (!second || a.By != d.by) {
			return true
		}
	}
	return false
}
