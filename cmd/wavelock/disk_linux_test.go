package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDiskIsFull gives the database a disk of its own that is full before the campaign is at its end, and later
// read-only. The campaign stops with a sentence, and goes on when there is room.
func TestDiskIsFull(t *testing.T) {
	disk := t.TempDir()
	mount := func(flags uintptr, size string) error {
		return syscall.Mount("tmpfs", disk, "tmpfs", flags, "size="+size)
	}
	mayChangeSystem(t, func() error { return mount(0, "1600k") }) // a third of the log that SQLite keeps before it tidies up
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	const hosts = 12
	dir := t.TempDir()
	startLab(t, dir, hosts)
	rewrite(t, filepath.Join(dir, "wavelock.yaml"), func(text string) string {
		return killWaves(strings.Replace(text, "database: wavelock.db", "database: "+filepath.Join(disk, "wavelock.db"), 1))
	})
	plan := filepath.Join(dir, "spring.json")
	succeeds(t, dir, "assess", "--quiet")
	succeeds(t, dir, "plan", "--quiet", "--out", plan)
	refused := func(what, sentence string) {
		t.Helper()
		c := program(dir, "run", plan, "--yes", "--quiet")
		out, err := c.CombinedOutput()
		if err == nil || c.ProcessState.ExitCode() != exitError || !strings.Contains(string(out), sentence) || !strings.Contains(string(out), "wavelock: hint: ") {
			t.Fatalf("a run on a disk that is %s: %v\n%s", what, err, out)
		}
	}
	refused("full", "the disk is full")
	if got := outcomeOf(t, dir); got.Status == "finished" || got.Counts["done"] == 0 {
		t.Fatalf("the disk was not full in the middle of the campaign: %+v", got)
	}
	refused("full still", "the disk is full")
	if err := mount(syscall.MS_REMOUNT|syscall.MS_RDONLY, "50m"); err != nil {
		t.Fatal(err)
	}
	refused("read-only", "read-only")
	if err := mount(syscall.MS_REMOUNT, "50m"); err != nil {
		t.Fatal(err)
	}
	if out, err := program(dir, "run", plan, "--yes", "--quiet").CombinedOutput(); err != nil {
		t.Fatalf("with room again: %v\n%s", err, out)
	}
	if got := outcomeOf(t, dir); got.Status != "finished" || got.Counts["done"] != hosts {
		t.Errorf("it ends %+v", got)
	}
	succeeds(t, dir, "verify", "spring")
	succeeds(t, dir, "journal", "verify")
	auditSteps(t, dir, nil)
}
