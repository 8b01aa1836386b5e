package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"wavelock/rollout"
)

// progress shows a campaign while it runs: bars on a terminal, a line for each
// thing that happened elsewhere.
type progress struct {
	a     *app
	live  bool
	waves int   // of the plan; hosts that waited come after them
	since int64 // events up to this one are history

	mu    sync.Mutex
	lines int      // drawn, to be erased before the next drawing
	tail  []string // the last troubles, shown beneath the bars
}

func newProgress(a *app, plan rollout.Plan, since int64) *progress {
	return &progress{a: a, live: !a.quiet && terminal(a.err), waves: len(plan.Waves), since: since}
}

// event is told of everything that happens. It does not wait for anything but
// the stream it writes to.
func (p *progress) event(ev rollout.Event) {
	line := sentence(ev, p.waves)
	if line == "" || p.a.quiet || ev.Seq <= p.since {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.live {
		fmt.Fprintln(p.a.err, line)
		return
	}
	if ev.Host == "" || (ev.Kind == rollout.EvSettled && ev.Outcome != rollout.Passed) {
		p.tail = append(p.tail, line)
		p.tail = p.tail[max(0, len(p.tail)-5):]
	}
}

// start draws until the function that it answers is called.
func (p *progress) start(view func() rollout.View) (stop func()) {
	if !p.live {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				p.draw(view())
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
		p.draw(view())
		p.mu.Lock()
		p.lines = 0
		p.mu.Unlock()
	}
}

func (p *progress) draw(v rollout.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	if p.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", p.lines)
	}
	rows := bars(v)
	for _, t := range p.tail {
		rows = append(rows, cut(t, 79))
	}
	for _, r := range rows {
		b.WriteString(r + "\n")
	}
	p.lines = len(rows)
	io.WriteString(p.a.err, b.String()) // a terminal that is gone stops nothing
}

// bars are one row a wave and one for the whole, none wider than 79 columns.
func bars(v rollout.View) []string {
	rows := []string{cut(fmt.Sprintf("%s: %s, %d of %d hosts done, %d in flight, %d of %d failures", v.Campaign, v.Status, v.Done, v.Hosts, v.InFlight, v.Failures, v.Limit), 79)}
	for _, w := range v.Waves {
		rows = append(rows, cut(fmt.Sprintf("%2d %-8s %s %3d/%-3d %-7s %s", w.Number, cut(w.Name, 8), bar(w, 24), w.Done, w.Hosts, w.Status, waveNote(w)), 79))
	}
	if v.Why != "" {
		rows = append(rows, cut("   "+v.Why, 79))
	}
	return rows
}

// bar draws done, running, failed or put back, and waiting hosts; each with a
// sign of its own, so that it can be read without colours.
func bar(w rollout.WaveView, width int) string {
	if w.Hosts == 0 {
		return "[" + strings.Repeat(" ", width) + "]"
	}
	cell := func(n int) int { return n * width / w.Hosts }
	var b strings.Builder
	for _, part := range []struct {
		n    int
		sign string
	}{{w.Done, "#"}, {w.Running, "~"}, {w.Restored, "<"}, {w.Refused, "!"}, {w.Waiting, "z"}} {
		b.WriteString(strings.Repeat(part.sign, cell(part.n)))
	}
	s := b.String()
	return "[" + s + strings.Repeat(".", max(0, width-len(s))) + "]"
}

func waveNote(w rollout.WaveView) string {
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{w.Failed, "failed"}, {w.Restored, "put back"}, {w.Refused, "refused"}, {w.Waiting, "waiting"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return strings.Join(parts, ", ")
}

func cut(s string, n int) string {
	r := []rune(printable(s))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}

// sentence is an event in one line, or nothing where it is of no interest.
func sentence(ev rollout.Event, waves int) string {
	switch ev.Kind {
	case rollout.EvWaveOpened, rollout.EvWavePassed:
		return turn(ev, waves)
	case rollout.EvWaveHalted:
		return fmt.Sprintf("wave %d is halted: %s; its hosts are put back", ev.Wave, ev.Detail)
	case rollout.EvWaveEnded:
		return fmt.Sprintf("wave %d is put back", ev.Wave)
	case rollout.EvPaused:
		return fmt.Sprintf("paused by %s", ev.Actor)
	case rollout.EvResumed:
		return fmt.Sprintf("resumed by %s", ev.Actor)
	case rollout.EvSettled:
		return settled(ev)
	}
	return ""
}

// turn tells of a wave's beginning or end. The one after the last is the plan's
// own: the hosts that had to wait.
func turn(ev rollout.Event, waves int) string {
	begins := ev.Kind == rollout.EvWaveOpened
	switch {
	case ev.Wave <= waves && begins:
		return fmt.Sprintf("wave %d begins", ev.Wave)
	case ev.Wave <= waves:
		return fmt.Sprintf("wave %d passed", ev.Wave)
	case begins:
		return "all waves are through; hosts that had to wait are tried again"
	}
	return ""
}

func settled(ev rollout.Event) string {
	s := fmt.Sprintf("  %s %s: %s", ev.Host, ev.Action, ev.Outcome)
	if ev.Outcome == rollout.Passed {
		return s + ", " + string(ev.Class)
	}
	if ev.Reason != "" {
		s += ", " + string(ev.Reason)
	}
	if ev.Detail != "" && ev.Outcome != rollout.Restored {
		s += " (" + ev.Detail + ")"
	}
	return s
}

// ticker counts something that has a known end.
type ticker struct {
	a     *app
	word  string
	total int

	mu sync.Mutex
	n  int
}

func newTicker(a *app, word string, total int) *ticker {
	return &ticker{a: a, word: word, total: total}
}

func (t *ticker) add() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	if !t.a.quiet && terminal(t.a.err) {
		fmt.Fprintf(t.a.err, "\r%s %d of %d hosts", t.word, t.n, t.total)
	}
}

func (t *ticker) done() {
	if !t.a.quiet && terminal(t.a.err) {
		fmt.Fprint(t.a.err, "\r\x1b[K")
	}
}
