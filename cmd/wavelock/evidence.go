package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "embed"

	"wavelock/rollout"
	"wavelock/rollout/journal"
	"wavelock/rollout/web"
)

// reportSchema is the published form of a report as JSON.
//
//go:embed report.schema.json
var reportSchema []byte

// gather makes the evidence of a time. The past has no findings and certificates:
// only the last observation of a host is kept whole.
func (a *app) gather(ctx context.Context, j *journal.Journal, at time.Time, now bool) (rollout.Evidence, error) {
	e := rollout.Evidence{Form: rollout.EvidenceForm, At: at.UTC().Round(0), Made: a.now().UTC().Round(0), MadeBy: person(), Version: versionString(),
		Formula: rollout.PostureFormula, Campaigns: []rollout.EvidenceCampaign{}, Computers: []rollout.EvidenceComputer{}}
	changes, err := historyOf(ctx, j)
	if err != nil {
		return e, err
	}
	if n := len(changes); n > 0 {
		e.History.Seq = changes[n-1].N
		if e.History.Hash, err = j.HistoryHash(ctx, e.History.Seq); err != nil {
			return e, err
		}
	}
	truth := rollout.TruthAt(changes, e.History.Seq, e.At)
	summaries, _, err := j.Summaries(ctx, 0)
	if err != nil {
		return e, err
	}
	known := map[rollout.HostID]rollout.Summary{}
	for _, s := range summaries {
		known[s.Host] = s
	}
	for id, class := range truth.Class {
		s := known[id]
		c := rollout.EvidenceComputer{Host: id, OU: s.OU, Class: class, Since: truth.Since[id]}
		if now {
			c.Seen, c.Blocker = s.Seen, rollout.Reason(s.Problem)
			if b, ok := s.Blocked(); ok && c.Blocker == "" {
				c.Blocker = b.Reason
			}
			if s.Posture != nil {
				c.Posture = &s.Posture.Score
			}
			if s.Certificate != nil {
				c.Certificate, c.Expires = string(s.Certificate.Thumbprint), s.Certificate.NotAfter
			}
		}
		e.Computers = append(e.Computers, c)
	}
	slices.SortFunc(e.Computers, func(a, b rollout.EvidenceComputer) int { return strings.Compare(string(a.Host), string(b.Host)) })
	e.Count()
	e.Campaigns, err = campaignsAt(ctx, j, e.At)
	return e, err
}

func historyOf(ctx context.Context, j *journal.Journal) ([]rollout.ClassChange, error) {
	var changes []rollout.ClassChange
	for c, err := range j.History(ctx, 0) {
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// campaignsAt are the campaigns as their chains tell them up to a time.
func campaignsAt(ctx context.Context, j *journal.Journal, at time.Time) ([]rollout.EvidenceCampaign, error) {
	ids, err := j.CampaignIDs(ctx)
	if err != nil {
		return nil, err
	}
	list := []rollout.EvidenceCampaign{}
	for _, id := range ids {
		c, err := campaignUntil(ctx, j, id, at, func(e rollout.Event) bool { return !e.At.After(at) })
		if err != nil {
			return nil, err
		}
		if c.Head.Seq > 0 {
			list = append(list, c)
		}
	}
	return list, nil
}

// campaignUntil replays a campaign while its events are wanted.
func campaignUntil(ctx context.Context, j *journal.Journal, id rollout.CampaignID, at time.Time, wanted func(rollout.Event) bool) (rollout.EvidenceCampaign, error) {
	plan, err := j.Plan(ctx, id)
	if err != nil {
		return rollout.EvidenceCampaign{}, err
	}
	state := rollout.NewState(&plan)
	for ev, err := range j.Events(ctx, id, 0) {
		if err != nil {
			return rollout.EvidenceCampaign{}, err
		}
		if !wanted(ev) {
			break
		}
		state.Apply(ev)
	}
	v := rollout.NewView(&plan, state, at)
	c := rollout.EvidenceCampaign{ID: id, Goal: plan.Goal, Plan: plan.Hash(), Approved: v.Approved, Status: v.Status, Hosts: v.Hosts, Done: v.Done, Failures: v.Failures}
	c.Head.Seq = state.Seq
	c.Head.Hash, err = j.HashAt(ctx, id, state.Seq)
	return c, err
}

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

func (a *app) writeEvidence(ctx context.Context, j *journal.Journal, file string, at time.Time, now bool) error {
	f, err := evidenceFormatOf(file)
	if err != nil {
		return err
	}
	e, err := a.gather(ctx, j, at, now)
	if err != nil {
		return err
	}
	b, err := f.write(e)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	// What cannot be recorded is not given out: the record is what proves each byte of it.
	if err := j.Witness(ctx, rollout.Access{At: a.now(), Kind: rollout.AccessReport, Who: person(), Detail: digestOf(b)}); err != nil {
		return err
	}
	if err := writeWhole(file, b, 0o600); err != nil {
		return err
	}
	a.progress("the report on %s is in %s; wavelock report --verify %s holds it against the journal", plural(e.Hosts, "host"), file, file)
	return nil
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
			if plainer := strings.TrimPrefix(r[i], "'"); plainer != r[i] && slices.Equal(defuse([]string{plainer}), []string{r[i]}) {
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

// verifyEvidence holds a report against the journal: nothing in the file was
// changed, and what it says of classes and campaigns is what the chains say.
func (a *app) verifyEvidence(ctx context.Context, j *journal.Journal, file string) error {
	f, err := evidenceFormatOf(file)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return failWith(exitUsage, "name a file that wavelock report --out wrote", "read the report %s: %w", file, unwrapPath(err))
	}
	e, err := f.read(b)
	if err != nil || e.Form != rollout.EvidenceForm {
		return failWith(exitUsage, "name a file that wavelock report --out wrote", "%s is no report of wavelock", file)
	}
	wrong, err := compareEvidence(ctx, j, e)
	if err != nil {
		return err
	}
	if again, err := f.write(e); err != nil || !bytes.Equal(again, b) {
		wrong = append(wrong, "the file was changed after it was written: drawn again from its own data it differs")
		if e.Version != versionString() {
			wrong[len(wrong)-1] += ", or the program was: it was made by " + e.Version
		}
	}
	written, found, err := writtenReport(ctx, j, digestOf(b))
	switch {
	case err != nil:
		return err
	case !found:
		wrong = append(wrong, "the journal has no record that this very file was ever written")
	case written.Who != e.MadeBy:
		wrong = append(wrong, fmt.Sprintf("it was written by %s, the report says %s", written.Who, e.MadeBy))
	}
	for _, w := range wrong {
		fmt.Fprintln(a.out, "WRONG  "+printable(w))
	}
	if len(wrong) > 0 {
		return failWith(exitFindings, "ask for the original, or look at the journal with wavelock journal verify", "the report %s does not fit the journal", file)
	}
	_, err = fmt.Fprintf(a.out, `the report fits the journal
  at        %s, made %s by %s
  classes   of %s, from the history up to change %d
  campaigns %d, each with its plan's hash, its chain up to the head, approval and counts
  file      byte for byte as it was written, which line %d of the record of accesses says
OU, findings, certificates and posture of single computers are what the last observation said then.
`, e.At.Format(time.RFC3339), e.Made.Format(time.RFC3339), printable(e.MadeBy), plural(e.Hosts, "host"), e.History.Seq, len(e.Campaigns), written.N)
	return err
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// writtenReport is the line that says that a file was written, by its digest.
func writtenReport(ctx context.Context, j *journal.Journal, digest string) (rollout.Access, bool, error) {
	for before := int64(0); ; {
		some, err := j.Accesses(ctx, before, 1000)
		if err != nil || len(some) == 0 {
			return rollout.Access{}, false, err
		}
		for _, line := range some {
			if line.Kind == rollout.AccessReport && line.Detail == digest {
				return line, true, nil
			}
		}
		if before = some[len(some)-1].N; before <= 1 {
			return rollout.Access{}, false, nil
		}
	}
}

// compareEvidence names what the chains say otherwise, and what the report says otherwise than itself.
func compareEvidence(ctx context.Context, j *journal.Journal, e rollout.Evidence) ([]string, error) {
	byHistory, err := againstHistory(ctx, j, e)
	if err != nil {
		return nil, err
	}
	byCampaigns, err := againstCampaigns(ctx, j, e)
	if err != nil {
		return nil, err
	}
	return slices.Concat(byHistory, miscounted(e), byCampaigns), nil
}

// againstHistory compares the classes of the hosts.
func againstHistory(ctx context.Context, j *journal.Journal, e rollout.Evidence) (wrong []string, err error) {
	changes, err := historyOf(ctx, j)
	if err != nil {
		return nil, err
	}
	hash, err := j.HistoryHash(ctx, e.History.Seq)
	if err != nil {
		return nil, err
	}
	if hash != e.History.Hash {
		wrong = append(wrong, fmt.Sprintf("the history has another hash at change %d", e.History.Seq))
	}
	truth := rollout.TruthAt(changes, e.History.Seq, e.At)
	if len(truth.Class) != len(e.Computers) {
		wrong = append(wrong, fmt.Sprintf("the history knows %d hosts at that time, the report has %d", len(truth.Class), len(e.Computers)))
	}
	for _, c := range e.Computers {
		if truth.Class[c.Host] != c.Class || !truth.Since[c.Host].Equal(c.Since) {
			wrong = append(wrong, fmt.Sprintf("%s was %s since %s, the report says %s", c.Host, truth.Class[c.Host], exact(truth.Since[c.Host]), c.Class))
		}
	}
	return wrong, nil
}

// miscounted names the sums of a report that are not those of its own list.
func miscounted(e rollout.Evidence) (wrong []string) {
	counted := e
	counted.Count()
	for _, k := range rollout.Classes() {
		if counted.Classes[k] != e.Classes[k] {
			wrong = append(wrong, fmt.Sprintf("the report counts %d hosts of the class %s and lists %d", e.Classes[k], k, counted.Classes[k]))
		}
	}
	switch {
	case counted.Hosts != e.Hosts:
		wrong = append(wrong, fmt.Sprintf("the report counts %d hosts and lists %d", e.Hosts, counted.Hosts))
	case len(counted.Classes) != len(e.Classes):
		wrong = append(wrong, "the report counts a class that does not exist")
	case !reflect.DeepEqual(counted.OUs, e.OUs):
		wrong = append(wrong, "the report's counts by OU are not those of its list")
	}
	if e.Formula != rollout.PostureFormula && e.Version == versionString() {
		wrong = append(wrong, "the formula of the posture's score is another one")
	}
	return wrong
}

// againstCampaigns compares where each campaign stood.
func againstCampaigns(ctx context.Context, j *journal.Journal, e rollout.Evidence) (wrong []string, err error) {
	then, err := campaignsAt(ctx, j, e.At)
	if err != nil {
		return nil, err
	}
	for _, have := range then {
		if !slices.ContainsFunc(e.Campaigns, func(c rollout.EvidenceCampaign) bool { return c.ID == have.ID }) {
			wrong = append(wrong, fmt.Sprintf("the report leaves out the campaign %s", have.ID))
		}
	}
	for _, c := range e.Campaigns {
		have, err := campaignUntil(ctx, j, c.ID, e.At, func(ev rollout.Event) bool { return ev.Seq <= c.Head.Seq })
		var unknown *journal.UnknownCampaignError
		switch {
		case errors.As(err, &unknown):
			wrong = append(wrong, fmt.Sprintf("the journal has no campaign %s", c.ID))
		case err != nil:
			return nil, err
		case have != c:
			wrong = append(wrong, fmt.Sprintf("of the campaign %s the chain says %s, the report %s", c.ID, campaignWord(have), campaignWord(c)))
		}
	}
	return wrong, nil
}

func campaignWord(c rollout.EvidenceCampaign) string {
	return fmt.Sprintf("plan %.12s, head %d %.12s, approved by %q, %s, %d of %d done, %d failures", c.Plan, c.Head.Seq, c.Head.Hash, c.Approved, c.Status, c.Done, c.Hosts, c.Failures)
}
