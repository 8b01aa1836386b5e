package journal

import (
	"context"
	"database/sql"
	"strconv"
	"strings"

	"github.com/riverqueue/river"
)

// database is one of the two kinds of database that a journal can be in. What it does not name is the same on both.
type database interface {
	// open migrates and connects. The reader cannot write.
	open(ctx context.Context) (write, read pool, err error)
	close() error
	// inTx is a transaction that has no other writer beside it, and is durable when it answers.
	inTx(ctx context.Context, do func(transaction) error) error
	// own makes this process the only one that coordinates campaigns.
	own(ctx context.Context) (release func(), err error)
	// takeUp makes jobs that processes left behind ready to be handed out, before the queue is worked.
	takeUp(ctx context.Context) error
	// serve runs River with the workers until ctx ends, then waits for what is in flight.
	serve(ctx context.Context, cfg *river.Config) error
	// oneView is the kind of transaction that sees several tables at one time.
	oneView() *sql.TxOptions
	// shared says that other processes work on the same queue.
	shared() bool
	// clock is the database's time in seconds as an expression; processes on several computers agree on it alone.
	clock() string
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// row is one row of an answer.
type row interface{ Scan(to ...any) error }

// each hands every row of a query's answer to take, until take answers an error.
func each(ctx context.Context, q querier, query string, args []any, take func(row) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// transaction is what is written at once. Jobs that are enqueued in it are there when it is.
type transaction struct {
	querier
	enqueue func(context.Context, []river.InsertManyParams) error
}

// pool is a pool of connections. Queries have ? for their parameters; PostgreSQL wants them numbered.
type pool struct {
	*sql.DB
	numbered bool
}

func (p pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return p.DB.QueryContext(ctx, p.in(query), args...)
}

func (p pool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return p.DB.QueryRowContext(ctx, p.in(query), args...)
}

func (p pool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return p.DB.ExecContext(ctx, p.in(query), args...)
}

func (p pool) in(query string) string {
	if !p.numbered {
		return query
	}
	return numbered(query)
}

// numberedQuerier numbers the parameters of what it is asked.
type numberedQuerier struct{ querier }

func (q numberedQuerier) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return q.querier.QueryContext(ctx, numbered(query), args...)
}

func (q numberedQuerier) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return q.querier.QueryRowContext(ctx, numbered(query), args...)
}

func (q numberedQuerier) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return q.querier.ExecContext(ctx, numbered(query), args...)
}

// numbered is the query with $1, $2 ... for each ?. No query of this package has a ? in a string.
func numbered(query string) string {
	var b strings.Builder
	n := 0
	for {
		before, after, more := strings.Cut(query, "?")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		n++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		query = after
	}
}
