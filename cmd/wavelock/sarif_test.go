package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"wavelock/pki"
)

// The schema of SARIF 2.1.0 is the judge, and then what consumers read.
func TestSARIFIsValid(t *testing.T) {
	judged := []pki.Judgement{
		{Kind: pki.KindTemplate, Name: "Careless", Findings: pki.Findings{{Code: "esc17", Severity: pki.Blocker, Detail: "anybody"}, {Code: "template-pends", Severity: pki.Warning, Detail: "a manager"}}},
		{Kind: pki.KindTemplate, Name: "Waived", Findings: pki.Findings{{Code: "esc17", Severity: pki.Blocker, Detail: "anybody", Waived: "ann: gone on Friday"}}},
		{Kind: pki.KindAuthority, Name: "CORP-CA01-CA", Findings: pki.Findings{{Code: "ca-enrollment-service", Severity: pki.Info, Detail: "ü <&>"}}},
		{Kind: pki.KindRoot, Name: "clean"},
	}
	for _, all := range [][]pki.Judgement{judged, nil} {
		if err := newSARIF(all).Validate(); err != nil {
			t.Error(err)
		}
	}
	var b bytes.Buffer
	if err := writeSARIF(&b, judged); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Runs []struct {
			Tool struct {
				Driver struct {
					Rules []struct{ ID string }
				}
			}
			Results []struct {
				RuleID              string
				RuleIndex           int
				Level               string
				Suppressions        []struct{ Justification string }
				PartialFingerprints map[string]string
				Locations           []struct {
					LogicalLocations []struct{ FullyQualifiedName string }
				}
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	run := doc.Runs[0]
	if len(run.Results) != 4 || len(run.Tool.Driver.Rules) != 3 {
		t.Fatalf("%d results, %d rules", len(run.Results), len(run.Tool.Driver.Rules))
	}
	seen := map[string]bool{}
	for i, want := range []struct{ level, place, justification string }{
		{"error", "template/Careless", ""}, {"warning", "template/Careless", ""}, {"error", "template/Waived", "ann: gone on Friday"}, {"note", "ca/CORP-CA01-CA", ""},
	} {
		r := run.Results[i]
		justification := ""
		for _, s := range r.Suppressions {
			justification = s.Justification
		}
		if r.Level != want.level || r.Locations[0].LogicalLocations[0].FullyQualifiedName != want.place || justification != want.justification || run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("%+v, want %+v", r, want)
		}
		seen[r.PartialFingerprints["finding/v1"]] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d fingerprints for 4 findings", len(seen))
	}
}
