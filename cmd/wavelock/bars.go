package main

import (
	"fmt"
	"strings"
	"time"

	"wavelock/rollout"
)

// frame is a campaign as it is drawn on a terminal: the same for run and for
// status --watch.
type frame struct {
	view  rollout.View
	pace  pace
	tail  []string // the last that happened
	keys  string   // what can be pressed; empty: nothing
	width int
	color bool
}

// pace is how fast hosts get done, since we look.
type pace struct {
	since time.Time
	done  int // when we began to look
}

// words are the pace so far and the time that is left at it.
func (p pace) words(v rollout.View) string {
	for_ := v.At.Sub(p.since)
	if p.since.IsZero() || for_ < time.Second {
		return ""
	}
	s := for_.Round(time.Second).String()
	n := v.Done - p.done
	if n <= 0 {
		return s
	}
	perMinute := float64(n) / for_.Minutes()
	s += fmt.Sprintf(", %.3g hosts a minute", perMinute)
	open := v.Hosts - v.Done - len(v.Troubles)
	if v.Status != "running" || open <= 0 {
		return s
	}
	left := time.Duration(float64(open) / perMinute * float64(time.Minute))
	return s + ", about " + left.Round(10*time.Second).String() + " left"
}

// rows are the frame's lines, none wider than its width.
func (f frame) rows() []string {
	v, most := f.view, max(40, min(f.width, 120))-1
	head := fmt.Sprintf("%s is %s: %d of %s done, %d in flight, %d of %d failures", v.Campaign, v.Status, v.Done, plural(v.Hosts, "host"), v.InFlight, v.Failures, v.Limit)
	var rows []string
	for i, line := range twoLines(head, most) {
		if i == 0 {
			line = strings.TrimPrefix(line, "  ")
		}
		rows = append(rows, f.paint(statusColor(v.Status), line))
	}
	if words := f.pace.words(v); words != "" {
		rows = append(rows, cut("  "+words, most))
	}
	barWidth := max(min(10, most-33), min(40, most-58))
	for _, w := range v.Waves {
		left := fmt.Sprintf("%3d %s ", w.Number, padded(cut(w.Name, 9), 9))
		right := fmt.Sprintf(" %4d/%-4d %-7s %s", w.Done, w.Hosts, w.Status, waveNote(w))
		rows = append(rows, left+f.paint(waveColor(w), bar(w, barWidth))+cut(right, most-columns(left)-barWidth-2))
	}
	if v.Why != "" {
		rows = append(rows, twoLines(v.Why, most)...)
	}
	for _, t := range f.tail {
		rows = append(rows, twoLines(t, most)...)
	}
	if f.keys == "" {
		return rows
	}
	keys := f.keys
	if v.Status == "paused" {
		keys = strings.Replace(keys, "p pauses ", "p goes on ", 1)
	}
	for _, line := range strings.Split("  "+keys, "\n") {
		rows = append(rows, f.paint(dim, cut(line, most)))
	}
	return rows
}

// twoLines is a sentence in a line, or two where one is too short for it.
func twoLines(s string, most int) []string {
	lines := strings.Split(fold(s, most, "  "), "\n")
	if len(lines) > 2 {
		lines = []string{lines[0], "  " + strings.Join(strings.Fields(strings.Join(lines[1:], " ")), " ")}
	}
	for i := range lines {
		lines[i] = cut(lines[i], most)
	}
	return lines
}

// ANSI colours. What they say is said by words and signs too.
const (
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (f frame) paint(color, s string) string {
	if !f.color || color == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func statusColor(status string) string {
	switch status {
	case "finished":
		return green
	case "halted", "aborting", "rolling back":
		return red
	case "paused", "stopped", "waiting", "not approved":
		return yellow
	}
	return ""
}

func waveColor(w rollout.WaveView) string {
	switch {
	case w.Status == rollout.WaveHalted || w.Status == rollout.WaveEnded:
		return red
	case w.Failed > 0, w.Status == rollout.WaveUnproven:
		return yellow
	case w.Status == rollout.WavePassed:
		return green
	}
	return ""
}

// bar draws done, running, put back, refused, retired and waiting hosts; each with a
// sign of its own, so that it can be read without colours.
func bar(w rollout.WaveView, width int) string {
	if w.Hosts == 0 {
		return "[" + strings.Repeat(" ", width) + "]"
	}
	var b strings.Builder
	sum := 0
	for _, part := range []struct {
		n    int
		sign string
	}{{w.Done, "#"}, {w.Running, "~"}, {w.Restored, "<"}, {w.Refused, "!"}, {w.Retired, "-"}, {w.Waiting, "z"}} {
		before := sum * width / w.Hosts
		sum += part.n
		b.WriteString(strings.Repeat(part.sign, max(0, sum*width/w.Hosts-before)))
	}
	s := b.String()
	return "[" + s + strings.Repeat(".", max(0, width-len(s))) + "]"
}

// waveNote is the budget that is used up, and what else did not go straight.
func waveNote(w rollout.WaveView) string {
	var parts []string
	if w.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d failed", w.Failed, w.Limit))
	}
	for _, p := range []struct {
		n    int
		word string
	}{{w.Restored, "put back"}, {w.Refused, "refused"}, {w.Retired, "retired"}, {w.Waiting, "waiting"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return strings.Join(parts, ", ")
}
