package main

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnOlderProgramsCampaignGoesOn takes up a campaign that the binary of an older schema began and did not end, ends
// it, and runs another in the same database.
func TestAnOlderProgramsCampaignGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	startLab(t, dir, 6)
	rewrite(t, filepath.Join(dir, "wavelock.yaml"), killWaves)
	database, plan := filepath.Join(dir, "wavelock.db"), filepath.Join(dir, "spring.json")
	unzip(t, "../../testdata/upgrade/wavelock.db.gz", database)
	text, err := os.ReadFile("../../testdata/upgrade/spring.json")
	if err == nil {
		err = os.WriteFile(plan, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}

	// Without --yes: what the older program had approved is approved still. The plan holds the root of the lab that it
	// was made for, and this lab has another: the computer in flight is inspected, secured, not believed, and put back.
	out, err := program(dir, "run", plan).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "web01.corp.example restore: restored") {
		t.Fatalf("the older program's campaign under the newer one: %v\n%s", err, out)
	}
	if got := outcomeOf(t, dir); got.Status != "halted" {
		t.Errorf("it is %+v", got)
	}
	summer := filepath.Join(dir, "summer.json")
	for _, args := range [][]string{{"abort", "spring", "--yes"}, {"run", plan}, {"assess", "--quiet"}, {"plan", "--out", summer},
		{"run", summer, "--yes", "--quiet"}, {"verify", "summer"}, {"journal", "verify"}} {
		if out, err := program(dir, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	if copied, err := filepath.Glob(database + ".v2-*"); err != nil || len(copied) != 1 {
		t.Errorf("copies of the older database: %v, %v", copied, err)
	}
}

func unzip(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
