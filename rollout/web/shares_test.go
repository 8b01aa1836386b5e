package web

import (
	"context"
	"strings"
	"testing"

	"wavelock/rollout"
)

// sharing is a source whose file server changes the list of its share from reading to reading.
type sharing struct {
	canned
	readings []rollout.PostureState // those so far
}

func (s *sharing) Version(context.Context) (string, error) { return "1", nil }

func (s *sharing) Summaries(_ context.Context, after int64) ([]rollout.Summary, int64, error) {
	if int(after) >= len(s.readings) {
		return nil, after, nil
	}
	server := rollout.Summary{Host: "logs.corp.example", Class: rollout.ClassBoth, Seen: noon,
		Posture: &rollout.PostureSummary{Score: 50, Shares: []rollout.ShareVerdict{{Name: "T$", State: s.readings[after]}}}}
	if after > 0 {
		return []rollout.Summary{server}, after + 1, nil // the host that writes there did not change
	}
	return []rollout.Summary{server, {Host: "web01.corp.example", Class: rollout.ClassBoth, Seen: noon,
		Posture: &rollout.PostureSummary{Score: 50, Unknown: []string{"transcript-rights"}, Transcripts: `\\logs\t$\x`}}}, 1, nil
}

func TestPagesJoinTheFileServersShares(t *testing.T) {
	t.Parallel()
	source := &sharing{}
	h := dashboard(t, source)
	for i, want := range []string{"bad", "ok", "unknown"} {
		source.readings = append(source.readings, rollout.PostureState(want))
		var head, row []string
		for line := range strings.Lines(get(t, h, "/posture.csv").Body.String()) {
			switch f := strings.Split(strings.TrimSpace(line), ","); {
			case f[0] == "host":
				head = f
			case f[0] == "web01.corp.example":
				row = f
			}
		}
		got := ""
		for k, name := range head {
			if name == "transcript-rights" && k < len(row) {
				got = row[k]
			}
		}
		if i == 0 && got == "" {
			t.Fatalf("%q %q", head, row)
		}
		if got != want {
			t.Errorf("reading %d: %s, want %s", i, got, want)
		}
	}
}
