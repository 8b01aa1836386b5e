package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
)

// sqliteDB is a journal in one file on a local disk, worked on by one process at a time.
type sqliteDB struct {
	cfg         Config
	write, read pool
	river       *river.Client[*sql.Tx]
}

func newSQLite(cfg Config) (*sqliteDB, error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("open the journal %s: %w", cfg.Path, err)
	}
	cfg.Path = path
	return &sqliteDB{cfg: cfg}, nil
}

func (s *sqliteDB) open(ctx context.Context) (write, read pool, err error) {
	if err := makeFile(s.cfg.Path); err != nil {
		return write, read, err
	}
	if err := migrate(ctx, s.cfg); err != nil {
		return write, read, err
	}
	if err := s.connect(); err != nil {
		return write, read, errors.Join(err, s.close())
	}
	return s.write, s.read, nil
}

func (s *sqliteDB) connect() error {
	// FULL: a transaction is on the disk when it is committed.
	w := open(s.cfg.Path, "synchronous(FULL)", "foreign_keys(1)")
	w.SetMaxOpenConns(1)
	s.write = pool{DB: w}
	r := open(s.cfg.Path, "query_only(1)")
	r.SetMaxOpenConns(8)
	s.read = pool{DB: r}
	// This client only inserts. The cooldown is how long it keeps quiet about further
	// jobs of a queue; a worker that was not told finds them later.
	var err error
	s.river, err = river.NewClient(riversqlite.New(s.write.DB), &river.Config{Logger: riverLog(s.cfg.Log), FetchCooldown: insertCooldown})
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	return nil
}

// makeFile makes an empty database that only this user may read: what it will
// hold describes every weak spot of the domain. One that is there is not opened:
// closing it would drop the locks that SQLite has on it for another journal of
// this process (https://sqlite.org/howtocorrupt.html section 2.2).
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return &WriteError{Op: "open the journal", Err: err}
	}
	return f.Close()
}

// open is a pool of connections. Transactions take the write lock when they begin:
// one that took it later could find it taken, with its reads out of date.
func open(path string, pragmas ...string) *sql.DB {
	p := filepath.ToSlash(path)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // file:///C:/folder/file
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(10000)"}, pragmas...)}
	u := url.URL{Scheme: "file", Path: p, RawQuery: q.Encode()}
	return openKeeping(u.String())
}

func (s *sqliteDB) close() error {
	var errs []error
	for _, db := range []pool{s.read, s.write} {
		if db.DB != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// inTx is a transaction on the one connection that writes.
func (s *sqliteDB) inTx(ctx context.Context, do func(transaction) error) error {
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	err = do(transaction{tx, func(ctx context.Context, jobs []river.InsertManyParams) error {
		_, err := s.river.InsertManyFastTx(ctx, tx, jobs)
		return err
	}})
	if err == nil {
		err = tx.Commit()
	}
	if err != nil && errors.Is(tx.Rollback(), sql.ErrTxDone) {
		// After some failures of a commit SQLite leaves the transaction open, while
		// database/sql believes that it has ended. An error says that none was open.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	}
	return err
}

// takeUp draws the queue anew from the hosts that are worked on. River itself finds
// the jobs of a dead process by their age alone; here it is certain that nobody works
// on any, because this process owns the database. And it is not River that knows
// which jobs there are: whatever became of a job, its host is in an action that has
// not ended, and somebody has to end it.
func (s *sqliteDB) takeUp(ctx context.Context) error {
	return s.inTx(ctx, func(tx transaction) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM river_job"); err != nil {
			return err
		}
		jobs, err := unended(ctx, tx)
		if err != nil || len(jobs) == 0 {
			return err
		}
		return tx.enqueue(ctx, jobs)
	})
}

func (s *sqliteDB) serve(ctx context.Context, cfg *river.Config) error {
	client, err := river.NewClient(riversqlite.New(s.write.DB), cfg)
	if err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	return serveUntil(ctx, client)
}

func (s *sqliteDB) own(context.Context) (func(), error) {
	f, err := lockFile(s.cfg.Path)
	if err != nil {
		return nil, err
	}
	return func() { unlockFile(f) }, nil
}

func (*sqliteDB) oneView() *sql.TxOptions { return &sql.TxOptions{ReadOnly: true} }
func (*sqliteDB) shared() bool            { return false }
func (*sqliteDB) clock() string           { return "unixepoch()" }
