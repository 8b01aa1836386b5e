package wsman

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"time"

	"wavelock/ldapdisco/logon"
)

// Target is one WinRM listener and who we are to it.
type Target struct {
	Host    string      // full name: for the SPN, TLS and the To header
	Address string      // ip:port to connect to
	TLS     *tls.Config // nil: HTTP with sealed messages
	Login   logon.Login // who we are

	Timeout     time.Duration // of one request and its answer; 30 s when zero
	MaxResponse int64         // bytes of an answer; 4 MiB when zero
	Locale      string        // of messages; en-US when empty
	SPNClass    string        // of the service principal; HTTP when empty, as Windows' own client has it

	// Dial connects instead of net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	defaultTimeout     = 30 * time.Second
	defaultMaxResponse = 4 << 20
	dialTimeout        = 10 * time.Second
	path               = "/wsman"
)

var (
	hostName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_])?$`)
	localeName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
)

// complete checks t and fills in what was left out.
func (t Target) complete() (Target, error) {
	if _, err := netip.ParseAddr(t.Host); err != nil && !hostName.MatchString(t.Host) {
		return t, fmt.Errorf("%q is not a host name", t.Host)
	}
	if _, _, err := net.SplitHostPort(t.Address); err != nil {
		return t, fmt.Errorf("address of %s: %w", t.Host, err)
	}
	if t.Login == nil {
		return t, errors.New("a login is needed for " + t.Host)
	}
	if t.Timeout <= 0 {
		t.Timeout = defaultTimeout
	}
	if t.MaxResponse <= 0 {
		t.MaxResponse = defaultMaxResponse
	}
	if t.Locale == "" {
		t.Locale = "en-US"
	}
	if !localeName.MatchString(t.Locale) {
		return t, fmt.Errorf("%q is not a locale", t.Locale)
	}
	if t.SPNClass == "" {
		t.SPNClass = "HTTP"
	}
	if t.Dial == nil {
		t.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if t.TLS != nil {
		var err error
		if t.TLS, err = t.completeTLS(); err != nil {
			return t, err
		}
	}
	return t, nil
}

// completeTLS is a copy of t.TLS as WinRM needs it: HTTP/1.1 alone, and fit for the logon.
func (t Target) completeTLS() (*tls.Config, error) {
	cfg := t.TLS.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = t.Host
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	cfg.NextProtos = nil // NTLM and Kerberos live on an HTTP/1.1 connection
	c := logon.ClientCertificate(t.Login)
	if c == nil {
		return cfg, nil
	}
	if cfg.MinVersion > tls.VersionTLS12 {
		return nil, errors.New("a logon by certificate needs TLS 1.2 for " + t.Host)
	}
	// http.sys asks for the certificate when it has read our request: by renegotiation, or in TLS 1.3 by an
	// authentication after the handshake, which crypto/tls does not have.
	cfg.MaxVersion, cfg.Renegotiation = tls.VersionTLS12, tls.RenegotiateOnceAsClient
	// The authorities that the host names are not looked at: many name none that matter, and what it thinks of
	// our certificate is an answer, while silence would look as if we had none.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
	return cfg, nil
}

// authority is host:port as HTTP and the To header name the listener.
func (t Target) authority() string {
	_, port, _ := net.SplitHostPort(t.Address)
	return net.JoinHostPort(t.Host, port)
}

// url is the To header.
func (t Target) url() string {
	if t.TLS != nil {
		return "https://" + t.authority() + path
	}
	return "http://" + t.authority() + path
}

func (t Target) service() logon.Service { return logon.Service{Class: t.SPNClass, Host: t.Host} }

// operationTimeout gives the host less time than the request has, so that its own time-out arrives as a fault.
func (t Target) operationTimeout() string {
	d := (t.Timeout * 2 / 3).Round(time.Millisecond)
	if d >= time.Second {
		d = d.Round(time.Second)
	}
	return fmt.Sprintf("PT%gS", d.Seconds())
}
