package web

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
)

// slowSource is one whose hosts come when it is told to go on.
type slowSource struct {
	canned
	asked chan struct{}
	goOn  chan error
}

func (s slowSource) Summaries(ctx context.Context, after int64) ([]rollout.Summary, int64, error) {
	if after > 0 {
		return s.canned.Summaries(ctx, after)
	}
	s.asked <- struct{}{}
	select {
	case err := <-s.goOn:
		if err != nil {
			return nil, 0, err
		}
		return s.canned.Summaries(ctx, after)
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

// TestTheFirstPageDoesNotWait has a fleet that takes its time: pages say so, campaigns
// are there, somebody who leaves ends nothing, and then everything is there.
func TestTheFirstPageDoesNotWait(t *testing.T) {
	t.Parallel()
	s := slowSource{asked: make(chan struct{}, 9), goOn: make(chan error)}
	h := New(t.Context(), Config{Source: s, Log: quiet(), Now: func() time.Time { return noon }, Patience: time.Millisecond})
	gone, leave := context.WithCancel(t.Context())
	leave()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, "GET", "/", nil))
	<-s.asked
	for _, path := range []string{"/", "/hosts", "/hosts.csv", "/findings", "/certificates", "/posture", "/clients", "/coverage/ou", "/api/coverage"} {
		w := get(t, h, path)
		if w.Code != 503 || w.Header().Get("Refresh") != "1" || !strings.Contains(w.Body.String(), "are being read") {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
	for _, path := range []string{"/campaign/spring", "/journal", "/healthz"} {
		if w := get(t, h, path); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	s.goOn <- errors.New("the database is locked")
	for get(t, h, "/").Code == 503 && len(s.asked) == 0 { // begun anew by whoever asks next
	}
	<-s.asked
	s.goOn <- nil
	for get(t, h, "/hosts").Code != 200 {
		if t.Context().Err() != nil {
			t.Fatal("it never comes")
		}
	}
	if len(s.asked) != 0 {
		t.Error("the fleet is read twice")
	}
}
