package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// evidenceJournal has three hosts, of names that files and spreadsheets stumble
// over, and a campaign.
func evidenceJournal(t *testing.T) (*app, *strings.Builder, *journal.Journal, time.Time) {
	t.Helper()
	var out strings.Builder
	a := newApp(strings.NewReader(""), &out, &strings.Builder{})
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	a.now = func() time.Time { return now }
	j, err := journal.Open(t.Context(), journal.Config{Path: filepath.Join(t.TempDir(), "w.db"), Policy: rollout.DefaultPolicy(), Now: a.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	save := func(host rollout.HostID, ou string, class rollout.Class, days int) {
		at := now.AddDate(0, 0, days)
		if err := j.SaveHosts(t.Context(), []journal.Record{{Host: rollout.Host{ID: host, OU: ou}, Class: class, SeenAt: at, Observation: &rollout.Observation{Host: host, At: at, Via: rollout.HTTP}}}); err != nil {
			t.Fatal(err)
		}
	}
	save("a.corp.example", `corp.example/"Web", <b>`, rollout.ClassHTTPOnly, -20)
	save("=cmd|'x'!a1.corp.example", "@SUM(a)", rollout.ClassBoth, -20)
	save("h1.corp.example", "'quoted", rollout.ClassHTTPOnly, -10)
	save("a.corp.example", `corp.example/"Web", <b>`, rollout.ClassHTTPSOnly, -5)
	register(t, j, now.AddDate(0, 0, -8))
	return a, &out, j, now
}

func TestReportFitsTheJournalInEveryForm(t *testing.T) {
	t.Parallel()
	a, out, j, now := evidenceJournal(t)
	schema := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(reportSchema))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.AddResource("report.json", doc); err != nil {
		t.Fatal(err)
	}
	schema.AssertFormat()
	s, err := schema.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{".json", ".html", ".csv"} {
		for name, at := range map[string]time.Time{"now": now, "past": now.AddDate(0, 0, -7)} {
			file := filepath.Join(t.TempDir(), "r"+ext)
			if err := a.writeEvidence(t.Context(), j, file, at, name == "now"); err != nil {
				t.Fatalf("%s %s: %v", name, ext, err)
			}
			if err := a.verifyEvidence(t.Context(), j, file); err != nil {
				t.Errorf("%s %s: %v\n%s", name, ext, err, out)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			e, err := evidenceFormats[ext].read(b)
			https := 1
			if name == "past" {
				https = 0
			}
			if err != nil || e.Hosts != 3 || e.Classes[rollout.ClassHTTPSOnly] != https || len(e.History.Hash) != 64 {
				t.Errorf("%s %s: %+v, %v", name, ext, e, err)
			}
			switch ext {
			case ".json":
				v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
				if err == nil {
					err = s.Validate(v)
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			case ".html":
				if text := string(b); strings.Contains(text, "<b>\",") || strings.Contains(text, "http://") || strings.Contains(text, "<script") || strings.Contains(text, "ZgotmplZ") {
					t.Error("the page is not self-contained, or carries markup of a host")
				}
			case ".csv":
				if strings.Contains(string(b), "\n=cmd") {
					t.Error("a spreadsheet would run a host's name")
				}
			}
		}
	}
}

// TestForgedReportsAreFound changes one thing of a report at a time.
func TestForgedReportsAreFound(t *testing.T) {
	t.Parallel()
	a, out, j, now := evidenceJournal(t)
	good, err := a.gather(t.Context(), j, now, true)
	if err != nil {
		t.Fatal(err)
	}
	copyOf := func() (e rollout.Evidence) {
		b, err := json.Marshal(good)
		if err == nil {
			err = json.Unmarshal(b, &e)
		}
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	check := func(name, ext string, b []byte) { // what is in it must be seen even where somebody had it recorded
		t.Helper()
		if err := j.Witness(t.Context(), rollout.Access{At: now, Kind: rollout.AccessReport, Who: good.MadeBy, Detail: digestOf(b)}); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "forged"+ext)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		if err := a.verifyEvidence(t.Context(), j, file); err == nil {
			t.Errorf("%s: nobody sees it", name)
		}
	}
	for name, forge := range map[string]func(*rollout.Evidence){
		"a class":              func(e *rollout.Evidence) { e.Computers[2].Class = rollout.ClassHTTPSOnly; e.Count() },
		"a host left out":      func(e *rollout.Evidence) { e.Computers = e.Computers[:2]; e.Count() },
		"the counts alone":     func(e *rollout.Evidence) { e.Classes[rollout.ClassHTTPSOnly] = 3 },
		"the hash of history":  func(e *rollout.Evidence) { e.History.Hash = strings.Repeat("0", 64) },
		"an older place":       func(e *rollout.Evidence) { e.History.Seq = 1 },
		"the plan's hash":      func(e *rollout.Evidence) { e.Campaigns[0].Plan = strings.Repeat("0", 64) },
		"the head":             func(e *rollout.Evidence) { e.Campaigns[0].Head.Hash = strings.Repeat("0", 64) },
		"an approval":          func(e *rollout.Evidence) { e.Campaigns[0].Approved = "the boss" },
		"hosts done":           func(e *rollout.Evidence) { e.Campaigns[0].Done = 1 },
		"an invented campaign": func(e *rollout.Evidence) { e.Campaigns[0].ID = "winter" },
		"a campaign left out":  func(e *rollout.Evidence) { e.Campaigns = e.Campaigns[:0] },
		"all hosts":            func(e *rollout.Evidence) { e.Hosts = 4 },
		"another class":        func(e *rollout.Evidence) { e.Classes["perfect"] = 1 },
		"an OU":                func(e *rollout.Evidence) { e.OUs[0].Hosts++ },
		"a class in an OU":     func(e *rollout.Evidence) { e.OUs[0].Classes[rollout.ClassHTTPSOnly]++ },
		"the goal":             func(e *rollout.Evidence) { e.Campaigns[0].Goal = "secure" },
		"the status":           func(e *rollout.Evidence) { e.Campaigns[0].Status = "finished" },
		"failures":             func(e *rollout.Evidence) { e.Campaigns[0].Failures = 7 },
		"hosts planned":        func(e *rollout.Evidence) { e.Campaigns[0].Hosts = 7 },
		"since when":           func(e *rollout.Evidence) { e.Computers[0].Since = e.Computers[0].Since.Add(-time.Hour) },
		"another host":         func(e *rollout.Evidence) { e.Computers[0].Host = "z.corp.example" },
		"the form":             func(e *rollout.Evidence) { e.Form = "wavelock-report/2" },
		"the formula":          func(e *rollout.Evidence) { e.Formula = "100" },
		"who made it":          func(e *rollout.Evidence) { e.MadeBy = "the boss" },
		"the time":             func(e *rollout.Evidence) { e.At = e.At.AddDate(0, 0, -15) },
	} {
		for ext, f := range evidenceFormats {
			e := copyOf()
			forge(&e)
			b, err := f.write(e)
			if err != nil {
				t.Fatal(err)
			}
			check(name+ext, ext, b)
		}
	}
	page, err := writeEvidenceHTML(good)
	if err != nil {
		t.Fatal(err)
	}
	check("the visible number of a page", ".html", bytes.Replace(page, []byte("33<small> %"), []byte("99<small> %"), 1))
	check("an empty file", ".json", nil)
	check("another form", ".json", []byte(`{"form":"other/1"}`))
	check("half a page", ".html", page[:len(page)/2])
	check("a table of something else", ".csv", []byte("host,ou\na,b\n"))
	if err := a.verifyEvidence(t.Context(), j, "report.pdf"); err == nil {
		t.Error("a PDF is read")
	}
}

// TestWhatNoChainProvesIsProvedByTheRecord changes what is known from observations alone, and draws the file anew.
func TestWhatNoChainProvesIsProvedByTheRecord(t *testing.T) {
	t.Parallel()
	a, out, j, now := evidenceJournal(t)
	for ext, f := range evidenceFormats {
		file := filepath.Join(t.TempDir(), "r"+ext)
		if err := a.writeEvidence(t.Context(), j, file, now, true); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		score := 99
		for name, forge := range map[string]func(*rollout.Evidence){
			"when it was made": func(e *rollout.Evidence) { e.Made = e.Made.AddDate(0, 0, -1) },
			"by which program": func(e *rollout.Evidence) { e.Version = "1.0" },
			"an OU":            func(e *rollout.Evidence) { e.Computers[0].OU = "corp.example/Other"; e.Count() },
			"when it was seen": func(e *rollout.Evidence) { e.Computers[0].Seen = now },
			"a blocker":        func(e *rollout.Evidence) { e.Computers[0].Blocker = rollout.ReasonExpired },
			"a certificate":    func(e *rollout.Evidence) { e.Computers[0].Certificate = "AB" },
			"its end":          func(e *rollout.Evidence) { e.Computers[0].Expires = now },
			"a score":          func(e *rollout.Evidence) { e.Computers[0].Posture = &score },
		} {
			e, err := f.read(b)
			if err != nil {
				t.Fatal(err)
			}
			forge(&e)
			forged, err := f.write(e)
			if err != nil || bytes.Equal(forged, b) {
				t.Fatalf("%s%s: nothing was changed, %v", name, ext, err)
			}
			if err := os.WriteFile(file, forged, 0o600); err != nil {
				t.Fatal(err)
			}
			out.Reset()
			if err := a.verifyEvidence(t.Context(), j, file); err == nil || !strings.Contains(out.String(), "no record that this very file") {
				t.Errorf("%s%s: %v\n%s", name, ext, err, out)
			}
		}
	}
}

func FuzzReadEvidence(f *testing.F) {
	f.Add([]byte(csvMark + `{"form":"wavelock-report/1"}` + "\nhost,ou,class,since,seen,blocker,certificate,expires\na,b,both,,,,,\n"))
	f.Add([]byte(evidenceBegin + "{}" + evidenceEnd))
	f.Add([]byte("{}"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		for _, form := range evidenceFormats {
			_, _ = form.read(b)
		}
	})
}
