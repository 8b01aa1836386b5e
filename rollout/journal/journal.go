package journal

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"wavelock/rollout"
)

// Config says where the journal is.
type Config struct {
	// Path is the SQLite file, on a local disk, or the address of a PostgreSQL database:
	// postgres://user@host/name?sslmode=verify-full. A password is not written there: see PGPASSFILE.
	Path string
	Log  *slog.Logger     // default: discard
	Now  func() time.Time // default: time.Now
	AsIs bool             // an SQLite database with an older schema is an error, and left as it is

	// Policy judges the hosts that are kept, for their summaries.
	Policy  rollout.Policy
	Posture rollout.PostureRules
}

// Journal is an open database. It is safe for concurrent use.
type Journal struct {
	cfg   Config
	id    string // of this process among the workers
	db    database
	write pool // SQLite: one connection, as it has one writer
	read  pool // cannot write

	requests chan *request
	quit     chan struct{} // closed by Close
	ended    chan struct{} // closed by the writer when it has ended
	closing  sync.Once

	owning sync.Mutex // guards owned
	owned  bool
}

// Shared reports whether a path is the address of a database that several processes can share.
func Shared(path string) bool {
	return strings.HasPrefix(path, "postgres://") || strings.HasPrefix(path, "postgresql://")
}

// Open opens the database and brings its schema up to date, after a copy of an
// older one was made beside it. A newer one is refused with *VersionError and
// left as it is.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	j := &Journal{cfg: cfg, id: newWorkerID(), requests: make(chan *request), quit: make(chan struct{}), ended: make(chan struct{})}
	var err error
	if Shared(cfg.Path) {
		j.db, err = newPostgres(cfg)
	} else {
		j.db, err = newSQLite(cfg)
	}
	if err != nil {
		return nil, err
	}
	if j.write, j.read, err = j.db.open(ctx); err != nil {
		return nil, err
	}
	go j.writer()
	return j, nil
}

// Close waits for what is being written, and closes the database. Whoever writes
// later gets an error.
func (j *Journal) Close() error {
	var err error
	j.closing.Do(func() {
		close(j.quit)
		<-j.ended
		err = j.db.close()
	})
	return err
}
