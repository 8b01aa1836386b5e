package adcs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/oiweiwei/gokrb5.fork/v9/krberror"
)

// Kind says which sort of no it was.
type Kind string

// The kinds. Denied is final; Unreachable, Busy and Timeout may pass.
const (
	Denied      Kind = "denied"      // the CA refused the request: HRESULT says why
	Unreachable Kind = "unreachable" // nobody answers there
	Busy        Kind = "busy"        // the CA has too much to do
	Timeout     Kind = "timeout"     // it did not answer in time; it may have issued all the same
	Logon       Kind = "logon"       // our account was not let in
	Protocol    Kind = "protocol"    // what came back is no answer of a CA
)

// Error is why there is no certificate.
type Error struct {
	Op      string // submit a request, retrieve request 7
	CA      string // ca01.corp.example\CORP-CA01-CA
	Kind    Kind
	HRESULT uint32 // of a Denied
	Request uint32 // its number at the CA, if it got one
	Message string // the CA's own words, in its language: for people only
	Err     error
}

func (e *Error) Error() string {
	s := e.Op + " at " + e.CA + ": " + string(e.Kind)
	if e.HRESULT != 0 {
		s += fmt.Sprintf(" (0x%08x %s)", e.HRESULT, e.name())
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the error underneath.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same request may be answered later.
func (e *Error) Temporary() bool { return e.Kind == Unreachable || e.Kind == Busy || e.Kind == Timeout }

// Hint is what an administrator can do about it.
func (e *Error) Hint() string {
	if e.Kind != Denied {
		return kindHints[e.Kind]
	}
	if d, known := denials[e.HRESULT]; known {
		return d.hint
	}
	return "the CA's own list of failed requests has the reason: certsrv.msc, Failed Requests"
}

func (e *Error) name() string { return denials[e.HRESULT].name }

var kindHints = map[Kind]string{
	Unreachable: "is certsvc running? TCP 135 and the CA's RPC port have to be open from here; a CA with a fixed port is named with it in the configuration",
	Busy:        "the CA is asked again later; lower the number of requests at once if it stays so",
	Timeout:     "the CA is asked again later; look at its load and at the database of its requests",
	Logon:       "the account needs the right to log on to the CA's computer over the network, and Request Certificates on the CA",
	Protocol:    "is it really the CA's computer? a fixed port may belong to something else",
}

// denials are the HRESULTs that deserve words of their own, [MS-WCCE] 2.2.2.5 and [MS-ERREF] 2.1.1.
var denials = map[uint32]struct{ name, hint string }{
	0x80094800: {"CERTSRV_E_UNSUPPORTED_CERT_TYPE", "publish the template on this CA: certsrv.msc, Certificate Templates, New; or ask the CA that has it"},
	0x80094801: {"CERTSRV_E_NO_CERT_TYPE", "the request names no template; name one in policy.template"},
	0x80094012: {"CERTSRV_E_TEMPLATE_DENIED", "give the account the Enroll right on the template; if the directory says that it has it, its ticket is older than its group membership: log on anew"},
	0x80094011: {"CERTSRV_E_ENROLL_DENIED", "give the account Request Certificates on the CA: certsrv.msc, Properties, Security"},
	0x8009480f: {"CERTSRV_E_SUBJECT_DNS_REQUIRED", "the computer object has no dNSHostName; the computer writes it itself when it is joined"},
	0x80094811: {"CERTSRV_E_KEY_LENGTH", "the template asks for a longer key than the request has"},
	0x80094001: {"CERTSRV_E_BAD_REQUESTSUBJECT", "the template takes the subject from the request, and the request has none"},
	0x80094002: {"CERTSRV_E_NO_REQUEST", "the CA does not have this request any more"},
	0x80094004: {"CERTSRV_E_PROPERTY_EMPTY", "the CA does not know this request: was its database restored, or is it another CA?"},
	0x80094807: {"CERTSRV_E_BAD_TEMPLATE_VERSION", "the CA has an older copy of the template; it reads the directory every few minutes"},
	0x8009480a: {"CERTSRV_E_SIGNATURE_COUNT", "the template asks for signatures of an enrollment agent, which is not done here; take them off the template"},
	0x80094014: {"CERTSRV_E_ADMIN_DENIED_REQUEST", "a CA manager refused the request; ask why before it is made again"},
	0x80070057: {"E_INVALIDARG", "the CA's name is probably wrong: it is the cn of its object in Enrollment Services"},
	0x80070005: {"E_ACCESSDENIED", "the request belongs to another account; ask with the account that submitted it"},
	2:          {"denied", "the CA denied the request; its list of failed requests has the reason"},
}

// refused makes an error of what the library answered.
func refused(op, ca string, err error) *Error {
	e := &Error{Op: op, CA: ca, Kind: Protocol, Err: err}
	var network *net.OpError
	var timeout net.Error
	switch code := faultOf(err); {
	case code == 5:
		e.Kind = Logon
	case code == faultTooBusy || code == rpcTooBusy:
		e.Kind = Busy
	case code != 0:
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &timeout) && timeout.Timeout():
		e.Kind = Timeout
	case rootCause(err, krberror.NetworkingError):
		e.Kind = Unreachable
	case errors.Is(err, errLogon), rootCause(err, krberror.KDCError), rootCause(err, krberror.ConfigError):
		e.Kind = Logon
	case errors.As(err, &network), errors.Is(err, errBroken):
		e.Kind = Unreachable
	}
	return e
}

// rootCause looks for a cause in the text of the Kerberos client's error: the type is lost on the way through go-msrpc.
func rootCause(err error, cause string) bool {
	return strings.Contains(err.Error(), "[Root cause: "+cause+"]")
}
