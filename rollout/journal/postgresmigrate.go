package journal

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// migrate brings an older or empty database up to date, under a lock that other processes wait for.
func (p *postgresDB) migrate(ctx context.Context) error {
	db := stdlib.OpenDB(*p.conn)
	defer db.Close()
	m, err := p.migrator(db)
	if err != nil {
		return err
	}
	if done, err := m.current(ctx); done || err != nil {
		return err
	}
	lock, err := pgx.ConnectConfig(ctx, p.conn.Copy())
	if err != nil {
		return &WriteError{Op: "migrate the journal " + p.cfg.Path, Err: err}
	}
	defer letGo(ctx, lock)
	if err := p.awaitLock(ctx, lock); err != nil {
		return err
	}
	return m.up(ctx)
}

func (p *postgresDB) migrator(db *sql.DB) (*migrator, error) {
	return schemaKind{
		dialect: goose.DialectPostgres, folder: "migrations/postgres", river: p.migrateRiver, backUp: (*migrator).backUpSchema,
		ours: "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = 'goose_db_version'",
		tables: `SELECT count(*), count(*) FILTER (WHERE table_name = 'event') FROM information_schema.tables
			WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name <> 'goose_db_version'`,
	}.migrator(p.cfg, db)
}

// awaitLock waits for others that migrate, and refuses to change tables that a coordinator works on.
func (p *postgresDB) awaitLock(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		var alone, idle bool
		err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockMigrate).Scan(&alone)
		if err == nil && alone {
			err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockOwner).Scan(&idle)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return &BusyError{Path: p.cfg.Path}
		case err != nil:
			return &WriteError{Op: "migrate the journal " + p.cfg.Path, Err: err}
		case alone && idle:
			return nil
		case alone:
			if _, err := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", lockMigrate); err != nil {
				return &WriteError{Op: "migrate the journal " + p.cfg.Path, Err: err}
			}
		}
		select {
		case <-ctx.Done():
			return &BusyError{Path: p.cfg.Path}
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// migrateRiver makes the queue's tables. What it finds made it leaves.
func (p *postgresDB) migrateRiver(ctx context.Context, _ *sql.DB) error {
	c, err := pgxpool.ParseConfig("")
	if err != nil {
		return err
	}
	c.ConnConfig = p.conn.Copy()
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return err
	}
	defer pool.Close()
	return migrateRiver(ctx, riverpgxv5.New(pool))
}

// backUpSchema copies the tables of an older schema into a schema beside it, in one transaction.
func (m *migrator) backUpSchema(ctx context.Context) (err error) {
	to := fmt.Sprintf("wavelock_v%d_%s", m.have, m.cfg.Now().UTC().Format("20060102t150405"))
	fail := func(err error) error { return &WriteError{Op: "copy the older tables into the schema " + to, Err: err} }
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the copy failed already
		}
	}()
	tables, err := tablesOf(ctx, tx)
	if err != nil {
		return fail(err)
	}
	if _, err = tx.ExecContext(ctx, "CREATE SCHEMA "+to); err != nil {
		return fail(err)
	}
	for _, t := range tables {
		if _, err = tx.ExecContext(ctx, "CREATE TABLE "+to+"."+t+" AS TABLE "+t); err != nil {
			return fail(err)
		}
	}
	if err = tx.Commit(); err != nil {
		return fail(err)
	}
	m.cfg.Log.Info("the older tables were copied before their migration", "schema", to)
	return nil
}

// tablesOf are the quoted names of the journal's tables.
func tablesOf(ctx context.Context, tx *sql.Tx) ([]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, rows.Err()
}
