package pki

import "fmt"

// The codes of a Problem and of a Rejection. They are stable, and equal to the
// reasons of the same name in package rollout.
const (
	CodeNoCertificate       = "tls-failed"
	CodeUntrusted           = "untrusted-chain"
	CodeMissingIntermediate = "missing-intermediate"
	CodeSelfSigned          = "self-signed"
	CodeExpired             = "certificate-expired"
	CodeRevoked             = "certificate-revoked"
	CodeNotYetValid         = "certificate-not-yet-valid"
	CodeWrongName           = "certificate-wrong-name"
	CodeWrongUsage          = "certificate-wrong-usage"
	CodeWeakChain           = "sha1-chain"
)

var problemHints = map[string]string{
	CodeNoCertificate:       "is a firewall or a TLS proxy between here and the host?",
	CodeUntrusted:           "compare the issuer with the roots in the directory's Certification Authorities container; a TLS proxy on the way issues certificates of its own",
	CodeMissingIntermediate: "put the issuing CA's certificate into the host's Intermediate Certification Authorities store, and into the directory's AIA container",
	CodeSelfSigned:          "bind a certificate from the enterprise CA",
	CodeExpired:             "renew it; the listener has to be bound to the new one",
	CodeRevoked:             "give the host another certificate; find out why this one was revoked",
	CodeNotYetValid:         "compare the clocks of the CA, the host and this computer",
	CodeWrongName:           "the template has to put the computer's DNS name from Active Directory into the subject alternative name",
	CodeWrongUsage:          "the template needs the server authentication usage and the digital signature key usage",
	CodeWeakChain:           "renew the certificate that is named here with SHA-256; where it is a CA's, the CA's own signature algorithm first",

	CodeBadRequest:       "make a new request on the host; if it happens again, see the host's own log of certreq",
	CodeRequestName:      "is the computer's dNSHostName in the directory right? the request is made for that name and no other",
	CodeRequestKey:       "the key length in the request has to be 2048 or more",
	CodeRequestAsksOther: "somebody changed the request on the host; look at the host before anything is issued to it",
	CodeBadAnswer:        "is it really the CA that answers? see its log",
	CodeWrongKey:         "is it really the CA that answers? an answer can have been swapped on the way, or belongs to an older request",
	CodeWrongSID:         "the CA took the requester for another computer: two objects in the directory may have the same DNS name",
}

// Problem is why a certificate that was presented is not to be trusted.
type Problem struct {
	Code   string // one of those above, or of the request and the CA's answer
	Detail string
	Err    error // the verifier's own, if it had one
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Code
	}
	return p.Code + ": " + p.Detail
}

// Hint is what an administrator can do about it.
func (p *Problem) Hint() string { return problemHints[p.Code] }

// Unwrap gives the verifier's own error.
func (p *Problem) Unwrap() error { return p.Err }

func problem(code, format string, args ...any) *Problem {
	return &Problem{Code: code, Detail: fmt.Sprintf(format, args...)}
}
