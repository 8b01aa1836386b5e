package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// How long somebody stays logged in.
const (
	sessionLife = 8 * time.Hour    // after the login, whatever happens
	sessionIdle = 30 * time.Minute // after the last thing that a person did
	clockSlack  = time.Minute
	maxSessions = 10_000
)

// visitor is a person with a session.
type visitor struct {
	person Person
	token  string // of the forms: it is known to pages of this session alone
	began  time.Time
	last   time.Time
}

// sessions are kept in memory only, by the hash of what the browser holds. A
// restart ends them all.
type sessions struct {
	now func() time.Time

	mu   sync.Mutex // guards byID
	byID map[[32]byte]*visitor
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, byID: map[[32]byte]*visitor{}}
}

func secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// begin answers with what the browser is to hold. It is always new: what a browser
// brought to the login is worth nothing.
func (s *sessions) begin(p Person) string {
	id := secret()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	s.byID[sha256.Sum256([]byte(id))] = &visitor{person: p, token: secret(), began: s.now(), last: s.now()}
	return id
}

// sweep forgets who has gone, and the oldest where there are too many.
func (s *sessions) sweep() {
	for len(s.byID) > 0 {
		var oldest [32]byte
		var at *visitor
		for k, v := range s.byID {
			if s.over(v) {
				delete(s.byID, k)
			} else if at == nil || v.last.Before(at.last) {
				oldest, at = k, v
			}
		}
		if len(s.byID) < maxSessions {
			return
		}
		delete(s.byID, oldest)
	}
}

func (s *sessions) over(v *visitor) bool {
	now := s.now()
	if now.Before(v.last.Add(-clockSlack)) {
		return true // the clock was set back: how old the session is, nobody knows
	}
	return now.Sub(v.began) >= sessionLife || now.Sub(v.last) >= sessionIdle
}

// find answers nil for a session that is not there or is over. A page that asks
// for itself does not keep it alive.
func (s *sessions) find(id string, byPerson bool) *visitor {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sha256.Sum256([]byte(id))
	v := s.byID[key]
	if v == nil {
		return nil
	}
	if s.over(v) {
		delete(s.byID, key)
		return nil
	}
	if byPerson {
		v.last = s.now()
	}
	c := *v
	return &c
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, sha256.Sum256([]byte(id)))
}

type visitorKey struct{}

// visitorOf is who asks; nil when nobody logged in.
func visitorOf(r *http.Request) *visitor {
	v, _ := r.Context().Value(visitorKey{}).(*visitor)
	return v
}

func (s *server) cookieName() string {
	if s.Secure {
		return "__Host-wavelock" // bound to this host and to TLS by its name (RFC 6265bis 4.1.3.2)
	}
	return "wavelock"
}

func (s *server) sessionID(r *http.Request) string {
	c, err := r.Cookie(s.cookieName())
	if err != nil || len(c.Value) > 128 {
		return ""
	}
	return c.Value
}

func (s *server) setCookie(w http.ResponseWriter, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: s.cookieName(), Value: value, Path: "/", MaxAge: int(life.Seconds()), HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode})
}

// byPage marks what a page asks for by itself.
const byPage = "Wavelock-Live"

// signedIn lets nobody pass who has not logged in, where there are accounts.
func (s *server) signedIn(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Accounts == nil {
			next(w, r)
			return
		}
		stream := r.URL.Path == "/live"
		v := s.sessions.find(s.sessionID(r), r.Header.Get(byPage) == "" && !stream)
		switch {
		case v != nil:
			next(w, r.WithContext(context.WithValue(r.Context(), visitorKey{}, v)))
		case r.Method == http.MethodGet && !stream && !strings.HasPrefix(r.URL.Path, "/api/") && r.Header.Get(byPage) == "":
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			s.problem(w, r, http.StatusUnauthorized, "You are not logged in, or no longer.", "Log in and try again.")
		}
	})
}
