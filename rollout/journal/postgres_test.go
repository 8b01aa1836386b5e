package journal

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"wavelock/rollout"
	"wavelock/rollout/journal/postgrestest"
)

// server is the one of this test process.
var server struct {
	sync.Once
	*postgrestest.Server
	err error
}

// onPostgres is a fresh database with the tables of the journal.
func onPostgres(t testing.TB) string {
	t.Helper()
	server.Do(func() {
		if server.Server, server.err = postgrestest.New(context.Background()); server.err != nil {
			return
		}
		var address string
		if address, server.err = server.Create(context.Background(), ""); server.err != nil {
			return
		}
		var j *Journal
		if j, server.err = Open(context.Background(), Config{Path: address}); server.err == nil {
			server.err = j.Close()
		}
	})
	if errors.Is(server.err, postgrestest.ErrMissing) && os.Getenv("WAVELOCK_REQUIRE_PEERS") == "" {
		t.Skip(server.err)
	}
	if server.err != nil {
		t.Fatal(server.err)
	}
	made.Lock() // a template can be copied by one at a time
	defer made.Unlock()
	address, err := server.Create(t.Context(), "test1")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

var made sync.Mutex

// TestOnPostgreSQL holds PostgreSQL to the same tests as SQLite: newJournal opens a database there for them.
func TestOnPostgreSQL(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"WhatIsWrittenIsReadBack":                TestWhatIsWrittenIsReadBack,
		"ChainIsWhatTheAuditorComputes":          TestChainIsWhatTheAuditorComputes,
		"ReaderMayStopAndWrite":                  TestReaderMayStopAndWrite,
		"PlanIsPartOfTheChain":                   TestPlanIsPartOfTheChain,
		"EventsAreNeverChanged":                  TestEventsAreNeverChanged,
		"BeforeImage":                            TestBeforeImage,
		"CampaignsAreCounted":                    TestCampaignsAreCounted,
		"KnownHosts":                             TestKnownHosts,
		"ClosedJournalRefuses":                   TestClosedJournalRefuses,
		"CancelledCallerWritesNothing":           TestCancelledCallerWritesNothing,
		"DecisionIsComparedAndSwapped":           TestDecisionIsComparedAndSwapped,
		"OverlappingTicksAreHarmless":            TestOverlappingTicksAreHarmless,
		"JobNeedsItsAction":                      TestJobNeedsItsAction,
		"ZombieIsRefused":                        TestZombieIsRefused,
		"RefusedNeighbourHarmsNobody":            TestRefusedNeighbourHarmsNobody,
		"ProjectionsAreTheFoldOfTheEvents":       TestProjectionsAreTheFoldOfTheEvents,
		"EventThatIsNoJSONIsRefusedAlone":        TestEventThatIsNoJSONIsRefusedAlone,
		"WorkServesItsZones":                     TestWorkServesItsZones,
		"EndWaitsForJobsInFlight":                TestEndWaitsForJobsInFlight,
		"PanicEndsTheWorkAndLosesNothing":        TestPanicEndsTheWorkAndLosesNothing,
		"ExportIsTheChain":                       TestExportIsTheChain,
		"EveryFlippedByteOfAnExportIsLocated":    TestEveryFlippedByteOfAnExportIsLocated,
		"HistoryHasEveryChangeOnce":              TestHistoryHasEveryChangeOnce,
		"TwoProcessesWriteOneChain":              TestTwoProcessesWriteOneChain,
		"SecondOwnerIsRefused":                   TestSecondOwnerIsRefused,
		"SnapshotAndTailAreTheWhole":             TestSnapshotAndTailAreTheWhole,
		"ForgedSnapshotIsNotBelieved":            TestForgedSnapshotIsNotBelieved,
		"WorkersAreListedWhileTheyWork":          TestWorkersAreListedWhileTheyWork,
		"Census":                                 TestCensus,
		"Standing":                               TestStanding,
		"WhatACampaignLeavesIsTheBaseline":       TestWhatACampaignLeavesIsTheBaseline,
		"SomeRecordsOfOneHostLeaveTheNewestOnly": TestSomeRecordsOfOneHostLeaveTheNewestOnly,
	} {
		t.Run(name, test)
	}
}

func TestBothKindsHaveTheSameMigrations(t *testing.T) {
	t.Parallel()
	names := func(dir string) (all []string) {
		files, err := migrations.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !f.IsDir() {
				all = append(all, f.Name())
			}
		}
		return all
	}
	if a, b := names("migrations"), names("migrations/postgres"); !slices.Equal(a, b) || len(a) == 0 {
		t.Errorf("SQLite has %v, PostgreSQL %v", a, b)
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://w:geheim@db.example/wavelock?sslmode=disable": "not always, be encrypted",
		"postgres://w:geheim@db.example/wavelock":                 "would not be checked", // prefer is the default
		"postgres://w:geheim@db.example/wavelock?sslmode=allow":   "not always, be encrypted",
		"postgres://w:geheim@db.example/wavelock?sslmode=require": "would not be checked",
		"postgres://w:geheim@db.example:port/wavelock":            "not like postgres://",
	} {
		_, err := Open(t.Context(), Config{Path: address})
		var a *AddressError
		if !errors.As(err, &a) || !strings.Contains(err.Error(), want) || a.Hint() == "" || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"postgres://w@db.example/wavelock?sslmode=verify-full", "postgres://w@127.0.0.1/wavelock?sslmode=disable", "postgres://w@/wavelock?host=/run/postgresql"} {
		if _, err := newPostgres(Config{Path: address}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestServerThatIsNotThereIsSaid(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{Path: "postgres://w:geheim@127.0.0.1:1/wavelock?sslmode=disable"})
	var werr *WriteError
	if !errors.As(err, &werr) || !strings.Contains(err.Error(), "cannot be reached") || werr.Hint() == "" || strings.Contains(err.Error(), "geheim") || !Passing(err) {
		t.Errorf("got %v", err)
	}
	onPostgres(t)
	_, err = Open(t.Context(), Config{Path: server.Address("nothing")})
	if !errors.As(err, &werr) || !strings.Contains(err.Error(), "no such database") {
		t.Errorf("got %v", err)
	}
}

func TestNewerAndForeignDatabasesOnPostgreSQLAreRefused(t *testing.T) {
	t.Parallel()
	address := onPostgres(t)
	j := openAt(t, address)
	j.exec(t, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)")
	var v *VersionError
	if _, err := Open(t.Context(), Config{Path: address}); !errors.As(err, &v) || v.Have != 99 || v.Hint() == "" {
		t.Errorf("got %v", err)
	}
	other, err := server.Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	sqlOn(t, other, "CREATE TABLE recipes (name TEXT)")
	var f *ForeignError
	if _, err := Open(t.Context(), Config{Path: other}); !errors.As(err, &f) {
		t.Errorf("got %v", err)
	}
}

func sqlOn(t *testing.T, address, query string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

func TestOlderTablesOnPostgreSQLAreCopiedFirst(t *testing.T) {
	t.Parallel()
	onPostgres(t) // starts the server
	address, err := server.Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPostgres(Config{Path: address})
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDB(*p.conn)
	defer db.Close()
	m, err := p.migrator(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.goose.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	sqlOn(t, address, `INSERT INTO host (id, class, seen, body) VALUES ('old.corp.example', 'both', '2025-01-01T00:00:00.000000000Z', '{"host":{"id":"old.corp.example"}}')`)
	j := openAt(t, address)
	if hosts, err := j.Hosts(t.Context()); err != nil || len(hosts) != 1 {
		t.Errorf("%d hosts, %v", len(hosts), err)
	}
	if n := j.count(t, "SELECT count(*) FROM wavelock_v1_20261123t120000.host"); n != 1 {
		t.Errorf("the copy has %d hosts", n)
	}
}

// TestOrphansAreTheActionsOfTheDead: a worker that is alive keeps its jobs, those of a dead one and those that are lost
// are found, and a queued one is nobody's orphan.
func TestOrphansAreTheActionsOfTheDead(t *testing.T) {
	t.Parallel()
	j := openAt(t, onPostgres(t))
	create(t, j, "spring", 4)
	give(t, j, "spring", 0, 4, 1)
	j.exec(t, "INSERT INTO worker (id, zones, beat) VALUES ('alive', '[]', extract(epoch FROM now())), ('dead', '[]', extract(epoch FROM now()) - 13)")
	j.exec(t, "UPDATE river_job SET state = 'running', attempted_by = '{dead,alive}' WHERE args->>'host' = $1", string(hostName(0)))
	j.exec(t, "UPDATE river_job SET state = 'running', attempted_by = '{alive,dead}' WHERE args->>'host' = $1", string(hostName(1)))
	j.exec(t, "DELETE FROM river_job WHERE args->>'host' = $1", string(hostName(2)))
	jobs, err := j.Orphans(t.Context(), "spring")
	if err != nil || len(jobs) != 2 || jobs[0].Host != hostName(1) || jobs[1].Host != hostName(2) || jobs[0].Attempt != 1 || jobs[0].Zone != threeZones[1] {
		t.Errorf("%+v, %v", jobs, err)
	}
}

// TestTheCoordinatorsLockIsFreeAtOnce: who comes next finds it free, after the command that has made the tables and after one that has run.
func TestTheCoordinatorsLockIsFreeAtOnce(t *testing.T) {
	t.Parallel()
	address := onPostgres(t)
	one, two := openAt(t, address), openAt(t, address)
	for i := range 600 {
		release, err := one.Own(t.Context())
		if err != nil {
			t.Fatalf("after %d times: %v", i, err)
		}
		release()
		one, two = two, one
	}
}

// TestServerThatRestarts: what is asked meanwhile fails with an error of the kind that passes, and the same journal goes on.
func TestServerThatRestarts(t *testing.T) {
	t.Parallel()
	own, err := postgrestest.New(t.Context())
	if errors.Is(err, postgrestest.ErrMissing) && os.Getenv("WAVELOCK_REQUIRE_PEERS") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	j := openAt(t, own.Address("postgres"))
	create(t, j, "spring", 1)
	release, err := j.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := own.Stop(); err != nil {
		t.Fatal(err)
	}
	_, err = j.Append(t.Context(), said("spring", rollout.EvPaused))
	var werr *WriteError
	if !errors.As(err, &werr) || !Passing(err) || werr.Hint() == "" {
		t.Errorf("append without a server: %v", err)
	}
	if _, _, err := j.Position(t.Context(), "spring"); !Passing(err) {
		t.Errorf("read without a server: %v", err)
	}
	if err := own.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		if _, err = j.Append(t.Context(), said("spring", rollout.EvPaused)); err == nil || !Passing(err) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Error(err)
	}
	// The lock of the coordinator is taken again.
	other := openAt(t, own.Address("postgres"))
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		let, err := other.Own(t.Context())
		var busy *BusyError
		if errors.As(err, &busy) {
			return
		}
		if err == nil {
			let()
		}
	}
	t.Error("after the restart nobody is the coordinator")
}
