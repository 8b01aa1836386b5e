package web

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
)

const hostile = `<script>alert(1)</script>"onload='x`

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// canned is a source with one campaign and a few hosts, all of hostile names.
type canned struct {
	err   error
	hosts int // more of harmless names
}

func (c canned) Version(context.Context) (string, error) { return "1", c.err }

func (c canned) Summaries(_ context.Context, after int64) ([]rollout.Summary, int64, error) {
	if after >= 1 || c.err != nil {
		return nil, after, c.err
	}
	list := []rollout.Summary{{Host: hostile, OU: hostile, Site: hostile, OS: hostile, Roles: []rollout.Role{hostile}, Zone: hostile, Class: rollout.ClassBoth, Seen: noon,
		Problem: hostile, Clients: []string{hostile}, Posture: &rollout.PostureSummary{Score: 40, Bad: []string{"few-admins", hostile}}, Certificate: &rollout.HTTPSCert{Thumbprint: "AB", Subject: hostile, Issuer: hostile, NotAfter: noon.AddDate(0, 0, 3)},
		Findings: []rollout.SummaryFinding{{Reason: hostile, Severity: rollout.Blocker, Detail: hostile}}},
		{Host: "=cmd.corp.example", OU: "@SUM", Class: rollout.ClassHTTPSOnly, Seen: noon},
		{Host: "plain.corp.example", OU: "corp.example/Web", Class: rollout.ClassHTTPSOnly, Seen: noon}, {Host: "third.corp.example", Class: rollout.ClassHTTPSOnly, Seen: noon}}
	for i := range c.hosts {
		s := rollout.Summary{Host: rollout.HostID(fmt.Sprintf("h%06d.corp.example", i)), OU: fmt.Sprintf("corp.example/Servers/Unit %03d", i%700), Site: fmt.Sprint("Site ", i%40),
			OS: "Windows Server 2022 Standard", Class: rollout.Classes()[i%5], Seen: noon.Add(-time.Duration(i) * time.Second), Observed: true,
			Certificate: &rollout.HTTPSCert{Thumbprint: pki.Thumbprint(fmt.Sprintf("%040X", i)), Subject: "CN=h", Issuer: "CN=Corp Issuing CA", NotAfter: noon.AddDate(0, 0, i%400)}}
		if i%9 == 0 {
			s.Findings = []rollout.SummaryFinding{{Reason: rollout.ReasonGPOListener, Severity: rollout.Blocker, Detail: "the HTTP listener on 5985 comes from Group Policy (by the Group Policy object \"WinRM\")"}}
		}
		list = append(list, s)
	}
	return list, 1, nil
}

func (c canned) History(context.Context, int64) iter.Seq2[rollout.ClassChange, error] {
	return func(yield func(rollout.ClassChange, error) bool) {
		_ = yield(rollout.ClassChange{N: 1, At: noon.AddDate(0, 0, -9), Host: "a", Class: rollout.ClassHTTPOnly}, c.err) &&
			yield(rollout.ClassChange{N: 2, At: noon.AddDate(0, 0, -3), Host: "a", Class: rollout.ClassHTTPSOnly}, c.err)
	}
}

func (c canned) Campaigns(context.Context) ([]rollout.CampaignID, error) {
	return []rollout.CampaignID{"spring"}, c.err
}

var hostilePolicy = rollout.PolicyChange{Wave: 1, GPO: hostile, Links: []string{hostile}, File: hostile, Path: hostile, Setting: hostile, Key: hostile, Now: hostile, Want: hostile,
	Group: hostile, Computers: []rollout.HostID{hostile}, Do: []string{hostile}, Revert: []string{hostile}}

func (c canned) Campaign(_ context.Context, id rollout.CampaignID) (Campaign, error) {
	if id != "spring" {
		return Campaign{}, &NotFoundError{"The campaign"}
	}
	return Campaign{Made: noon, MadeBy: hostile, Head: strings.Repeat("b", 64), SecondPerson: true, Approvals: []Approval{{Needs: true, Given: []rollout.Approval{{By: hostile, Why: hostile, Ticket: hostile, Hash: hostile}}}, {Wave: 1, Name: hostile, Needs: true, Waits: hostile}}, View: rollout.View{
		Campaign: "spring", Hash: strings.Repeat("a", 64), Approved: hostile, Hosts: 4, InFlight: 1, Status: "halted", Why: hostile, At: noon, Classes: map[rollout.Class]int{}, Seq: 3,
		Waves:    []rollout.WaveView{{Number: 1, Name: hostile, Status: rollout.WaveWaiting, Hosts: 4, Limit: 2, Failed: 2, Why: hostile}},
		Troubles: []rollout.HostView{{Host: hostile, Status: "failed", Reason: rollout.ReasonSelfSigned, Detail: hostile}},
		Roster:   &rollout.Roster{Added: []rollout.Change{{Host: "joined.corp.example", Reason: rollout.ReasonAdded, Detail: hostile}}, Retired: []rollout.Change{{Host: hostile, OU: hostile, Reason: rollout.ReasonAccountGone, Detail: hostile}}, More: 7, Doubt: hostile},
		Policies: []rollout.PolicyChange{hostilePolicy},
		LeftOut:  []rollout.LeftOut{{Host: hostile, Reason: rollout.ReasonWrongHost, Detail: hostile}}}}, c.err
}

func (c canned) Rows(ctx context.Context, id rollout.CampaignID) ([]rollout.HostView, error) {
	if _, err := c.Campaign(ctx, id); err != nil {
		return nil, err
	}
	return []rollout.HostView{{Host: hostile, Status: "running", Wave: 1, Detail: hostile, Proof: &rollout.Proof{TLS: hostile}}}, c.err
}

func (c canned) Events(_ context.Context, _ rollout.CampaignID, _ rollout.HostID, before int64, _ int) ([]rollout.Event, error) {
	if before > 0 {
		return nil, c.err
	}
	return []rollout.Event{{Seq: 3, At: noon, Actor: hostile, Host: hostile, Kind: hostile, Action: hostile, Step: hostile, Outcome: hostile, Reason: hostile, Detail: hostile, Class: hostile}}, c.err
}

func (c canned) Host(_ context.Context, id rollout.HostID) (Dossier, error) {
	if id != "plain.corp.example" {
		return Dossier{}, &NotFoundError{"A computer of that name"}
	}
	o := rollout.Observation{At: noon, Via: rollout.HTTP, HTTP: rollout.Door{State: rollout.DoorOpen, Address: hostile, Detail: hostile},
		Listeners:    rollout.Saw([]rollout.Listener{{Transport: rollout.HTTPS, Enabled: true, Address: hostile, Hostname: hostile, Thumbprint: "AB", Source: hostile}}),
		Certificates: rollout.Saw([]pki.Certificate{{Thumbprint: "AB", Subject: hostile, Issuer: hostile}}),
		Bindings:     rollout.Saw([]rollout.Binding{{Endpoint: hostile, Thumbprint: "AB", AppID: rollout.WinRMAppID}}),
		Firewall:     rollout.Saw(rollout.Firewall{Rules: []rollout.FirewallRule{{Name: hostile, Remote: []string{hostile}, Ports: []string{hostile}}}}),
		Peers:        rollout.Saw([]rollout.Peer{{Address: hostile}}), Admins: rollout.Saw([]rollout.Administrator{{Domain: hostile, Name: hostile}})}
	row := rollout.HostView{Host: id, Status: "done", Detail: hostile, Proof: &rollout.Proof{Wire: "AB", Listener: "AB", Bound: "AB", Issued: "AB", Chain: []string{hostile}, Answered: hostile, TLS: hostile}}
	verdict := rollout.JudgePosture(o, rollout.PostureRules{})
	return Dossier{Posture: &verdict, Host: rollout.Host{ID: id, OU: hostile, Roles: []rollout.Role{hostile}}, Class: rollout.ClassBoth, Observation: &o, Would: []string{hostile}, Findings: []rollout.Finding{{Reason: hostile, Detail: hostile, Waived: hostile}},
		Rejected: []RejectedView{{"AB", hostile, hostile}}, Past: []Chapter{{Campaign: "spring", Row: row, Policy: &hostilePolicy, Events: []rollout.Event{{Detail: hostile}},
			Image: &rollout.BeforeImage{Listeners: []rollout.Listener{{Address: hostile}}, Bindings: []rollout.Binding{{Endpoint: hostile}}, Rules: []rollout.FirewallRule{{Name: hostile}}}}}}, c.err
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func dashboard(t *testing.T, s Source) http.Handler {
	t.Helper()
	return New(t.Context(), Config{Patience: time.Hour, Source: s, Log: quiet(), Version: "test", Now: func() time.Time { return noon }})
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

// everyPage is one address of each page, and what it has to say.
var everyPage = map[string]string{
	"/": "75 %", "/?at=2026-02-25": "HTTP only 1", "/?at=nonsense": "give a date", "/campaigns": "spring", "/campaign/spring": "error budget", "/campaign/spring/hosts": "of 1",
	"/campaign/spring/hosts.csv": "host,ou,wave", "/hosts": "plain.corp.example", "/hosts?q=PLAIN": "1–1 of 1", "/hosts?class=https-only&sort=-host": "1–3 of 3",
	"/hosts?cert=7": "1–1 of 1", "/hosts?page=99999": "1–4 of 4", "/hosts.csv": "plain.corp.example", "/findings": "Findings", "/findings.csv": "severity",
	"/certificates": "in 3 days", "/certificates.csv": "days_left", "/clients": "Who still uses HTTP", "/clients.csv": "address", "/coverage/ou": "corp.example/Web",
	"/coverage/ou.csv": "corp.example/Web,1", "/coverage/role": "Role", "/journal": strings.Repeat("b", 64), "/journal/spring": "Head", "/journal/spring/events.csv": "seq,at",
	"/host/plain.corp.example": "All four are the same", "/host/PLAIN.corp.example": "All four", "/posture": "Mean score", "/posture.csv": "few-admins", "/hosts?posture=few-admins&sort=score": "1–1 of 1", "/api/coverage": `"https-only":1`, "/api/coverage?at=2026-02-25": `"http-only":1`,
	"/api/campaign/spring": `"status":"halted"`, "/assets/live.js": "EventSource", "/assets/style.css": "prefers-color-scheme", "/healthz": "ok",
}

func TestPages(t *testing.T) {
	t.Parallel()
	h := dashboard(t, canned{})
	for path, want := range everyPage {
		w := get(t, h, path)
		body := strings.ReplaceAll(w.Body.String(), "<small> %</small>", " %")
		if w.Code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, no %q in\n%s", path, w.Code, want, body)
		}
		html := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html")
		if html && (strings.Contains(body, "<script>alert") || strings.Contains(body, `"onload=`)) {
			t.Errorf("%s carries the hostile markup", path)
		}
		if html && (strings.Contains(body, " style=") || strings.Contains(body, "ZgotmplZ") || strings.Contains(body, "<no value>")) {
			t.Errorf("%s has an inline style, or something that could not be drawn", path)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}

func TestCampaignNamesWhatChangedInTheDirectory(t *testing.T) {
	t.Parallel()
	page := get(t, dashboard(t, canned{}), "/campaign/spring").Body.String()
	for _, want := range []string{`href="/host/joined.corp.example"`, rollout.ReasonAdded.Title(), rollout.ReasonAccountGone.Title(), "8 hosts are selected now", "And 7 more."} {
		if !strings.Contains(page, html.EscapeString(want)) && !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
}

func TestASpreadsheetRunsNothing(t *testing.T) {
	t.Parallel()
	w := get(t, dashboard(t, canned{}), "/hosts.csv")
	if body := w.Body.String(); strings.Contains(body, "\n=cmd") || strings.Contains(body, ",@SUM") || !strings.Contains(body, "'=cmd") {
		t.Errorf("a formula is in\n%s", body)
	}
	if d := w.Header().Get("Content-Disposition"); d != `attachment; filename="wavelock-hosts.csv"` {
		t.Errorf("disposition %q", d)
	}
}

func TestTroubleWithTheSourceIsSaidAndPasses(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/hosts", "/campaign/spring", "/host/plain.corp.example", "/journal", "/findings.csv", "/api/coverage", "/clients"} {
		w := get(t, dashboard(t, canned{err: errors.New("the disk is gone")}), path)
		if w.Code != 503 || !strings.Contains(w.Body.String(), "the disk is gone") {
			t.Errorf("%s: %d: %s", path, w.Code, w.Body)
		}
	}
	sick := &recovering{}
	h := dashboard(t, sick)
	if w := get(t, h, "/"); w.Code != 503 {
		t.Errorf("sick: %d", w.Code)
	}
	sick.well = true
	if w := get(t, h, "/"); w.Code != 200 {
		t.Errorf("well again: %d", w.Code)
	}
}

// recovering is a source that is gone until it is well.
type recovering struct {
	canned
	well bool
}

func (r *recovering) Summaries(ctx context.Context, after int64) ([]rollout.Summary, int64, error) {
	if !r.well {
		return nil, after, errors.New("gone")
	}
	return r.canned.Summaries(ctx, after)
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	h := dashboard(t, canned{})
	for _, path := range []string{"/campaign/autumn", "/host/nobody", "/coverage/colour", "/journal/autumn", "/nothing", "/assets/../server.go", "/assets/%2e%2e/server.go", "/assets/..%2fserver.go",
		"/host/..%2f..%2fetc%2fpasswd", "/campaign/..%2fspring/hosts", "/assets/"} {
		if w := get(t, h, path); w.Code != 404 && w.Code != 301 && w.Code != 307 || strings.Contains(w.Body.String(), "package web") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestOnlyReadingWithoutAccounts(t *testing.T) {
	t.Parallel()
	h := dashboard(t, canned{})
	for path, code := range map[string]int{"/campaign/spring": 405, "/campaign/spring/pause": 403, "/campaign/spring/dance": 404, "/login": 404, "/hosts": 405} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", path, nil))
		if w.Code != code {
			t.Errorf("POST %s is answered %d, want %d", path, w.Code, code)
		}
	}
	for _, n := range []int{10_000, 10 << 20} {
		if w := get(t, h, "/?q="+strings.Repeat("a", n)); w.Code != 414 {
			t.Errorf("a query of %d bytes is answered %d", n, w.Code)
		}
	}
}
