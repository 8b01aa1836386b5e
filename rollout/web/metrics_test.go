package web

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

var metricName = regexp.MustCompile(`wavelock_[a-z_]+`)

func scrape(t *testing.T) string {
	t.Helper()
	h := dashboard(t, canned{})
	get(t, h, "/") // so that there is a duration
	w := get(t, h, "/metrics")
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetricsSayWhatThePagesSay(t *testing.T) {
	t.Parallel()
	text := scrape(t)
	for _, want := range []string{`wavelock_hosts{class="https-only"} 3`, `wavelock_hosts{class="both"} 1`, `wavelock_hosts{class="none"} 0`, "wavelock_journal_up 1", `wavelock_campaign_status{campaign="spring",status="halted"} 1`,
		`wavelock_campaign_hosts{campaign="spring"} 4`, `wavelock_certificates{left="7"} 1`, "wavelock_http_clients 1", `wavelock_http_request_duration_seconds_count{code="200",method="get"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
	sick := get(t, dashboard(t, canned{err: os.ErrClosed}), "/metrics").Body.String()
	if !strings.Contains(sick, "wavelock_journal_up 0") || strings.Contains(sick, "wavelock_hosts{") {
		t.Errorf("a journal that is gone:\n%s", sick)
	}
}

func TestMetricsAskWhoYouAre(t *testing.T) {
	t.Parallel()
	x := newHouse(t, false)
	for word, code := range map[string]int{"": 303, "Bearer ": 303, "Bearer wrong": 303} {
		if w := x.do("GET", "/metrics", nil, "", "Authorization", word); w.Code != code {
			t.Errorf("%q: %d", word, w.Code)
		}
	}
	x.h = New(t.Context(), Config{Patience: time.Hour, Source: canned{}, Log: quiet(), Accounts: fewAccounts{}, ScrapeToken: "abc"})
	if w := x.do("GET", "/metrics", nil, "", "Authorization", "Bearer abc"); w.Code != 200 {
		t.Errorf("the right token: %d", w.Code)
	}
	if w := x.do("GET", "/hosts", url.Values{}, "", "Authorization", "Bearer abc"); w.Code != 303 {
		t.Errorf("the token opens a page: %d", w.Code)
	}
}

// TestMonitoringNamesMetricsThatExist loads what is handed out for Grafana and
// Prometheus.
func TestMonitoringNamesMetricsThatExist(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	for line := range strings.Lines(scrape(t)) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(strings.TrimSpace(name), " ")
			exists[name] = true
			if kind == "histogram" {
				exists[name+"_bucket"] = true
			}
		}
	}
	exists["wavelock_campaign_hosts_by_status"] = true // the canned campaign has no counts
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr string
				For         string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	load := func(name string, into any, decode func([]byte, any) error) {
		b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "monitoring", name))
		if err == nil {
			err = decode(b, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	load("grafana.json", &board, json.Unmarshal)
	load("alerts.yaml", &rules, func(b []byte, v any) error { return yaml.UnmarshalWithOptions(b, v, yaml.Strict()) })
	check := func(where, expr string) {
		names := metricName.FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for nothing of ours: %q", where, expr)
		}
		for _, n := range names {
			if !exists[n] {
				t.Errorf("%s asks for %s, which does not exist", where, n)
			}
		}
		if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, `"`)%2 != 0 {
			t.Errorf("%s is not balanced: %s", where, expr)
		}
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
		}
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			check(r.Alert, r.Expr)
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("%s has no severity or summary", r.Alert)
			}
		}
	}
	if len(board.Panels) < 10 || len(rules.Groups) != 1 || len(rules.Groups[0].Rules) < 6 {
		t.Error("less was loaded than is there")
	}
}
