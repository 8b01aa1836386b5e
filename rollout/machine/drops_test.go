package machine

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
)

func TestDrops(t *testing.T) {
	t.Parallel()
	sys := rollout.System{Offset: 2 * time.Hour, ClockSkew: time.Minute}
	const text = "#Version: 1.5\r\n" +
		"2026-03-02 10:01:00 DROP TCP 192.0.2.9 10.0.0.1 50211 5985 52 S 1804299 0 64240 - - - RECEIVE\r\n" +
		"2026-03-02 10:02:00 ALLOW TCP 192.0.2.8 10.0.0.1 50211 5985 0 - 0 0 0 - - - RECEIVE\r\n" +
		"cut off DROP TCP\r\n"
	got, err := parseDrops(text, sys)
	want := []rollout.Drop{{At: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC), Address: "192.0.2.9", Port: 5985}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	for _, bad := range []string{"today now DROP TCP a b 1 5985 -", "2026-03-02 10:01:00 DROP TCP a b 1 http -"} {
		if got, err := parseDrops(bad, sys); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestDropLog(t *testing.T) {
	t.Parallel()
	key := func(path string, values ...regValue) regKey {
		return regKey{path: firewallPolicy + path, values: values}
	}
	on, off := regValue{"LogDroppedPackets", "REG_DWORD", "0x1"}, regValue{"LogDroppedPackets", "REG_DWORD", "0x0"}
	file := regValue{"LogFilePath", "REG_EXPAND_SZ", `D:\logs\fw 1.log`}
	const usual = `%systemroot%\system32\LogFiles\Firewall\pfirewall.log`
	for name, tc := range map[string]struct {
		local, policy []regKey
		want          string
	}{
		"nothing":                 {nil, nil, ""},
		"off":                     {[]regKey{key(`\DomainProfile\Logging`, off)}, nil, ""},
		"on":                      {[]regKey{key(`\DomainProfile\Logging`, on)}, nil, usual},
		"another profile":         {[]regKey{key(`\DomainProfile\Logging`, off), key(`\PublicProfile\Logging`, on)}, nil, ""},
		"another file":            {[]regKey{key(`\DomainProfile\Logging`, on, file)}, nil, file.data},
		"the policy's word":       {[]regKey{key(`\DomainProfile\Logging`, off)}, []regKey{key(`\DomainProfile\Logging`, on)}, usual},
		"the policy's other word": {[]regKey{key(`\DomainProfile\Logging`, on)}, []regKey{key(`\DomainProfile\Logging`, off)}, ""},
		"the policy's file":       {[]regKey{key(`\DomainProfile\Logging`, on)}, []regKey{key(`\DomainProfile\Logging`, file)}, file.data},
	} {
		if got := profiles(tc.local, tc.policy)[0].DropLog; got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestLogPathIsNoSyntax(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		`%systemroot%\system32\LogFiles\Firewall\pfirewall.log`: true, `D:\logs\fw 1.log`: true,
		`c:\x" & del c:\*`: false, `%comspec%\x`: false, `\\server\share\x`: false, "": false,
	} {
		if err := checkLogPath(path); (err == nil) != want {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func FuzzDrops(f *testing.F) {
	f.Add("2026-03-02 10:01:00 DROP TCP 192.0.2.9 10.0.0.1 50211 5985 52\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		drops, err := parseDrops(text, rollout.System{})
		if err == nil && len(drops) > strings.Count(text, "DROP") {
			t.Errorf("%d drops from %q", len(drops), text)
		}
	})
}

// TestBlockLineLeavesUsOut holds the line against the addresses that must stay in.
func TestBlockLineLeavesUsOut(t *testing.T) {
	t.Parallel()
	line, err := blockLine(5985, []string{"10.0.0.5"})
	const want = `netsh advfirewall firewall add rule name="wavelock-block-5985" dir=in action=block protocol=TCP localport=5985 profile=any ` +
		`remoteip=0.0.0.0-10.0.0.4,10.0.0.6-255.255.255.255,::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff enable=yes`
	if err != nil || line != want {
		t.Errorf("%v\n%s\nwant\n%s", err, line, want)
	}
	for _, keep := range [][]string{nil, {`10.0.0.5" & calc`}} {
		if line, err := blockLine(5985, keep); err == nil {
			t.Errorf("%q: %s", keep, line)
		}
	}
}

func TestOursAmongThePeers(t *testing.T) {
	t.Parallel()
	type row struct {
		address string
		remote  int
		self    bool
	}
	us := netip.MustParseAddrPort("10.0.0.5:50001")
	for name, rows := range map[string][]row{
		"by our address":                         {{"10.0.0.5", 50001, true}, {"10.0.0.9", 50002, false}},
		"by our address, in IPv6's form":         {{"::ffff:10.0.0.5", 50007, true}},
		"our port at another address, by chance": {{"10.0.0.9", 50001, false}, {"10.0.0.5", 50001, true}, {"10.0.0.9", 50001, false}},
		"translated":                             {{"192.0.2.1", 50001, true}, {"10.0.0.9", 50002, false}},
		"translated, and the port twice":         {{"192.0.2.1", 50001, false}, {"10.0.0.9", 50001, false}},
		"translated, and another port":           {{"192.0.2.1", 1024, false}},
		"nobody":                                 nil,
	} {
		var peers []rollout.Peer
		var remotes []int
		for _, r := range rows {
			peers, remotes = append(peers, rollout.Peer{Address: r.address}), append(remotes, r.remote)
		}
		markOurs(peers, remotes, us, func(a string) bool { return netip.MustParseAddr(a).Unmap() == us.Addr() })
		for i, r := range rows {
			if peers[i].Self != r.self {
				t.Errorf("%s: %s:%d ours: %v", name, r.address, r.remote, peers[i].Self)
			}
		}
	}
	if only := []rollout.Peer{{Address: "192.0.2.1"}}; true {
		markOurs(only, []int{0}, netip.AddrPort{}, func(string) bool { return false })
		if only[0].Self {
			t.Error("a session without an address has ours")
		}
	}
}
