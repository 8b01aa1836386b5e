package journal

import (
	"testing"
	"time"

	"wavelock/rollout"
)

func TestCensus(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	ctx := t.Context()
	at := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	look := func(id rollout.HostID, after time.Duration, peers ...rollout.Peer) rollout.Observation {
		return rollout.Observation{Host: id, At: at.Add(after), Via: rollout.HTTP, Identity: rollout.Saw(rollout.Identity{FQDN: string(id)}), Peers: rollout.Saw(peers)}
	}
	client := rollout.Peer{Address: "192.0.2.9", Port: 5985}
	seen := look("web1.corp.example", 0, client)
	records := []Record{{Host: rollout.Host{ID: "web1.corp.example"}, SeenAt: at, Observation: &seen}, {Host: rollout.Host{ID: "web2.corp.example"}, SeenAt: at}}
	for range 2 { // written twice, seen once
		if err := j.SaveHosts(ctx, records); err != nil {
			t.Fatal(err)
		}
	}
	if seen.Census.Known {
		t.Error("the caller's observation was changed")
	}
	if err := j.SaveCensus(ctx, []rollout.Observation{look("web1.corp.example", time.Minute), look("web3.corp.example", time.Minute), {Host: "web2.corp.example", At: at}}); err != nil {
		t.Fatal(err)
	}
	c, err := j.Census(ctx, "web1.corp.example")
	if err != nil || c.Samples != 2 || !c.Since.Equal(at) || !c.Last.Equal(at.Add(time.Minute)) || len(c.Clients) != 1 || c.Clients[0].At(5985).Samples != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := j.Census(ctx, "web2.corp.example"); err != nil || c.Samples != 0 {
		t.Errorf("a host whose connections nobody saw has %+v, %v", c, err)
	}
	hosts, err := j.Hosts(ctx)
	if err != nil || len(hosts) != 2 || hosts[0].Observation.Census.Value.Samples != 2 || hosts[1].Observation != nil {
		t.Errorf("%+v, %v", hosts, err)
	}
}
