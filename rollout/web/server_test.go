package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
)

const hostile = `<script>alert(1)</script>"onload='x`

// canned is a source with one campaign of hostile names.
type canned struct{ err error }

func (c canned) Campaigns(context.Context) ([]rollout.CampaignID, error) {
	return []rollout.CampaignID{"spring"}, c.err
}

func (c canned) Coverage(context.Context) (Coverage, error) {
	classes := map[rollout.Class]int{rollout.ClassHTTPSOnly: 3, rollout.ClassUnknown: 1}
	return Coverage{Hosts: 4, Classes: classes, OUs: []rollout.OUView{{OU: hostile, Hosts: 4, Classes: classes}}}, c.err
}

func (c canned) View(context.Context, rollout.CampaignID) (rollout.View, error) {
	return rollout.View{Campaign: "spring", Hash: strings.Repeat("a", 64), Hosts: 4, Status: "halted", Why: hostile, At: time.Now(), Classes: map[rollout.Class]int{},
		Waves:    []rollout.WaveView{{Number: 1, Name: hostile, Status: rollout.WaveHalted, Hosts: 4, Limit: 2, Failed: 2}},
		Troubles: []rollout.HostView{{Host: hostile, Status: "failed", Reason: rollout.ReasonSelfSigned, Detail: hostile}},
		LeftOut:  []rollout.LeftOut{{Host: hostile, Reason: rollout.ReasonWrongHost}}}, c.err
}

func get(t *testing.T, s Source, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	New(Config{Source: s, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Version: "test"}).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

func TestPages(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/": "75 %", "/campaign/spring": "2 of 2 failures", "/api/coverage": `"https-only":3`, "/api/campaign/spring": `"status":"halted"`,
		"/assets/live.js": "setInterval", "/assets/style.css": "prefers-color-scheme", "/healthz": "ok",
	} {
		w := get(t, canned{}, path)
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, no %q in\n%s", path, w.Code, want, w.Body)
		}
		if strings.Contains(w.Body.String(), "<script>alert") {
			t.Errorf("%s carries the hostile markup", path)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}

func TestTroubleWithTheSourceIsSaid(t *testing.T) {
	t.Parallel()
	w := get(t, canned{errors.New("the disk is gone")}, "/")
	if w.Code != 503 || !strings.Contains(w.Body.String(), "the disk is gone") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

func TestOnlyReading(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	New(Config{Source: canned{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}).ServeHTTP(w, httptest.NewRequest("POST", "/campaign/spring", nil))
	if w.Code != 405 {
		t.Errorf("a POST is answered %d", w.Code)
	}
	if w := get(t, canned{}, "/?q="+strings.Repeat("a", 10000)); w.Code != 414 {
		t.Errorf("a long query is answered %d", w.Code)
	}
}
