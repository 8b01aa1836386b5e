package rollout

import (
	"testing"
	"time"
)

func TestClientele(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	var c Clientele
	c.Add("a.corp.example", watched(5985), p, epoch)
	c.Add("b.corp.example", watched(5985, 5986), p, epoch)
	c.Add("c.corp.example", Census{}, p, epoch)
	c.Add("d.corp.example", watched(5986), p, epoch)
	c.Add("e.corp.example", Census{}.With(look(epoch.Add(-time.Minute))), p, epoch)
	other := Census{}.With(look(epoch.Add(-time.Minute), Peer{Address: "192.0.2.7", Port: 5985, Name: "jump2.corp.example"}))
	c.Add("f.corp.example", other, p, epoch)
	c.Sort()
	if c.Hosts != 6 || c.Unknown != 1 || c.Quiet != 2 || c.Used != 3 || len(c.Sources) != 2 {
		t.Errorf("%+v", c)
	}
	if s := c.Sources[0]; s.Address != "192.0.2.9" || len(s.Hosts) != 2 || s.NotMoved != 1 || !s.Last.Equal(epoch.Add(-time.Hour)) {
		t.Errorf("%+v", s)
	}
	if got, want := c.Words(), "HTTP is used on 3 of 6 hosts; unknown on 1, never sampled; none seen on 2, each in 1 sample at least, all since 2026-03-02 07:59"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
