package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// announcer has the people in front of a campaign hear what it warns of: where its lines go changes when the bars appear.
type announcer struct {
	mu sync.Mutex // guards to
	to func(line string)
}

func (n *announcer) say(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.to(line)
}

func (n *announcer) through(to func(line string)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.to = to
}

// announced has the warnings of this command's long work printed as sentences, also when nothing else is.
func (a *app) announced() {
	a.news = &announcer{to: func(line string) { fmt.Fprintln(a.err, line) }}
	if !a.verbose {
		a.log = slog.New(sentences{say: a.news.say})
	}
}

// sentences is a log for people: a warning in one line.
type sentences struct {
	say  func(string)
	more []slog.Attr
}

func (s sentences) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (s sentences) Handle(_ context.Context, r slog.Record) error {
	line, extra := r.Message, []string{}
	each := func(at slog.Attr) bool {
		if at.Key == "err" {
			line += ": " + at.Value.String()
		} else {
			extra = append(extra, at.Key+" "+at.Value.String())
		}
		return true
	}
	for _, at := range s.more {
		each(at)
	}
	r.Attrs(each)
	if len(extra) > 0 {
		line += " (" + strings.Join(extra, ", ") + ")"
	}
	s.say("wavelock: warning: " + strings.ReplaceAll(line, "\n", " "))
	return nil
}

func (s sentences) WithAttrs(attrs []slog.Attr) slog.Handler {
	s.more = append(s.more[:len(s.more):len(s.more)], attrs...)
	return s
}

func (s sentences) WithGroup(string) slog.Handler { return s }
