package web

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"wavelock/rollout"
)

//go:embed assets/*
var assets embed.FS

// Source is where the pages get what they show.
type Source interface {
	Campaigns(ctx context.Context) ([]rollout.CampaignID, error)
	View(ctx context.Context, id rollout.CampaignID) (rollout.View, error)
	Coverage(ctx context.Context) (Coverage, error)
}

// Coverage is how far the fleet is, as last observed.
type Coverage struct {
	At      time.Time             `json:"at"`
	Hosts   int                   `json:"hosts"`
	Classes map[rollout.Class]int `json:"classes"`
	OUs     []rollout.OUView      `json:"ous"`
}

// Config is what the dashboard needs.
type Config struct {
	Source  Source
	Log     *slog.Logger
	Version string
}

type server struct {
	Config
	pages *template.Template
}

// New is the dashboard.
func New(cfg Config) http.Handler {
	s := &server{Config: cfg}
	s.pages = template.Must(template.New("").Funcs(template.FuncMap{
		"percent": percent, "classes": rollout.Classes, "reason": func(r rollout.Reason) string { return r.Title() }, "hint": func(r rollout.Reason) string { return r.Hint() },
		"bars": bars, "short": func(s string) string { return s[:min(12, len(s))] },
	}).ParseFS(assets, "assets/*.html"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.overview)
	mux.HandleFunc("GET /campaign/{id}", s.campaign)
	mux.HandleFunc("GET /api/coverage", s.apiCoverage)
	mux.HandleFunc("GET /api/campaign/{id}", s.apiCampaign)
	mux.Handle("GET /assets/", http.FileServerFS(assets))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return guard(mux)
}

// guard sets what every answer carries and refuses what no page asks for.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if len(r.URL.RawQuery) > 4096 {
			http.Error(w, "the query is too long", http.StatusRequestURITooLong)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// percent is a share in whole numbers, never 100 before all are there.
func percent(n, of int) int {
	if of == 0 {
		return 0
	}
	return n * 100 / of
}

// bar is one part of a coverage bar, in thousandths of its width.
type bar struct {
	Class    rollout.Class
	N        int
	X, Width int
}

func bars(classes map[rollout.Class]int, total int) []bar {
	var out []bar
	x := 0
	for _, c := range rollout.Classes() {
		n := classes[c]
		if n == 0 || total == 0 {
			continue
		}
		w := n * 1000 / total
		out = append(out, bar{c, n, x, w})
		x += w
	}
	return out
}

type overviewPage struct {
	Version   string
	Coverage  Coverage
	Campaigns []rollout.View
}

func (s *server) overview(w http.ResponseWriter, r *http.Request) {
	p := overviewPage{Version: s.Version}
	var err error
	if p.Coverage, err = s.Source.Coverage(r.Context()); err != nil {
		s.fail(w, r, err)
		return
	}
	ids, err := s.Source.Campaigns(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	for _, id := range ids {
		v, err := s.Source.View(r.Context(), id)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		p.Campaigns = append(p.Campaigns, v)
	}
	s.render(w, http.StatusOK, "overview.html", p)
}

type campaignPage struct {
	Version string
	View    rollout.View
}

func (s *server) campaign(w http.ResponseWriter, r *http.Request) {
	v, err := s.Source.View(r.Context(), rollout.CampaignID(r.PathValue("id")))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.render(w, http.StatusOK, "campaign.html", campaignPage{s.Version, v})
}

func (s *server) apiCoverage(w http.ResponseWriter, r *http.Request) {
	c, err := s.Source.Coverage(r.Context())
	s.json(w, r, c, err)
}

func (s *server) apiCampaign(w http.ResponseWriter, r *http.Request) {
	v, err := s.Source.View(r.Context(), rollout.CampaignID(r.PathValue("id")))
	s.json(w, r, v, err)
}

func (s *server) json(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.Log.Debug("answer", "path", r.URL.Path, "err", err)
	}
}

// fail says that the page cannot be shown now, and why as far as it helps.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	s.Log.Warn("show a page", "path", r.URL.Path, "err", err)
	s.render(w, http.StatusServiceUnavailable, "error.html", struct{ Version, Error string }{s.Version, err.Error()})
}

func (s *server) render(w http.ResponseWriter, status int, page string, data any) {
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, page, data); err != nil {
		s.Log.Error("render", "page", page, "err", err)
		http.Error(w, "the page cannot be drawn", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := b.WriteTo(w); err != nil {
		s.Log.Debug("answer", "page", page, "err", err)
	}
}
