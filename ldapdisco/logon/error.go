package logon

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/messages"
)

// Error says that no security context could be made, and with whom.
type Error struct {
	Op        string // what was being done: "get a ticket", "answer the challenge"
	Principal string
	Service   Service
	Err       error
}

func (e *Error) Error() string {
	to := ""
	if e.Service != (Service{}) {
		to = " to " + e.Service.String()
	}
	return fmt.Sprintf("log on as %s%s: %s: %v", e.Principal, to, e.Op, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Hint tells an administrator what to look at, empty when there is nothing to add.
func (e *Error) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.Err, &h) {
		return h.Hint()
	}
	return kerberosHints[kerberosCode(e.Err)]
}

// PasswordRefused tells if the KDC judged the account itself: trying again can only lock it out.
func (e *Error) PasswordRefused() bool {
	switch kerberosCode(e.Err) {
	case errorcode.KDC_ERR_PREAUTH_FAILED, errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN, errorcode.KDC_ERR_CLIENT_REVOKED,
		errorcode.KDC_ERR_KEY_EXPIRED, errorcode.KDC_ERR_POLICY:
		return true
	}
	return false
}

// Steps of a logon in which only the KDC is asked.
const (
	opLogOn  = "get a ticket-granting ticket"
	opTicket = "get a ticket"
)

// NoTicket tells if it was the KDC that gave nothing: the host was not asked, and nothing was said against the account.
func (e *Error) NoTicket() bool {
	return (e.Op == opLogOn || e.Op == opTicket) && !e.PasswordRefused()
}

// Silent tells if the KDC did not answer either; asking again may help.
func (e *Error) Silent() bool { return e.NoTicket() && kerberosCode(e.Err) == 0 && e.Hint() == "" }

// hinted is an error of this package with its own advice.
type hinted struct{ text, hint string }

func (h *hinted) Error() string { return h.text }
func (h *hinted) Hint() string  { return h.hint }

// gokrb5 turns the KDC's answer into text that begins so.
var kerberosErrorText = regexp.MustCompile(`\((\d+)\) K(?:DC|RB)_`)

// gokrb5's text when the KDC wants pre-authentication and the account has no key of a type that we take.
const noCommonType = "unknown or unsupported EType"

// kerberosCode finds the error code of the KDC or service in err, 0 if there is none.
func kerberosCode(err error) int32 {
	var k messages.KRBError
	if errors.As(err, &k) {
		return k.ErrorCode
	}
	if err == nil {
		return 0
	}
	if m := kerberosErrorText.FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.ParseInt(m[1], 10, 32)
		return int32(n)
	}
	if strings.Contains(err.Error(), noCommonType) {
		return errorcode.KDC_ERR_ETYPE_NOSUPP
	}
	return 0
}

// kerberosHints speak of the causes that are met in a domain, by error code (RFC 4120 7.5.9).
var kerberosHints = map[int32]string{
	errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN: "the domain does not know this account; check the user name and the realm",
	errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN: "the domain has no such service principal; check the host's DNS name and its SPNs with setspn -Q",
	errorcode.KDC_ERR_CLIENT_REVOKED:      "the account is disabled, expired, locked out or outside its logon hours",
	errorcode.KDC_ERR_KEY_EXPIRED:         "the password has expired and must be changed first",
	errorcode.KDC_ERR_PREAUTH_FAILED:      "the password or the keytab is wrong; it was tried once and is not tried again, to keep the account from being locked out",
	errorcode.KDC_ERR_ETYPE_NOSUPP:        "the account or the host has no AES keys; allow AES in msDS-SupportedEncryptionTypes and renew the password, RC4 is not used",
	errorcode.KDC_ERR_POLICY:              "a policy of the domain forbids this logon; check authentication policies, Protected Users and logon restrictions",
	errorcode.KRB_AP_ERR_SKEW:             "the clocks differ by more than five minutes; check the time on this computer and on the other",
	errorcode.KRB_AP_ERR_MODIFIED:         "the host could not read the ticket: its SPN belongs to another account or its computer password has changed",
	errorcode.KRB_AP_ERR_TKT_EXPIRED:      "the ticket has expired; get a new one with kinit",
}
