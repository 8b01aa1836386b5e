package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/web"
)

// evidenceFormat is one of the files that a report can be.
type evidenceFormat struct {
	write func(rollout.Evidence) ([]byte, error)
	read  func([]byte) (rollout.Evidence, error)
}

var evidenceFormats = map[string]evidenceFormat{
	".json": {writeEvidenceJSON, readEvidenceJSON},
	".html": {writeEvidenceHTML, readEvidenceHTML},
	".csv":  {writeEvidenceCSV, readEvidenceCSV},
}

func evidenceFormatOf(file string) (evidenceFormat, error) {
	f, ok := evidenceFormats[strings.ToLower(filepath.Ext(file))]
	if !ok {
		return f, failWith(exitUsage, "end it with .html, .csv or .json", "%s is no file for a report", file)
	}
	return f, nil
}

func writeEvidenceJSON(e rollout.Evidence) ([]byte, error) {
	b, err := json.MarshalIndent(e, "", "  ")
	return append(b, '\n'), err
}

func readEvidenceJSON(b []byte) (e rollout.Evidence, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err = dec.Decode(&e)
	return e, err
}

// The report as HTML carries itself as JSON, from which the visible part can be drawn again.
const evidenceBegin, evidenceEnd = `<pre id="evidence" hidden>`, `</pre>`

func writeEvidenceHTML(e rollout.Evidence) ([]byte, error) {
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return web.ReportPage(e, raw)
}

func readEvidenceHTML(b []byte) (e rollout.Evidence, err error) {
	_, rest, found := bytes.Cut(b, []byte(evidenceBegin))
	raw, _, closed := bytes.Cut(rest, []byte(evidenceEnd))
	if !found || !closed {
		return e, errors.New("it carries no evidence")
	}
	return readEvidenceJSON([]byte(html.UnescapeString(string(raw))))
}

// csvMark begins the first line of a report as CSV: everything but the computers.
const csvMark = "# " + rollout.EvidenceForm + " "

var evidenceColumns = []string{"host", "ou", "class", "since", "seen", "blocker", "certificate", "expires", "posture"}

func writeEvidenceCSV(e rollout.Evidence) ([]byte, error) {
	head := e
	head.Computers = nil
	raw, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(csvMark + string(raw) + "\n")
	w := csv.NewWriter(&b)
	_ = w.Write(evidenceColumns) // the error stays and is answered by Error
	for _, c := range e.Computers {
		_ = w.Write(defuse([]string{string(c.Host), c.OU, string(c.Class), exact(c.Since), exact(c.Seen), string(c.Blocker), c.Certificate, exact(c.Expires), scoreText(c.Posture)}))
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

func readEvidenceCSV(b []byte) (e rollout.Evidence, err error) {
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	raw, found := bytes.CutPrefix(line, []byte(csvMark))
	if !found {
		return e, errors.New("its first line is no mark of a report")
	}
	if e, err = readEvidenceJSON(raw); err != nil {
		return e, err
	}
	e.Computers = []rollout.EvidenceComputer{}
	table := csv.NewReader(bytes.NewReader(rest))
	table.FieldsPerRecord = len(evidenceColumns)
	rows, err := table.ReadAll()
	if err != nil || len(rows) == 0 {
		return e, fmt.Errorf("its table cannot be read: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	for _, r := range rows[1:] {
		for i := range r {
			if plainer := strings.TrimPrefix(r[i], "'"); plainer != r[i] && web.Defused(plainer) == r[i] {
				r[i] = plainer
			}
		}
		c := rollout.EvidenceComputer{Host: rollout.HostID(r[0]), OU: r[1], Class: rollout.Class(r[2]), Blocker: rollout.Reason(r[5]), Certificate: r[6]}
		for at, cell := range map[*time.Time]string{&c.Since: r[3], &c.Seen: r[4], &c.Expires: r[7]} {
			if cell == "" {
				continue
			}
			if *at, err = time.Parse(time.RFC3339Nano, cell); err != nil {
				return e, fmt.Errorf("the row of %s: %w", c.Host, err)
			}
		}
		if r[8] != "" {
			n, err := strconv.Atoi(r[8])
			if err != nil {
				return e, fmt.Errorf("the row of %s: %w", c.Host, err)
			}
			c.Posture = &n
		}
		e.Computers = append(e.Computers, c)
	}
	return e, nil
}

func scoreText(score *int) string {
	if score == nil {
		return ""
	}
	return strconv.Itoa(*score)
}

func exact(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
