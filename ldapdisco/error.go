package ldapdisco

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Error says what could not be read from the directory, and from which server.
type Error struct {
	Op     string // "log on", "read page 3 of the computers"
	Server string // URL; empty when no server was asked
	Code   int    // result code of LDAP (RFC 4511 appendix A), 0 when the server gave none
	Err    error
}

func (e *Error) Error() string {
	if e.Server == "" {
		return fmt.Sprintf("directory: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("directory %s: %s: %v", e.Server, e.Op, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Logon tells if the server judged the account itself: the next server would say the same, and count it.
func (e *Error) Logon() bool {
	return e.Code == ldap.LDAPResultInvalidCredentials
}

// Denied tells if the account may not do what it tried.
func (e *Error) Denied() bool { return e.Code == ldap.LDAPResultInsufficientAccessRights }

// Misnamed tells if the question was at fault: it names what is not there, or cannot be understood.
func (e *Error) Misnamed() bool {
	var m *misnamed
	return e.Code == ldap.LDAPResultNoSuchObject || e.Code == ldap.LDAPResultInvalidDNSyntax || errors.As(e.Err, &m)
}

// Hint tells an administrator what to look at, empty when there is nothing to add.
func (e *Error) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.Err, &h) && h.Hint() != "" {
		return h.Hint()
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(e.Err, &unknown):
		return "trust the CA that issued the domain controller's certificate: give its root certificate as a PEM file"
	case errors.As(e.Err, &name):
		return "use the full name that is in the domain controller's certificate, not an address or an alias"
	case errors.As(e.Err, &invalid):
		return "renew the domain controller's certificate, or use another domain controller"
	case errors.As(e.Err, &dns):
		return "check the name of the domain controller and the DNS server that is used"
	case errors.As(e.Err, &dial) && dial.Op == "dial":
		return "is it a domain controller, and switched on? firewalls have to let 636 (ldaps) or 389 (ldap) through from here"
	case errors.Is(e.Err, io.EOF):
		return "the server closed the connection; on ldaps:// it may have no certificate"
	}
	return codeHints[e.Code]
}

// codeHints speak of results of operations other than a logon.
var codeHints = map[int]string{
	ldap.LDAPResultStrongAuthRequired:           "the domain controller wants a signed or encrypted connection: use ldaps://, StartTLS, or a login by NTLM or Kerberos",
	ldap.LDAPResultConfidentialityRequired:      "the domain controller wants an encrypted connection: use ldaps:// or StartTLS",
	ldap.LDAPResultNoSuchObject:                 "check the distinguished name: does the OU or container exist, and may this account read it",
	ldap.LDAPResultReferral:                     "the distinguished name belongs to another domain; ask a domain controller of that domain",
	ldap.LDAPResultInsufficientAccessRights:     "an ordinary domain account may read what is needed unless the directory was hardened; check the permissions of the account",
	ldap.LDAPResultInappropriateAuthentication:  "the domain controller does not allow this kind of logon; use NTLM or Kerberos",
	ldap.LDAPResultUnavailableCriticalExtension: "the domain controller no longer knows the search; start again, and if it recurs try another domain controller or a smaller page",
	ldap.LDAPResultBusy:                         "the domain controller is busy; try another or try later",
	ldap.LDAPResultUnavailable:                  "the domain controller is shutting down or starting; try another",
	ldap.LDAPResultSizeLimitExceeded:            "the domain controller gives fewer entries at once than were asked for; use a smaller page",
	ldap.LDAPResultTimeLimitExceeded:            "the search took the domain controller too long; narrow it by OU, or use a smaller page",
	ldap.LDAPResultAdminLimitExceeded:           "the search took more of the domain controller than it allows; narrow it by OU",
	ldap.LDAPResultAuthMethodNotSupported:       "the server takes no such logon; is it a domain controller of Active Directory",
	ldap.LDAPResultInvalidDNSyntax:              "write the distinguished name like OU=Servers,DC=corp,DC=example",
	ldap.LDAPResultUndefinedAttributeType:       "the filter names an attribute that the schema does not have",
	ldap.LDAPResultUnwillingToPerform:           "the domain controller refuses this by its configuration",
	ldap.LDAPResultInappropriateMatching:        "the filter compares an attribute in a way that its type does not allow",
	ldap.LDAPResultOperationsError:              "the server wants a logon before it answers",
	ldap.LDAPResultSaslBindInProgress:           "the server did not finish the logon; is it a domain controller of Active Directory",
}

// result is a refusal in the server's own words.
type result struct {
	code       int
	diagnostic string
}

func (r *result) Error() string {
	name := ldap.LDAPResultCodeMap[uint16(r.code)]
	text := fmt.Sprintf("LDAP result %d", r.code)
	if name != "" {
		text += " (" + name + ")"
	}
	if v, ok := r.verdict(); ok {
		return fmt.Sprintf("%s (LDAP result %d, data %s)", v.text, r.code, r.data())
	}
	if r.diagnostic != "" {
		text += ": " + r.diagnostic
	}
	return text
}

func (r *result) Hint() string {
	v, _ := r.verdict()
	return v.hint
}

// refusal makes a result printable; the text is a stranger's.
func refusal(code int, diagnostic string) *result {
	clean := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(strings.TrimRight(diagnostic, "\x00"), "?"))
	const most = 300
	if len(clean) > most {
		clean = strings.ToValidUTF8(clean[:most], "") + " ..."
	}
	return &result{code, strings.TrimSpace(clean)}
}

// AD puts the reason of a refused bind, a Windows error code in hexadecimal, into the diagnostic message.
var bindData = regexp.MustCompile(`\bdata ([0-9a-fA-F]{1,8})\b`)

func (r *result) data() string {
	if m := bindData.FindStringSubmatch(r.diagnostic); m != nil {
		return strings.ToLower(m[1])
	}
	return ""
}

func (r *result) verdict() (verdict, bool) {
	if r.code != ldap.LDAPResultInvalidCredentials {
		return verdict{}, false
	}
	v, ok := verdicts[r.data()]
	return v, ok
}

// badBinding says that the channel was wrong, not the account.
const badBinding = "35b"

type verdict struct{ text, hint string }

// verdicts are the reasons of a refused bind, Windows error codes of [MS-ERREF] 2.2 and 2.1.
var verdicts = map[string]verdict{
	"525":      {"the domain does not know this account", "check the user name and the domain"},
	"52e":      {"the user name or the password is wrong", "check both; it was tried once and is not tried again, to keep the account from being locked out"},
	"52f":      {"the account may not log on like this", "look for account restrictions: an empty password, Protected Users (no NTLM), an authentication policy"},
	"530":      {"the account may not log on at this hour", "see the logon hours of the account"},
	"531":      {"the account may not log on from this computer", "see \"Log On To\" of the account: it has to name this computer or all of them"},
	"532":      {"the password has expired", "change it, or use an account whose password does not expire"},
	"533":      {"the account is disabled", "enable it or use another"},
	"568":      {"the account is in too many groups", "use a service account with few groups"},
	"569":      {"the account has not been granted this kind of logon", "it needs the right \"Access this computer from the network\" on domain controllers"},
	"701":      {"the account has expired", "extend it or use another"},
	"773":      {"the password must be changed before the first logon", "log on once and change it, or clear \"User must change password at next logon\""},
	"775":      {"the account is locked out", "find out what locked it before you unlock it; wavelock tried it once"},
	badBinding: {"the channel binding is missing or wrong", "something between here and the domain controller may be breaking TLS open; else check LdapEnforceChannelBinding on the domain controller"},
}

// hinted is an error of this package with its own advice.
type hinted struct{ text, hint string }

// misnamed is one about what was asked for, not about what was answered.
type misnamed struct{ hinted }

func (h *hinted) Error() string { return h.text }
func (h *hinted) Hint() string  { return h.hint }

// failed makes an *Error of what a library or the server said.
func failed(server, op string, err error) *Error {
	e := &Error{Op: op, Server: server, Err: err}
	var ours *result
	var theirs *ldap.Error
	switch {
	case errors.As(err, &ours):
		e.Code = ours.code
	case errors.As(err, &theirs) && theirs.ResultCode < ldap.ErrorNetwork:
		e.Code = int(theirs.ResultCode)
		e.Err = refusal(e.Code, theirs.Err.Error())
	case errors.As(err, &theirs) && errors.Is(err, errClosed):
		e.Err = fmt.Errorf("%w: %w", errClosed, theirs.Err)
	case errors.As(err, &theirs):
		e.Err = theirs.Err // without the library's 200, which is no code of LDAP
	}
	return e
}
