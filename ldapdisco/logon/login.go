package logon

import (
	"context"
	"crypto"
	"crypto/md5"
	_ "crypto/sha256" // SHA-256 for EndPointBinding
	_ "crypto/sha512" // SHA-384 and SHA-512 for EndPointBinding
	"crypto/x509"
	"encoding/binary"
	"strings"
)

// Service is a service principal: HTTP/host1.corp.example, ldap/dc1.corp.example.
type Service struct {
	Class string // HTTP, WSMAN, ldap
	Host  string // the full name; Kerberos knows no addresses
}

func (s Service) String() string { return s.Class + "/" + s.Host }

// ldap is the one service that refuses message security inside TLS ([MS-ADTS] 5.1.2.2).
func (s Service) isLDAP() bool { return strings.EqualFold(s.Class, "ldap") }

// Login is a credential that can open security contexts. It is safe for concurrent use.
type Login interface {
	// Start begins a context with a service. Bind is nil without TLS.
	Start(ctx context.Context, to Service, bind Binding) (Exchange, error)
	// Principal is CORP\admin or admin@CORP.EXAMPLE: for logs, never a secret.
	Principal() string
}

// Exchange is one security context being made. It is not safe for concurrent use.
type Exchange interface {
	// Next takes the peer's token, nil at first, and gives ours, nil if there is none to send. Done says that nothing
	// more is expected from the peer but its verdict.
	Next(ctx context.Context, in []byte) (out []byte, done bool, err error)
	// Sealer gives the message security of the complete context.
	Sealer() (Sealer, error)
	// Protocol names the sealed parts of WinRM, [MS-WSMV] 2.2.9.1.
	Protocol() string
	// Scheme is the HTTP authentication scheme that carries the tokens.
	Scheme() string
}

// Sealer protects the messages of one context. It counts them, so it is not safe for concurrent use.
type Sealer interface {
	// Seal encrypts and signs, in the two pieces of WinRM: header is NTLM's 16-byte signature or the 60 bytes that
	// Windows' EncryptMessage puts before the data with Kerberos and AES; data is as long as msg.
	Seal(msg []byte) (header, data []byte, err error)
	// Open checks and decrypts. What is not sealed, is out of sequence or was changed is an error, and ends the context.
	Open(header, data []byte) ([]byte, error)
	// Wrap is Seal in one piece, as SASL wants it. Without seal the message is only signed: RFC 4752 negotiates the
	// security layer so.
	Wrap(msg []byte, seal bool) ([]byte, error)
	// Unwrap is Open in one piece; sealed is false for a message that was only signed.
	Unwrap(token []byte) (msg []byte, sealed bool, err error)
}

// Protocols of sealed messages, [MS-WSMV] 2.2.9.1.1.2.1.
const (
	protocolSPNEGO   = "application/HTTP-SPNEGO-session-encrypted"
	protocolKerberos = "application/HTTP-Kerberos-session-encrypted"
)

// HTTP authentication schemes.
const (
	SchemeNegotiate = "Negotiate"
	SchemeKerberos  = "Kerberos"
	SchemeBasic     = "Basic"
)

// Binding is the application data that ties a context to its TLS connection (RFC 5929 tls-server-end-point); nil without TLS.
type Binding []byte

// EndPointBinding is the binding to the server with this certificate.
func EndPointBinding(leaf *x509.Certificate) Binding {
	if leaf == nil {
		return nil
	}
	h := endPointHash(leaf.SignatureAlgorithm).New()
	h.Write(leaf.Raw)
	return h.Sum(Binding("tls-server-end-point:"))
}

// endPointHash is the hash of the certificate's signature, but SHA-256 for MD5, SHA-1 and those without one (RFC 5929 4.1).
func endPointHash(a x509.SignatureAlgorithm) crypto.Hash {
	switch a {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		return crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		return crypto.SHA512
	default:
		return crypto.SHA256
	}
}

// Sum is the 16 bytes that NTLM and Kerberos carry: the MD5 of a gss_channel_bindings_struct without addresses
// (RFC 4121 4.1.1.2, [MS-NLMP] 2.2.2.1 MsvAvChannelBindings); zero without TLS.
func (b Binding) Sum() [16]byte {
	if b == nil {
		return [16]byte{}
	}
	s := make([]byte, 16, 20+len(b)) // address types and lengths of both ends: none
	s = binary.LittleEndian.AppendUint32(s, uint32(len(b)))
	return md5.Sum(append(s, b...))
}
