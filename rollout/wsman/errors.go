package wsman

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// DialError says that no TCP connection could be made.
type DialError struct {
	Host, Address string
	Err           error
}

func (e *DialError) Error() string {
	return fmt.Sprintf("connect to %s (%s): %v", e.Host, e.Address, e.Err)
}
func (e *DialError) Unwrap() error { return e.Err }

// Refused tells if the host answered that nobody listens on the port; else it was silent or not reachable.
func (e *DialError) Refused() bool { return errors.Is(e.Err, syscall.ECONNREFUSED) }

// Silent tells if no answer came in time: the host is off, or a firewall drops what we send.
func (e *DialError) Silent() bool { return timedOut(e.Err) }

// Hint is what to do about it.
func (e *DialError) Hint() string {
	switch {
	case e.Refused():
		return "nothing listens there; check the WinRM service and its listener"
	case e.Silent():
		return "no answer came; check that the host is on and that no firewall drops the connection"
	}
	return ""
}

// TLSError says that the TLS handshake failed; no credential had been sent.
type TLSError struct {
	Host, Address string
	Err           error
}

func (e *TLSError) Error() string {
	return fmt.Sprintf("TLS handshake with %s (%s): %v", e.Host, e.Address, e.Err)
}
func (e *TLSError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *TLSError) Hint() string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		alert   tls.AlertError
	)
	switch {
	case errors.As(e.Err, &unknown):
		return "the certificate was not issued by an authority that this computer trusts; check the chain and the root"
	case errors.As(e.Err, &name):
		return "the certificate is for another name; the listener must use one that has " + e.Host
	case errors.As(e.Err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has expired or is not valid yet; check it and the clocks"
	case errors.As(e.Err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "the certificate is not for server authentication"
	case errors.As(e.Err, &alert):
		return "the host broke the handshake off; check the protocol versions and ciphers that it allows"
	case timedOut(e.Err):
		return "the port is open but TLS gets no answer; something else may listen there"
	}
	return ""
}

// AuthError says that we could not log on: the host refused us, or it never came so far.
type AuthError struct {
	Host, Principal string
	Status          int      // 401 or 403 when the host refused us, else 0
	Offered         []string // schemes that the host offers
	Err             error    // the reason, when more is known
}

func (e *AuthError) Error() string {
	if e.Status == 0 && e.Err != nil {
		return e.Host + ": " + e.Err.Error()
	}
	s := fmt.Sprintf("%s does not accept %s (HTTP %d)", e.Host, e.Principal, e.Status)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Refused tells if the host itself said no; else the credential, the KDC or the host's proof of itself was at fault.
func (e *AuthError) Refused() bool { return e.Status != 0 }

func (e *AuthError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *AuthError) Hint() string {
	if h := hint(e.Err); h != "" || !e.Refused() {
		return h
	}
	if len(e.Offered) > 0 && !slices.ContainsFunc(e.Offered, func(s string) bool { return strings.EqualFold(s, "Negotiate") || strings.EqualFold(s, "Kerberos") }) {
		return "the host offers only " + strings.Join(e.Offered, ", ") + "; allow Negotiate in winrm/config/service/auth"
	}
	return "check user and password, the right to access this computer from the network, and whether NTLM is allowed; with CbtHardeningLevel Strict a TLS proxy in between is refused"
}

// TransportError says that the connection broke or an answer did not come in time.
type TransportError struct {
	Host, Op string
	Err      error
	Sent     bool // the whole request left us: the outcome on the host is not known
}

func (e *TransportError) Error() string {
	s := fmt.Sprintf("%s on %s: %v", e.Op, e.Host, e.Err)
	if e.Sent {
		s += " (after the request was sent)"
	}
	return s
}
func (e *TransportError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *TransportError) Hint() string {
	if e.Sent {
		return "the host may have carried the request out; look before trying again"
	}
	return ""
}

// ClearTextError says that over HTTP an answer came that was not sealed. Anybody could have written it.
type ClearTextError struct {
	Host, Op    string
	Status      int
	ContentType string
}

func (e *ClearTextError) Error() string {
	return fmt.Sprintf("%s on %s: the answer (HTTP %d, %q) is not sealed and not believed", e.Op, e.Host, e.Status, e.ContentType)
}

// Hint is what to do about it.
func (e *ClearTextError) Hint() string {
	return "something between here and the host answers in its place, or the host cannot seal; check proxies and load balancers"
}

// ProtocolError says that the answer is not what WS-Management allows.
type ProtocolError struct {
	Host, Op string
	Status   int // of HTTP, 0 if not HTTP's fault
	Err      error
	Sent     bool // as in TransportError
}

func (e *ProtocolError) Error() string {
	s := e.Op + " on " + e.Host
	if e.Status != 0 {
		s += fmt.Sprintf(": HTTP %d", e.Status)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}
func (e *ProtocolError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *ProtocolError) Hint() string {
	switch {
	case e.Status == 404:
		return "the port answers, but no WinRM listener is behind it"
	case e.Status == 503:
		return "the WinRM service is stopped or busy"
	case e.Status >= 300 && e.Status < 400:
		return "redirects are not followed; connect to the host itself"
	}
	return ""
}

// RunError says that a command was started and its end was not seen.
type RunError struct {
	Host string
	Err  error
}

func (e *RunError) Error() string {
	return fmt.Sprintf("a command was started on %s and its end was not seen: %v", e.Host, e.Err)
}
func (e *RunError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *RunError) Hint() string {
	return "the command may have done its work or may still run; look before trying again"
}

// OutcomeUnknown tells if a request may have been carried out though no believable answer came.
func OutcomeUnknown(err error) bool {
	var (
		transport *TransportError
		protocol  *ProtocolError
		clear     *ClearTextError
		run       *RunError
	)
	switch {
	case errors.As(err, &run):
		return true
	case errors.As(err, &transport):
		return transport.Sent
	case errors.As(err, &protocol):
		return protocol.Sent
	default:
		return errors.As(err, &clear)
	}
}

// hint finds the advice of the first error in the chain that has one.
func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

func timedOut(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
