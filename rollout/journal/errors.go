package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"wavelock/rollout"
)

// errClosed is what a journal answers that was closed.
var errClosed = errors.New("the journal is closed")

// WriteError is something that could not be written durably. Whoever gets it stops.
type WriteError struct {
	Op  string
	Err error
}

func (e *WriteError) Error() string { return e.Op + ": " + troubleOf(e.Err).what }

// Unwrap gives the database's own error.
func (e *WriteError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *WriteError) Hint() string { return troubleOf(e.Err).hint }

// ReadError is something that could not be read from the database.
type ReadError struct {
	Op  string
	Err error
}

func (e *ReadError) Error() string {
	if what, _, known := knownTrouble(e.Err); known {
		return e.Op + ": " + what
	}
	return e.Op + ": " + e.Err.Error()
}

// Unwrap gives the database's own error.
func (e *ReadError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *ReadError) Hint() string {
	var inner interface{ Hint() string }
	if errors.As(e.Err, &inner) {
		return inner.Hint()
	}
	if _, hint, known := knownTrouble(e.Err); known {
		return hint
	}
	return "try again; if it stays, wavelock journal verify says whether the database is damaged"
}

func knownTrouble(err error) (what, hint string, known bool) {
	t, known := ofSQLite(err)
	if !known {
		t, known = postgresTrouble(err)
	}
	return t.what, t.hint, known
}

func ofSQLite(err error) (trouble, bool) {
	code, ok := codeOf(err)
	if !ok {
		return trouble{}, false
	}
	t, known := troubles[code]
	return t, known
}

// trouble is a database's error in the words of somebody who has to mend it.
type trouble struct{ what, hint string }

// troubles are SQLite's primary result codes (https://www.sqlite.org/rescode.html).
var troubles = map[int]trouble{
	sqlite3.SQLITE_FULL:     {"the disk is full", "make room and run again: nothing was done that is not in the journal"},
	sqlite3.SQLITE_READONLY: {"the database is read-only", "the file and its folder have to be writable for this user"},
	sqlite3.SQLITE_PERM:     {"access to the database is denied", "the file and its folder have to be writable for this user"},
	sqlite3.SQLITE_CANTOPEN: {"the database cannot be opened", "does the folder exist, and may this user write there?"},
	sqlite3.SQLITE_BUSY:     {"another process kept the database locked for too long", "find out which process holds the file, then run again"},
	sqlite3.SQLITE_LOCKED:   {"another process kept the database locked for too long", "find out which process holds the file, then run again"},
	sqlite3.SQLITE_IOERR:    {"the disk answered with an error", "look at the disk's health; the journal has to be on a local disk; run again once it is sound"},
	sqlite3.SQLITE_CORRUPT:  {"the database file is damaged", "restore a copy, or name another file"},
	sqlite3.SQLITE_NOTADB:   {"the file is not a database", "restore a copy, or name another file"},
	sqlite3.SQLITE_TOOBIG:   {"the record is too large for the database", "plan fewer hosts at once"},
}

func troubleOf(err error) trouble {
	if what, hint, known := knownTrouble(err); known {
		return trouble{what, hint}
	}
	t := trouble{err.Error(), "nothing was done that is not in the journal; mend the database and run again"}
	const diskFull = syscall.Errno(0x70) // ERROR_DISK_FULL of Windows
	switch {
	case errors.Is(err, syscall.ENOSPC), runtime.GOOS == "windows" && errors.Is(err, diskFull):
		return troubles[sqlite3.SQLITE_FULL]
	case errors.Is(err, syscall.EROFS):
		return troubles[sqlite3.SQLITE_READONLY]
	case errors.Is(err, fs.ErrNotExist):
		t.hint = "make the folder first, or name another one"
	case errors.Is(err, fs.ErrPermission):
		t.hint = "the file and its folder have to be writable for this user"
	}
	return t
}

// codeOf is SQLite's primary result code: the low byte of the extended one.
func codeOf(err error) (int, bool) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	return e.Code() & 0xff, true
}

// VersionError is a database of a newer program.
type VersionError struct {
	Path        string
	Have, Known int64
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the database %s has schema %d, this program knows %d", e.Path, e.Have, e.Known)
}

// Hint is what to do about it.
func (e *VersionError) Hint() string { return "use the newer wavelock that wrote it" }

// ForeignError is a database of another program.
type ForeignError struct{ Path string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s is a database, but not one of wavelock", e.Path)
}

// Hint is what to do about it.
func (e *ForeignError) Hint() string { return "name another file; this one was left as it is" }

// StaleError is the word of a worker whose attempt is over.
type StaleError struct {
	Host      rollout.HostID
	Have, Now int
}

func (e *StaleError) Error() string {
	if e.Have == e.Now {
		return fmt.Sprintf("attempt %d on %s has ended already and may not speak for it", e.Have, e.Host)
	}
	return fmt.Sprintf("%s is in the hands of attempt %d, attempt %d may not speak for it", e.Host, e.Now, e.Have)
}

// Stale tells the engine what kind of error this is without its knowing the type.
func (*StaleError) Stale() bool { return true }

// UnknownCampaignError is a campaign that the journal does not have.
type UnknownCampaignError struct{ ID rollout.CampaignID }

func (e *UnknownCampaignError) Error() string { return fmt.Sprintf("there is no campaign %q", e.ID) }

// Hint is what to do about it.
func (e *UnknownCampaignError) Hint() string { return "wavelock status lists them" }

// ConflictError is a plan under the name of another one.
type ConflictError struct {
	ID          rollout.CampaignID
	Have, Given string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("the journal has a campaign %s with the plan %.12s, this one is %.12s", e.ID, e.Have, e.Given)
}

// Hint is what to do about it.
func (e *ConflictError) Hint() string { return "give the new plan another name: wavelock plan --name" }

// ExitCode says that the plan is not the one that is known.
func (e *ConflictError) ExitCode() int { return 8 }

// ChainError is the first event of a campaign that is not what was written.
type ChainError struct {
	Campaign rollout.CampaignID
	Seq      int64
	Why      string
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("the journal of %s is broken at event %d: %s", e.Campaign, e.Seq, e.Why)
}

// Hint is what to do about it.
func (e *ChainError) Hint() string {
	return "somebody or something changed the database: compare it with a copy, and run no campaign on it"
}

// HistoryError is the first change of the coverage's history that is not what was written.
type HistoryError struct{ N int64 }

func (e *HistoryError) Error() string {
	return fmt.Sprintf("the history of the coverage is broken at change %d", e.N)
}

// Hint is what to do about it.
func (e *HistoryError) Hint() string {
	return "somebody or something changed the database: compare it with a copy"
}

// BusyError is a database that another process works on.
type BusyError struct {
	Path, Holder string
}

func (e *BusyError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("another process works on %s already", e.Path)
	}
	return fmt.Sprintf("another process works on %s already (%s)", e.Path, e.Holder)
}

// Hint is what to do about it.
func (e *BusyError) Hint() string {
	return "wait for it, or talk to its campaign with wavelock pause and status"
}

// ExitCode says that somebody else is at it.
func (e *BusyError) ExitCode() int { return 7 }
