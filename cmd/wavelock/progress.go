package main

import (
	"fmt"
	"io"
	"regexp"
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

	mu    sync.Mutex // guards what follows
	pace  pace
	keys  string   // what can be pressed
	drawn []int    // columns of each row that is drawn, to be erased before the next drawing
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
	if !p.live {
		fmt.Fprintln(p.a.err, line)
		return
	}
	if ev.Host == "" || (ev.Kind == rollout.EvSettled && ev.Outcome != rollout.Passed) {
		p.note(line)
	}
}

// note shows a line beneath the bars, or by itself where there are none.
func (p *progress) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.live {
		p.a.progress("%s", line)
		return
	}
	p.tail = append(p.tail, line)
	p.tail = p.tail[max(0, len(p.tail)-5):]
}

// offer says what can be pressed.
func (p *progress) offer(keys string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// start draws until the function that it answers is called.
func (p *progress) start(view func() rollout.View) (stop func()) {
	if !p.live {
		return func() {}
	}
	v := view()
	p.pace = pace{since: v.At, done: v.Done}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer lent.giveBack() // after the keyboard; before, if it panics
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
		p.offer("")
		p.draw(view())
		p.mu.Lock()
		p.drawn = nil
		p.mu.Unlock()
	}
}

// draw replaces what was drawn before. What is longer than the terminal is high
// would scroll away and stay, so it is cut.
func (p *progress) draw(v rollout.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	width, height := size(p.a.err)
	rows := frame{view: v, pace: p.pace, tail: p.tail, keys: p.keys, width: width, color: !p.a.noColor}.rows()
	if most := max(3, height-1); len(rows) > most {
		rows = append(rows[:1], rows[len(rows)-most+1:]...)
	}
	var b strings.Builder
	if up := heightOf(p.drawn, width); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", up)
	}
	p.drawn = p.drawn[:0]
	for _, r := range rows {
		b.WriteString(r + "\n")
		p.drawn = append(p.drawn, columns(escapes.ReplaceAllString(r, "")))
	}
	io.WriteString(p.a.err, b.String()) // a terminal that is gone stops nothing
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// heightOf is how many lines of a terminal rows take, which may have become narrower since they were drawn.
func heightOf(rows []int, width int) int {
	lines := 0
	for _, n := range rows {
		lines += max(1, (n+width-1)/width)
	}
	return lines
}

// sentence is an event in one line, or nothing where it is of no interest.
func sentence(ev rollout.Event, waves int) string {
	switch ev.Kind {
	case rollout.EvWaveOpened, rollout.EvWavePassed:
		return turn(ev, waves)
	case rollout.EvWaveHalted:
		return fmt.Sprintf("wave %d is halted: %s; its hosts are put back", ev.Wave, ev.Detail)
	case rollout.EvWaveUnproven:
		return fmt.Sprintf("wave %d has proved nothing (%s): %s", ev.Wave, ev.Detail, ev.Reason)
	case rollout.EvWaveEnded:
		return fmt.Sprintf("wave %d is put back", ev.Wave)
	case rollout.EvPaused:
		return fmt.Sprintf("paused by %s", ev.Actor)
	case rollout.EvResumed:
		return fmt.Sprintf("resumed by %s", ev.Actor)
	case rollout.EvRoster:
		return "since the plan was made: " + ev.Detail
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

	mu sync.Mutex // guards n
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
