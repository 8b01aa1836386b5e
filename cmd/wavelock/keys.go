package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"wavelock/rollout"
)

// keyboard reads single keys from a terminal while a campaign runs. What a key
// says goes the way of the commands pause, resume and abort.
type keyboard struct {
	in   *os.File
	show *progress
	view func() rollout.View
	say  func(context.Context, word) error
}

const (
	offered     = "p pauses   a aborts   ? help   Ctrl-C stops"
	offeredSure = "abort the campaign? y aborts, any other key does not"
	offeredHelp = `p       begins nothing new, and ends with what is in flight; again: goes on
  a       ends the campaign, failed hosts are put back; asks first
  Ctrl-C  stops this program after the steps in flight; run goes on from there
  # done  ~ running  < put back  ! refused  - retired  z waits  . to come
  any key closes this`
	keyWait       = 200 * time.Millisecond
	pressedReason = "key at the terminal of run"
)

// listen begins to read keys where there is a terminal. The function that it
// answers ends that and gives the terminal back.
func (k keyboard) listen(ctx context.Context) (stop func()) {
	if k.in == nil || !k.show.live || !term.IsTerminal(int(k.in.Fd())) {
		return func() {}
	}
	back, err := singleKeys(k.in)
	if err != nil {
		return func() {} // then there are no keys; the commands remain
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { k.read(ctx) })
	k.show.offer(offered)
	lent.set(back)
	return func() {
		cancel()
		wg.Wait()
		lent.giveBack()
	}
}

// lent is the terminal while its settings are changed. It is given back however the program ends.
var lent lentTerminal

type lentTerminal struct {
	mu     sync.Mutex // guards what follows
	back   func()
	asking bool // a person is waited for
	left   bool // a signal has come
}

// whileAsking reads a person's answer. A signal ends the program meanwhile: there is nothing that would have to end first.
// After a signal nobody is asked.
func whileAsking[T any](in any, read func() (T, error)) (T, error) {
	back := func() {}
	if f, ok := in.(*os.File); ok {
		if before, err := term.GetState(int(f.Fd())); err == nil {
			back = func() { _ = term.Restore(int(f.Fd()), before) } // the terminal may be gone
		}
	}
	if !lent.ask(back) {
		var none T
		return none, context.Canceled
	}
	defer lent.giveBack()
	defer lent.answered()
	return read()
}

// ask lends the terminal for a question, unless a signal has come.
func (l *lentTerminal) ask(back func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left {
		return false
	}
	l.back, l.asking = back, true
	return true
}

func (l *lentTerminal) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asking = false
}

// leave says that a signal has come, and reports whether a person is being asked.
func (l *lentTerminal) leave() (asking bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = true
	return l.asking
}

func (l *lentTerminal) set(back func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.back = back
}

func (l *lentTerminal) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back != nil {
		l.back()
		l.back = nil
	}
}

func (k keyboard) read(ctx context.Context) {
	defer lent.giveBack() // a panic here is not seen by who listens
	sure := false
	for ctx.Err() == nil {
		ready, err := awaitKey(k.in, keyWait)
		if err != nil {
			return
		}
		if !ready {
			continue
		}
		var b [1]byte
		if n, err := k.in.Read(b[:]); n != 1 || err != nil {
			return
		}
		sure = k.press(ctx, b[0], sure)
	}
}

// press acts on a key, and reports whether the next one answers a question.
func (k keyboard) press(ctx context.Context, key byte, sure bool) (asks bool) {
	why := pressedReason
	switch {
	case sure && (key == 'y' || key == 'Y'):
		k.tell(ctx, "aborting", plain(rollout.EvAborted, &why))
	case sure:
	case key == 'p' && k.view().Status == "paused":
		k.tell(ctx, "going on", plain(rollout.EvResumed, &why))
	case key == 'p':
		k.tell(ctx, "pausing: what is in flight ends, nothing new begins", plain(rollout.EvPaused, &why))
	case key == '?' || key == 'h':
		k.show.offer(offeredHelp)
		return false
	case key == 'a':
		k.show.offer(offeredSure)
		return true
	}
	k.show.offer(offered)
	return false
}

func (k keyboard) tell(ctx context.Context, what string, w word) {
	if err := k.say(ctx, w); err != nil {
		what = fmt.Sprintf("%s: %v", what, err)
	}
	k.show.note(what)
}
