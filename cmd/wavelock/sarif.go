package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"wavelock/pki"
)

// sarifAllowed is the annotation of commands that write SARIF.
const sarifAllowed = "sarif"

var sarifLevels = map[pki.Severity]string{pki.Blocker: "error", pki.Warning: "warning", pki.Info: "note"}

// newSARIF is the audit as SARIF 2.1.0. What is judged lies in a directory and not in a file, so its location is a logical
// one. What somebody waived is there, suppressed.
func newSARIF(judged []pki.Judgement) *sarif.Report {
	driver := sarif.NewToolComponent().WithName("wavelock").WithVersion(versionString())
	run := sarif.NewRun().WithTool(sarif.NewTool().WithDriver(driver)).WithLanguage("en-US").WithColumnKind("unicodeCodePoints")
	run.Results = []*sarif.Result{} // present although empty: that nothing was found is a result
	rules := map[string]int{}
	for _, j := range judged {
		for _, f := range j.Findings {
			if _, known := rules[f.Code]; !known {
				rules[f.Code] = len(driver.Rules)
				driver.Rules = append(driver.Rules, sarif.NewReportingDescriptor().WithID(f.Code).WithName(f.Code).
					WithShortDescription(sarif.NewMultiformatMessageString().WithText(f.Code)).
					WithHelp(sarif.NewMultiformatMessageString().WithText(f.Hint())).
					WithDefaultConfiguration(sarif.NewReportingConfiguration().WithLevel(sarifLevels[f.Severity])))
			}
			run.AddResult(sarifResult(j, f, rules[f.Code]))
		}
		for _, q := range j.Open { // evaluated, without enough information: SARIF 2.1.0 3.27.9
			r := sarifResult(j, pki.Finding{Code: q.Code, Detail: q.Detail + "; " + q.Hint}, -1)
			run.AddResult(r.WithKind("open").WithLevel("none"))
		}
	}
	return sarif.NewReport().AddRun(run)
}

func sarifResult(j pki.Judgement, f pki.Finding, rule int) *sarif.Result {
	place := fmt.Sprintf("%s/%s", j.Kind, j.Name)
	id := sha256.Sum256([]byte(place + "/" + f.Code))
	location := sarif.NewLogicalLocation().WithName(j.Name).WithFullyQualifiedName(place).WithKind(string(j.Kind))
	r := sarif.NewRuleResult(f.Code).WithRuleIndex(rule).WithLevel(sarifLevels[f.Severity]).WithKind("fail").
		WithMessage(sarif.NewTextMessage(fmt.Sprintf("%s %s: %s", j.Kind, j.Name, f.Detail))).
		WithLocations([]*sarif.Location{sarif.NewLocation().WithLogicalLocations([]*sarif.LogicalLocation{location})}).
		WithPartialFingerprints(map[string]string{"finding/v1": hex.EncodeToString(id[:])})
	if f.Waived != "" {
		r.Suppressions = []*sarif.Suppression{sarif.NewSuppression().WithKind("external").WithStatus("accepted").WithJustification(f.Waived)}
	}
	return r
}

func writeSARIF(w io.Writer, judged []pki.Judgement) error {
	if err := newSARIF(judged).PrettyWrite(w); err != nil {
		return fmt.Errorf("write SARIF: %w", err)
	}
	_, err := fmt.Fprintln(w)
	return err
}
