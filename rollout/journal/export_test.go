package journal

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"wavelock/rollout"
)

func exported(t *testing.T) (*Journal, string) {
	t.Helper()
	j := newJournal(t)
	create(t, j, "spring", 2)
	mustAppend(t, j, action("spring", hostName(0), 1), step(rollout.EvStepOpen, "spring", hostName(0), 1, rollout.StepInspect))
	var words []rollout.Event
	for range pageSize + 5 {
		words = append(words, said("spring", rollout.EvPaused))
	}
	mustAppend(t, j, words...)
	var b bytes.Buffer
	if err := j.Export(t.Context(), "spring", &b); err != nil {
		t.Fatal(err)
	}
	return j, b.String()
}

func TestExportIsTheChain(t *testing.T) {
	t.Parallel()
	j, text := exported(t)
	wantSeq, wantHead, err := j.Head(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	id, seq, head, err := VerifyExport(strings.NewReader(text))
	if err != nil || id != "spring" || seq != wantSeq || head != wantHead {
		t.Errorf("%s %d %s, %v; want %d %s", id, seq, head, err, wantSeq, wantHead)
	}
	var unknown *UnknownCampaignError
	if err := j.Export(t.Context(), "summer", &bytes.Buffer{}); !errors.As(err, &unknown) {
		t.Errorf("export of nothing: %v", err)
	}
}

// TestEveryFlippedByteOfAnExportIsLocated flips one byte of each line in turn.
func TestEveryFlippedByteOfAnExportIsLocated(t *testing.T) {
	t.Parallel()
	_, text := exported(t)
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	for n := range lines {
		for _, at := range []int{5, 20, len(lines[n]) / 2, len(lines[n]) - 3} {
			damaged := append([]string(nil), lines...)
			b := []byte(lines[n])
			b[at] ^= 1
			damaged[n] = string(b)
			var c *ChainError
			if _, _, _, err := VerifyExport(strings.NewReader(strings.Join(damaged, ""))); !errors.As(err, &c) || c.Seq != int64(n+1) {
				t.Errorf("line %d, byte %d: %v", n+1, at, err)
			}
		}
	}
	var c *ChainError
	for name, damaged := range map[string]string{"nothing": "", "a line is missing": strings.Join(append(lines[:3:3], lines[4:]...), ""), "the first is missing": strings.Join(lines[1:], "")} {
		if _, _, _, err := VerifyExport(strings.NewReader(damaged)); !errors.As(err, &c) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzVerifyExport(f *testing.F) {
	f.Add([]byte(`{"hash":"` + strings.Repeat("0", 64) + `","event":{"seq":1}}`))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, seq, head, err := VerifyExport(bytes.NewReader(b)); err == nil && (seq < 1 || len(head) != 64) {
			t.Errorf("believed %q", b)
		}
	})
}
