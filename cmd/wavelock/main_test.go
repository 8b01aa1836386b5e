package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be the program, so that the demo can start and
// kill a controller of its own.
func TestMain(m *testing.M) {
	ellipsis = func() string { return "…" } // whatever the machine's locale is
	if os.Getenv("WAVELOCK_TEST_MAIN") != "" {
		main() // as users run it, with the garbage collector that main chooses
	}
	testscript.Main(m, map[string]func(){"wavelock": main})
}

// wavelock runs the program as a user does.
func wavelock(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestDemoTellsTheTruth(t *testing.T) {
	t.Setenv("WAVELOCK_TEST_MAIN", "1")
	dir := t.TempDir()
	code, out, errs := wavelock(t, "demo", "--hosts", "20", "--dir", dir)
	if code != exitOK || strings.Contains(out, "WRONG") {
		t.Fatalf("the demo ended with %d\n%s\n%s", code, out, errs)
	}
	for _, want := range []string{"is back at its before-image", "5985 answers again", "gpo-owned-listener", "http-client-active", "wrong-host", "no computer is shut on both doors"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not say %q", want)
		}
	}
	secret, err := os.ReadFile(filepath.Join(dir, "password"))
	if err != nil {
		t.Fatal(err)
	}
	if s := strings.TrimSpace(string(secret)); strings.Contains(out+errs, s) {
		t.Error("the password is in the output")
	}
	config := []string{"--config", filepath.Join(dir, "wavelock.yaml")}
	t.Run("an edited plan is refused", func(t *testing.T) {
		plan := filepath.Join(dir, "spring.json")
		b, err := os.ReadFile(plan)
		if err != nil {
			t.Fatal(err)
		}
		edited := filepath.Join(dir, "edited.json")
		if err := os.WriteFile(edited, bytes.Replace(b, []byte(`"in_flight": 1`), []byte(`"in_flight": 9`), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, errs := wavelock(t, append(config, "run", edited, "--yes")...); code != exitPlan || !strings.Contains(errs, "was edited") {
			t.Errorf("exit %d: %s", code, errs)
		}
	})
	t.Run("report has the counts by class", func(t *testing.T) {
		code, out, errs := wavelock(t, append(config, "report", "-o", "json")...)
		if code != exitOK {
			t.Fatalf("exit %d: %s", code, errs)
		}
		for _, want := range []string{`"hosts": 20`, `"https-only":`, `"both":`, `"http-only":`, `"none":`, `"unknown":`} {
			if !strings.Contains(out, want) {
				t.Errorf("the report has no %s", want)
			}
		}
	})
	t.Run("an unknown campaign is named", func(t *testing.T) {
		if code, _, errs := wavelock(t, append(config, "status", "autumn")...); code != exitError || !strings.Contains(errs, `"autumn"`) {
			t.Errorf("exit %d: %s", code, errs)
		}
	})
	t.Run("an unreachable directory has its own exit code", func(t *testing.T) {
		if code, _, errs := wavelock(t, append(config, "discover")...); code != exitUnreachable || !strings.Contains(errs, "hint:") {
			t.Errorf("exit %d: %s", code, errs)
		}
	})
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	good := "directory: {urls: [ldaps://dc1.corp.example], credential: d}\ncredentials:\n  d: {kind: ntlm, user: CORP\\a}\n"
	for name, c := range map[string]struct {
		yaml string
		args []string
		code int
		want string
	}{
		"a missing configuration says how to get one":    {"", []string{"assess", "--config", "nowhere.yaml"}, exitUsage, "wavelock lab up"},
		"an unknown key has its line and column":         {good + "polcy: 1\n", []string{"assess"}, exitUsage, "[4:1]"},
		"an ill-typed value has its line and column":     {good + "limits: {parallel: many}\n", []string{"assess"}, exitUsage, "[4:"},
		"a duration that is none is named":               {good + "policy: {undo_after: soon}\n", []string{"assess"}, exitUsage, "soon"},
		"a credential that is not there is named":        {strings.Replace(good, "credential: d", "credential: e", 1), []string{"assess"}, exitUsage, `"e"`},
		"no way back is no policy":                       {good + "policy: {undo_after: 0s}\n", []string{"assess"}, exitUsage, "undo_after"},
		"a plan that is not there is named":              {good, []string{"run", "nowhere.json"}, exitUsage, "nowhere.json"},
		"the dashboard does not listen to the network":   {good, []string{"serve", "--listen", "0.0.0.0:1"}, exitUsage, "no authentication"},
		"an unknown output is refused":                   {good, []string{"report", "-o", "xml"}, exitUsage, "table, json, yaml or csv"},
		"a missing argument is named":                    {good, []string{"pause"}, exitUsage, "the name of a campaign"},
		"an unknown fault of the lab is refused":         {good, []string{"lab", "up", "--fault", "gremlins:2"}, exitUsage, "gremlins"},
		"a password nobody can be asked for is an error": {good, []string{"discover"}, exitUsage, "no password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := c.args
			if c.yaml != "" {
				file := filepath.Join(t.TempDir(), "wavelock.yaml")
				if err := os.WriteFile(file, []byte(c.yaml), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--config", file)
			}
			code, _, errs := wavelock(t, args...)
			if code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, want %d; %q should say %q", code, c.code, errs, c.want)
			}
		})
	}
}
