package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"wavelock/rollout"
)

// fileOf writes what was made up where the program reads it.
func fileOf(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// hasHint: an error about somebody's file says what to do.
func hasHint(t *testing.T, err error) {
	t.Helper()
	var h interface{ Hint() string }
	if !errors.As(err, &h) || h.Hint() == "" {
		t.Errorf("no hint for %v", err)
	}
}

// FuzzConfig: a configuration is refused or can be used, and what stands where people put passwords is not shown.
func FuzzConfig(f *testing.F) {
	const good = "directory: {urls: [ldaps://dc1.corp.example], credential: d}\ncredentials:\n  d: {kind: ntlm, user: CORP\\a, password_file: pw}\n"
	for _, more := range []string{"", "limits: {parallel: many}\n", "policy: {undo_after: soon}\n", "waves: [{count: -1}]\n", "a: &a [*a]\n", "tiers: [{ou: \"OU=\\\\\", credential: d}]\n",
		"database: mysql://u:p@h/d\n", "hooks: [{on: [event], url: \"https://h\"}]\n", "maintenance: {windows: [{days: [mon]}]}\n", "directory: [\n"} {
		f.Add(good+more, "hunter-22")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text, secret string) {
		if cfg, err := loadConfig(fileOf(t, dir, "wavelock.yaml", []byte(text))); err != nil {
			hasHint(t, err)
		} else if cfg.Limits.Parallel < 1 || cfg.Policy.Validate() != nil {
			t.Errorf("believed: %q", text)
		}
		if len(secret) < 6 || strings.ContainsFunc(secret, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' }) || strings.Contains(text+good+dir, secret) {
			return
		}
		_, err := loadConfig(fileOf(t, dir, "wavelock.yaml", []byte(strings.Replace(good, "password_file: pw", "password: "+secret, 1)+text)))
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("the secret is taken or shown: %v", err)
		}
	})
}

// FuzzPlanFile: what is believed can be decided on, and is written again as it was.
func FuzzPlanFile(f *testing.F) {
	p := rollout.Plan{Version: rollout.PlanVersion, ID: "spring", Made: time.Unix(0, 0).UTC(), Goal: rollout.GoalClose, Policy: rollout.DefaultPolicy()}
	for _, text := range []string{"{}", `{"hash":"0"}`, `{"hash":"0","plan":{"waves":[{}]}}`} {
		f.Add([]byte(text))
	}
	if b, err := json.Marshal(planFile{Plan: p, Hash: p.Hash()}); err == nil {
		f.Add(b)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		var made planFile
		if json.Unmarshal(b, &made) == nil { // somebody who can count a hash can write any plan
			made.Hash = made.Plan.Hash()
			if again, err := json.Marshal(made); err == nil {
				b = again
			}
		}
		p, err := readPlan(fileOf(t, dir, "plan.json", b))
		if err != nil {
			hasHint(t, err)
			return
		}
		s := rollout.NewState(&p)
		rollout.Decide(&p, s, p.Made)
		rollout.NewView(&p, s, p.Made)
	})
}

// FuzzLists: a list of computers and a file of proofs are read or refused.
func FuzzLists(f *testing.F) {
	for _, text := range []string{"host\nweb01\n", "\ufeffname,ou\nweb01,x\n\n", "# none\n", "\"", `{"format":"` + probeFormat + `"}`, "a,b\nc"} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		cfg := Config{Select: Select{List: fileOf(t, dir, "hosts.csv", b)}}
		names, err := cfg.listed()
		if err != nil {
			hasHint(t, err)
		}
		for _, n := range names {
			if n == "" || n != strings.TrimSpace(n) {
				t.Errorf("a computer is called %q", n)
			}
		}
		if _, err := readProbes(fileOf(t, dir, "proofs.json", b)); err != nil {
			hasHint(t, err)
		}
	})
}

// FuzzDistributionPoint: a certificate does not choose whom our credential is shown to.
func FuzzDistributionPoint(f *testing.F) {
	f.Add("ldap:///CN=ca,CN=CDP,DC=corp,DC=example?certificateRevocationList?base?objectClass=cRLDistributionPoint")
	f.Add("ldap://evil.example/CN=ca?a")
	f.Add("ldap:///%zz")
	f.Fuzz(func(t *testing.T, address string) {
		if dn, attribute, err := distributionPoint(address); err == nil && (dn == "" || attribute == "") {
			t.Errorf("%q: %q, %q", address, dn, attribute)
		}
	})
}
