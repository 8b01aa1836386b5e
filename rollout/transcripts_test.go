package rollout

import (
	"slices"
	"strings"
	"testing"
)

const dom = "S-1-5-21-1-2-3-"

// TestWhoMayDeleteThroughAShare has each verdict with what nearly is it.
func TestWhoMayDeleteThroughAShare(t *testing.T) {
	t.Parallel()
	const full, change, read, add = 0x1F01FF, 0x1301BF, 0x1200A9, 0x12019C
	for name, c := range map[string]struct {
		share Share
		want  PostureState
		says  string
	}{
		"administrators only": {Share{Grants: []Grant{{SID: "S-1-5-32-544", Mask: full}, {SID: "S-1-5-18", Mask: full}, {SID: dom + "512", Mask: full}}}, PostureOK, "nobody but administrators"},
		"nobody at all":       {Share{}, PostureOK, "nobody"},
		"read":                {Share{Grants: []Grant{{SID: "S-1-1-0", Mask: read}}}, PostureOK, ""},
		"append":              {Share{Grants: []Grant{{SID: "S-1-5-11", Mask: add}}}, PostureOK, ""},
		"append and delete":   {Share{Grants: []Grant{{SID: "S-1-5-11", Mask: add | 0x10000}}}, PostureUnknown, "Authenticated Users may change"},
		"append, write over":  {Share{Grants: []Grant{{SID: "S-1-5-11", Mask: add | 2}}}, PostureUnknown, "Authenticated Users"},
		"change":              {Share{Grants: []Grant{{SID: "S-1-1-0", Mask: change}}}, PostureUnknown, "the folder's list allows, which was not read"},
		"generic write":       {Share{Grants: []Grant{{SID: dom + "515", Mask: 0x40000000}}}, PostureUnknown, "Domain Computers"},
		"full":                {Share{Grants: []Grant{{SID: "S-1-1-0", Mask: full}}}, PostureBad, "Full Control to Everyone"},
		"generic all":         {Share{Grants: []Grant{{SID: dom + "513", Mask: 0x10000000}}}, PostureBad, "Domain Users"},
		"no list":             {Share{Open: true}, PostureBad, "no list"},
		"a group, full":       {Share{Grants: []Grant{{SID: dom + "1513", Mask: full}}}, PostureUnknown, dom + "1513"},
		"full, denied before": {Share{Grants: []Grant{{SID: "S-1-1-0", Mask: full &^ read, Deny: true}, {SID: "S-1-5-11", Mask: full}}}, PostureOK, ""},
		"full, denied after":  {Share{Grants: []Grant{{SID: "S-1-5-11", Mask: full}, {SID: "S-1-1-0", Mask: full, Deny: true}}}, PostureBad, "Authenticated"},
		"full, others denied": {Share{Grants: []Grant{{SID: "S-1-5-32-546", Mask: full, Deny: true}, {SID: "S-1-5-11", Mask: full}}}, PostureBad, ""},
		"not read":            {Share{Why: "it breaks off"}, PostureUnknown, "it breaks off"},
	} {
		if v := c.share.judge(); v.State != c.want || !strings.Contains(v.Detail, c.says) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestTheShareOfAFolder(t *testing.T) {
	t.Parallel()
	for folder, want := range map[string]string{`\\logs.corp.example\t$`: "logs.corp.example t$", `\\LOGS\T$\a\b`: "logs.corp.example t$", `\\?\UNC\logs\t$\a`: "logs.corp.example t$", `\\logs.other.example.\t`: "logs.other.example t",
		`\\logs`: "", `\\logs\`: "", `\\`: "", `C:\t`: "", ``: "", `\\\t$`: ""} {
		server, share, ok := transcriptShare("web01.corp.example", folder)
		if got := strings.TrimSpace(string(server) + " " + share); got != want || ok != (want != "") {
			t.Errorf("%s: %q %v, want %q", folder, got, ok, want)
		}
	}
}

// fileServer shares with everybody as it is told to.
func fileServer(id HostID, mask uint32) Observation {
	o := exemplary()
	o.Host = id
	o.Posture.Value.TranscriptFolder = `C:\t`
	o.Posture.Value.Shares = []Share{{Name: "T$", Grants: []Grant{{SID: "S-1-1-0", Mask: mask}}}}
	return o
}

func summaryOf(o Observation) *Summary {
	s := Summarize(Host{ID: o.Host}, "", &o, DefaultPolicy(), strictRules, midday)
	return &s
}

func TestTheFileServersListIsJoined(t *testing.T) {
	t.Parallel()
	host := exemplary()
	host.Posture.Value.TranscriptFolder = `\\LOGS\t$\x`
	for name, c := range map[string]struct {
		server Observation
		want   PostureState
		says   string
	}{
		"lax":           {fileServer("logs.corp.example", 0x1F01FF), PostureBad, "Full Control to Everyone"},
		"kept":          {fileServer("logs.corp.example", 0x1200A9), PostureOK, "nobody but administrators"},
		"left open":     {fileServer("logs.corp.example", 0x1301BF), PostureUnknown, "not read"},
		"another name":  {fileServer("logs.other.example", 0x1F01FF), PostureUnknown, "no computer of the fleet"},
		"not looked at": {Observation{Host: "logs.corp.example"}, PostureUnknown, "no computer of the fleet that was looked at"},
		"not that share": {func() Observation {
			o := fileServer("logs.corp.example", 0x1F01FF)
			o.Posture.Value.Shares[0].Name = "t"
			return o
		}(), PostureUnknown, "no list for the share t$"},
	} {
		hosts := []*Summary{summaryOf(host), summaryOf(c.server)}
		before, score := hosts[0].Posture, hosts[0].Posture.Score
		JoinShares(hosts)
		if got := hosts[0].Posture; got.state("transcript-rights") != c.want || got.Score != score {
			t.Errorf("%s: %+v", name, got)
		}
		if !slices.Contains(before.Unknown, "transcript-rights") {
			t.Errorf("%s: what others hold was changed: %+v", name, before)
		}
		joined := hosts[0]
		if JoinShares(hosts); hosts[0] != joined {
			t.Errorf("%s: copied again", name)
		}
		v := JudgePosture(host, strictRules).WithShares(host.Host, func(id HostID) *PostureSummary {
			if id != c.server.Host {
				return nil
			}
			return hosts[1].Posture
		})
		i := slices.IndexFunc(v.Results, func(r PostureResult) bool { return r.Check == "transcript-rights" })
		if r := v.Results[i]; r.State != c.want || !strings.Contains(r.Detail, c.says) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestAJoinIsTakenBack: the file server's list has changed, so has the verdict.
func TestAJoinIsTakenBack(t *testing.T) {
	t.Parallel()
	host := exemplary()
	host.Posture.Value.TranscriptFolder = `\\logs\t$`
	hosts := []*Summary{summaryOf(host), nil}
	for _, c := range []struct {
		mask uint32
		want PostureState
	}{{0x1F01FF, PostureBad}, {0x1200A9, PostureOK}, {0x1301BF, PostureUnknown}, {0x1F01FF, PostureBad}} {
		hosts[1] = summaryOf(fileServer("logs.corp.example", c.mask))
		if JoinShares(hosts); hosts[0].Posture.state("transcript-rights") != c.want {
			t.Errorf("%#x: %+v", c.mask, hosts[0].Posture)
		}
	}
}
