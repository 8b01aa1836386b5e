package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"wavelock/rollout"
)

// Config says where the journal is.
type Config struct {
	Path string           // of the SQLite file, on a local disk
	Log  *slog.Logger     // default: discard
	Now  func() time.Time // default: time.Now

	// Policy judges the hosts that are kept, for their summaries.
	Policy rollout.Policy
}

// Journal is an open database. It is safe for concurrent use.
type Journal struct {
	cfg   Config
	write *sql.DB // one connection: SQLite has one writer
	read  *sql.DB // a pool that cannot write
	river *river.Client[*sql.Tx]

	requests chan *request
	quit     chan struct{} // closed by Close
	ended    chan struct{} // closed by the writer when it has ended
	closing  sync.Once

	owning sync.Mutex // guards owned
	owned  bool
}

// Open opens the database and brings its schema up to date, after a copy of an
// older one was made beside it. A newer one is refused with *VersionError and
// left as it is.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("open the journal %s: %w", cfg.Path, err)
	}
	cfg.Path = path
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := makeFile(path); err != nil {
		return nil, err
	}
	if err := migrate(ctx, cfg); err != nil {
		return nil, err
	}
	j := &Journal{cfg: cfg, requests: make(chan *request), quit: make(chan struct{}), ended: make(chan struct{})}
	if err := j.connect(); err != nil {
		return nil, errors.Join(err, j.disconnect())
	}
	go j.writer()
	return j, nil
}

// makeFile makes an empty database that only this user may read: what it will
// hold describes every weak spot of the domain.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return &WriteError{Op: "open the journal", Err: err}
	}
	return f.Close()
}

func (j *Journal) connect() error {
	var err error
	// FULL: a transaction is on the disk when it is committed.
	if j.write, err = open(j.cfg.Path, "synchronous(FULL)", "foreign_keys(1)"); err != nil {
		return err
	}
	j.write.SetMaxOpenConns(1)
	if j.read, err = open(j.cfg.Path, "query_only(1)"); err != nil {
		return err
	}
	j.read.SetMaxOpenConns(8)
	// This client only inserts. The cooldown is how long it keeps quiet about further
	// jobs of a queue; a worker that was not told finds them later.
	j.river, err = river.NewClient(riversqlite.New(j.write), &river.Config{Logger: j.riverLog(), FetchCooldown: time.Millisecond})
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	return nil
}

func (j *Journal) disconnect() error {
	var errs []error
	for _, db := range []*sql.DB{j.read, j.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// open is a pool of connections. Transactions take the write lock when they begin:
// one that took it later could find it taken, with its reads out of date.
func open(path string, pragmas ...string) (*sql.DB, error) {
	p := filepath.ToSlash(path)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // file:///C:/folder/file
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(10000)"}, pragmas...)}
	u := url.URL{Scheme: "file", Path: p, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("open the journal %s: %w", path, err)
	}
	return db, nil
}

// Close waits for what is being written, and closes the database. Whoever writes
// later gets an error.
func (j *Journal) Close() error {
	var err error
	j.closing.Do(func() {
		close(j.quit)
		<-j.ended
		err = j.disconnect()
	})
	return err
}
