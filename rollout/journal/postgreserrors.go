package journal

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	sqlite3 "modernc.org/sqlite/lib"
)

// AddressError is the address of a database that nobody should connect to.
type AddressError struct {
	Host string
	Why  string
}

func (e *AddressError) Error() string {
	if e.Host == "" {
		return "the address of the database cannot be used: " + e.Why
	}
	return fmt.Sprintf("the address of the database on %s cannot be used: %s", e.Host, e.Why)
}

// Hint is what to do about it.
func (e *AddressError) Hint() string {
	return "write postgres://user@host/name?sslmode=verify-full&sslrootcert=ca.pem, and the password into PGPASSFILE"
}

// ExitCode says that the configuration is wrong.
func (e *AddressError) ExitCode() int { return 2 }

// postgresTroubles are classes of PostgreSQL's error codes, and some of their members
// (https://www.postgresql.org/docs/15/errcodes-appendix.html).
var postgresTroubles = map[string]trouble{
	"53100": {"the disk of the database server is full", "make room there; nothing was done that is not in the journal"},
	"53":    {"the database server has no more room, memory or connections", "look at the server; nothing was done that is not in the journal"},
	"25006": {"the database is read-only", "this is a standby, or the user may not write: name the primary server and a user that may"},
	"28":    {"the database server refuses the user or the password", "see the server's pg_hba.conf, and PGPASSFILE or PGPASSWORD here"},
	"3D000": {"there is no such database", "make it first: createdb wavelock"},
	"42501": {"the user may not do that in the database", "the user needs CREATE on the schema the first time, and all rights on its tables"},
	"57P":   {"the database server stopped or starts", "it is tried again; if it lasts, look at the server"},
	"08":    {"the connection to the database server was lost", "it is tried again; if it lasts, look at the server and the network"},
	"XX":    {"the database is damaged", "restore a copy, and look at the server's disk"},
}

func postgresTrouble(err error) (trouble, bool) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		for _, n := range []int{5, 3, 2} {
			if t, known := postgresTroubles[pg.Code[:min(n, len(pg.Code))]]; known {
				return t, true
			}
		}
		return trouble{}, false
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		why := err.Error() // its own words name the host, never the password
		if i := strings.LastIndex(why, ": "); i >= 0 {
			why = why[i+2:]
		}
		return trouble{"the database server cannot be reached: " + why, "does it run, and does its address and name resolve from here?"}, true
	}
	if lost(err) {
		return postgresTroubles["08"], true
	}
	return trouble{}, false
}

// lost reports whether the connection to a database server broke, or could not be made, in a way that passes.
func lost(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		// 53300: after a restart everybody comes back at once, and it has no more connections for a moment.
		return strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "08") || pg.Code == "53300"
	}
	var op *net.OpError
	var connect *pgconn.ConnectError
	switch {
	case errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &op), errors.As(err, &connect), errors.Is(err, driver.ErrBadConn), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return true
	}
	return err != nil && (pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed"))
}

// Passing reports whether an error of the journal is of the kind that passes: a server that restarts, a network that
// was cut. What was being written may or may not be there; whoever replays sees which.
func Passing(err error) bool { return lost(err) }

// damaged reports whether the database says of itself that it is.
func damaged(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return strings.HasPrefix(pg.Code, "XX")
	}
	code, ok := codeOf(err)
	return ok && (code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB)
}
