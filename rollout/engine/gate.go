package engine

import (
	"context"
	"slices"

	"wavelock/rollout"
)

// Gate lets somebody outside stop what is about to begin.
type Gate interface {
	// Ask answers nil for a yes. Anything else pauses the campaign.
	Ask(ctx context.Context, q Question) error
}

// QuestionKind says what a gate is asked.
type QuestionKind string

// The questions.
const (
	AskCampaign QuestionKind = "campaign" // before the first wave opens
	AskWave     QuestionKind = "wave"     // before a wave opens
	AskRemoval  QuestionKind = "removal"  // before HTTP is narrowed or removed on some hosts
)

// Question is what a gate is asked before something begins. After a crash, or a pause, it may be asked the same again.
type Question struct {
	Kind  QuestionKind
	Wave  int
	Hosts []rollout.HostID
}

// grants are what the gate said yes to since this process began: after a crash it is asked again.
type grants struct {
	campaign bool
	waves    map[int]bool
	removals map[rollout.HostID]bool
}

func (g *grants) add(q Question) {
	switch q.Kind {
	case AskCampaign:
		g.campaign = true
	case AskWave:
		g.waves[q.Wave] = true
	case AskRemoval:
		for _, h := range q.Hosts {
			g.removals[h] = true
		}
	}
}

// questions are those that a decision raises and that were not answered with yes before. Callers hold mu.
func (e *Engine) questions(d rollout.Decision) []Question {
	if e.Gate == nil {
		return nil
	}
	var all []Question
	for _, ev := range d.Events {
		if !e.opens(ev) {
			continue
		}
		if ev.Wave == 1 && !e.granted.campaign {
			all = append(all, Question{Kind: AskCampaign})
		}
		if !e.granted.waves[ev.Wave] {
			all = append(all, Question{Kind: AskWave, Wave: ev.Wave, Hosts: e.membersOf(ev.Wave)})
		}
	}
	removal := Question{Kind: AskRemoval}
	for _, a := range d.Actions {
		if e.removes(a) {
			removal.Wave, removal.Hosts = a.Wave, append(removal.Hosts, a.Host)
		}
	}
	if len(removal.Hosts) > 0 {
		all = append(all, removal)
	}
	return all
}

// opens reports whether an event opens a wave to which the gate has not said yes. Callers hold mu.
func (e *Engine) opens(ev rollout.Event) bool {
	return e.Gate != nil && ev.Kind == rollout.EvWaveOpened && (!e.granted.waves[ev.Wave] || ev.Wave == 1 && !e.granted.campaign)
}

// removes reports whether an action narrows or removes HTTP and the gate has not said yes to that. Callers hold mu.
func (e *Engine) removes(a rollout.Action) bool {
	return e.Gate != nil && (a.Kind == rollout.ActClose || a.Kind == rollout.ActQuiesce) && !e.granted.removals[a.Host]
}

// free is what of a decision waits for no gate. Callers hold mu.
func (e *Engine) free(d rollout.Decision) rollout.Decision {
	d.Events = slices.DeleteFunc(slices.Clone(d.Events), e.opens)
	d.Actions = slices.DeleteFunc(slices.Clone(d.Actions), e.removes)
	return d
}

// inquire asks the gate beside everything else, which may take minutes: a host that has to go back does not wait for it,
// nor does one whose worker died. One round of questions is asked at a time; what comes up meanwhile is in the next.
func (e *Engine) inquire(ctx context.Context, all []Question) {
	if e.asking {
		return
	}
	e.asking = true
	e.asks.Go(func() { e.answered <- e.ask(ctx, all) })
}

func (e *Engine) membersOf(wave int) []rollout.HostID {
	if wave > len(e.Plan.Waves) {
		return e.state.Waiting()
	}
	return slices.Clone(e.Plan.Waves[wave-1].Hosts)
}

// ask asks the gate. A yes is remembered; anything else pauses the campaign, and only a person lifts that.
func (e *Engine) ask(ctx context.Context, all []Question) error {
	for _, q := range all {
		err := e.Gate.Ask(ctx, q)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			e.Log.Warn("a gate did not say yes", "question", q.Kind, "wave", q.Wave, "err", err)
			return e.record(ctx, rollout.Event{Kind: rollout.EvPaused, Detail: err.Error()})
		}
		e.mu.Lock()
		e.granted.add(q)
		e.mu.Unlock()
	}
	return nil
}
