package journal

import (
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

// TestRiverSchemaIsTheNewest fails when River is updated to a version with newer
// tables: they need a migration of ours.
func TestRiverSchemaIsTheNewest(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	m, err := rivermigrate.New(riversqlite.New(j.write.DB), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if all := m.AllVersions(); all[len(all)-1].Version != riverSchema {
		t.Errorf("River knows version %d of its tables, we make %d", all[len(all)-1].Version, riverSchema)
	}
	if res, err := m.Validate(t.Context(), nil); err != nil || !res.OK {
		t.Errorf("River's tables: %v, %v", res, err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wavelock.db")
	j := openAt(t, path)
	create(t, j, "spring", 1)
	j.exec(t, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v *VersionError
	if _, err := Open(t.Context(), Config{Path: path}); !errors.As(err, &v) || v.Have != 99 || v.Hint() == "" {
		t.Fatalf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the newer database was changed, %v", err)
	}
}

// older makes a database as the first version of the schema left it.
func older(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wavelock.db")
	db := open(path)
	defer db.Close()
	m, err := newMigrator(Config{Path: path}, db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.goose.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO host VALUES ('old.corp.example', 'both', '2025-01-01T00:00:00.000000000Z', cast('{\"host\":{\"id\":\"old.corp.example\"}}' AS blob))"); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOlderSchemaIsCopiedThenMigrated(t *testing.T) {
	t.Parallel()
	path := older(t)
	j := openAt(t, path)
	if hosts, err := j.Hosts(t.Context()); err != nil || len(hosts) != 1 || hosts[0].Host.ID != "old.corp.example" {
		t.Errorf("what was there is lost: %v, %v", hosts, err)
	}
	create(t, j, "spring", 1)
	copied, err := filepath.Glob(path + ".v*")
	if err != nil || len(copied) != 1 || copied[0] != path+".v1-20261123T120000" {
		t.Fatalf("copies %v, %v", copied, err)
	}
	db, err := sql.Open("sqlite", copied[0])
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var version, hosts int
	if err := db.QueryRow("SELECT (SELECT max(version_id) FROM goose_db_version), (SELECT count(*) FROM host)").Scan(&version, &hosts); err != nil || version != 1 || hosts != 1 {
		t.Errorf("the copy has schema %d and %d hosts, %v", version, hosts, err)
	}
}

func TestMigrationWaitsForNoOwner(t *testing.T) {
	t.Parallel()
	path := older(t)
	lock, err := lockFile(path) // an older program works on it
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		j, err := Open(t.Context(), Config{Path: path})
		if err == nil {
			err = j.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("the tables were changed under the owner: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	unlockFile(lock)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestManyOpenAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wave lock#1%?.db") // a name that is no good URI
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			j, err := Open(t.Context(), Config{Path: path})
			if err != nil {
				t.Error(err)
				return
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
