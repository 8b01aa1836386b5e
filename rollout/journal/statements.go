package journal

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"

	"modernc.org/sqlite"
)

// sqliteConn is what the driver's connections can do, as far as database/sql asks for it.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// connector opens connections that keep their compiled statements. The queue and the journal run the same few over and
// over, and compiling one costs more than running it.
type connector struct {
	name   string
	driver driver.Driver
}

func openKeeping(name string) *sql.DB { return sql.OpenDB(connector{name, registered()}) }

// registered is the driver that everybody else in this process has, with the functions that were added to it.
func registered() driver.Driver {
	db, err := sql.Open("sqlite", "") // opens nothing
	if err != nil {
		return &sqlite.Driver{}
	}
	defer db.Close()
	return db.Driver()
}

func (c connector) Driver() driver.Driver { return c.driver }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.name)
	if err != nil {
		return nil, err
	}
	plain, ok := conn.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver is another one than expected"), conn.Close())
	}
	return &keepingConn{sqliteConn: plain, kept: map[string]*keptStatement{}}, nil
}

// keepingConn is one connection. database/sql lets one goroutine at a time use it.
type keepingConn struct {
	sqliteConn
	kept map[string]*keptStatement
}

// keptStatement is a compiled statement. One whose rows are being read is not run a second time.
type keptStatement struct {
	driver.Stmt
	busy bool
}

// mostKept bounds the memory of a connection; the statements that many rows are written with come in many sizes.
const mostKept = 128

// statement is the compiled query, or nil where it is to be run without being kept.
func (c *keepingConn) statement(ctx context.Context, query string) (*keptStatement, error) {
	if s := c.kept[query]; s != nil {
		if s.busy {
			return nil, nil
		}
		return s, nil
	}
	if strings.Contains(strings.TrimRight(query, "; \t\r\n"), ";") || !repeats(query) {
		return nil, nil
	}
	stmt, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if len(c.kept) >= mostKept {
		for q, s := range c.kept { // whichever comes first: the usual ones are back at once
			if !s.busy {
				c.drop(q)
				break
			}
		}
	}
	s := &keptStatement{Stmt: stmt}
	c.kept[query] = s
	return s, nil
}

// repeats leaves out what is run once in a connection's life, and what begins and ends transactions.
func repeats(query string) bool {
	verb, _, _ := strings.Cut(strings.TrimLeft(query, " \t\r\n"), " ")
	switch strings.ToUpper(verb) {
	case "PRAGMA", "CREATE", "ALTER", "DROP", "VACUUM", "ATTACH", "DETACH", "BEGIN", "COMMIT", "ROLLBACK":
		return false
	}
	return true
}

func (c *keepingConn) drop(query string) {
	_ = c.kept[query].Close() // it has nothing to say that the connection does not
	delete(c.kept, query)
}

func (c *keepingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.statement(ctx, query)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	r, err := s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if err != nil {
		c.drop(query)
	}
	return r, err
}

func (c *keepingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.statement(ctx, query)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		c.drop(query)
		return nil, err
	}
	s.busy = true
	return &keptRows{Rows: rows, of: c, query: query}, nil
}

// Close ends the statements before the connection.
func (c *keepingConn) Close() error {
	for q := range c.kept {
		c.drop(q)
	}
	return c.sqliteConn.Close()
}

// keptRows gives its statement back when it is closed.
type keptRows struct {
	driver.Rows
	of     *keepingConn
	query  string
	failed bool
}

func (r *keptRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	r.failed = r.failed || err != nil && !errors.Is(err, io.EOF)
	return err
}

func (r *keptRows) Close() error {
	err := r.Rows.Close()
	s := r.of.kept[r.query]
	if s == nil {
		return err // the connection was closed before
	}
	s.busy = false
	if err != nil || r.failed {
		r.of.drop(r.query)
	}
	return err
}
