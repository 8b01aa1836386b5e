package logon

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Verdict is what a host thought of a credential.
type Verdict int

// The verdicts.
const (
	Unknown  Verdict = iota // no answer
	Accepted                // logged on
	Refused                 // the host said no to this account
)

// Limits of refusals in a row. A wrong password shown to every host of a wave would lock the account out of the domain,
// so few hosts see a password that none has accepted. One that worked is given more credit: hosts refuse for reasons of
// their own, and a domain controller does not count the password before last.
const (
	refusalsUnproved = 3
	refusalsProved   = 10
)

// ErrHeld is found in the error of a credential that is not shown any more.
var ErrHeld = errors.New("the credential is held back")

type heldError struct {
	principal string
	refusals  int
}

func (e *heldError) Error() string {
	return fmt.Sprintf("%d hosts in a row refused %s", e.refusals, e.principal)
}
func (e *heldError) Unwrap() error { return ErrHeld }
func (e *heldError) Hint() string {
	return "no further host is tried, to keep the account from being locked out; check the password and start again"
}

// Try asks for leave to show the credential of l to a host. It waits while others show a password that nobody has
// accepted yet, and fails when too many hosts in a row have refused it. The verdict must be reported.
func Try(ctx context.Context, l Login) (report func(Verdict), err error) {
	counted, ok := l.(interface{ trial() *attempts })
	if !ok { // Kerberos shows no password to hosts
		return func(Verdict) {}, nil
	}
	a := counted.trial()
	if err := a.begin(ctx, l.Principal()); err != nil {
		return nil, &Error{Op: "try the password", Principal: l.Principal(), Err: err}
	}
	var once sync.Once
	return func(v Verdict) { once.Do(func() { a.end(v) }) }, nil
}

// attempts counts how a password fares over all hosts.
type attempts struct {
	mu       sync.Mutex // guards what follows
	proved   bool
	refused  int           // in a row
	underway int           // shown, and no verdict yet
	changed  chan struct{} // closed at the next verdict
}

func (a *attempts) trial() *attempts { return a }

func (a *attempts) begin(ctx context.Context, principal string) error {
	for {
		wait, err := a.take(principal)
		if err != nil || wait == nil {
			return err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take counts one attempt in, or gives a channel to wait on.
func (a *attempts) take(principal string) (wait <-chan struct{}, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	limit := refusalsUnproved
	if a.proved {
		limit = refusalsProved
	}
	if a.refused >= limit {
		return nil, &heldError{principal, a.refused}
	}
	if !a.proved && a.refused+a.underway >= limit {
		if a.changed == nil {
			a.changed = make(chan struct{})
		}
		return a.changed, nil
	}
	a.underway++
	return nil, nil
}

func (a *attempts) end(v Verdict) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.underway--
	switch v {
	case Accepted:
		a.proved, a.refused = true, 0
	case Refused:
		a.refused++
	}
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}
