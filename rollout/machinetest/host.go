package machinetest

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"

	"wavelock/ldapdisco/logon/logontest"
)

// EnrollRequest is what a computer sends to its CA. The caller is the computer itself.
type EnrollRequest struct {
	Account  string // WEB01$
	FQDN     string
	Template string
	CSR      []byte // PKCS #10 in DER
}

// EnrollError is a CA that does not issue.
type EnrollError struct {
	Pending bool
	HRESULT uint32
}

func (e *EnrollError) Error() string {
	if e.Pending {
		return "the request is pending"
	}
	return fmt.Sprintf("the request was denied: 0x%08x", e.HRESULT)
}

// Config says what computer it is.
type Config struct {
	FQDN         string  // web01.corp.example
	Address      string  // 127.x.y.z
	HTTPPort     int     // 5985 when 0
	HTTPSPort    int     // 5986 when 0
	Product      int     // 1 client, 2 domain controller, 3 server (the default)
	Release      Release // Windows Server 2022, or Windows 11 for a client, when it has no name
	Directory    *logontest.Directory
	Admins       []string // account names; nobody else may do anything
	Keytab       *keytab.Keytab
	Clock        func() time.Time
	Latency      time.Duration // of every answer
	Enroll       func(context.Context, EnrollRequest) (der []byte, err error)
	NewKey       func() (crypto.Signer, error)
	LogShell     bool   // policies log what PowerShell does
	Transcripts  string // and write it here; \\logs.corp.example\transcripts$ when empty
	TrustedHosts string // of the computer as a client
	MaxEnvelope  int    // MaxEnvelopeSizekb of the service, in bytes; 512000 when 0
	Log          *slog.Logger
}

// Host is one simulated computer. It is safe for concurrent use.
type Host struct {
	cfg      Config
	acceptor *logontest.Host
	requests atomic.Int64
	writes   atomic.Int64

	mu         sync.Mutex // guards what follows
	reg        Registry
	faults     []Fault
	doors      map[string]*door // by transport
	lying      *door            // 5985 after PortOpenLie
	shared     *door            // 5985 after PortShared
	keys       map[string]crypto.Signer
	keyACL     string           // who may use them, SDDL; empty: nothing says
	tasks      map[string]*task // by lower-case path
	disabled   bool             // the WinRM service: it runs on, and is not started any more
	endAfter   int              // actions of a task, after which somebody deletes it
	onlyIPv6   bool             // http.sys listens on IPv6 addresses alone
	refusesPut bool             // of a listener
	atWork     int              // instances of tasks
	actionTime time.Duration    // of each action of a task
	stopTime   time.Duration    // of the WinRM service, beyond what net waits
	files      map[string][]byte
	awaited    []signer // keys whose requests wait for their certificates
	shells     map[string]*shell
	pulls      map[string][]object
	mappings   []mapping         // of client certificates to accounts
	services   map[string]string // lower-case name to state, where that is not what the common list has
	booted     time.Time
	closed     bool
	cut        bool // 5986 is cut off the network
	timers     []*time.Timer
	connected  map[net.Conn]int // open connections to the port
	visitors   []visitor        // who else is connected, without a connection of their own in this process
}

const (
	listenerKey = `SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Listener`
	serviceKey  = `SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Service`
	policyKey   = `SOFTWARE\Policies\Microsoft\Windows\WinRM\Service`
	bindingKey  = `SYSTEM\CurrentControlSet\Services\HTTP\Parameters\SslBindingInfo`
	myKey       = `SOFTWARE\Microsoft\SystemCertificates\MY\Certificates`
	firewallKey = `SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy`
)

// New makes a computer that is switched off: a fresh member server with WinRM
// over HTTP, 400 firewall rules, 8 certificates and 200 services.
func New(cfg Config) *Host {
	cfg.HTTPPort, cfg.HTTPSPort = cmp.Or(cfg.HTTPPort, 5985), cmp.Or(cfg.HTTPSPort, 5986)
	cfg.MaxEnvelope = cmp.Or(cfg.MaxEnvelope, 512000)
	switch {
	case cfg.Release.Name == "" && cfg.Product == 1:
		cfg.Release = releaseNamed("Windows 11")
	case cfg.Release.Name == "":
		cfg.Release = releaseNamed("Windows Server 2022")
	case cfg.Release.Client:
		cfg.Product = 1
	}
	cfg.Product = cmp.Or(cfg.Product, 3)
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.NewKey == nil {
		cfg.NewKey = func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
	}
	name, _, _ := strings.Cut(cfg.FQDN, ".")
	h := &Host{cfg: cfg, doors: map[string]*door{}, keys: map[string]crypto.Signer{}, keyACL: keyACL, tasks: map[string]*task{}, files: map[string][]byte{},
		shells: map[string]*shell{}, pulls: map[string][]object{}, services: map[string]string{}, connected: map[net.Conn]int{},
		acceptor: &logontest.Host{Directory: cfg.Directory, NetBIOSName: strings.ToUpper(name), DNSName: cfg.FQDN, Keytab: cfg.Keytab}}
	h.furnish()
	return h
}

// Start boots the computer: the listeners of its registry open.
func (h *Host) Start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.booted = h.now().Add(-72 * time.Hour)
	return h.reload()
}

// Close switches the computer off for good.
func (h *Host) Close() {
	h.mu.Lock()
	h.closed = true
	h.shut()
	for _, t := range h.timers {
		t.Stop()
	}
	h.timers = nil
	h.mu.Unlock()
}

// RestartWinRM ends all shells, as a restart of the service does to clients whose
// connections http.sys keeps.
func (h *Host) RestartWinRM() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shells, h.pulls = map[string]*shell{}, map[string][]object{}
}

// Reboot restarts the computer: connections are cut, timers that count from a
// task's registration are lost, boot triggers fire.
func (h *Host) Reboot() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reboot()
}

func (h *Host) reboot() {
	if h.closed {
		return
	}
	h.shut()
	h.shells, h.pulls = map[string]*shell{}, map[string][]object{}
	for _, t := range h.timers {
		t.Stop()
	}
	h.timers = nil
	h.booted, h.atWork = h.now(), 0
	delete(h.services, "winrm") // it starts with the computer
	if h.disabled {
		h.services["winrm"] = "Stopped"
	}
	if err := h.reload(); err != nil {
		h.cfg.Log.Error("boot", "host", h.cfg.FQDN, "err", err)
	}
	for _, t := range h.tasks {
		h.boot(t)
	}
}

func (h *Host) now() time.Time {
	t := h.cfg.Clock()
	if h.has(ClockSkew) {
		t = t.Add(11 * time.Minute)
	}
	return t
}

// FQDN is the computer's own name.
func (h *Host) FQDN() string { return h.cfg.FQDN }

// Address is where the port is listened on, whether it is open or not.
func (h *Host) Address(port int) string {
	switch port {
	case 5985:
		port = h.cfg.HTTPPort
	case 5986:
		port = h.cfg.HTTPSPort
	}
	return net.JoinHostPort(h.cfg.Address, fmt.Sprint(port))
}

// Requests is how many HTTP requests were seen.
func (h *Host) Requests() int64 { return h.requests.Load() }

// Writes is how often anything on the computer was changed from outside.
func (h *Host) Writes() int64 { return h.writes.Load() }

// HTTPOpen and HTTPSOpen are the test's own look at the doors.
func (h *Host) HTTPOpen() bool { return h.open("HTTP") }

// HTTPSOpen reports whether 5986 can be reached.
func (h *Host) HTTPSOpen() bool { return h.open("HTTPS") }

func (h *Host) open(transport string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if transport == "HTTPS" && h.cut {
		return false
	}
	return h.doors[transport] != nil
}

// Registry runs f with the registry, for tests that arrange or look.
func (h *Host) Registry(f func(*Registry)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.reg)
}

// TaskNames are the paths of the registered tasks.
func (h *Host) TaskNames() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, t := range h.tasks {
		names = append(names, t.path)
	}
	return names
}

// visitor is somebody from another computer.
type visitor struct {
	address string
	port    int
}

// Visit has somebody from an address connected to the port, 5985 or 5986, until Leave.
func (h *Host) Visit(address string, port int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.visitors = append(h.visitors, visitor{address, port})
}

// Leave ends the connections from an address.
func (h *Host) Leave(address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.visitors = slices.DeleteFunc(h.visitors, func(v visitor) bool { return v.address == address })
}

func (h *Host) netBIOS() string { return h.acceptor.NetBIOSName }

func (h *Host) identity() (name, domain string) {
	name, domain, _ = strings.Cut(h.cfg.FQDN, ".")
	if h.has(WrongHost) {
		name = "someoneelse"
	}
	return name, domain
}

// after runs f later, with mu held, unless the computer is switched off or
// restarted before.
func (h *Host) after(d time.Duration, f func()) {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for i, o := range h.timers {
			if o == t {
				h.timers = append(h.timers[:i:i], h.timers[i+1:]...)
				f()
				return
			}
		}
	})
	h.timers = append(h.timers, t)
}

// door is one open port.
type door struct {
	transport string
	port      int
	listener  net.Listener
	server    *http.Server
}
