package journal

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql migrations/postgres/*.sql
var migrations embed.FS

// riverSchema is the version of the queue's tables that version 2 of ours makes.
// A newer River that wants newer tables gets a migration of its own here, so that
// the copy and the refusal of newer databases hold for its tables too.
const riverSchema = 8

// errOlder is for who wanted the database as it is.
var errOlder = errors.New("the database has an older schema, which was to be left as it is")

// migrate brings an older or empty database up to date. It works under the lock of
// the owner: nobody runs a campaign on tables that change.
func migrate(ctx context.Context, cfg Config) error {
	db := open(cfg.Path)
	defer db.Close()
	db.SetMaxOpenConns(2) // the queue's migration has a connection of its own beside goose's
	m, err := newMigrator(cfg, db)
	if err != nil {
		return err
	}
	if cfg.AsIs {
		if ok, err := m.current(ctx); err != nil || ok {
			return err
		}
		return errOlder
	}
	lock, err := awaitLock(ctx, cfg.Path, func() (bool, error) { return m.current(ctx) })
	if err != nil || lock == nil {
		return err
	}
	defer unlockFile(lock)
	return m.up(ctx)
}

type migrator struct {
	kind   schemaKind
	cfg    Config
	db     *sql.DB
	goose  *goose.Provider
	newest int64
	have   int64
}

// schemaKind is what differs between the kinds of database when their tables are made. Both have the same versions.
type schemaKind struct {
	dialect goose.Dialect
	folder  string
	river   func(context.Context, *sql.DB) error // makes the queue's tables
	ours    string                               // how many tables of goose there are: 1 or 0
	tables  string                               // how many other tables there are, and how many of them are named event
	backUp  func(*migrator, context.Context) error
	prepare string // before the first migration
}

func newMigrator(cfg Config, db *sql.DB) (*migrator, error) {
	return schemaKind{
		dialect: goose.DialectSQLite3, folder: "migrations", river: riverOnSQLite, backUp: (*migrator).backUpFile,
		ours:   "SELECT count(*) FROM sqlite_schema WHERE name = 'goose_db_version'",
		tables: "SELECT count(*), coalesce(sum(name = 'event'), 0) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'goose_db_version'",
		// The mode is kept in the file. Here nobody else can be changing it.
		prepare: "PRAGMA journal_mode = WAL",
	}.migrator(cfg, db)
}

func (k schemaKind) migrator(cfg Config, db *sql.DB) (*migrator, error) {
	files, err := fs.Sub(migrations, k.folder)
	if err != nil {
		return nil, &ReadError{"read the migrations", err}
	}
	queue := goose.NewGoMigration(2, &goose.GoFunc{RunDB: k.river}, nil)
	p, err := goose.NewProvider(k.dialect, db, files, goose.WithGoMigrations(queue),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, &ReadError{"read the migrations", err}
	}
	all := p.ListSources()
	return &migrator{kind: k, cfg: cfg, db: db, goose: p, newest: all[len(all)-1].Version}, nil
}

func riverOnSQLite(ctx context.Context, db *sql.DB) error {
	return migrateRiver(ctx, riversqlite.New(db))
}

// migrateRiver makes the queue's tables. What it finds made it leaves.
func migrateRiver[Tx any](ctx context.Context, driver riverdriver.Driver[Tx]) error {
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	have, err := m.ExistingVersions(ctx)
	if err != nil || (len(have) > 0 && have[len(have)-1].Version >= riverSchema) {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{TargetVersion: riverSchema})
	return err
}

// current reports whether there is nothing to do. It changes nothing.
func (m *migrator) current(ctx context.Context) (bool, error) {
	var ours int64
	err := m.db.QueryRowContext(ctx, m.kind.ours).Scan(&ours)
	if err == nil && ours == 1 {
		err = m.db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&m.have)
	}
	switch {
	case err != nil:
		return false, &WriteError{Op: "open the journal " + m.cfg.Path, Err: err}
	case m.have > m.newest:
		return false, &VersionError{Path: m.cfg.Path, Have: m.have, Known: m.newest}
	}
	return m.have == m.newest, nil
}

// foreign reports whether there are tables, and not ours. It is asked under the
// lock: else it could see the tables that another process is making.
func (m *migrator) foreign(ctx context.Context) (bool, error) {
	var tables, events int64
	err := m.db.QueryRowContext(ctx, m.kind.tables).Scan(&tables, &events)
	if err != nil {
		return false, &WriteError{Op: "open the journal " + m.cfg.Path, Err: err}
	}
	return (tables > 0 || m.have > 0) && events == 0, nil
}

func (m *migrator) up(ctx context.Context) error {
	if done, err := m.current(ctx); done || err != nil {
		return err // another process was faster
	}
	switch foreign, err := m.foreign(ctx); {
	case err != nil:
		return err
	case foreign:
		return &ForeignError{Path: m.cfg.Path}
	}
	if m.have > 0 {
		if err := m.kind.backUp(m, ctx); err != nil {
			return err
		}
	}
	if m.kind.prepare != "" {
		if _, err := m.db.ExecContext(ctx, m.kind.prepare); err != nil {
			return &WriteError{Op: "migrate the journal " + m.cfg.Path, Err: err}
		}
	}
	if _, err := m.goose.Up(ctx); err != nil {
		return &WriteError{Op: "migrate the journal " + m.cfg.Path, Err: err}
	}
	return nil
}

// backUpFile copies an older database before it is changed.
func (m *migrator) backUpFile(ctx context.Context) error {
	to := fmt.Sprintf("%s.v%d-%s", m.cfg.Path, m.have, m.cfg.Now().UTC().Format("20060102T150405"))
	fail := func(err error) error { return &WriteError{Op: "copy the older database to " + to, Err: err} }
	if _, err := m.db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return fail(err)
	}
	f, err := os.OpenFile(to, os.O_RDWR, 0)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if err := f.Chmod(0o600); err != nil {
		return fail(err)
	}
	if err := f.Sync(); err != nil { // VACUUM INTO leaves that to us
		return fail(err)
	}
	m.cfg.Log.Info("the older database was copied before its migration", "copy", to)
	return nil
}
