package web

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"wavelock/rollout"
)

// fewAccounts are people whose password is their name backwards.
type fewAccounts map[string]Person

func (f fewAccounts) Login(_ context.Context, name, password string) (Person, error) {
	p, known := f[name]
	if name == "nobody-answers" {
		return Person{}, errors.New("the directory is gone")
	}
	if !known || password != "pw-"+name {
		return Person{}, &DeniedError{name, "wrong"}
	}
	return p, nil
}

// heard is a speaker that keeps what was said.
type heard struct {
	mu    sync.Mutex
	words []Word
	err   error
}

func (h *heard) Say(_ context.Context, _ rollout.CampaignID, w Word) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.words = append(h.words, w)
	}
	return h.err
}

func (h *heard) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.words)
}

// house is a dashboard with accounts.
type house struct {
	t     *testing.T
	h     http.Handler
	now   time.Time
	said  *heard
	door  *kept
	log   *bytes.Buffer
	third string // address of who asks
}

func newHouse(t *testing.T, secure bool) *house {
	t.Helper()
	x := &house{t: t, now: noon, said: &heard{}, door: &kept{}, log: &bytes.Buffer{}, third: "192.0.2.1:1"}
	x.h = New(t.Context(), Config{Patience: time.Hour, Source: canned{}, Log: slog.New(slog.NewTextHandler(x.log, nil)), Version: "test", Now: func() time.Time { return x.now }, Secure: secure, Speaker: x.said, Witness: x.door,
		Accounts: fewAccounts{"vera": {"vera", []Role{Viewer}}, "otto": {"otto", []Role{Operator}}, "anna": {"anna", []Role{Approver}}, "olga": {"olga", []Role{Operator, Approver}}}})
	return x
}

func (x *house) do(method, path string, form url.Values, cookie string, headers ...string) *httptest.ResponseRecorder {
	x.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.RemoteAddr = x.third
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	x.h.ServeHTTP(w, r)
	return w
}

// login answers with the cookie, as a browser would send it.
func (x *house) login(name string) string {
	x.t.Helper()
	w := x.do("POST", "/login", url.Values{"name": {name}, "password": {"pw-" + name}}, "")
	if w.Code != 303 || len(w.Result().Cookies()) != 1 {
		x.t.Fatalf("login of %s: %d %s", name, w.Code, w.Body)
	}
	c := w.Result().Cookies()[0]
	return c.Name + "=" + c.Value
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

func (x *house) token(cookie string) string {
	x.t.Helper()
	m := tokenField.FindStringSubmatch(x.do("GET", "/campaign/spring", nil, cookie).Body.String())
	if m == nil {
		x.t.Fatal("the page has no token")
	}
	return m[1]
}

func TestNobodySeesAnythingWithoutALogin(t *testing.T) {
	t.Parallel()
	x := newHouse(t, true)
	for path := range everyPage {
		if strings.HasPrefix(path, "/assets/") || path == "/healthz" {
			continue
		}
		for _, cookie := range []string{"", "__Host-wavelock=", "__Host-wavelock=" + strings.Repeat("A", 43), "__Host-wavelock=\x01\x02;;=;", "wavelock=x", "__Host-wavelock=" + strings.Repeat("z", 100_000)} {
			w := x.do("GET", path, nil, cookie)
			if w.Code != 303 && w.Code != 401 || strings.Contains(w.Body.String(), "<td") || strings.Contains(w.Body.String(), "a,b") {
				t.Fatalf("%s with %.20q: %d %s", path, cookie, w.Code, w.Body)
			}
		}
	}
	if w := x.do("GET", "/live", nil, ""); w.Code != 401 {
		t.Errorf("the stream: %d", w.Code)
	}
	if w := x.do("POST", "/campaign/spring/pause", url.Values{}, ""); w.Code != 401 || x.said.count() != 0 {
		t.Errorf("an action without login: %d", w.Code)
	}
}

func TestTheCookieIsKeptTight(t *testing.T) {
	t.Parallel()
	x := newHouse(t, true)
	w := x.do("POST", "/login", url.Values{"name": {"vera"}, "password": {"pw-vera"}, "next": {"/hosts?q=a"}}, "")
	c := w.Result().Cookies()[0]
	if c.Name != "__Host-wavelock" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookie %+v", c)
	}
	if to := w.Header().Get("Location"); to != "/hosts?q=a" {
		t.Errorf("sent to %q", to)
	}
	if w.Header().Get("Strict-Transport-Security") == "" {
		t.Error("TLS is not asked for")
	}
	for _, next := range []string{"//evil.example", `/\evil.example`, "https://evil.example", "javascript:alert(1)", "/x\r\nSet-Cookie: a=b", "\t//evil", ""} {
		w := x.do("POST", "/login", url.Values{"name": {"vera"}, "password": {"pw-vera"}, "next": {next}}, "")
		if to := w.Header().Get("Location"); to != "/" || len(w.Result().Cookies()) != 1 {
			t.Errorf("next %q leads to %q", next, to)
		}
	}
}

func TestASessionIsNewAtLoginAndEnds(t *testing.T) {
	t.Parallel()
	x := newHouse(t, false)
	planted := "wavelock=" + strings.Repeat("A", 43)
	w := x.do("POST", "/login", url.Values{"name": {"vera"}, "password": {"pw-vera"}}, planted)
	if c := w.Result().Cookies()[0]; c.Name+"="+c.Value == planted {
		t.Error("the planted session was taken")
	}
	if w := x.do("GET", "/", nil, planted); w.Code != 303 {
		t.Errorf("the planted session is let in: %d", w.Code)
	}
	first := x.login("vera")
	again := x.do("POST", "/login", url.Values{"name": {"vera"}, "password": {"pw-vera"}}, first)
	if c := again.Result().Cookies()[0]; first == c.Name+"="+c.Value {
		t.Error("a login keeps the old session")
	}
	if w := x.do("GET", "/", nil, first); w.Code != 303 {
		t.Error("the old session goes on after a new login")
	}
	left := x.login("vera")
	if w := x.do("POST", "/logout", url.Values{"token": {"guess"}}, left); w.Code != 403 {
		t.Errorf("logged out by another: %d", w.Code)
	}
	if w := x.do("POST", "/logout", url.Values{"token": {x.token(left)}}, left); w.Code != 303 || x.do("GET", "/", nil, left).Code != 303 {
		t.Error("the session goes on after the logout")
	}
	idle, long := x.login("vera"), x.login("vera")
	for range 15 { // a page that asks for itself is no person
		x.now = x.now.Add(2 * time.Minute)
		x.do("GET", "/", nil, idle, byPage, "1")
		x.do("GET", "/", nil, long)
	}
	if x.do("GET", "/", nil, idle).Code != 303 || x.do("GET", "/", nil, long).Code != 200 {
		t.Error("idle goes on, or busy does not")
	}
	for range 40 {
		x.now = x.now.Add(15 * time.Minute)
		x.do("GET", "/", nil, long)
	}
	if x.do("GET", "/", nil, long).Code != 303 {
		t.Error("a session lasts for ever")
	}
}

func TestRolesHold(t *testing.T) {
	t.Parallel()
	x := newHouse(t, false)
	may := map[string]string{"vera": "", "otto": "pause resume abort rollback", "anna": "approve pause", "olga": "pause resume abort rollback approve"}
	for name, words := range may {
		cookie := x.login(name)
		token := x.token(cookie)
		for word := range wordKinds {
			before := x.said.count()
			w := x.do("POST", "/campaign/spring/"+word, url.Values{"token": {token}, "confirm": {"spring"}, "hash": {"h"}, "why": {"because\r\nSet-Cookie: a=b"}}, cookie)
			allowed := strings.Contains(words, word)
			if got := x.said.count() - before; (got == 1) != allowed || (w.Code == 303) != allowed || (!allowed && w.Code != 403) {
				t.Errorf("%s says %s: %d, %d said", name, word, w.Code, got)
			}
			if len(w.Header().Values("Set-Cookie")) > 0 {
				t.Error("a header was injected")
			}
		}
		page := x.do("GET", "/campaign/spring", nil, cookie).Body.String()
		if name == "vera" && strings.Contains(page, "/campaign/spring/pause") {
			t.Error("a viewer is shown a button")
		}
		if name == "otto" && !strings.Contains(page, "/campaign/spring/resume") {
			t.Error("an operator is not shown the button")
		}
	}
	for _, w := range x.said.words {
		if strings.ContainsAny(w.Why, "\r\n") || w.By == "" {
			t.Errorf("said %+v", w)
		}
	}
	for _, want := range []string{"a person spoke", "the role does not allow it", "by=otto", "somebody logged in"} {
		if !strings.Contains(x.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if strings.Contains(x.log.String(), "pw-") {
		t.Error("a password is in the log")
	}
}

func TestFormsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	x := newHouse(t, false)
	otto, anna := x.login("otto"), x.login("anna")
	good := url.Values{"token": {x.token(otto)}}
	for name, c := range map[string]struct {
		form    url.Values
		cookie  string
		headers []string
	}{
		"no token":                   {url.Values{}, otto, nil},
		"an empty token":             {url.Values{"token": {""}}, otto, nil},
		"the token of another":       {url.Values{"token": {x.token(anna)}}, otto, nil},
		"another site":               {good, otto, []string{"Sec-Fetch-Site", "cross-site"}},
		"another origin":             {good, otto, []string{"Origin", "https://evil.example"}},
		"a site beside":              {good, otto, []string{"Sec-Fetch-Site", "same-site"}},
		"no origin at all, but null": {good, otto, []string{"Origin", "null"}},
	} {
		if w := x.do("POST", "/campaign/spring/pause", c.form, c.cookie, c.headers...); w.Code != 403 || x.said.count() != 0 {
			t.Errorf("%s: %d, %d said", name, w.Code, x.said.count())
		}
	}
	if w := x.do("GET", "/campaign/spring/pause?token="+good.Get("token"), nil, otto); w.Code != 405 && w.Code != 404 || x.said.count() != 0 {
		t.Errorf("a link acts: %d", w.Code)
	}
	if w := x.do("POST", "/login", url.Values{"name": {"vera"}, "password": {"pw-vera"}}, "", "Sec-Fetch-Site", "cross-site"); w.Code != 403 {
		t.Errorf("another site logs people in: %d", w.Code)
	}
	if w := x.do("POST", "/campaign/spring/pause", good, otto, "Sec-Fetch-Site", "same-origin"); w.Code != 303 || x.said.count() != 1 {
		t.Errorf("our own form: %d", w.Code)
	}
	if w := x.do("POST", "/campaign/spring/pause", url.Values{"token": good["token"], "why": {strings.Repeat("x", 1<<20)}}, otto); w.Code != 403 || x.said.count() != 1 {
		t.Errorf("a form of a megabyte: %d", w.Code)
	}
}

func TestDangerHasToBeTyped(t *testing.T) {
	t.Parallel()
	x := newHouse(t, false)
	otto := x.login("otto")
	for _, word := range []string{"abort", "rollback"} {
		w := x.do("POST", "/campaign/spring/"+word, url.Values{"token": {x.token(otto)}, "confirm": {"sprung"}}, otto)
		if w.Code != 409 || x.said.count() != 0 || !strings.Contains(w.Body.String(), "was not typed") {
			t.Errorf("%s: %d", word, w.Code)
		}
	}
	x.said.err = &RefusedError{Why: hostile, Hint: "look again"}
	w := x.do("POST", "/campaign/spring/pause", url.Values{"token": {x.token(otto)}}, otto)
	if w.Code != 409 || strings.Contains(w.Body.String(), "<script>alert") || !strings.Contains(w.Body.String(), "look again") {
		t.Errorf("a refusal: %d %s", w.Code, w.Body)
	}
	x.said.err = errors.New("the disk is full")
	if w := x.do("POST", "/campaign/spring/pause", url.Values{"token": {x.token(otto)}}, otto); w.Code != 503 {
		t.Errorf("a disk that is full: %d", w.Code)
	}
	for _, wave := range []string{"-1", "x", "99999999999999999999"} {
		olga := x.login("olga")
		if w := x.do("POST", "/campaign/spring/approve", url.Values{"token": {x.token(olga)}, "wave": {wave}}, olga); w.Code != 409 {
			t.Errorf("wave %q: %d", wave, w.Code)
		}
	}
}

func TestGuessingIsSlow(t *testing.T) {
	t.Parallel()
	x := newHouse(t, false)
	try := func(name, password string) int {
		return x.do("POST", "/login", url.Values{"name": {name}, "password": {password}}, "").Code
	}
	for i := range freeTries {
		if code := try("vera", "wrong"); code != 401 {
			t.Fatalf("try %d: %d", i, code)
		}
	}
	if code := try("vera", "pw-vera"); code != 429 {
		t.Errorf("after too many tries the right password: %d", code)
	}
	x.third = "198.51.100.9:1" // elsewhere it is the same account
	if code := try("VERA", "wrong"); code != 429 {
		t.Errorf("from another address: %d", code)
	}
	if code := try("otto", "pw-otto"); code != 303 {
		t.Errorf("somebody else: %d", code)
	}
	x.now = x.now.Add(shortWait + time.Second)
	if code := try("vera", "pw-vera"); code != 303 {
		t.Errorf("after the wait: %d", code)
	}
	x.third = "203.0.113.5:1"
	for i := range freeTries * addressMore { // many names from one address
		try("user"+string(rune('a'+i)), "x")
	}
	if code := try("otto", "pw-otto"); code != 429 {
		t.Errorf("an address that guesses names: %d", code)
	}
	for name, code := range map[string]int{"nobody-answers": 503, "a\x00b": 400, "": 400, strings.Repeat("n", 300): 400} {
		x.third = "203.0.113.77:1"
		if got := try(name, "x"); got != code {
			t.Errorf("%.10q: %d, want %d", name, got, code)
		}
	}
}

func TestBrakeForgets(t *testing.T) {
	t.Parallel()
	now := noon
	b := &brake{now: func() time.Time { return now }, tries: map[string]*try{}}
	for i := range maxTracked + 10 {
		b.wrong(url.QueryEscape(string(rune(i))+"x"), 1)
	}
	if len(b.tries) > maxTracked {
		t.Errorf("%d are kept", len(b.tries))
	}
	for range 100 {
		b.wrong("a", 1)
	}
	if w := b.wait("a"); w != longWait {
		t.Errorf("waits %v", w)
	}
}

func TestHashes(t *testing.T) {
	t.Parallel()
	hash, err := HashPassword("correct horse battery")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Fatalf("%s %v", hash, err)
	}
	users, err := NewUsers([]User{{"Vera", hash, []Role{Viewer}}})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := users.Login(t.Context(), "vera", "correct horse battery"); err != nil || p.Name != "Vera" || p.May("pause") {
		t.Errorf("%+v, %v", p, err)
	}
	for _, c := range [][2]string{{"vera", "wrong"}, {"otto", "correct horse battery"}, {"", ""}} {
		var denied *DeniedError
		if _, err := users.Login(t.Context(), c[0], c[1]); !errors.As(err, &denied) {
			t.Errorf("%v: %v", c, err)
		}
	}
	for _, bad := range []string{"", "plain", "$argon2i$v=19$m=65536,t=3,p=4$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=1,t=1,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=4294967295,t=3,p=4$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=65536,t=3,p=4$!$!", hash + "$", "$2y$10$abcdefghijklmnopqrstuv"} {
		if _, err := NewUsers([]User{{"v", bad, []Role{Viewer}}}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for name, u := range map[string][]User{"no role": {{"v", hash, nil}}, "a role of its own": {{"v", hash, []Role{"king"}}}, "twice": {{"v", hash, []Role{Viewer}}, {"V", hash, []Role{Viewer}}}} {
		if _, err := NewUsers(u); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$c3Vtc3Vtc3Vtc3Vtc3Vt")
	f.Add("$argon2id$v=19$m=-1,t=3,p=4$$")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := parseHash(s); err == nil && (h.memory > 1<<20 || h.time > 20 || h.lanes == 0 || len(h.sum) < 16) {
			t.Errorf("%q would cost %+v", s, h)
		}
	})
}

func TestAClockThatJumpsKeepsNobodyIn(t *testing.T) {
	t.Parallel()
	for name, jump := range map[string]time.Duration{"forth": 9 * time.Hour, "back": -24 * time.Hour} {
		x := newHouse(t, false)
		otto := x.login("otto")
		token := x.token(otto)
		x.now = x.now.Add(jump)
		if w := x.do("GET", "/", nil, otto); w.Code != 303 {
			t.Errorf("%s: the session goes on: %d", name, w.Code)
		}
		if w := x.do("POST", "/campaign/spring/pause", url.Values{"token": {token}}, otto); w.Code != 401 || x.said.count() != 0 {
			t.Errorf("%s: the token of the form still acts: %d", name, w.Code)
		}
		x.login("otto")
	}
	x := newHouse(t, false)
	vera := x.login("vera")
	x.now = x.now.Add(-10 * time.Second) // time synchronisation
	if w := x.do("GET", "/", nil, vera); w.Code != 200 {
		t.Errorf("a clock that is corrected ends the session: %d", w.Code)
	}
}

func TestQueriesWithoutEnd(t *testing.T) {
	t.Parallel()
	h := dashboard(t, canned{})
	for _, path := range []string{"/", "/hosts", "/hosts.csv", "/login", "/api/coverage", "/metrics"} {
		w := get(t, h, path+"?q="+strings.Repeat("a", 10<<20))
		if w.Code != http.StatusRequestURITooLong || w.Body.Len() > 1000 {
			t.Errorf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
	}
}

func TestPercent(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]int{{0, 0, 0}, {0, 9, 0}, {1, 1000, 1}, {20000, 100004, 20}, {999, 1000, 99}, {1000, 1000, 100}, {1, 3, 33}, {2, 3, 67}} {
		if got := rollout.Percent(c[0], c[1]); got != c[2] {
			t.Errorf("%d of %d are %d %%, want %d", c[0], c[1], got, c[2])
		}
	}
}
