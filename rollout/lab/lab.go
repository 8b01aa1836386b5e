package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"wavelock/ldapdisco/ldaptest"
	"wavelock/ldapdisco/logon/logontest"
	"wavelock/pki/adcstest"
	"wavelock/rollout/machinetest"
)

const (
	domain   = "corp.example"
	template = "WinRMHTTPS"
	oid      = "1.3.6.1.4.1.311.21.8.7204513.2311.1.1"
	account  = "wavelock"
)

// Config says how large the domain is and what is wrong with it.
type Config struct {
	Hosts   int
	Seed    uint64
	Latency time.Duration  // of every answer of a computer
	Network netip.Prefix   // that the computers' addresses are of, and that this system takes for its own; loopback when zero
	Faults  map[string]int // so many computers with this fault, chosen by the seed
	// Troubles gives some computers what every domain has; see Troubles.
	Troubles bool
	Validity time.Duration    // of the certificates that the CA issues; a year when 0
	Clock    func() time.Time // of the CA and the computers; the wall clock when nil
	Log      *slog.Logger
}

// Lab is a running domain.
type Lab struct {
	cfg      Config
	password string
	accounts *logontest.Directory
	ldap     *ldaptest.Server
	ca       *adcstest.CA
	ca01     *adcstest.Service // the CA's computer
	caWeb    *http.Server      // lists of revoked certificates, and the responder
	kdc      *logontest.KDC
	dns      []*dns.Server
	resolver string
	names    []string // in the order of their making
	hosts    map[string]*machinetest.Host
	records  map[string]string // name to address
	ous      map[string]string
	troubles []Trouble
	block    net.Listener // holds the block of addresses against another lab
	first    int          // second byte of the addresses
}

// Start makes the domain and switches everything on.
func Start(ctx context.Context, cfg Config) (*Lab, error) {
	if cfg.Hosts < 1 || cfg.Hosts > 20000 {
		return nil, fmt.Errorf("a lab has 1 to 20000 computers, not %d", cfg.Hosts)
	}
	if cfg.Network.IsValid() && (!cfg.Network.Addr().Is4() || cfg.Network.Bits() > 24) {
		return nil, fmt.Errorf("the network %v is no IPv4 network of 24 bits or fewer", cfg.Network)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	raw := make([]byte, 12)
	if _, err := rand.Read(raw); err != nil {
		return nil, err
	}
	l := &Lab{cfg: cfg, password: "Lab-" + hex.EncodeToString(raw), hosts: map[string]*machinetest.Host{}, records: map[string]string{}, ous: map[string]string{}}
	l.accounts = logontest.NewDirectory("CORP", domain)
	l.accounts.Add(account, l.password)
	l.accounts.Add(relayAccount, l.password)
	for _, make := range []func() error{l.takeAddresses, l.makeCA, l.makeDirectory, l.makeHosts, l.makeDNS, l.makeFaults} {
		if err := errors.Join(ctx.Err(), make()); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

// Close switches everything off.
func (l *Lab) Close() {
	for _, h := range l.hosts {
		h.Close()
	}
	if l.ca01 != nil {
		if err := l.ca01.Close(); err != nil {
			l.cfg.Log.Debug("close the CA", "err", err)
		}
	}
	if l.caWeb != nil {
		if err := l.caWeb.Close(); err != nil {
			l.cfg.Log.Debug("close the CA's web server", "err", err)
		}
	}
	if l.kdc != nil {
		if err := l.kdc.Close(); err != nil {
			l.cfg.Log.Debug("close the KDC", "err", err)
		}
	}
	if l.ldap != nil {
		if err := l.ldap.Close(); err != nil {
			l.cfg.Log.Debug("close the directory", "err", err)
		}
	}
	if l.block != nil {
		l.block.Close()
	}
	for _, s := range l.dns {
		if err := s.Shutdown(); err != nil {
			l.cfg.Log.Debug("close the DNS server", "err", err)
		}
	}
}

// takeAddresses finds a block of loopback addresses that no other lab on this
// computer has.
func (l *Lab) takeAddresses() error {
	var err error
	for l.first = 80; l.first < 240; l.first += 5 {
		if l.block, err = net.Listen("tcp", fmt.Sprintf("127.%d.0.1:5985", l.first)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("every block of addresses is taken: %w", err)
}

// kinds are the sorts of computers, in the shares of their order.
var kinds = []struct{ prefix, ou, os string }{
	{"web", "OU=Web,OU=Servers", "Windows Server 2022 Standard"},
	{"app", "OU=App,OU=Servers", "Windows Server 2019 Standard"},
	{"sql", "OU=Data,OU=Servers", "Windows Server 2022 Datacenter"},
	{"file", "OU=File,OU=Servers", "Windows Server 2016 Standard"},
	{"ws", "OU=Workstations", "Windows 11 Enterprise"},
}

func (l *Lab) makeHosts() error {
	counts := map[string]int{}
	for i := range l.cfg.Hosts {
		k := kinds[i%len(kinds)]
		counts[k.prefix]++
		if err := l.addHost(i, fmt.Sprintf("%s%02d", k.prefix, counts[k.prefix]), k.ou, k.os); err != nil {
			return err
		}
	}
	return nil
}

// addressOf is the address of the i-th computer.
func (l *Lab) addressOf(i int) (string, error) {
	row, place := byte(i/240%250), byte(i%240+2)
	if !l.cfg.Network.IsValid() {
		return netip.AddrFrom4([4]byte{127, byte(l.first + i/60000), row, place}).String(), nil
	}
	a := l.cfg.Network.Masked().Addr().As4()
	a[2] += row
	a[3] = place
	if at := netip.AddrFrom4(a); l.cfg.Network.Contains(at) {
		return at.String(), nil
	}
	return "", fmt.Errorf("%v has no room for computer %d: a /24 has 240", l.cfg.Network, i+1)
}

func (l *Lab) addHost(i int, name, ou, os string) error {
	fqdn := name + "." + domain
	address, err := l.addressOf(i)
	if err != nil {
		return err
	}
	now := l.cfg.Clock()
	if _, err := l.ldap.AddMachine(ldaptest.Machine{Name: strings.ToUpper(name), OU: ou, DNSHostName: fqdn, OS: os, OSVersion: "10.0 (20348)",
		LastLogon: now.Add(-24 * time.Hour), PasswordLastSet: now.Add(-24 * time.Hour)}); err != nil {
		return fmt.Errorf("add %s to the directory: %w", name, err)
	}
	product := 3
	if strings.HasPrefix(name, "ws") {
		product = 1
	}
	h := machinetest.New(machinetest.Config{FQDN: fqdn, Address: address, Product: product, Directory: l.accounts, Admins: []string{account},
		Latency: l.cfg.Latency, Enroll: l.enroll, Clock: l.cfg.Clock, Log: l.cfg.Log,
		LogShell: len(l.names)%3 > 0, Transcripts: transcriptShares[len(l.names)%2], TrustedHosts: map[bool]string{true: "*"}[len(l.names)%7 == 3]})
	h.InstallCA(l.ca.Issuing())
	h.Registry(logDrops)
	h.Registry(func(r *machinetest.Registry) { shareTranscripts(r, name) })
	if err := h.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	l.names = append(l.names, fqdn)
	l.hosts[fqdn], l.records[fqdn], l.ous[fqdn] = h, address, ou
	return nil
}

// transcriptShares are where the lab's computers write what PowerShell does.
var transcriptShares = [2]string{`\\file01.corp.example\transcripts$`, `\\file02\Transcripts$\PowerShell`}

// shareTranscripts makes the shares of the file servers: on the first, everybody may append; on the second, everybody
// has Full Control, as is often seen; the others have the usual one, everybody may change, with the rest left to the
// folder.
func shareTranscripts(r *machinetest.Registry, name string) {
	if !strings.HasPrefix(name, "file") {
		return
	}
	everybody := machinetest.ShareEntry{SID: "S-1-1-0", Mask: machinetest.ShareChange}
	switch name {
	case "file01":
		everybody = machinetest.ShareEntry{SID: "S-1-5-11", Mask: machinetest.ShareAppend}
	case "file02":
		everybody.Mask = machinetest.ShareFull
	}
	r.SetShare("transcripts$", `D:\Transcripts`, machinetest.ShareEntry{SID: "S-1-5-32-544", Mask: machinetest.ShareFull}, everybody)
}

// logDrops is what a policy of the lab sets, as the guide says to do before a brown-out: Windows by itself logs nothing.
func logDrops(r *machinetest.Registry) {
	for _, profile := range []string{"DomainProfile", "PrivateProfile"} {
		r.SetNum(`SOFTWARE\Policies\Microsoft\WindowsFirewall\`+profile+`\Logging`, "LogDroppedPackets", 1)
	}
}

// makeDNS answers for every computer and for the domain controller, on UDP where
// the system has it, and on TCP.
func (l *Lab) makeDNS() error {
	l.records["dc1."+domain] = "127.0.0.1"
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the DNS server: %w", err)
	}
	l.resolver = stream.Addr().String()
	servers := []*dns.Server{{Listener: stream}}
	if packets, err := net.ListenPacket("udp", l.resolver); err == nil {
		servers = append(servers, &dns.Server{PacketConn: packets})
	} else {
		l.cfg.Log.Debug("DNS is served on TCP alone", "err", err)
	}
	for _, s := range servers {
		if err := l.serveDNS(s); err != nil {
			return fmt.Errorf("start the DNS server: %w", err)
		}
	}
	return nil
}

func (l *Lab) serveDNS(s *dns.Server) error {
	ready := make(chan struct{})
	s.Handler, s.NotifyStartedFunc = dns.HandlerFunc(l.resolve), func() { close(ready) }
	failed := make(chan error, 1)
	go func() { failed <- s.ActivateAndServe() }() // ends with Close
	select {
	case <-ready:
		l.dns = append(l.dns, s)
		return nil
	case err := <-failed:
		return err
	}
}

func (l *Lab) resolve(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	for _, question := range q.Question {
		name := strings.ToLower(strings.TrimSuffix(question.Name, "."))
		address, known := l.records[name]
		if rest, ok := strings.CutPrefix(name, "_ldap._tcp."); ok && strings.HasSuffix(rest, domain) && !strings.Contains(rest, "_sites") {
			l.serve(m, question)
			continue
		}
		if !known {
			m.Rcode = dns.RcodeNameError
			continue
		}
		if question.Qtype == dns.TypeA {
			if rr, err := dns.NewRR(question.Name + " 60 IN A " + address); err == nil {
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	if err := w.WriteMsg(m); err != nil {
		l.cfg.Log.Debug("answer a DNS question", "err", err)
	}
}

// serve names the domain controller and its port, as a domain's DNS does.
func (l *Lab) serve(m *dns.Msg, q dns.Question) {
	_, port, err := net.SplitHostPort(l.ldap.Addr())
	if err != nil || q.Qtype != dns.TypeSRV {
		return
	}
	if rr, err := dns.NewRR(q.Name + " 60 IN SRV 0 100 " + port + " dc1." + domain + "."); err == nil {
		m.Answer = append(m.Answer, rr)
	}
}

// makeFaults gives the asked-for faults to computers that have none yet.
func (l *Lab) makeFaults() error {
	order := slices.Clone(l.names)
	rng := mrand.New(mrand.NewPCG(l.cfg.Seed, 0x6c6162)) // "lab"
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	next := func() (string, error) {
		if len(order) == 0 {
			return "", errors.New("there are more faults than computers")
		}
		name := order[0]
		order = order[1:]
		return name, nil
	}
	if l.cfg.Troubles {
		for _, t := range commonTroubles {
			name, err := next()
			if err != nil {
				return err
			}
			t.Host = name
			l.hosts[name].Set(t.fault)
			l.troubles = append(l.troubles, t)
		}
	}
	for _, fault := range slices.Sorted(maps.Keys(l.cfg.Faults)) {
		for range l.cfg.Faults[fault] {
			name, err := next()
			if err != nil {
				return err
			}
			if err := l.Break(name, fault); err != nil {
				return err
			}
		}
	}
	return nil
}

// host is a computer of the lab by its full name.
func (l *Lab) host(name string) (*machinetest.Host, error) {
	h := l.hosts[name]
	if h == nil {
		return nil, fmt.Errorf("the lab has no %s", name)
	}
	return h, nil
}
