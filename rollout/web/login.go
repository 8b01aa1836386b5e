package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"wavelock/rollout"
)

// How often somebody may be wrong before they have to wait.
const (
	freeTries   = 5
	addressMore = 4 // times as many from one address, where many people may sit behind it
	shortWait   = 30 * time.Second
	longWait    = 15 * time.Minute
	maxTracked  = 50_000
)

// What is passed on to the directory: no account has a longer name or password, and nobody waits longer for a page.
const (
	maxName     = 256
	maxPassword = 1024
	loginTime   = 20 * time.Second
)

// brake slows down whoever guesses passwords: by account, so that many addresses
// do not help, and by address, so that many accounts do not. It also keeps the
// accounts of the directory from being locked by somebody else.
type brake struct {
	now func() time.Time

	mu    sync.Mutex // guards tries
	tries map[string]*try
}

type try struct {
	wrong int
	until time.Time
	last  time.Time
}

// wait is how long these have to wait; 0 when they may try now.
func (b *brake) wait(keys ...string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var longest time.Duration
	for _, k := range keys {
		if t := b.tries[k]; t != nil {
			longest = max(longest, t.until.Sub(b.now()))
		}
	}
	return max(0, longest)
}

func (b *brake) wrong(key string, free int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if len(b.tries) >= maxTracked {
		for k, t := range b.tries {
			if now.Sub(t.last) > longWait {
				delete(b.tries, k)
			}
		}
		if len(b.tries) >= maxTracked {
			clear(b.tries) // somebody makes names up; better forgetful than out of memory
		}
	}
	t := b.tries[key]
	if t == nil || now.Sub(t.last) > longWait {
		t = &try{}
		b.tries[key] = t
	}
	t.wrong, t.last = t.wrong+1, now
	if over := t.wrong - free; over >= 0 {
		t.until = now.Add(min(longWait, shortWait<<min(over, 10)))
	}
}

func (b *brake) right(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.tries, key)
}

type loginPage struct {
	Next, Name, Error string
	Wait              time.Duration
}

func (s *server) loginPage(w http.ResponseWriter, r *http.Request) {
	if s.Accounts == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.showLogin(w, r, http.StatusOK, loginPage{Next: local(r.URL.Query().Get("next"))})
}

func (s *server) showLogin(w http.ResponseWriter, r *http.Request, status int, p loginPage) {
	s.showStatus(w, r, status, "login.html", page{Title: "Log in", Still: true, Body: p})
}

// local keeps a login from sending people elsewhere.
func local(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") || len(next) > maxQuery {
		return "/"
	}
	return next
}

func (s *server) login(w http.ResponseWriter, r *http.Request) {
	if s.Accounts == nil {
		s.fail(w, r, &NotFoundError{"A login"})
		return
	}
	name, password := r.PostFormValue("name"), r.PostFormValue("password")
	p := loginPage{Next: local(r.PostFormValue("next")), Name: name}
	if name == "" || password == "" || len(name) > maxName || len(password) > maxPassword || !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\r\n") {
		p.Error = "Give your name and your password."
		s.showLogin(w, r, http.StatusBadRequest, p)
		return
	}
	byName, byAddress := "name "+strings.ToLower(name), "address "+neighbourhood(addressOf(r))
	if p.Wait = s.brake.wait(byName, byAddress); p.Wait > 0 {
		s.Log.Warn("a login has to wait", "name", name, "from", r.RemoteAddr, "wait", p.Wait)
		p.Error = "There were too many wrong tries. Try again in " + span(p.Wait) + "."
		s.showLogin(w, r, http.StatusTooManyRequests, p)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), loginTime)
	defer cancel()
	person, err := s.Accounts.Login(ctx, name, password)
	var denied *DeniedError
	switch {
	case errors.As(err, &denied):
		s.brake.wrong(byName, freeTries)
		s.brake.wrong(byAddress, freeTries*addressMore)
		_ = s.witness(r, rollout.AccessRefused, name, denied.Why) // refused in any case
		s.Log.Warn("a login was refused", "name", name, "from", r.RemoteAddr, "why", denied.Why)
		p.Error = "The name or the password is wrong, or the account may not use this."
		s.showLogin(w, r, http.StatusUnauthorized, p)
	case err != nil:
		s.Log.Error("a login could not be checked", "name", name, "from", r.RemoteAddr, "err", err)
		p.Error = "Who you are cannot be checked now. Try again later."
		s.showLogin(w, r, http.StatusServiceUnavailable, p)
	default:
		s.brake.right(byName)
		s.letIn(w, r, person, p)
	}
}

// letIn begins a session for somebody who has proved who they are, once that is recorded.
func (s *server) letIn(w http.ResponseWriter, r *http.Request, person Person, p loginPage) {
	if err := s.witness(r, rollout.AccessLogin, person.Name, "roles "+rolesText(person.Roles)); err != nil {
		p.Error = "Your login cannot be recorded now, so it is not made. Try again later."
		s.showLogin(w, r, http.StatusServiceUnavailable, p)
		return
	}
	if old := s.sessionID(r); old != "" {
		s.sessions.end(old)
	}
	s.setCookie(w, s.sessions.begin(person), sessionLife)
	s.Log.Info("somebody logged in", "name", person.Name, "roles", person.Roles, "from", r.RemoteAddr)
	http.Redirect(w, r, p.Next, http.StatusSeeOther)
}

// neighbourhood is the address, or of IPv6 the network of 64 bits: whoever has one address there has them all.
func neighbourhood(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
}

func rolesText(roles []Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, ", ")
}

func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (s *server) logout(w http.ResponseWriter, r *http.Request) {
	if v := visitorOf(r); v != nil {
		if !s.sameToken(r, v) {
			s.problem(w, r, http.StatusForbidden, "This form is not of your session.", "Open the page again and try once more.")
			return
		}
		s.sessions.end(s.sessionID(r))
		_ = s.witness(r, rollout.AccessLogout, v.person.Name, "") // gone in any case
		s.Log.Info("somebody logged out", "name", v.person.Name, "from", r.RemoteAddr)
	}
	s.setCookie(w, "", -time.Second)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
