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
	offered       = "p pauses, when all in flight is done   a aborts   Ctrl-C stops sooner"
	offeredSure   = "abort the campaign? y aborts, any other key does not"
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
	return func() {
		cancel()
		wg.Wait()
		back()
	}
}

func (k keyboard) read(ctx context.Context) {
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
