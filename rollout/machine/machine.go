package machine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/wsman"
)

// Config is how computers are reached.
type Config struct {
	Login func(rollout.Host) logon.Login
	Roots *x509.CertPool // the only anchors that a host's certificate may chain to
	// Issuing are the CAs that the forest publishes besides. Where there are any, a certificate in a computer's store that
	// does not lead to Roots through them is no candidate for its listener; without, that is left to the proof.
	Issuing []*x509.Certificate
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Revocation tells whether a verified chain is still good; nil: it is not asked. Its errors say with Revoked whether
	// the CA took a certificate back or nothing could be found out, and with Reason why.
	Revocation interface {
		Check(ctx context.Context, chain []*x509.Certificate) error
	}
	HardFail  bool          // what cannot be found out fails the proof
	HTTPPort  int           // 5985
	HTTPSPort int           // 5986
	Timeout   time.Duration // of one request
	Now       func() time.Time
	Log       *slog.Logger
}

// Fleet opens computers that are all reached in the same way.
type Fleet struct{ cfg Config }

// New checks the configuration.
func New(cfg Config) (*Fleet, error) {
	if cfg.Login == nil || cfg.Roots == nil || cfg.Resolve == nil || cfg.Now == nil {
		return nil, errors.New("reach computers: a login, roots, a resolver and a clock are needed")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 20 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Fleet{cfg}, nil
}

// Open is a computer that is not connected yet: the first step does that.
func (f *Fleet) Open(_ context.Context, host rollout.Host) (*Machine, error) {
	login := f.cfg.Login(host)
	if login == nil {
		return nil, fmt.Errorf("there is no credential for %s", host.ID)
	}
	return &Machine{cfg: f.cfg, host: host, login: login, doors: map[rollout.Transport]*door{}}, nil
}

// Machine is one computer for the length of one action. It is used by one
// goroutine at a time.
type Machine struct {
	cfg   Config
	host  rollout.Host
	login logon.Login
	addr  netip.Addr

	doors map[rollout.Transport]*door
	// confirmed is the HTTPS session on which HTTP was proved to be gone or narrowed:
	// the only one that may take the undo away.
	confirmed *wsman.Session

	rehearsed bool // the host's scheduler was seen to start a task
	seen      rollout.Observation
	wire      []*x509.Certificate // what the HTTPS port presented at the last look; nothing of it is verified
	requests  int                 // of sessions that are closed
}

// door is an open session and the shell in it.
type door struct {
	session *wsman.Session
	shell   *wsman.Shell
	chain   pki.Chain // as verified in the handshake of fresh
	proved  bool      // everything that Prove asks for held on this connection
	conn    int       // which of the session's connections that was
}

// Close ends the shells and the sessions.
func (m *Machine) Close() error {
	var errs []error
	for t := range m.doors {
		errs = append(errs, m.leave(t))
	}
	return errors.Join(errs...)
}

// Requests is how many HTTP requests were sent to the computer.
func (m *Machine) Requests() int {
	n := m.requests
	for _, d := range m.doors {
		n += d.session.Requests()
	}
	return n
}

// leaveTime is how long a computer has to end a shell that nobody needs any more.
const leaveTime = 2 * time.Second

// leave ends one session. A shell that cannot be ended dies with its idle time-out.
func (m *Machine) leave(t rollout.Transport) error {
	d := m.doors[t]
	if d == nil {
		return nil
	}
	delete(m.doors, t)
	if d.shell != nil {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTime) // of its own: the action's may have ended
		if err := d.shell.Close(ctx); err != nil {
			m.cfg.Log.Debug("end the shell", "host", m.host.ID, "err", err)
		}
		cancel()
	}
	if m.confirmed == d.session {
		m.confirmed = nil
	}
	m.requests += d.session.Requests()
	return d.session.Close()
}

func (m *Machine) port(t rollout.Transport) int {
	if t == rollout.HTTPS {
		return m.cfg.HTTPSPort
	}
	return m.cfg.HTTPPort
}

func (m *Machine) address(t rollout.Transport) string {
	return net.JoinHostPort(m.addr.String(), strconv.Itoa(m.port(t)))
}

// resolve finds the computer's address once an action.
func (m *Machine) resolve(ctx context.Context) error {
	if m.addr.IsValid() {
		return nil
	}
	addrs, err := m.cfg.Resolve(ctx, string(m.host.ID))
	if err != nil {
		return err
	}
	if len(addrs) == 0 {
		return fmt.Errorf("%s has no address", m.host.ID)
	}
	m.addr = m.answering(ctx, addrs)
	return nil
}

// knockTime is how long one of several addresses has to accept a connection.
const knockTime = 2 * time.Second

// answering is the first of the computer's addresses at which a WinRM port accepts connections; the first of all when none
// does. Resolvers put IPv6 first, and a policy whose IPv6Filter is empty has WinRM listen at IPv4 addresses only.
func (m *Machine) answering(ctx context.Context, addrs []netip.Addr) netip.Addr {
	if len(addrs) > 1 {
		for _, a := range addrs {
			if m.accepts(ctx, a.Unmap()) {
				return a.Unmap()
			}
		}
	}
	return addrs[0].Unmap()
}

func (m *Machine) accepts(ctx context.Context, a netip.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, min(m.cfg.Timeout, knockTime))
	defer cancel()
	ports := []int{m.cfg.HTTPSPort, m.cfg.HTTPPort}
	open := make(chan bool, len(ports))
	for _, port := range ports {
		go func() {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(port)))
			if err == nil {
				c.Close()
			}
			open <- err == nil
		}()
	}
	for range ports {
		if <-open {
			return true
		}
	}
	return false
}

// fresh opens a new connection, whatever there was before.
func (m *Machine) fresh(ctx context.Context, t rollout.Transport) (*door, error) {
	if err := m.leave(t); err != nil {
		m.cfg.Log.Debug("close the session", "host", m.host.ID, "err", err)
	}
	var chain pki.Chain
	target := wsman.Target{Host: string(m.host.ID), Address: m.address(t), Login: m.login, Timeout: m.cfg.Timeout}
	if t == rollout.HTTPS {
		target.TLS = m.tlsConfig(&chain)
	}
	s, err := wsman.Open(ctx, target)
	if err != nil {
		return nil, err
	}
	d := &door{session: s, chain: chain}
	m.doors[t] = d
	return d, nil
}

// tlsConfig trusts the enterprise roots alone and says in the reasons' own words
// what is wrong. Go's verification is replaced, not left out: VerifyConnection
// runs for every handshake, before anything is sent, and leaves the verified chain.
func (m *Machine) tlsConfig(chain *pki.Chain) *tls.Config {
	return &tls.Config{
		ServerName: string(m.host.ID), MinVersion: tls.VersionTLS12, InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) (err error) {
			*chain, err = pki.VerifyPresented(cs.PeerCertificates, m.cfg.Roots, string(m.host.ID), m.cfg.Now())
			return err
		},
	}
}

// any is an open session, preferably one over HTTPS.
func (m *Machine) any(ctx context.Context) (*door, error) {
	for _, t := range []rollout.Transport{rollout.HTTPS, rollout.HTTP} {
		if d := m.doors[t]; d != nil {
			return d, nil
		}
	}
	if err := m.resolve(ctx); err != nil {
		return nil, err
	}
	d, err := m.fresh(ctx, rollout.HTTP)
	if err != nil {
		var httpsErr error
		if d, httpsErr = m.fresh(ctx, rollout.HTTPS); httpsErr != nil {
			return nil, errors.Join(err, httpsErr)
		}
	}
	return d, nil
}

// run executes a command line in the session's one shell. A shell ends with the
// WinRM service, which an undo restarts: then there is another one for the
// command, unless it was started in the old one.
func (d *door) run(ctx context.Context, line string) (wsman.Result, error) {
	for again := false; ; again = true {
		if d.shell == nil {
			sh, err := d.session.Shell(ctx)
			if err != nil {
				return wsman.Result{}, err
			}
			d.shell = sh
		}
		res, err := d.shell.Run(ctx, line, nil)
		var gone *wsman.Fault
		if !errors.As(err, &gone) || !gone.IsInvalidSelectors() {
			return res, err
		}
		d.shell = nil
		if started := new(wsman.RunError); again || errors.As(err, &started) {
			return res, err
		}
	}
}

// must executes a command line whose exit code has to be 0.
func (d *door) must(ctx context.Context, line string) (string, error) {
	res, err := d.run(ctx, line)
	if err != nil {
		return "", err
	}
	if res.ExitCode != 0 {
		return "", &CommandError{Line: line, Code: res.ExitCode, Output: string(res.Stderr)}
	}
	return string(res.Stdout), nil
}

// CommandError is a command that ended with another code than 0.
type CommandError struct {
	Line   string
	Code   int
	Output string // localised: for people only
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("%.120q ended with %d (0x%x): %.200s", e.Line, e.Code, uint32(e.Code), e.Output)
}
