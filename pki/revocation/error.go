package revocation

import "fmt"

// The codes of an Error. They are stable, and equal to the reasons of the same name in package rollout.
const (
	CodeRevoked       = "certificate-revoked"
	CodeNoSource      = "revocation-no-source"
	CodeUnreachable   = "revocation-unreachable"
	CodeTimeout       = "revocation-timed-out"
	CodeHTTPStatus    = "revocation-http-error"
	CodeTooLarge      = "revocation-too-large"
	CodeCRLMalformed  = "crl-malformed"
	CodeCRLIssuer     = "crl-wrong-issuer"
	CodeCRLSignature  = "crl-bad-signature"
	CodeCRLStale      = "crl-stale"
	CodeCRLFuture     = "crl-not-yet-valid"
	CodeCRLScope      = "crl-not-for-this"
	CodeDeltaBase     = "crl-delta-mismatch"
	CodeOCSPMalformed = "ocsp-malformed"
	CodeOCSPRefused   = "ocsp-refused"
	CodeOCSPSignature = "ocsp-bad-signature"
	CodeOCSPOther     = "ocsp-wrong-certificate"
	CodeOCSPStale     = "ocsp-stale"
	CodeOCSPFuture    = "ocsp-not-yet-valid"
	CodeOCSPNonce     = "ocsp-wrong-nonce"
	CodeOCSPUnknown   = "ocsp-unknown"
)

// Codes are all of them.
var Codes = []string{CodeRevoked, CodeNoSource, CodeUnreachable, CodeTimeout, CodeHTTPStatus, CodeTooLarge, CodeCRLMalformed, CodeCRLIssuer, CodeCRLSignature, CodeCRLStale, CodeCRLFuture, CodeCRLScope, CodeDeltaBase, CodeOCSPMalformed, CodeOCSPRefused, CodeOCSPSignature, CodeOCSPOther, CodeOCSPStale, CodeOCSPFuture, CodeOCSPNonce, CodeOCSPUnknown}

var hints = map[string]string{
	CodeRevoked:       "give the host another certificate; find out why this one was revoked",
	CodeNoSource:      "the CA writes no distribution point that can be asked from here: certsrv.msc, Properties, Extensions",
	CodeUnreachable:   "is the web server of the distribution point up, and is the way to it open from here?",
	CodeTimeout:       "the server takes connections and does not answer: look at its load, and for a firewall that swallows",
	CodeHTTPStatus:    "the list is not published there: compare the address with the CA's Extensions tab, run certutil -crl on the CA",
	CodeTooLarge:      "the list is larger than is ever read here; shorten the life of the certificates, or partition the list",
	CodeCRLMalformed:  "look at the file with certutil -dump; a web server may answer with a page instead",
	CodeCRLIssuer:     "the list of another CA lies at this address",
	CodeCRLSignature:  "the list was changed, or the CA was renewed with a new key and publishes under the old name",
	CodeCRLStale:      "run certutil -crl on the CA, and see why it did not publish: disk, rights on the share, service down",
	CodeCRLFuture:     "compare the clocks of the CA and of this computer",
	CodeCRLScope:      "the list is for other certificates or other reasons; publish a complete one",
	CodeDeltaBase:     "base and delta list do not belong together: publish both anew with certutil -crl, and look at the replication between the web servers",
	CodeOCSPMalformed: "is it an OCSP responder that answers there?",
	CodeOCSPRefused:   "look at the responder's revocation configuration for this CA: ocsp.msc",
	CodeOCSPSignature: "the responder's certificate has to come from the CA that it answers for, with the OCSP signing usage",
	CodeOCSPOther:     "the responder answered for another certificate: a cache on the way mixes answers up",
	CodeOCSPStale:     "the responder has old lists: look at its revocation configuration",
	CodeOCSPFuture:    "compare the clocks of the responder and of this computer",
	CodeOCSPNonce:     "somebody repeats an old answer: look for a cache, or worse, on the way",
	CodeOCSPUnknown:   "the responder does not know the certificate: is its revocation configuration for this CA and key?",
}

// Error is why a certificate is not known to be good.
type Error struct {
	Code    string
	Subject string // of the certificate that was asked about
	URL     string // that was asked; empty where there is none
	Detail  string
	Err     error
}

func (e *Error) Error() string {
	s := "revocation of " + e.Subject
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.URL != "" {
		s += " (" + e.URL + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the error underneath.
func (e *Error) Unwrap() error { return e.Err }

// Hint is what an administrator can do about it.
func (e *Error) Hint() string { return hints[e.Code] }

// Revoked reports whether the CA says so; else it could not be found out.
func (e *Error) Revoked() bool { return e.Code == CodeRevoked }

// Reason is the code, for whoever knows no package of ours.
func (e *Error) Reason() string { return e.Code }

func failed(code, url, format string, args ...any) *Error {
	return &Error{Code: code, URL: url, Detail: fmt.Sprintf(format, args...)}
}
