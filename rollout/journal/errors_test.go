package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestTroublesAreSaidInWords(t *testing.T) {
	t.Parallel()
	path := func(err error) error { return &fs.PathError{Op: "write", Path: "wavelock.db.lock", Err: err} }
	chain := &ChainError{Campaign: "spring", Seq: 7, Why: "it was changed"}
	for _, c := range []struct {
		err        error
		what, hint string
	}{
		{&WriteError{"write the lock file", path(syscall.ENOSPC)}, "write the lock file: the disk is full", "make room"},
		{&WriteError{"write the lock file", path(syscall.EROFS)}, "the database is read-only", "writable"},
		{&WriteError{"open the lock file", path(syscall.EACCES)}, "permission denied", "writable"},
		{&ReadError{"read the journal of spring", fmt.Errorf("dial: %w", io.ErrUnexpectedEOF)}, "the connection to the database server was lost", "it is tried again"},
		{&ReadError{"read the journal of spring", errors.New("strange")}, "read the journal of spring: strange", "journal verify"},
		{&ReadError{"read the journal of spring", chain}, "read the journal of spring: ", chain.Hint()},
	} {
		var hinted interface{ Hint() string }
		if !errors.As(c.err, &hinted) || !strings.Contains(c.err.Error(), c.what) || !strings.Contains(hinted.Hint(), c.hint) || c.hint == "" {
			t.Errorf("%q, %q; want %q, %q", c.err, hinted.Hint(), c.what, c.hint)
		}
	}
}

func TestTroublesThatPass(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{"57P01": true, "57P03": true, "08006": true, "53300": true, "53100": false, "25006": false, "42601": false, "28P01": false} {
		err := &ReadError{"read", fmt.Errorf("query: %w", &pgconn.PgError{Code: code})}
		if Passing(err) != want {
			t.Errorf("%s passes: %v, want %v", code, Passing(err), want)
		}
	}
	if Passing(context.Canceled) || Passing(nil) || !Passing(&WriteError{"write", io.EOF}) {
		t.Error("an end by ourselves passes, or a cut connection does not")
	}
}
