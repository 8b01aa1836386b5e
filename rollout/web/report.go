package web

import (
	"bytes"
	"fmt"
	"html/template"

	"wavelock/rollout"
)

type reportPage struct {
	rollout.Evidence
	Style template.CSS
	Raw   string
}

var reportTemplate = template.Must(template.New("report.html").Funcs(funcs()).ParseFS(assets, "assets/report.html", "assets/parts.html"))

// ReportPage is a report as one file for a browser or a printer: nothing is loaded
// from elsewhere. It carries raw, the same report as JSON, for whoever verifies it.
func ReportPage(e rollout.Evidence, raw []byte) ([]byte, error) {
	style, err := assets.ReadFile("assets/static/style.css")
	if err != nil {
		return nil, fmt.Errorf("read the report's style: %w", err)
	}
	var b bytes.Buffer
	if err := reportTemplate.Execute(&b, reportPage{e, template.CSS(style), string(raw)}); err != nil {
		return nil, fmt.Errorf("draw the report: %w", err)
	}
	return b.Bytes(), nil
}
