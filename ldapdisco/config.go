package ldapdisco

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"wavelock/ldapdisco/logon"
)

// Config says where the directory is and who we are to it.
type Config struct {
	URLs       []string       // ldaps://dc1.corp.example, ldap://dc2.corp.example:389; tried in order until one answers
	ServerName string         // name in the certificate and in the ticket, when the URL has an address
	BaseDN     string         // where Computers begins; empty: the domain's own root
	Roots      *x509.CertPool // whom to trust for TLS; nil: the system
	StartTLS   bool           // on ldap:// URLs

	Login  logon.Login // NTLM or Kerberos; sealed without TLS, bound to the channel with it
	Simple *Simple     // user and password; inside TLS only

	// Dial reaches a server; nil means a net.Dialer.
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	PageSize uint32        // entries asked for at once; 0: 1000, what a domain controller gives at most
	Timeout  time.Duration // of a silence: to connect, to bind, between two entries; 0: 30 s
	Log      *slog.Logger  // nil: none
}

// Simple is a name and a password as they are.
type Simple struct {
	User     string // CORP\name, name@corp.example or a distinguished name
	Password logon.Secret
}

const (
	defaultPageSize = 1000 // MaxPageSize of a domain controller, [MS-ADTS] 3.1.1.3.4.6
	defaultTimeout  = 30 * time.Second
)

func (c Config) withDefaults() Config {
	if c.PageSize == 0 {
		c.PageSize = defaultPageSize
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: c.Timeout}).DialContext
	}
	return c
}

// server is one of the URLs, taken apart.
type server struct {
	url  string
	addr string // host:port
	name string // in the certificate and in the ticket
	tls  bool   // from the first byte
}

func (c Config) servers() ([]server, error) {
	if len(c.URLs) == 0 {
		return nil, errors.New("no server is given; name at least one, such as ldaps://dc1.corp.example")
	}
	var all []server
	for _, u := range c.URLs {
		s, err := parseServer(u)
		if err != nil {
			return nil, err
		}
		if c.ServerName != "" {
			s.name = c.ServerName
		}
		all = append(all, s)
	}
	return all, nil
}

func parseServer(raw string) (server, error) {
	if strings.Contains(raw, "@") { // it is not quoted: there may be a password in it
		return server{}, errors.New("what has a user in it is not the URL of a directory; who logs on is not told there")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return server{}, fmt.Errorf("%q is not the URL of a directory; write ldaps://dc1.corp.example or ldap://dc1.corp.example", raw)
	}
	s := server{url: u.Scheme + "://" + u.Host, name: u.Hostname()}
	port := u.Port()
	switch u.Scheme {
	case "ldaps":
		s.tls = true
		if port == "" {
			port = "636"
		}
	case "ldap":
		if port == "" {
			port = "389"
		}
	default:
		return server{}, fmt.Errorf("%q is neither ldaps:// nor ldap://", raw)
	}
	s.addr = net.JoinHostPort(s.name, port)
	return s, nil
}

// credential checks that there is exactly one, and that it is safe with the servers.
func (c Config) credential(servers []server) error {
	switch {
	case c.Login == nil && c.Simple == nil:
		return errors.New("no credential is given; a domain controller lists nothing to strangers")
	case c.Login != nil && c.Simple != nil:
		return errors.New("two credentials are given, a login and a simple bind")
	case c.Login != nil:
		return nil
	case c.Simple.User == "" || c.Simple.Password == "":
		// a simple bind without password is granted as anonymous (RFC 4513 5.1.2), and would look like success
		return errors.New("a simple bind needs a user name and a password")
	}
	for _, s := range servers {
		if !s.tls && !c.StartTLS {
			return fmt.Errorf("a simple bind to %s would send the password in clear; use ldaps://, StartTLS, or a login by NTLM or Kerberos", s.url)
		}
	}
	return nil
}
