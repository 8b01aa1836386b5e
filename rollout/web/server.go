package web

import (
	"bytes"
	"context"
	"crypto/subtle"
	"embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"wavelock/rollout"
)

//go:embed assets
var assets embed.FS

// Config is what the dashboard needs.
type Config struct {
	Source  Source
	Census  Census // nil: what the last observations saw
	Log     *slog.Logger
	Version string
	Now     func() time.Time

	// Accounts tells who somebody is. Nil: nobody logs in, and nothing can be done.
	Accounts Accounts
	// Speaker carries a person's word to a campaign. Nil: nothing can be done.
	Speaker Speaker
	// Witness keeps who came in. Nil: the log alone tells.
	Witness Witness
	// ScrapeToken lets a collector of metrics in without a login; empty: nobody.
	ScrapeToken string
	// Ahead reads the fleet before anybody asks, so that the first page of a large one
	// does not wait for it.
	Ahead bool
	// Patience is how long a page waits for the first reading of the fleet before it says that
	// it is under way; 0: a quarter of a second.
	Patience time.Duration
	// Secure says that the pages come over TLS: cookies are kept to it.
	Secure bool
}

type server struct {
	Config
	fleet    *keeper
	pages    map[string]*template.Template
	live     *broadcast
	sessions *sessions
	brake    *brake
}

// New is the dashboard. What it starts ends with ctx.
func New(ctx context.Context, cfg Config) http.Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 250 * time.Millisecond
	}
	s := &server{Config: cfg, fleet: newKeeper(ctx, cfg), pages: parsePages(), sessions: newSessions(cfg.Now),
		brake: &brake{now: cfg.Now, tries: map[string]*try{}}}
	s.live = newBroadcast(ctx, cfg.Source.Version, time.Second)
	if cfg.Ahead {
		go func() {
			if _, err := s.fleet.await(ctx); err != nil && ctx.Err() == nil {
				cfg.Log.Warn("read the fleet ahead", "err", err)
			}
		}()
	}
	mux := s.routes()
	numbers, counted := s.newMetrics()
	mux.Handle("GET /metrics", s.scraped(numbers))
	return counted(s.guard(mux))
}

func (s *server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for path, h := range map[string]http.HandlerFunc{
		"/{$}": s.overview, "/coverage/{dim}": s.dimension, "/hosts": s.hosts, "/hosts.csv": s.hostsCSV, "/host/{id}": s.host,
		"/findings": s.findings, "/findings.csv": s.findingsCSV, "/certificates": s.certificates, "/certificates.csv": s.certificatesCSV,
		"/clients": s.clients, "/clients.csv": s.clientsCSV,
		"/campaigns": s.campaigns, "/campaign/{id}": s.campaign, "/campaign/{id}/hosts": s.campaignHosts, "/campaign/{id}/hosts.csv": s.campaignHostsCSV,
		"/posture": s.posture, "/posture.csv": s.postureCSV,
		"/journal": s.journal, "/journal/{id}": s.events, "/journal/{id}/events.csv": s.eventsCSV,
		"/access": s.accesses, "/access.csv": s.accessesCSV,
		"/api/coverage": s.apiCoverage, "/api/campaign/{id}": s.apiCampaign,
	} {
		mux.Handle("GET "+path, s.signedIn(h))
	}
	mux.Handle("GET /live", s.signedIn(s.live.serve))
	mux.HandleFunc("GET /login", s.loginPage)
	mux.HandleFunc("POST /login", s.login)
	mux.Handle("POST /logout", s.signedIn(s.logout))
	mux.Handle("POST /campaign/{id}/{word}", s.signedIn(s.speak))
	files, err := fs.Sub(assets, "assets/static")
	if err != nil {
		panic("web: the embedded files are there: " + err.Error())
	}
	mux.Handle("GET /assets/", http.StripPrefix("/assets/", cached(http.FileServerFS(files))))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

// scraped lets the collector of metrics in: like a page, or by the token of the
// configuration.
func (s *server) scraped(next http.Handler) http.Handler {
	open := s.signedIn(next.ServeHTTP)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		word, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if given && s.ScrapeToken != "" && subtle.ConstantTimeCompare([]byte(word), []byte(s.ScrapeToken)) == 1 {
			next.ServeHTTP(w, r)
			return
		}
		open.ServeHTTP(w, r)
	})
}

// cached lets a browser keep what a program's version never changes for a while.
func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") || r.URL.Path == "" { // no lists of files
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=300")
		next.ServeHTTP(w, r)
	})
}

const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types wavelock"

// Limits of a request: no page asks for more.
const (
	maxQuery = 4 << 10
	maxBody  = 16 << 10
)

// guard sets what every answer carries and refuses what no page asks for.
func (s *server) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Log.Warn("a form of another site was refused", "path", r.URL.Path, "from", r.RemoteAddr, "origin", r.Header.Get("Origin"))
		s.problem(w, r, http.StatusForbidden, "This form was sent from another site.", "Open the page here and try again.")
	}))
	next = cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		if s.Secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if len(r.URL.RawQuery) > maxQuery {
			http.Error(w, "the query is too long", http.StatusRequestURITooLong)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

type page struct {
	Title  string
	Active string // which part of the navigation
	Body   any

	Version string
	Person  *Person
	Token   string // of the forms
	CanSign bool   // there are accounts
	Still   bool   // the page does not change by itself
}

// May reports whether whoever looks may say a word to a campaign.
func (p page) May(word string) bool { return p.Person != nil && p.Person.May(word) }

// show draws a page.
func (s *server) show(w http.ResponseWriter, r *http.Request, name string, p page) {
	s.showStatus(w, r, http.StatusOK, name, p)
}

func (s *server) showStatus(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	p.Version, p.CanSign = s.Version, s.Accounts != nil
	if v := visitorOf(r); v != nil {
		p.Person, p.Token = &v.person, v.token
	}
	var b bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&b, "layout", p); err != nil {
		s.Log.Error("draw a page", "page", name, "err", err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := b.WriteTo(w); err != nil {
		s.Log.Debug("answer", "page", name, "err", err)
	}
}

type problemBody struct{ Text, Hint string }

// problem says in words why there is no page.
func (s *server) problem(w http.ResponseWriter, r *http.Request, status int, text, hint string) {
	s.showStatus(w, r, status, "problem.html", page{Title: http.StatusText(status), Body: problemBody{text, hint}})
}

// fail says that the page cannot be shown now, and why as far as it helps.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var missing *NotFoundError
	var reading *ReadingError
	switch {
	case errors.As(err, &reading):
		s.again(w, r, 1)
		s.problem(w, r, http.StatusServiceUnavailable, "The computers are being read from the journal, since "+span(s.Now().Sub(reading.Since))+".", "After a start this takes some seconds for a large fleet. The page comes by itself; campaigns can be seen already.")
	case errors.As(err, &missing):
		s.problem(w, r, http.StatusNotFound, missing.Error()+".", "It may have another name, or was never looked at.")
	case r.Context().Err() != nil: // whoever asked has left
	default:
		s.Log.Warn("show a page", "path", r.URL.Path, "err", err)
		s.again(w, r, 10)
		s.problem(w, r, http.StatusServiceUnavailable, err.Error(), "The page looks again by itself.")
	}
}

// again lets a browser without JavaScript look again by itself.
func (s *server) again(w http.ResponseWriter, r *http.Request, seconds int) {
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	if r.Method == http.MethodGet {
		w.Header().Set("Refresh", strconv.Itoa(seconds))
	}
}

func (s *server) json(w http.ResponseWriter, r *http.Request, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.Log.Debug("answer", "path", r.URL.Path, "err", err)
	}
}

// csv writes a table for programs. Cells that a spreadsheet would take for a
// formula are defused.
func (s *server) csv(w http.ResponseWriter, r *http.Request, name string, head []string, rows func(row func(...string))) {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=\"wavelock-%s.csv\"", name))
	w.Header().Set("Cache-Control", "no-store")
	c := csv.NewWriter(w)
	_ = c.Write(head) // the error stays and is answered by Error
	rows(func(cells ...string) {
		for i := range cells {
			cells[i] = Defused(cells[i])
		}
		_ = c.Write(cells)
	})
	c.Flush()
	if err := c.Error(); err != nil {
		s.Log.Debug("answer", "path", r.URL.Path, "err", err)
	}
}

// Defused is a cell of a CSV file that no spreadsheet takes for a formula: what is in it comes from the directory and
// from hosts.
func Defused(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func (s *server) apiCoverage(w http.ResponseWriter, r *http.Request) {
	at := s.Now()
	if d := r.URL.Query().Get("at"); d != "" {
		var err error
		if at, err = parseDate(d); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	p, err := s.fleet.at(r.Context(), at)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.json(w, r, p)
}

// parseDate takes a day, which ends at its last second, or a time.
func parseDate(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, errors.New("at: give a date like 2026-03-01 or a time like 2026-03-01T12:00:00Z")
	}
	return t.AddDate(0, 0, 1).Add(-time.Second), nil
}

func (s *server) apiCampaign(w http.ResponseWriter, r *http.Request) {
	c, err := s.Source.Campaign(r.Context(), rollout.CampaignID(r.PathValue("id")))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.json(w, r, c.View)
}
