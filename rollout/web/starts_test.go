package web

import (
	"context"
	"strings"
	"testing"

	"wavelock/rollout"
)

// mixed is a fleet of which each computer lets in somebody else.
type mixed struct{ canned }

func (mixed) Summaries(_ context.Context, after int64) ([]rollout.Summary, int64, error) {
	if after > 0 {
		return nil, after, nil
	}
	host := func(id rollout.HostID, e *rollout.Entry) rollout.Summary {
		return rollout.Summary{Host: id, Class: rollout.ClassBoth, Seen: noon, Observed: true, Entry: e}
	}
	return []rollout.Summary{
		host("open.corp.example", &rollout.Entry{Address: "10.0.0.1", From: []string{"any"}}),
		host("scoped.corp.example", &rollout.Entry{Address: "10.0.0.2", From: []string{"10.0.0.1"}}),
		host("closed.corp.example", &rollout.Entry{Address: "10.0.0.3"}),
		host("unread.corp.example", &rollout.Entry{Address: "10.0.0.4", Unread: true}),
		host("before.corp.example", nil), // an older program looked
		{Host: "off.corp.example", Class: rollout.ClassUnknown, Seen: noon},
	}, 1, nil
}

func TestWhoCanStartAConnection(t *testing.T) {
	t.Parallel()
	h := dashboard(t, mixed{})
	if page := get(t, h, "/").Body.String(); !strings.Contains(page, "<b>4</b> of 4 computers (100 %) can") {
		t.Errorf("not on the page:\n%s", page)
	}
	for starts, want := range map[string][]string{"everybody": {"open"}, "some": {"closed", "scoped"}, "unknown": {"before", "unread"}, "nonsense": nil} {
		csv := get(t, h, "/hosts.csv?starts="+starts).Body.String()
		if n := strings.Count(csv, "\n") - 1; n != len(want) {
			t.Errorf("%s: %d computers:\n%s", starts, n, csv)
		}
		for _, name := range want {
			if !strings.Contains(csv, name+".corp.example") {
				t.Errorf("%s: no %s in\n%s", starts, name, csv)
			}
		}
	}
	text := get(t, h, "/metrics").Body.String()
	for _, want := range []string{"wavelock_initiators 4", `wavelock_hosts_by_entry{entry="everybody"} 1`, `wavelock_hosts_by_entry{entry="some"} 2`, `wavelock_hosts_by_entry{entry="unknown"} 2`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}

// owned is a campaign whose computers wait for Group Policy.
type owned struct{ canned }

var makesHTTP = rollout.PolicyChange{Wave: 2, GPO: "WinRM for servers", Links: []string{"OU=Servers,DC=corp,DC=example"}, Path: `Computer Configuration\Policies`, Setting: "Allow remote server management through WinRM",
	Key: "AllowAutoConfig", Now: "Enabled (1)", Want: "Not Configured", Group: "spring-wave-2", Computers: make([]rollout.HostID, shownForGroup+5), Do: []string{"put them into the group"}, Revert: []string{"take them out"}}

func (owned) Campaign(ctx context.Context, id rollout.CampaignID) (Campaign, error) {
	c, err := canned{}.Campaign(ctx, id)
	c.Policies = []rollout.PolicyChange{makesHTTP}
	return c, err
}

func (owned) Host(ctx context.Context, id rollout.HostID) (Dossier, error) {
	d, err := canned{}.Host(ctx, id)
	d.Past = []Chapter{{Campaign: "spring", Policy: &makesHTTP}}
	return d, err
}

func TestGroupPolicyThatHasToChange(t *testing.T) {
	t.Parallel()
	h := dashboard(t, owned{})
	said := []string{"The object “WinRM for servers”, wave 2", "OU=Servers,DC=corp,DC=example", "Allow remote server management through WinRM", "Not Configured", "spring-wave-2", "put them into the group", "take them out"}
	for path, more := range map[string][]string{"/campaign/spring": {"205 computers for the group", "And 5 more", `href="/campaign/spring/hosts?status=await-policy&amp;wave=2"`}, "/host/plain.corp.example": nil} {
		page := get(t, h, path).Body.String()
		for _, want := range append(more, said...) {
			if !strings.Contains(page, want) {
				t.Errorf("%s: no %q in\n%s", path, want, page)
			}
		}
	}
}
