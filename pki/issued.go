package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"go.mozilla.org/pkcs7"
)

// MaxChain bounds a PKCS #7 that a CA sends: three certificates have some 6 KiB.
const MaxChain = 256 << 10

// The codes of what can be wrong with an answer of the CA, beside those of Problem.
const (
	CodeBadAnswer = "answer-malformed"
	CodeWrongKey  = "certificate-wrong-key"
	CodeWrongSID  = "certificate-wrong-sid"
)

// ParseChain reads the certificates of a PKCS #7 as AD CS sends it, without
// believing their order or that they belong together. There is at least one.
func ParseChain(p7 []byte) (certs []*x509.Certificate, err error) {
	if len(p7) > MaxChain {
		return nil, problem(CodeBadAnswer, "a PKCS #7 of %d bytes, more than %d", len(p7), MaxChain)
	}
	if err := wellNested(p7); err != nil {
		return nil, &Problem{Code: CodeBadAnswer, Detail: "a PKCS #7 that cannot be read: " + err.Error(), Err: err}
	}
	defer func() {
		if r := recover(); r != nil { // foreign bytes have made earlier versions of the library panic
			certs, err = nil, problem(CodeBadAnswer, "a PKCS #7 that cannot be read: %v", r)
		}
	}()
	parsed, err := pkcs7.Parse(p7)
	if err != nil {
		return nil, &Problem{Code: CodeBadAnswer, Detail: "a PKCS #7 that cannot be read: " + err.Error(), Err: err}
	}
	if len(parsed.Certificates) == 0 { // the library says nothing of a SignedData that it could not read
		return nil, problem(CodeBadAnswer, "a PKCS #7 without certificates")
	}
	return parsed.Certificates, nil
}

// LeafOf picks the certificate for a key, and the others.
func LeafOf(certs []*x509.Certificate, key crypto.PublicKey) (leaf *x509.Certificate, others []*x509.Certificate, err error) {
	for _, c := range certs {
		if leaf == nil && sameKey(c.PublicKey, key) && !c.IsCA {
			leaf = c
			continue
		}
		others = append(others, c)
	}
	if leaf == nil {
		return nil, nil, problem(CodeWrongKey, "none of %d certificates is for the key of the request", len(certs))
	}
	return leaf, others, nil
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// Issued is what a certificate has to be that a CA gave for a request.
type Issued struct {
	Key   crypto.PublicKey // of the request
	Name  string           // dNSHostName of the computer
	SID   string           // its objectSid; compared if the certificate carries one
	Roots *x509.CertPool
}

// VerifyIssued judges the answer of a CA as if anybody could have written it: the
// key, the names, the SID and the chain. Others may hold intermediate CAs from the
// answer or the directory. It answers the chain; errors are *Problem.
func VerifyIssued(leaf *x509.Certificate, others []*x509.Certificate, want Issued, now time.Time) (Chain, error) {
	if !sameKey(leaf.PublicKey, want.Key) {
		return nil, problem(CodeWrongKey, "the certificate %s is for another key than the request", subject(leaf))
	}
	if leaf.IsCA {
		return nil, problem(CodeWrongUsage, "%s is a CA's certificate", subject(leaf))
	}
	if sid := Facts(leaf).RequesterSID; sid != "" && want.SID != "" && sid != want.SID {
		return nil, problem(CodeWrongSID, "the certificate carries the SID %s, the computer's is %s", sid, want.SID)
	}
	if !sameHost(leaf.Subject.CommonName, want.Name) {
		return nil, problem(CodeWrongName, "the common name is %q, WinRM compares it with %s", leaf.Subject.CommonName, want.Name)
	}
	presented := []*x509.Certificate{leaf}
	for _, c := range others {
		if !bytes.Equal(c.Raw, leaf.Raw) {
			presented = append(presented, c)
		}
	}
	return VerifyPresented(presented, want.Roots, want.Name, now)
}

// ParseIssued reads the single certificate of an answer. Errors are *Problem.
func ParseIssued(der []byte) (*x509.Certificate, error) {
	if len(der) > MaxCertificate {
		return nil, problem(CodeBadAnswer, "a certificate of %d bytes, more than %d", len(der), MaxCertificate)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, &Problem{Code: CodeBadAnswer, Detail: fmt.Sprintf("%d bytes that are no certificate: %v", len(der), err), Err: err}
	}
	return c, nil
}
