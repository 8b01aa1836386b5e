package machine

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/wsman"
)

const firewallPolicy = `SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy`

const storeKey = `HKLM\SOFTWARE\Microsoft\SystemCertificates\MY\Certificates`

// The sections of the bulk read, one for each registry key.
const (
	inFirewall = iota
	inFirewallPolicy
	inStore
	inBindings
	inWinRMPolicy
	inOurs
	inSubscriptions
	inForwarding
	inNames
)

// bulkKeys are the registry keys of one bulk read.
var bulkKeys = []string{
	inFirewall:       `HKLM\` + firewallPolicy,
	inFirewallPolicy: `HKLM\SOFTWARE\Policies\Microsoft\WindowsFirewall`,
	inStore:          storeKey,
	inBindings:       `HKLM\SYSTEM\CurrentControlSet\Services\HTTP\Parameters\SslBindingInfo`,
	inWinRMPolicy:    `HKLM\SOFTWARE\Policies\Microsoft\Windows\WinRM`,
	inOurs:           `HKLM\` + ownKey,
	inSubscriptions:  `HKLM\` + subscriptionsKey,
	inForwarding:     `HKLM\` + forwardingKey,
	inNames:          `HKLM\` + nameKey,
}

// inspect reads everything there is to know. A computer that does not answer is
// an observation, not an error; one that refuses our credentials is an error.
func (m *Machine) inspect(ctx context.Context, brief bool) (rollout.Observation, error) {
	o, d, err := m.reach(ctx)
	if err != nil || d == nil {
		return o, err
	}
	m.read(ctx, d, &o, brief)
	m.seen = o
	return o, nil
}

// reach tries both doors and enters by one. It answers no door when neither lets us in.
func (m *Machine) reach(ctx context.Context) (rollout.Observation, *door, error) {
	o := rollout.Observation{Host: m.host.ID, At: m.cfg.Now().UTC()}
	if err := m.resolve(ctx); err != nil {
		var dns *net.DNSError
		if !errors.As(err, &dns) || ctx.Err() != nil {
			return o, nil, err
		}
		o.HTTP = rollout.Door{State: rollout.DoorNoName, Detail: err.Error()}
		o.HTTPS = o.HTTP
		return o, nil, nil
	}
	o.HTTPS = m.tryTLS(ctx)
	d, err := m.enter(ctx, &o)
	return o, d, err
}

// Sample looks who is connected to the computer, and at nothing else: it is cheap
// enough to be done often. Errors are *rollout.Failure.
func (m *Machine) Sample(ctx context.Context) (rollout.Observation, error) {
	o, d, err := m.reach(ctx)
	if err != nil {
		return o, m.judge(rollout.StepInspect, rollout.ReasonProtocol, err)
	}
	if d != nil {
		part(&o.Identity, func() (rollout.Identity, error) { return readIdentity(ctx, d.session) })
		part(&o.Peers, func() ([]rollout.Peer, error) { return m.readPeers(ctx, d.session) })
	}
	return o, nil
}

// tryTLS looks whether somebody speaks TLS on the HTTPS port. What is presented
// is judged by Prove, not here.
func (m *Machine) tryTLS(ctx context.Context) rollout.Door {
	door := rollout.Door{Address: m.address(rollout.HTTPS)}
	ctx, cancel := context.WithTimeout(ctx, min(m.cfg.Timeout, 5*time.Second))
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{ServerName: string(m.host.ID), InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}}
	c, err := d.DialContext(ctx, "tcp", door.Address)
	if err != nil {
		door.State, door.Detail = doorState(err), err.Error()
		return door
	}
	door.State = rollout.DoorOpen
	if t, ok := c.(*tls.Conn); ok {
		m.wire = t.ConnectionState().PeerCertificates
	}
	c.Close()
	return door
}

func doorState(err error) rollout.DoorState {
	var dial *wsman.DialError
	if errors.As(err, &dial) && dial.Refused() || strings.Contains(err.Error(), "refused") {
		return rollout.DoorRefused
	}
	return rollout.DoorSilent
}

// enter opens a session through HTTP, or through HTTPS where HTTP does not let
// us in. It answers nil when neither does.
func (m *Machine) enter(ctx context.Context, o *rollout.Observation) (*door, error) {
	o.HTTP.Address = m.address(rollout.HTTP)
	d, httpErr := m.fresh(ctx, rollout.HTTP)
	if httpErr == nil {
		o.HTTP.State, o.Via = rollout.DoorOpen, rollout.HTTP
		return d, nil
	}
	var auth *wsman.AuthError
	var protocol *wsman.ProtocolError
	switch {
	case errors.As(httpErr, &auth):
		o.HTTP.State = rollout.DoorOpen
	case errors.As(httpErr, &protocol) && protocol.Status == 404:
		o.HTTP.State = rollout.DoorOther
	default:
		o.HTTP.State = doorState(httpErr)
	}
	o.HTTP.Detail = httpErr.Error()
	if o.HTTPS.State != rollout.DoorOpen {
		return nil, refusal(ctx, auth)
	}
	d, err := m.fresh(ctx, rollout.HTTPS)
	if err == nil {
		o.Via = rollout.HTTPS
		return d, nil
	}
	o.HTTPS.Detail = err.Error()
	if errors.As(err, &auth) {
		return nil, err
	}
	return nil, refusal(ctx, auth)
}

func refusal(ctx context.Context, auth *wsman.AuthError) error {
	if auth != nil {
		return auth
	}
	return ctx.Err()
}

// part reads one part of the observation; why it cannot be read becomes part of it.
func part[T any](to *rollout.Seen[T], read func() (T, error)) {
	v, err := read()
	if err == nil {
		*to = rollout.Saw(v)
		return
	}
	*to = rollout.Unseen[T](err.Error())
	var fault *wsman.Fault
	to.Denied = errors.As(err, &fault) && fault.IsAccessDenied()
}

func (m *Machine) read(ctx context.Context, d *door, o *rollout.Observation, brief bool) {
	part(&o.Identity, func() (rollout.Identity, error) { return readIdentity(ctx, d.session) })
	part(&o.System, func() (rollout.System, error) { return m.readSystem(ctx, d.session) })
	part(&o.Listeners, func() ([]rollout.Listener, error) { return readListeners(ctx, d.session) })
	part(&o.Service, func() (rollout.Service, error) { return readService(ctx, d.session) })
	part(&o.Services, func() ([]rollout.WindowsService, error) { return readServices(ctx, d.session) })
	part(&o.Peers, func() ([]rollout.Peer, error) { return m.readPeers(ctx, d.session) })
	if o.Admins = rollout.Unseen[[]rollout.Administrator](rollout.NotAsked); !brief {
		part(&o.Admins, func() ([]rollout.Administrator, error) { return readAdmins(ctx, d.session, o.System.Value.Product) })
	}
	task, taskErr := readTask(ctx, d.session)
	m.readRegistry(ctx, d, o, task, taskErr)
	o.Posture, o.ServerLists = rollout.Unseen[rollout.Posture](rollout.NotAsked), rollout.Unseen[rollout.ServerLists](rollout.NotAsked)
	o.ClientKeys = rollout.Unseen[[]rollout.ClientKey](rollout.NotAsked)
	if !brief { // last, since it opens files of users, who could keep it waiting
		part(&o.ClientKeys, func() ([]rollout.ClientKey, error) { return m.readClientKeys(ctx, d, *o) })
		m.readReport(ctx, d, o)
	}
}

// readRegistry reads by one command what the registry has: firewall, certificates, bindings, policy, image, undo and uses.
func (m *Machine) readRegistry(ctx context.Context, d *door, o *rollout.Observation, u rollout.Undo, taskErr error) {
	res, err := d.run(ctx, bulkQuery(bulkKeys))
	var parts [][]regKey
	if err == nil {
		parts, err = parseBulk(string(res.Stdout), len(bulkKeys)+1) // the last is what configuredLine prints
	}
	if err != nil {
		why := err.Error()
		o.Firewall, o.Certificates, o.Bindings = rollout.Unseen[rollout.Firewall](why), rollout.Unseen[[]pki.Certificate](why), rollout.Unseen[[]rollout.Binding](why)
		o.Policy, o.Undo, o.Image = rollout.Unseen[rollout.WinRMPolicy](why), rollout.Unseen[rollout.Undo](why), rollout.Unseen[*rollout.BeforeImage](why)
		o.Uses = rollout.Unseen[rollout.Uses](why)
		return
	}
	o.Firewall = rollout.Saw(m.firewall(parts[inFirewall], parts[inFirewallPolicy]))
	if o.Narrowed(m.cfg.HTTPPort) {
		part(&o.Drops, func() ([]rollout.Drop, error) { return m.readDrops(ctx, d, o.Firewall.Value, o.System.Value) })
	}
	part(&o.Certificates, func() ([]pki.Certificate, error) { return m.certificates(ctx, parts[inStore]) })
	part(&o.Bindings, func() ([]rollout.Binding, error) { return bindings(parts[inBindings]) })
	o.Policy = rollout.Saw(winRMPolicy(parts[inWinRMPolicy]))
	if len(parts[inWinRMPolicy]) > 0 {
		part(&o.PolicyValues, func() ([]rollout.PolicyValue, error) { return readWinners(ctx, d.session) })
	}
	text := string(res.Stdout)
	o.Uses = rollout.Saw(uses(parts[inSubscriptions], parts[inForwarding], parts[inNames], text[strings.LastIndex(text, section):]))
	part(&o.Image, func() (*rollout.BeforeImage, error) { return image(parts[inOurs]) })
	if taskErr != nil {
		o.Undo = rollout.Unseen[rollout.Undo](taskErr.Error())
		return
	}
	for _, k := range parts[inOurs] {
		if strings.EqualFold(k.path, undoKey) {
			u = marked(u, k.text("armed"))
		}
	}
	o.Undo = rollout.Saw(u)
}

// firewall reads the rules about our ports, and about WinRM's own where ours are others: those that the host had before
// are rules about these.
func (m *Machine) firewall(local, policy []regKey) rollout.Firewall {
	f := rollout.Firewall{Profiles: profiles(local, policy)}
	ours, n := rules(local, m.cfg.HTTPPort, m.cfg.HTTPSPort, 5985, 5986)
	theirs, k := rules(policy, m.cfg.HTTPPort, m.cfg.HTTPSPort, 5985, 5986)
	for i := range theirs {
		theirs[i].Policy = true
	}
	f.Rules, f.Total = append(ours, theirs...), n+k
	return f
}

// certificates reads a store, and learns which of them the CA took back.
func (m *Machine) certificates(ctx context.Context, keys []regKey) ([]pki.Certificate, error) {
	list, ders, err := certificates(keys)
	if err == nil {
		m.judgeChains(list, ders)
		m.askRevoked(ctx, list, ders)
	}
	return list, err
}

func certificates(keys []regKey) (list []pki.Certificate, ders [][]byte, err error) {
	for _, k := range keys {
		v, ok := k.value("Blob")
		if !ok {
			continue
		}
		blob, err := v.binary()
		if err != nil {
			return nil, nil, err
		}
		c, der, err := storeEntry(blob)
		if err != nil {
			// One entry that cannot be read does not hide the others: it cannot be chosen.
			c = pki.Certificate{Thumbprint: pki.ParseThumbprint(strings.Clone(k.last())), Subject: "unreadable: " + err.Error()}
		}
		list, ders = append(list, c), append(ders, der)
	}
	return list, ders, nil
}

func bindings(keys []regKey) ([]rollout.Binding, error) {
	var list []rollout.Binding
	for _, k := range keys {
		b := rollout.Binding{Endpoint: strings.Clone(k.last()), Store: k.text("SslCertStoreName")}
		if !strings.Contains(b.Endpoint, ":") {
			continue
		}
		if v, ok := k.value("SslCertHash"); ok {
			b.Thumbprint = pki.ParseThumbprint(strings.Clone(v.data))
		}
		if v, ok := k.value("AppId"); ok {
			raw, err := v.binary()
			if err != nil {
				return nil, err
			}
			b.AppID = guidText(raw)
		}
		list = append(list, b)
	}
	return list, nil
}

// guidText writes a stored GUID: its first three groups are little endian.
func guidText(b []byte) string {
	if len(b) != 16 {
		return ""
	}
	return fmt.Sprintf("{%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x}", b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8:10], b[10:])
}

func winRMPolicy(keys []regKey) rollout.WinRMPolicy {
	var p rollout.WinRMPolicy
	flag := func(k regKey, name string) *bool {
		v, ok := k.value(name)
		n, number := v.number()
		if !ok || !number {
			return nil
		}
		on := n != 0
		return &on
	}
	for _, k := range keys {
		switch strings.ToLower(k.path) {
		case `software\policies\microsoft\windows\winrm\service`:
			p.AllowAutoConfig, p.HTTPCompat, p.AllowBasic = flag(k, "AllowAutoConfig"), flag(k, "HttpCompatibilityListener"), flag(k, "AllowBasic")
			p.IPv4Filter, p.IPv6Filter = k.text("IPv4Filter"), k.text("IPv6Filter")
		case `software\policies\microsoft\windows\winrm\service\winrs`:
			p.AllowShell = flag(k, "AllowRemoteShellAccess")
		}
	}
	return p
}

func image(keys []regKey) (*rollout.BeforeImage, error) {
	for _, k := range keys {
		if v, ok := k.value("image"); ok && strings.EqualFold(k.path, beforeKey) {
			var i rollout.BeforeImage
			if err := json.Unmarshal([]byte(v.data), &i); err != nil {
				return nil, fmt.Errorf("read the before-image on the host: %w", err)
			}
			return &i, nil
		}
	}
	return nil, nil
}

// first is the first item of a WQL query.
func first(ctx context.Context, s *wsman.Session, namespace, wql string) (*wsman.Element, error) {
	for e, err := range s.Enumerate(ctx, wsman.WMI(namespace, "*"), wsman.Query{WQL: wql}) {
		return e, err
	}
	return nil, fmt.Errorf("the host has no answer to %s", wql)
}

func readIdentity(ctx context.Context, s *wsman.Session) (rollout.Identity, error) {
	e, err := first(ctx, s, "root/cimv2", "select * from Win32_ComputerSystem")
	if err != nil {
		return rollout.Identity{}, err
	}
	name, domain := e.Value("DNSHostName"), e.Value("Domain")
	if name == "" {
		name = e.Value("Name")
	}
	return rollout.Identity{FQDN: strings.ToLower(name + "." + domain), Domain: strings.ToLower(domain), PartOfDomain: strings.EqualFold(e.Value("PartOfDomain"), "true")}, nil
}

func (m *Machine) readSystem(ctx context.Context, s *wsman.Session) (rollout.System, error) {
	e, err := first(ctx, s, "root/cimv2", "select * from Win32_OperatingSystem")
	if err != nil {
		return rollout.System{}, err
	}
	sys := rollout.System{Version: e.Value("Version"), Caption: e.Value("Caption")}
	sys.Build, _ = strconv.Atoi(e.Value("BuildNumber"))
	sys.Product, _ = strconv.Atoi(e.Value("ProductType"))
	if t, err := cimTime(e.Value("LastBootUpTime")); err == nil {
		sys.Booted = t.UTC()
	}
	local, err := cimTime(e.Value("LocalDateTime"))
	if err != nil {
		return sys, fmt.Errorf("read the host's clock: %w", err)
	}
	sys.ClockSkew = local.Sub(m.cfg.Now())
	_, east := local.Zone()
	sys.Offset = time.Duration(east) * time.Second
	return sys, nil
}

// cimTime reads a datetime as WS-Management writes it.
func cimTime(s string) (time.Time, error) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999-07:00", "20060102150405.000000-070"} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", s)
}

func readServices(ctx context.Context, s *wsman.Session) ([]rollout.WindowsService, error) {
	var list []rollout.WindowsService
	q := wsman.Query{WQL: "select Name, State, StartMode from Win32_Service where Name='" + strings.Join(rollout.TellingServices, "' or Name='") + "'"}
	for e, err := range s.Enumerate(ctx, wsman.WMI("root/cimv2", "*"), q) {
		if err != nil {
			return nil, err
		}
		list = append(list, rollout.WindowsService{Name: e.Value("Name"), Running: e.Value("State") == "Running", Start: e.Value("StartMode")})
	}
	return list, nil
}

// States of a TCP connection, MSFT_NetTCPConnection.
const (
	tcpEstablished = 5
	tcpListening   = 2
)

// readPeers lists the connections to the two ports: what stands and what has just
// ended, as a client that comes every minute is rarely there when we look.
func (m *Machine) readPeers(ctx context.Context, s *wsman.Session) ([]rollout.Peer, error) {
	list, remotes := []rollout.Peer{}, []int{}
	q := wsman.Query{WQL: fmt.Sprintf("select * from MSFT_NetTCPConnection where (LocalPort=%d or LocalPort=%d) and State<>%d", m.cfg.HTTPPort, m.cfg.HTTPSPort, tcpListening)}
	for e, err := range s.Enumerate(ctx, wsman.WMI("root/StandardCimv2", "*"), q) {
		if err != nil {
			return nil, err
		}
		port, err := strconv.Atoi(e.Value("LocalPort"))
		if err != nil {
			return nil, fmt.Errorf("read the connections: %w", err)
		}
		p := rollout.Peer{Address: e.Value("RemoteAddress"), Port: port, Closed: e.Value("State") != strconv.Itoa(tcpEstablished)}
		remote, err := strconv.Atoi(e.Value("RemotePort"))
		if err != nil {
			return nil, fmt.Errorf("read the connections: %w", err)
		}
		list, remotes = append(list, p), append(remotes, remote)
	}
	markOurs(list, remotes, s.LocalAddr(), m.addresses())
	return list, nil
}

// addresses tells whether the host sees us under an address. It is the local end of
// a connection to the host, so no configuration has to know it; behind address
// translation, policy.controllers names it.
func (m *Machine) addresses() func(address string) bool {
	c, err := net.Dial("udp", m.address(rollout.HTTP)) // asks the routing table; nothing is sent
	if err != nil {
		return func(string) bool { return false }
	}
	defer c.Close()
	local, err := netip.ParseAddrPort(c.LocalAddr().String())
	return func(address string) bool {
		a, bad := netip.ParseAddr(address)
		return err == nil && bad == nil && local.Addr().Unmap() == a.Unmap()
	}
}

// readTask answers of the undo whether its task is there, and whether it was switched off.
func readTask(ctx context.Context, s *wsman.Session) (rollout.Undo, error) {
	tasks, err := readTasks(ctx, s, undoTask)
	return tasks[undoTask], err
}

// readTasks answers that of some tasks of ours.
func readTasks(ctx context.Context, s *wsman.Session, names ...string) (map[string]rollout.Undo, error) {
	tasks := map[string]rollout.Undo{}
	q := wsman.Query{WQL: "select * from MSFT_ScheduledTask where TaskName='" + strings.Join(names, "' or TaskName='") + "'"}
	for e, err := range s.Enumerate(ctx, wsman.WMI(taskNamespace, "*"), q) {
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(e.Value("TaskPath"), taskFolder) {
			tasks[strings.ToLower(e.Value("TaskName"))] = rollout.Undo{Task: true, Disabled: e.Value("State") == taskDisabled, Running: e.Value("State") == taskAtWork}
		}
	}
	return tasks, nil
}
