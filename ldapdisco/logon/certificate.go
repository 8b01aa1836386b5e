package logon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// SchemeCertificate is the whole Authorization of a client whose TLS certificate is mapped to an account, DSP0226 C.3.
const SchemeCertificate = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"

// Certificate logs on with a TLS client certificate, which each host maps to one of its own local accounts
// (winrm/config/service/certmapping; [MS-WSMV] 2.2.4.7): inside TLS only, without a password. A certificate that is not
// for client authentication, or has no key, is an error.
func Certificate(c tls.Certificate) (Login, error) {
	if len(c.Certificate) == 0 || c.PrivateKey == nil {
		return nil, errors.New("a client certificate with its private key is needed")
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("the client certificate: %w", err)
	}
	c.Leaf = leaf
	l := &certificateLogin{certificate: c}
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return nil, &Error{Op: "read the certificate", Principal: l.Principal(), Err: &hinted{
			"it is not for client authentication", "issue one with the extended key usage 1.3.6.1.5.5.7.3.2 and the user's UPN as a subject alternative name"}}
	}
	return l, nil
}

// ClientCertificate is what a login shows in the TLS handshake; nil of one that shows nothing.
func ClientCertificate(l Login) *tls.Certificate {
	if c, ok := l.(*certificateLogin); ok {
		return &c.certificate
	}
	return nil
}

type certificateLogin struct{ certificate tls.Certificate }

// Principal names the user in the certificate: which account that is, each host decides.
func (l *certificateLogin) Principal() string {
	name := UserPrincipalName(l.certificate.Leaf)
	if name == "" {
		name = l.certificate.Leaf.Subject.String()
	}
	return "the certificate of " + name
}

func (l *certificateLogin) Start(_ context.Context, to Service, bind Binding) (Exchange, error) {
	if bind == nil {
		return nil, &Error{Op: "start", Principal: l.Principal(), Service: to, Err: &hinted{
			"a client certificate is shown in TLS, and this is HTTP", "use HTTPS, or NTLM or Kerberos over HTTP"}}
	}
	return certificateExchange{l}, nil
}

// certificateExchange has nothing to say: TLS has said it.
type certificateExchange struct{ login *certificateLogin }

func (certificateExchange) Next(context.Context, []byte) ([]byte, bool, error) { return nil, true, nil }

func (x certificateExchange) Sealer() (Sealer, error) {
	return nil, &Error{Op: "seal", Principal: x.login.Principal(), Err: errors.New("a client certificate has no sealing")}
}

func (certificateExchange) Protocol() string { return "" }
func (certificateExchange) Scheme() string   { return SchemeCertificate }

var (
	subjectAltName    = asn1.ObjectIdentifier{2, 5, 29, 17}
	userPrincipalName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
)

// UserPrincipalName is the UPN among the certificate's alternative names ([MS-WCCE] 2.2.2.7.7.5: an otherName, RFC 5280
// 4.2.1.6), by which Windows finds the account; empty when there is none.
func UserPrincipalName(c *x509.Certificate) string {
	for _, e := range c.Extensions {
		if !e.Id.Equal(subjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &names); err != nil {
			return ""
		}
		for _, n := range names {
			var other struct {
				Type  asn1.ObjectIdentifier
				Value string `asn1:"tag:0,explicit,utf8"`
			}
			if n.Class == asn1.ClassContextSpecific && n.Tag == 0 {
				if _, err := asn1.UnmarshalWithParams(n.FullBytes, &other, "tag:0"); err == nil && other.Type.Equal(userPrincipalName) {
					return other.Value
				}
			}
		}
	}
	return ""
}
