package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"wavelock/rollout"
)

// Witness keeps who came in, who was refused and who left, so that it outlives the program's log.
type Witness interface {
	Witness(ctx context.Context, a rollout.Access) error
	// Accesses are up to limit lines before a position (0: from the end), the newest first.
	Accesses(ctx context.Context, before int64, limit int) ([]rollout.Access, error)
}

// witness writes down what happened at the door. Whoever leaves at once is written down, too.
func (s *server) witness(r *http.Request, kind rollout.AccessKind, who, detail string) error {
	if s.Witness == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	err := s.Witness.Witness(ctx, rollout.Access{At: s.Now(), Kind: kind, Who: oneLine(who), From: addressOf(r), Detail: oneLine(detail)})
	if err != nil {
		s.Log.Error("an access could not be recorded", "kind", kind, "name", who, "from", r.RemoteAddr, "err", err)
	}
	return err
}

// refused records an action that was not allowed. It is refused in any case.
func (s *server) refused(r *http.Request, who, detail string) {
	_ = s.witness(r, rollout.AccessDenied, who, r.URL.Path+": "+detail) // the log has why it could not be
}

type accessPage struct {
	Lines  []rollout.Access
	Older  string
	Newest string
}

// accesses is for those who act: names of failed logins may be somebody's slip.
func (s *server) accesses(w http.ResponseWriter, r *http.Request) {
	before, some, ok := s.accessesBefore(w, r, pageSize)
	if !ok {
		return
	}
	p := accessPage{Lines: some}
	if n := len(some); n == pageSize && some[n-1].N > 1 {
		p.Older = with(nil, r.URL.Path, "before", strconv.FormatInt(some[n-1].N, 10))
	}
	if before > 0 {
		p.Newest = r.URL.Path
	}
	s.show(w, r, "access.html", page{Title: "Who came in", Active: "journal", Body: p})
}

func (s *server) accessesBefore(w http.ResponseWriter, r *http.Request, limit int) (int64, []rollout.Access, bool) {
	if s.Witness == nil {
		s.fail(w, r, &NotFoundError{"The record of who came in"})
		return 0, nil, false
	}
	if v := visitorOf(r); v != nil && !v.person.May("pause") {
		s.problem(w, r, http.StatusForbidden, "Your role does not allow this.", "Operators and approvers see who came in.")
		return 0, nil, false
	}
	before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	if err != nil {
		before = 0 // from the end
	}
	some, err := s.Witness.Accesses(r.Context(), before, limit)
	if err != nil {
		s.fail(w, r, err)
		return 0, nil, false
	}
	return before, some, true
}

func (s *server) accessesCSV(w http.ResponseWriter, r *http.Request) {
	_, some, ok := s.accessesBefore(w, r, 1000)
	if !ok {
		return
	}
	var err error
	s.csv(w, r, "access", []string{"n", "at", "kind", "who", "from", "detail"}, func(row func(...string)) {
		for len(some) > 0 && err == nil {
			for _, a := range some {
				row(strconv.FormatInt(a.N, 10), stamp(a.At), string(a.Kind), a.Who, a.From, a.Detail)
			}
			some, err = s.Witness.Accesses(r.Context(), some[len(some)-1].N, 1000)
		}
	})
	s.cutShort(r, err)
}

// cutShort ends an answer that is not whole so that nobody takes it for whole.
func (s *server) cutShort(r *http.Request, err error) {
	if err == nil {
		return
	}
	s.Log.Warn("a table could not be sent whole", "path", r.URL.Path, "err", err)
	panic(http.ErrAbortHandler)
}
