package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

func kept(t *testing.T) *sql.DB {
	t.Helper()
	db := open(filepath.Join(t.TempDir(), "kept.db"))
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.Exec("CREATE TABLE n (id INTEGER PRIMARY KEY, square INTEGER NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := db.Exec("INSERT INTO n (id, square) VALUES (?, ?)", i, i*i); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// A statement whose rows are being read is asked once more on the same connection, and again when they were.
func TestKeptStatementWithinItself(t *testing.T) {
	t.Parallel()
	db := kept(t)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const query = "SELECT id, square FROM n WHERE id >= ? ORDER BY id"
	read := func(from int, each func(id int)) {
		t.Helper()
		rows, err := conn.QueryContext(t.Context(), query, from)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		next := from
		for rows.Next() {
			var id, square int
			if err := rows.Scan(&id, &square); err != nil || id != next || square != id*id {
				t.Fatalf("row %d is %d, %d: %v", next, id, square, err)
			}
			next++
			each(id)
		}
		if rows.Err() != nil || next != 5 {
			t.Fatalf("it ends before row %d: %v", next, rows.Err())
		}
	}
	for range 3 {
		read(0, func(id int) { read(id, func(int) {}) })
	}
	var first int
	if err := conn.QueryRowContext(t.Context(), query, 0).Scan(&first, &first); err != nil { // given up in the middle
		t.Fatal(err)
	}
	read(0, func(int) {})
}

func TestKeptStatementAfterAnError(t *testing.T) {
	t.Parallel()
	db := kept(t)
	const insert = "INSERT INTO n (id, square) VALUES (?, ?)"
	for range 3 {
		if _, err := db.Exec(insert, 1, 1); err == nil {
			t.Fatal("a key was written twice")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.ExecContext(ctx, insert, 6, 36); !errors.Is(err, context.Canceled) {
		t.Fatalf("with a context that has ended: %v", err)
	}
	if _, err := db.Exec(insert, 5, 25); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("ALTER TABLE n ADD COLUMN cube INTEGER NOT NULL DEFAULT 7"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(insert, 6, 36); err != nil { // compiled for the former table
		t.Fatal(err)
	}
	var sum, cubes int
	if err := db.QueryRow("SELECT sum(square), sum(cube) FROM n").Scan(&sum, &cubes); err != nil || sum != 0+1+4+9+16+25+36 || cubes != 49 {
		t.Errorf("%d, %d, %v", sum, cubes, err)
	}
}

func TestKeptStatementsAreBounded(t *testing.T) {
	t.Parallel()
	db := kept(t)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 3 * mostKept {
		var square int
		if err := conn.QueryRowContext(t.Context(), fmt.Sprintf("SELECT square + %d FROM n WHERE id = ?", i), 3).Scan(&square); err != nil || square != 9+i {
			t.Fatalf("%d, %v", square, err)
		}
	}
	err = conn.Raw(func(c any) error {
		if n := len(c.(*keepingConn).kept); n > mostKept {
			return fmt.Errorf("%d statements are kept", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
