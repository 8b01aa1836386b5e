package ldaptest

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jcmturner/gokrb5/v8/keytab"

	"wavelock/ldapdisco/logon/logontest"
)

// Config is what the domain controller is. Only Directory is needed.
type Config struct {
	Directory *logontest.Directory // names of the domain and its accounts
	Host      string               // DNS name of the controller; empty: dc1 in the domain
	Keytab    *keytab.Keytab       // for Kerberos; nil: NTLM alone

	Addr       string // of LDAP; empty: a free port of 127.0.0.1
	SecureAddr string // of LDAPS; empty: a free port of 127.0.0.1

	Certificate *tls.Certificate // nil: one is made for Host, whose CA is in Roots
	Roots       *x509.CertPool   // of Certificate

	Binding     logontest.Level // how channel bindings inside TLS are judged
	AllowPlain  bool            // LDAP without sealing, as domain controllers did long ago
	MaxPageSize int             // 0: 1000
	MaxValRange int             // values of an attribute at once; 0: 1500
}

// Server is a running domain controller.
type Server struct {
	cfg    Config
	base   string // distinguished name of the domain
	config string // of the configuration partition
	store  *store
	host   *logontest.Host

	plain, secure net.Listener
	tls           *tls.Config
	good          *tls.Certificate
	wrong         *tls.Certificate
	unknown       *tls.Certificate

	faults  atomic.Pointer[Faults]
	pages   atomic.Int64 // answered since the faults were set
	nextRID atomic.Uint32
	logons  sync.Map // LogonState by account name in lower case

	// Searches, Binds and Entries count what was asked and given.
	Searches, Binds, Entries atomic.Int64

	mu      sync.Mutex // guards conns and closed
	conns   map[net.Conn]struct{}
	closed  bool
	serving sync.WaitGroup
}

// Start serves an empty domain: its root, containers, one domain controller, and the configuration partition.
func Start(cfg Config) (*Server, error) {
	if cfg.Directory == nil {
		return nil, errors.New("ldaptest: a server needs a directory of accounts")
	}
	cfg.Host = cmp.Or(cfg.Host, "dc1."+cfg.Directory.DNS())
	cfg.MaxPageSize = cmp.Or(cfg.MaxPageSize, 1000)
	cfg.MaxValRange = cmp.Or(cfg.MaxValRange, 1500)
	netBIOS, _, _ := strings.Cut(cfg.Host, ".")
	s := &Server{cfg: cfg, store: newStore(), conns: map[net.Conn]struct{}{},
		host: &logontest.Host{Directory: cfg.Directory, NetBIOSName: strings.ToUpper(netBIOS), DNSName: cfg.Host, Keytab: cfg.Keytab}}
	s.base = "DC=" + strings.Join(strings.Split(cfg.Directory.DNS(), "."), ",DC=")
	s.config = "CN=Configuration," + s.base
	s.nextRID.Store(1100)
	s.faults.Store(&Faults{})
	if err := s.furnish(); err != nil {
		return nil, err
	}
	if err := s.makeCertificates(); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) makeCertificates() error {
	ca, err := newAuthority("ldaptest root")
	if err != nil {
		return err
	}
	stranger, err := newAuthority("ldaptest root") // the same name, another key
	if err != nil {
		return err
	}
	if s.good = s.cfg.Certificate; s.good == nil {
		if s.good, err = ca.issue(s.cfg.Host); err != nil {
			return err
		}
		s.cfg.Roots = x509.NewCertPool()
		s.cfg.Roots.AddCert(ca.cert)
	}
	if s.wrong, err = ca.issue("other." + s.cfg.Directory.DNS()); err != nil {
		return err
	}
	if s.unknown, err = stranger.issue(s.cfg.Host); err != nil {
		return err
	}
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return s.certificate(), nil
	}}
	return nil
}

func (s *Server) certificate() *tls.Certificate {
	switch f := s.faults.Load(); {
	case f.WrongCertificate:
		return s.wrong
	case f.UnknownCA:
		return s.unknown
	}
	return s.good
}

func (s *Server) listen() (err error) {
	if s.plain, err = net.Listen("tcp", cmp.Or(s.cfg.Addr, "127.0.0.1:0")); err != nil {
		return err
	}
	if s.secure, err = net.Listen("tcp", cmp.Or(s.cfg.SecureAddr, "127.0.0.1:0")); err != nil {
		return err
	}
	s.serving.Add(2)
	go s.accept(s.plain, false)
	go s.accept(s.secure, true)
	return nil
}

func (s *Server) accept(l net.Listener, secure bool) {
	defer s.serving.Done()
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		if !s.keep(nc) {
			nc.Close()
			return
		}
		go func() {
			defer s.serving.Done()
			defer s.forget(nc)
			s.newConn(nc).serve(secure)
		}()
	}
}

func (s *Server) keep(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[nc] = struct{}{}
	s.serving.Add(1)
	return true
}

func (s *Server) forget(nc net.Conn) {
	nc.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, nc)
}

// DropConnections closes all connections; new ones are accepted.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc := range s.conns {
		nc.Close()
	}
}

// Close stops the server and waits for its connections to end.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, l := range []net.Listener{s.plain, s.secure} {
		if l != nil {
			l.Close()
		}
	}
	s.DropConnections()
	s.serving.Wait()
	return nil
}

// Addr is host:port of LDAP.
func (s *Server) Addr() string { return s.plain.Addr().String() }

// SecureAddr is where LDAPS is.
func (s *Server) SecureAddr() string { return s.secure.Addr().String() }

// URL names the controller by its DNS name; Addr says where it listens.
func (s *Server) URL() string { return "ldap://" + s.named(s.Addr()) }

// SecureURL is that of LDAPS.
func (s *Server) SecureURL() string { return "ldaps://" + s.named(s.SecureAddr()) }

func (s *Server) named(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return s.cfg.Host
	}
	return net.JoinHostPort(s.cfg.Host, port)
}

// Host is the DNS name of the controller.
func (s *Server) Host() string { return s.cfg.Host }

// Roots is whom clients have to trust.
func (s *Server) Roots() *x509.CertPool { return s.cfg.Roots }

// BaseDN is the distinguished name of the domain.
func (s *Server) BaseDN() string { return s.base }

// ConfigDN is that of the configuration partition.
func (s *Server) ConfigDN() string { return s.config }

// SetFaults replaces what goes wrong.
func (s *Server) SetFaults(f Faults) {
	s.pages.Store(0)
	s.faults.Store(&f)
}

// SetLogonState turns an account away even with the right password.
func (s *Server) SetLogonState(user string, state LogonState) {
	s.logons.Store(strings.ToLower(user), state)
}

func (s *Server) logonState(user string) LogonState {
	state, _ := s.logons.Load(strings.ToLower(user))
	st, _ := state.(LogonState)
	return st
}

// Add puts an entry into the directory. Its container need not exist.
func (s *Server) Add(e Entry) error { return s.store.add(e) }

// LDIF adds the entries of a text.
func (s *Server) LDIF(text string) error {
	entries, err := ParseLDIF(strings.NewReader(text))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.Add(e); err != nil {
			return err
		}
	}
	return nil
}

// AddFleet adds n entries below a container, made each time that they are looked at; build has to give the same entry
// for the same number.
func (s *Server) AddFleet(under string, n int, build func(i int) Entry) error {
	return s.store.addFleet(under, n, build)
}

// Set replaces the values of an attribute; without values it removes it.
func (s *Server) Set(dn, attribute string, values ...string) error {
	return s.store.change(dn, func(e *Entry) { e.Put(attribute, slices.Clone(values)...) })
}

// Remove takes an entry out of the directory.
func (s *Server) Remove(dn string) error { return s.store.change(dn, nil) }

// Entry gives a copy of an entry.
func (s *Server) Entry(dn string) (Entry, error) {
	e := s.store.find(normal(dn))
	if e == nil {
		return Entry{}, fmt.Errorf("ldaptest: there is no %s", dn)
	}
	return *e.clone(), nil
}
