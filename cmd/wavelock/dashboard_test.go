package main

import (
	"slices"
	"strings"
	"testing"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// TestHostPageAsksTheFileServer: the journal has the list of the share that a host's transcripts go to.
func TestHostPageAsksTheFileServer(t *testing.T) {
	t.Parallel()
	a, _, j, now := evidenceJournal(t)
	save := func(id rollout.HostID, p rollout.Posture) {
		o := &rollout.Observation{Host: id, At: now, Via: rollout.HTTP, Posture: rollout.Saw(p)}
		if err := j.SaveHosts(t.Context(), []journal.Record{{Host: rollout.Host{ID: id}, SeenAt: now, Observation: o}}); err != nil {
			t.Fatal(err)
		}
	}
	save("web01.corp.example", rollout.Posture{TranscriptFolder: `\\LOGS\t$`})
	p := newPages(a, Config{}, j)
	for _, c := range []struct {
		mask uint32
		want rollout.PostureState
		says string
	}{{0, rollout.PostureUnknown, "no computer of the fleet"}, {0x1F01FF, rollout.PostureBad, "Full Control to Everyone"}, {0x1200A9, rollout.PostureOK, "nobody but administrators"}} {
		if c.mask != 0 {
			save("logs.corp.example", rollout.Posture{Shares: []rollout.Share{{Name: "T$", Grants: []rollout.Grant{{SID: "S-1-1-0", Mask: c.mask}}}}})
		}
		d, err := p.Host(t.Context(), "web01.corp.example")
		if err != nil || d.Posture == nil {
			t.Fatalf("%#x: %+v %v", c.mask, d, err)
		}
		i := slices.IndexFunc(d.Posture.Results, func(r rollout.PostureResult) bool { return r.Check == "transcript-rights" })
		if r := d.Posture.Results[i]; r.State != c.want || !strings.Contains(r.Detail, c.says) {
			t.Errorf("%#x: %+v", c.mask, r)
		}
	}
}
