package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wavelock/rollout"
	"wavelock/rollout/journal/postgrestest"
)

// site is a network namespace from which only some addresses can be reached: the worker of a zone lives there.
type site struct {
	zone rollout.Zone
	name string // of the namespace
}

// run is a command inside the site.
func (s site) run(args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", s.name}, args...)...)
}

// reaches reports whether a TCP connection from the site to the address can be made.
func (s site) reaches(address netip.AddrPort) bool {
	return s.run("timeout", "5", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", address.Addr(), address.Port())).Run() == nil
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// plot takes a network for the lab that nothing on this computer uses. The system takes all of its addresses for its own.
func plot(t *testing.T) (labNetwork netip.Prefix, links string) {
	t.Helper()
	for n := 66; n < 200; n++ {
		network := fmt.Sprintf("10.%d.0.0/20", n)
		if found, err := exec.Command("ip", "route", "show", "table", "all", "root", fmt.Sprintf("10.%d.0.0/16", n)).Output(); err != nil || len(found) > 0 {
			continue
		}
		if ip("route", "add", "local", network, "dev", "lo") == nil {
			t.Cleanup(func() { _ = ip("route", "del", "local", network, "dev", "lo") })
			return netip.MustParsePrefix(network), fmt.Sprintf("10.%d.240.", n)
		}
	}
	t.Fatal("no network is free")
	return
}

// settle makes the site of a zone, with ways to these addresses and to nothing else, and the names of its hosts.
func settle(t *testing.T, zone rollout.Zone, n int, links string, ways []netip.Addr, names string) site {
	t.Helper()
	s := site{zone: zone, name: fmt.Sprintf("wl%d-%s", os.Getpid(), zone)}
	out, in := fmt.Sprintf("wl%d%so", os.Getpid()%100000, zone), fmt.Sprintf("wl%d%si", os.Getpid()%100000, zone)
	near, far := fmt.Sprint(links, 4*n+1), fmt.Sprint(links, 4*n+2)
	t.Cleanup(func() {
		_ = ip("link", "del", out)
		_ = ip("netns", "del", s.name)
		_ = os.RemoveAll(filepath.Join("/etc/netns", s.name))
	})
	steps := [][]string{
		{"netns", "add", s.name}, {"link", "add", out, "type", "veth", "peer", "name", in}, {"link", "set", in, "netns", s.name},
		{"addr", "add", near + "/30", "dev", out}, {"link", "set", out, "up"},
		{"-n", s.name, "addr", "add", far + "/30", "dev", in}, {"-n", s.name, "link", "set", in, "up"}, {"-n", s.name, "link", "set", "lo", "up"}}
	for _, w := range ways {
		steps = append(steps, []string{"-n", s.name, "route", "add", w.String() + "/32", "via", near})
	}
	for _, args := range steps {
		if err := ip(args...); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join("/etc/netns", s.name) // ip netns exec puts what is in there over /etc
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "hosts"), []byte(names), 0o644)); err != nil {
		t.Fatal(err)
	}
	return s
}

// mayChangeSystem is for root on a system that lets it do what the test needs. It changes the system for the time of the
// test, so it has to be asked for.
func mayChangeSystem(t *testing.T, try func() error) {
	t.Helper()
	if os.Getenv("WAVELOCK_SYSTEM") == "" {
		t.Skip("WAVELOCK_SYSTEM is not set: this test makes network namespaces, links, routes or mounts")
	}
	switch err := try(); {
	case err != nil && os.Getenv("WAVELOCK_REQUIRE_PEERS") == "":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

// TestWorkersInNetworksOfTheirOwn has a worker for each of three zones. From where it lives, only the computers of its
// zone and the database, over TLS, can be reached: neither other zones nor the directory, DNS or the CA.
func TestWorkersInNetworksOfTheirOwn(t *testing.T) {
	mayChangeSystem(t, func() error {
		name := fmt.Sprintf("wl%d-try", os.Getpid())
		if err := ip("netns", "add", name); err != nil {
			return err
		}
		return ip("netns", "del", name)
	})
	server, err := postgrestest.New(t.Context())
	if errors.Is(err, postgrestest.ErrMissing) && os.Getenv("WAVELOCK_REQUIRE_PEERS") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	network, links := plot(t)
	database := network.Addr().Next()
	certificate, err := server.OpenDoor(t.Context(), database.String())
	if err != nil {
		t.Fatal(err)
	}
	const hosts = 15
	dir := t.TempDir()
	startLab(t, dir, hosts, "--network", network.String())
	root := filepath.Join(dir, "postgres.pem")
	if err := os.WriteFile(root, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	rewrite(t, filepath.Join(dir, "wavelock.yaml"), func(text string) string {
		text = killWaves(strings.Replace(text, "database: wavelock.db", "database: "+server.DoorAddress(database.String(), "postgres", root), 1))
		return text + "\nzones:\n  - {zone: a, ou: 'OU=Web,OU=Servers,DC=corp,DC=example'}\n  - {zone: b, ou: 'OU=App,OU=Servers,DC=corp,DC=example'}\n  - {zone: c}\n"
	})
	plan := filepath.Join(dir, "spring.json")
	succeeds(t, dir, "assess", "--quiet")
	succeeds(t, dir, "plan", "--out", plan)
	addresses := addressesOf(t, dir, plan)
	var sites []site
	for n, zone := range []rollout.Zone{"a", "b", "c"} {
		ways, names := []netip.Addr{database}, "127.0.0.1 localhost\n"
		for id, at := range addresses[zone] {
			ways, names = append(ways, at), names+fmt.Sprintln(at, id)
		}
		sites = append(sites, settle(t, zone, n, links, ways, names))
	}
	checkBarriers(t, sites, addresses, server.DoorAddress(database.String(), "postgres", root))
	workersFile := filepath.Join(dir, "workers.yaml")
	text, err := os.ReadFile(filepath.Join(dir, "wavelock.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(workersFile, regexp.MustCompile(`(?m)^resolver: .*$`).ReplaceAll(text, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range sites {
		c := s.run(os.Args[0], "--config", workersFile, "worker", "--zone", string(s.zone))
		c.Env = append(os.Environ(), "WAVELOCK_TEST_MAIN=1")
		var said bytes.Buffer
		c.Stdout, c.Stderr = &said, &said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Process.Signal(os.Interrupt)
			_ = c.Wait()
			if t.Failed() {
				t.Logf("the worker of zone %s said\n%s", s.zone, said.String())
			}
		})
	}
	if out, err := program(dir, "run", plan, "--yes", "--zones", "none").CombinedOutput(); err != nil {
		t.Fatalf("run: %v\n%s", err, out)
	}
	if got := outcomeOf(t, dir); got.Status != "finished" || got.Counts["done"] != hosts {
		t.Errorf("it ends %+v", got)
	}
	zones := map[rollout.HostID]rollout.Zone{}
	for zone, all := range addresses {
		for id := range all {
			zones[id] = zone
		}
	}
	auditSteps(t, dir, func(e rollout.Event) {
		if want := fmt.Sprintf("worker for %s", zones[e.Host]); !strings.HasSuffix(e.Actor, want) {
			t.Errorf("event %d of %s was written by %q, want a %s", e.Seq, e.Host, e.Actor, want)
		}
	})
}

// addressesOf are the addresses of the plan's hosts by zone.
func addressesOf(t *testing.T, dir, plan string) map[rollout.Zone]map[rollout.HostID]netip.Addr {
	t.Helper()
	cfg, err := loadConfig(filepath.Join(dir, "wavelock.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := readPlan(plan)
	if err != nil {
		t.Fatal(err)
	}
	all := map[rollout.Zone]map[rollout.HostID]netip.Addr{}
	for _, h := range p.Hosts {
		found, err := cfg.lookup(t.Context(), string(h.Host.ID))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		if all[h.Host.Zone] == nil {
			all[h.Host.Zone] = map[rollout.HostID]netip.Addr{}
		}
		all[h.Host.Zone][h.Host.ID] = found[0].Unmap()
	}
	return all
}

// checkBarriers makes sure that the sites are what they are taken for: before the campaign, each door is tried from each.
func checkBarriers(t *testing.T, sites []site, addresses map[rollout.Zone]map[rollout.HostID]netip.Addr, database string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sites {
		if !s.reaches(netip.MustParseAddrPort(u.Host)) {
			t.Fatalf("from zone %s the database is not reached", s.zone)
		}
		for zone, all := range addresses {
			for id, at := range all {
				if got := s.reaches(netip.AddrPortFrom(at, 5985)); got != (zone == s.zone) {
					t.Fatalf("from zone %s, %s of zone %s is reached: %v", s.zone, id, zone, got)
				}
			}
		}
	}
}
