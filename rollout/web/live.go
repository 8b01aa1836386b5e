package web

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// maxViewers bounds how many streams are open at once. Whoever comes later gets
// the page, and it asks for itself now and then.
const maxViewers = 2000

// broadcast tells viewers that something changed. It looks only while somebody is
// there, and a viewer that does not read misses nothing but the count: what waits
// for it is one mark, whatever happens.
type broadcast struct {
	version func(context.Context) (string, error)
	every   time.Duration
	ctx     context.Context

	mu      sync.Mutex // guards what follows
	viewers map[chan struct{}]bool
	last    string
	looking bool
}

func newBroadcast(ctx context.Context, version func(context.Context) (string, error), every time.Duration) *broadcast {
	return &broadcast{version: version, every: every, ctx: ctx, viewers: map[chan struct{}]bool{}}
}

func (b *broadcast) join() (chan struct{}, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.viewers) >= maxViewers {
		return nil, false
	}
	c := make(chan struct{}, 1)
	b.viewers[c] = true
	if !b.looking {
		b.looking = true
		go b.look()
	}
	return c, true
}

// count is how many streams are open.
func (b *broadcast) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.viewers)
}

func (b *broadcast) leave(c chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.viewers, c)
}

// look ends when nobody is there any more.
func (b *broadcast) look() {
	tick := time.NewTicker(b.every)
	defer tick.Stop()
	for b.once() {
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *broadcast) once() (again bool) {
	now, err := b.version(b.ctx)
	if err != nil {
		now = "gone: " + err.Error() // the page says so
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.viewers) == 0 {
		b.looking = false
		return false
	}
	if now != b.last {
		b.last = now
		for c := range b.viewers {
			select {
			case c <- struct{}{}:
			default: // one mark is enough
			}
		}
	}
	return true
}

// serve is the stream (https://html.spec.whatwg.org/multipage/server-sent-events.html).
func (b *broadcast) serve(w http.ResponseWriter, r *http.Request) {
	c, ok := b.join()
	if !ok {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many viewers", http.StatusServiceUnavailable)
		return
	}
	defer b.leave(c)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	send := func(text string) bool {
		// A viewer whose network hangs is let go rather than waited for.
		if err := out.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return false
		}
		if _, err := fmt.Fprint(w, text); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	beat := time.NewTicker(20 * time.Second)
	defer beat.Stop()
	if !send("retry: 3000\n\n") {
		return
	}
	for {
		text := ": still here\n\n"
		select {
		case <-r.Context().Done():
			return
		case <-b.ctx.Done():
			return
		case <-c:
			text = "event: changed\ndata: {}\n\n"
		case <-beat.C:
		}
		if !send(text) {
			return
		}
	}
}
