package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

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
		wrong = append(wrong, changedSince(e))
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

// changedSince says what it means that a file is not what its own data would be drawn as.
func changedSince(e rollout.Evidence) string {
	const changed = "the file was changed after it was written: drawn again from its own data it differs"
	if e.Version == versionString() {
		return changed
	}
	return changed + ", or the program was: it was made by " + e.Version
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
