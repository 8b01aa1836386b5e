package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"
)

// MaxRequest bounds a certificate request; the CA itself takes no more.
const MaxRequest = 64 << 10

// The codes of what can be wrong with a request.
const (
	CodeBadRequest       = "request-malformed"
	CodeRequestName      = "request-wrong-name"
	CodeRequestKey       = "request-weak-key"
	CodeRequestAsksOther = "request-asks-too-much"
)

// The parts of a request that certreq writes for a machine by itself.
var (
	oidSubjectAlt       = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidAppPolicies      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 21, 10}
	oidCommonName       = asn1.ObjectIdentifier{2, 5, 4, 3}

	harmlessAttributes = []string{
		"1.2.840.113549.1.9.14",  // extensionRequest, RFC 2986: judged one by one
		"1.3.6.1.4.1.311.13.2.2", // szOID_ENROLLMENT_CSP_PROVIDER
		"1.3.6.1.4.1.311.13.2.3", // szOID_OS_VERSION
		"1.3.6.1.4.1.311.21.20",  // szOID_REQUEST_CLIENT_INFO
	}
	harmlessExtensions = []string{
		"2.5.29.14",             // subject key identifier
		"2.5.29.15",             // key usage
		"1.2.840.113549.1.9.15", // S/MIME capabilities
	}
)

// CheckRequest judges a PKCS #10 that is to be relayed: the CA will believe every
// word of it, so that it may ask for one TLS server certificate in the name of one
// computer and for nothing else. The name is the directory's dNSHostName, not what
// the computer says. Errors are *Problem.
func CheckRequest(der []byte, dnsHostName string, minKeyBits int) (*x509.CertificateRequest, error) {
	if len(der) > MaxRequest {
		return nil, problem(CodeBadRequest, "%d bytes, more than %d", len(der), MaxRequest)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, &Problem{Code: CodeBadRequest, Detail: err.Error(), Err: err}
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, &Problem{Code: CodeBadRequest, Detail: "the request is not signed with its own key", Err: err}
	}
	for _, check := range []func(*x509.CertificateRequest, string, int) *Problem{checkAsked, checkNames, checkKey} {
		if p := check(csr, dnsHostName, minKeyBits); p != nil {
			return nil, p
		}
	}
	return csr, nil
}

// checkNames takes the DNS name in the common name and as the only alternative
// name; any other kind of name is somebody's.
func checkNames(csr *x509.CertificateRequest, host string, _ int) *Problem {
	if host == "" {
		return problem(CodeRequestName, "the computer has no dNSHostName in the directory")
	}
	var subject pkix.RDNSequence
	if _, err := asn1.Unmarshal(csr.RawSubject, &subject); err != nil {
		return problem(CodeBadRequest, "the subject cannot be read")
	}
	if len(subject) != 1 || len(subject[0]) != 1 || !subject[0][0].Type.Equal(oidCommonName) || !sameHost(csr.Subject.CommonName, host) {
		return problem(CodeRequestName, "the subject is %q, the directory says CN=%s", DistinguishedName(csr.RawSubject), host)
	}
	if len(csr.DNSNames) != 1 || !sameHost(csr.DNSNames[0], host) {
		return problem(CodeRequestName, "the alternative names are %q, the directory says %s alone", csr.DNSNames, host)
	}
	return nil
}

func checkKey(csr *x509.CertificateRequest, _ string, minKeyBits int) *Problem {
	algorithm, bits := keyFacts(&x509.Certificate{PublicKey: csr.PublicKey, PublicKeyAlgorithm: csr.PublicKeyAlgorithm})
	if detail, weak := weakKey(Certificate{KeyAlgorithm: algorithm, KeyBits: bits}, Requirement{MinKeyBits: minKeyBits}, time.Time{}); weak {
		return problem(CodeRequestKey, "%s", detail)
	}
	return nil
}

// checkAsked lets nothing through that is not understood: application policies,
// the SID extension or a request attribute could turn a server's certificate into
// somebody's logon (ESC1, ESC15).
func checkAsked(csr *x509.CertificateRequest, _ string, _ int) *Problem {
	ids, err := attributeIDs(csr.RawTBSCertificateRequest)
	if err != nil {
		return problem(CodeBadRequest, "the attributes cannot be read: %v", err)
	}
	for _, id := range ids {
		if !slices.Contains(harmlessAttributes, id) {
			return problem(CodeRequestAsksOther, "it has the attribute %s", id)
		}
	}
	for _, e := range csr.Extensions {
		if ok := harmlessExtension(e); !ok {
			return problem(CodeRequestAsksOther, "it asks for the extension %s", e.Id)
		}
	}
	return nil
}

func harmlessExtension(e pkix.Extension) bool {
	switch {
	case e.Id.Equal(oidSubjectAlt):
		return onlyDNSNames(e.Value)
	case e.Id.Equal(oidExtKeyUsage):
		var usages []asn1.ObjectIdentifier
		rest, err := asn1.Unmarshal(e.Value, &usages)
		return err == nil && len(rest) == 0 && onlyServerAuth(usages)
	case e.Id.Equal(oidAppPolicies):
		var policies []struct {
			ID    asn1.ObjectIdentifier
			Extra asn1.RawValue `asn1:"optional"`
		}
		if rest, err := asn1.Unmarshal(e.Value, &policies); err != nil || len(rest) != 0 {
			return false
		}
		var usages []asn1.ObjectIdentifier
		for _, p := range policies {
			usages = append(usages, p.ID)
		}
		return onlyServerAuth(usages)
	case e.Id.Equal(oidBasicConstraints):
		var c struct {
			IsCA bool `asn1:"optional"`
		}
		rest, err := asn1.Unmarshal(e.Value, &c)
		return err == nil && len(rest) == 0 && !c.IsCA
	}
	return slices.Contains(harmlessExtensions, e.Id.String())
}

func onlyServerAuth(usages []asn1.ObjectIdentifier) bool {
	return !slices.ContainsFunc(usages, func(u asn1.ObjectIdentifier) bool { return u.String() != usageServerAuth })
}

// onlyDNSNames reports whether every GeneralName is a DNS name: x509 passes over
// those that it does not know, such as a user principal name.
func onlyDNSNames(value []byte) bool {
	var names []asn1.RawValue
	rest, err := asn1.Unmarshal(value, &names)
	return err == nil && len(rest) == 0 && !slices.ContainsFunc(names, func(n asn1.RawValue) bool {
		return n.Class != asn1.ClassContextSpecific || n.Tag != 2
	})
}

// attributeIDs lists the attributes of a CertificationRequestInfo (RFC 2986 4.1).
// x509 gives only those that it understands, and of several lists of extensions
// the first: a CA may read another one.
func attributeIDs(tbs []byte) ([]string, error) {
	var info struct {
		Raw        asn1.RawContent
		Version    int
		Subject    asn1.RawValue
		PublicKey  asn1.RawValue
		Attributes []asn1.RawValue `asn1:"tag:0,set"`
	}
	if rest, err := asn1.Unmarshal(tbs, &info); err != nil || len(rest) > 0 {
		return nil, errBreaksOff
	}
	var ids []string
	for _, raw := range info.Attributes {
		var a struct {
			ID     asn1.ObjectIdentifier
			Values []asn1.RawValue `asn1:"set"`
		}
		if _, err := asn1.Unmarshal(raw.FullBytes, &a); err != nil {
			return nil, err
		}
		if id := a.ID.String(); slices.Contains(ids, id) || len(a.Values) != 1 {
			return nil, fmt.Errorf("the attribute %s is there twice, or has %d values", id, len(a.Values))
		}
		ids = append(ids, a.ID.String())
	}
	return ids, nil
}
