package journal

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// postgresDB is a journal that several processes share: one that coordinates, and the workers of the zones.
type postgresDB struct {
	cfg         Config
	conn        *pgx.ConnConfig
	write, read pool
	river       *river.Client[pgx.Tx]
}

func newPostgres(cfg Config) (*postgresDB, error) {
	conn, err := pgx.ParseConfig(cfg.Path)
	if err != nil {
		return nil, &AddressError{Why: "it is not like postgres://user@host/name?sslmode=verify-full"} // pgx would quote it, password and all
	}
	if err := sealed(conn); err != nil {
		return nil, err
	}
	cfg.Path = nameOf(conn)
	conn.RuntimeParams["application_name"] = "wavelock"
	// A computer that is gone is noticed, and what it held let go, within half a minute.
	for key, value := range map[string]string{"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"} {
		if !local(conn.Host) {
			conn.RuntimeParams[key] = value
		}
	}
	return &postgresDB{cfg: cfg, conn: conn}, nil
}

// nameOf is the database in words, without a secret.
func nameOf(c *pgx.ConnConfig) string {
	return fmt.Sprintf("postgres://%s@%s/%s", c.User, net.JoinHostPort(c.Host, fmt.Sprint(c.Port)), c.Database)
}

// local reports whether the connection does not leave the computer.
func local(host string) bool {
	ip := net.ParseIP(host)
	return strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" || (ip != nil && ip.IsLoopback())
}

// sealed refuses a connection to another computer that anybody on the way could read or answer in its place: what the
// journal holds describes every weak spot of the domain.
func sealed(c *pgx.ConnConfig) error {
	check := func(host string, t *tls.Config) error {
		switch {
		case local(host):
			return nil
		case t == nil:
			return &AddressError{Host: host, Why: "the connection would not, or not always, be encrypted"}
		case t.InsecureSkipVerify && t.VerifyPeerCertificate == nil && t.VerifyConnection == nil:
			return &AddressError{Host: host, Why: "the server's certificate would not be checked"}
		}
		return nil
	}
	if err := check(c.Host, c.TLSConfig); err != nil {
		return err
	}
	for _, f := range c.Fallbacks {
		if err := check(f.Host, f.TLSConfig); err != nil {
			return err
		}
	}
	return nil
}

func (p *postgresDB) open(ctx context.Context) (write, read pool, err error) {
	if err := p.migrate(ctx); err != nil {
		return write, read, err
	}
	if err := p.connect(ctx); err != nil {
		return write, read, errors.Join(err, p.close())
	}
	return p.write, p.read, nil
}

func (p *postgresDB) connect(ctx context.Context) error {
	p.write = pool{stdlib.OpenDB(*p.conn), true}
	p.write.SetMaxOpenConns(4)
	reading := p.conn.Copy()
	reading.RuntimeParams["default_transaction_read_only"] = "on"
	p.read = pool{stdlib.OpenDB(*reading), true}
	p.read.SetMaxOpenConns(8)
	var err error
	if p.river, err = river.NewClient(riverpgxv5.New(nil), &river.Config{Logger: riverLog(p.cfg.Log), FetchCooldown: insertCooldown}); err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	if err := p.read.PingContext(ctx); err != nil {
		return &WriteError{Op: "open the journal " + p.cfg.Path, Err: err}
	}
	return nil
}

func (p *postgresDB) close() error {
	var errs []error
	for _, db := range []pool{p.read, p.write} {
		if db.DB != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// The keys of the advisory locks. A database holds one journal.
const (
	lockWriter  int64 = 0x77617665 + iota // for the length of a transaction that writes
	lockMigrate                           // while tables change
	lockOwner                             // of the process that coordinates
)

// inTx is a transaction that waits for the one before it: chains are written by one at a time, as on SQLite, whoever
// writes. Each process puts all that waits into one transaction, so it is not held up by its own workers.
func (p *postgresDB) inTx(ctx context.Context, do func(transaction) error) error {
	conn, err := p.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var tx pgx.Tx
	err = conn.Raw(func(c any) error {
		tx, err = c.(*stdlib.Conn).Conn().Begin(ctx)
		return err
	})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", lockWriter)
	if err == nil {
		// The queries go through database/sql on the connection that is in the transaction, the queue's through pgx.
		err = do(transaction{numberedQuerier{conn}, func(ctx context.Context, jobs []river.InsertManyParams) error {
			_, err := p.river.InsertManyFastTx(ctx, tx, jobs)
			return err
		}})
	}
	if err != nil {
		return errors.Join(err, ignoreClosed(tx.Rollback(context.WithoutCancel(ctx))))
	}
	return tx.Commit(ctx)
}

// ignoreClosed: a transaction of a connection that is gone was rolled back by the server.
func ignoreClosed(err error) error {
	if errors.Is(err, pgx.ErrTxClosed) || lost(err) {
		return nil
	}
	return err
}

// own holds a lock of a session: it goes with the connection, and so with the process, however it ends. When the
// connection is lost, the lock is taken again. Somebody else may have it by then, and both may coordinate for a moment:
// that is harmless, because every decision is compared and swapped.
func (p *postgresDB) own(ctx context.Context) (release func(), err error) {
	conn, err := p.lockOwner(ctx)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { p.keepOwning(ctx, conn) })
	return func() {
		stop()
		done.Wait()
	}, nil
}

func (p *postgresDB) lockOwner(ctx context.Context) (*pgx.Conn, error) {
	c := p.conn.Copy()
	host, _ := os.Hostname()
	c.RuntimeParams["application_name"] = fmt.Sprintf("wavelock: pid %d on %s", os.Getpid(), host)
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, &WriteError{Op: "lock the journal " + p.cfg.Path, Err: err}
	}
	var mine bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockOwner).Scan(&mine); err != nil {
		return nil, errors.Join(&WriteError{Op: "lock the journal " + p.cfg.Path, Err: err}, conn.Close(ctx))
	}
	if mine {
		return conn, nil
	}
	var holder string // who it is matters less than that there is one
	_ = conn.QueryRow(ctx, `SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND (l.classid::bigint << 32 | l.objid::bigint) = $1`, lockOwner).Scan(&holder)
	_ = conn.Close(ctx)
	return nil, &BusyError{Path: p.cfg.Path, Holder: strings.TrimPrefix(holder, "wavelock: ")}
}

func (p *postgresDB) keepOwning(ctx context.Context, conn *pgx.Conn) {
	const look = 2 * time.Second
	for ctx.Err() == nil {
		if conn == nil || !alive(ctx, conn) {
			if conn != nil {
				_ = conn.Close(context.WithoutCancel(ctx)) // it is lost
			}
			var err error
			if conn, err = p.lockOwner(ctx); err != nil && !lost(err) && ctx.Err() == nil { // that the server is gone others say
				p.cfg.Log.Warn("the lock of the coordinator was lost, and cannot be taken again yet", "err", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(look):
		}
	}
	if conn != nil {
		letGo(ctx, conn)
	}
}

// alive asks the server, and is not broken off: that would end the connection before the lock is given back.
func alive(ctx context.Context, conn *pgx.Conn) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return conn.Ping(ctx) == nil
}

// letGo gives a session's locks back before it ends. The server drops them with the session, too, but that may be after
// whoever comes next has asked for them.
func letGo(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock_all()") // a connection that is lost has no locks
	_ = conn.Close(ctx)
}

// takeUp leaves the jobs of others alone: they may be at work. See Orphans.
func (*postgresDB) takeUp(context.Context) error { return nil }

func (p *postgresDB) serve(ctx context.Context, cfg *river.Config) error {
	c, err := pgxpool.ParseConfig("")
	if err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	c.ConnConfig = p.conn.Copy()
	c.MaxConns = 8
	jobs, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), c)
	if err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	defer jobs.Close()
	client, err := river.NewClient(riverpgxv5.New(jobs), cfg)
	if err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	return serveUntil(ctx, client)
}

func (*postgresDB) oneView() *sql.TxOptions {
	return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
}
func (*postgresDB) shared() bool  { return true }
func (*postgresDB) clock() string { return "extract(epoch FROM now())::bigint" }
