package web

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/rollout"
)

// maxPage is the largest page that may be sent, in bytes.
const maxPage = 300 << 10

var largePages = []string{"/", "/hosts", "/hosts?q=h0&sort=-expires&page=500", "/hosts?class=both&site=Site+3", "/findings", "/certificates", "/coverage/ou", "/clients", "/journal", "/campaign/spring"}

func TestPagesOfALargeFleetStaySmall(t *testing.T) {
	t.Parallel()
	h := dashboard(t, canned{hosts: 20_000})
	for _, path := range largePages {
		w := get(t, h, path)
		if w.Code != 200 || w.Body.Len() > maxPage {
			t.Errorf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
	}
}

// BenchmarkPages is each page of 100,000 hosts; "first" has the fleet to read.
func BenchmarkPages(b *testing.B) {
	source := preparedSource(100_000)
	now := func() time.Time { return noon }
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			h := New(b.Context(), Config{Patience: time.Hour, Source: source, Log: quiet(), Now: now})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if w.Code != 200 {
				b.Fatal(w.Code)
			}
		}
	})
	h := New(b.Context(), Config{Patience: time.Hour, Source: source, Log: quiet(), Now: now})
	for _, path := range largePages {
		b.Run(strings.ReplaceAll(path, "/", "_"), func(b *testing.B) {
			n := 0
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
				if n = w.Body.Len(); w.Code != 200 || n > maxPage {
					b.Fatalf("%d, %d bytes", w.Code, n)
				}
			}
			b.ReportMetric(float64(n), "bytes")
		})
	}
}

func preparedSource(n int) Source { return prepared{canned{hosts: n}, must(canned{hosts: n})} }

// TestManyViewersBlockNobody opens 500 streams, of which half never read.
func TestManyViewersBlockNobody(t *testing.T) {
	t.Parallel()
	var version atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	b := newBroadcast(ctx, func(context.Context) (string, error) { return fmt.Sprint(version.Add(1)), nil }, time.Millisecond)
	srv := httptest.NewServer(http.HandlerFunc(b.serve))
	defer srv.Close()
	defer stop()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	var readers []*bufio.Scanner
	for i := range 500 {
		r, err := client.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if i%2 == 0 {
			readers = append(readers, bufio.NewScanner(r.Body))
		}
	}
	wait := func(sc *bufio.Scanner) {
		for sc.Scan() {
			if sc.Text() == "event: changed" {
				return
			}
		}
		t.Error("a stream ended")
	}
	for _, sc := range readers {
		wait(sc)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 10 {
		for _, sc := range readers {
			wait(sc)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("500 viewers took %d KB more after 10 changes", grown>>10)
	}
	if n := b.count(); n != 500 {
		t.Errorf("%d viewers are counted", n)
	}
}

func TestALookEndsWithTheLastViewer(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	b := newBroadcast(t.Context(), func(context.Context) (string, error) {
		select {
		case asked <- struct{}{}:
		default:
		}
		return "1", nil
	}, time.Millisecond)
	c, ok := b.join()
	if !ok {
		t.Fatal("nobody may look")
	}
	<-asked
	b.leave(c)
	for {
		b.mu.Lock()
		looking := b.looking
		b.mu.Unlock()
		if !looking {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal("it looks although nobody is there")
		default:
			runtime.Gosched()
		}
	}
}

func TestTooManyViewersAreTold(t *testing.T) {
	t.Parallel()
	b := newBroadcast(t.Context(), func(context.Context) (string, error) { return "1", nil }, time.Hour)
	for range maxViewers {
		if _, ok := b.join(); !ok {
			t.Fatal("refused too early")
		}
	}
	w := httptest.NewRecorder()
	b.serve(w, httptest.NewRequest("GET", "/live", nil))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d", w.Code)
	}
}

// prepared answers with summaries that were made before: a benchmark of pages does
// not measure how the fake makes its fleet.
type prepared struct {
	canned
	list []rollout.Summary
}

func must(c canned) []rollout.Summary {
	list, _, err := c.Summaries(context.Background(), 0)
	if err != nil {
		panic(err)
	}
	return list
}

func (p prepared) Summaries(_ context.Context, after int64) ([]rollout.Summary, int64, error) {
	if after >= 1 {
		return nil, after, nil
	}
	return p.list, 1, nil
}
