package logon

import (
	"context"
	"errors"
	"testing"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/messages"
)

// What the KDC says of the host, of the account, and when it says nothing are three things.
func TestWhoseFaultATicketIs(t *testing.T) {
	t.Parallel()
	said := func(code int32) error { return messages.KRBError{ErrorCode: code} }
	for name, x := range map[string]struct {
		err                       *Error
		noTicket, silent, refused bool
	}{
		"an unknown service":            {&Error{Op: opTicket, Err: said(errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN)}, true, false, false},
		"a wrong password":              {&Error{Op: opLogOn, Err: said(errorcode.KDC_ERR_PREAUTH_FAILED)}, false, false, true},
		"a KDC that is silent":          {&Error{Op: opLogOn, Err: context.DeadlineExceeded}, true, true, false},
		"a KDC that refuses to connect": {&Error{Op: opTicket, Err: errors.New("[Root cause: Networking_Error] dial tcp 192.0.2.1:88: refused")}, true, true, false},
		"a ticket of RC4":               {&Error{Op: opTicket, Err: notAES("the ticket", 23)}, true, false, false},
		"a host's own answer":           {&Error{Op: "negotiate", Err: errors.New("x")}, false, false, false},
		"Basic without TLS":             {&Error{Op: "start", Err: &hinted{"a", "b"}}, false, false, false},
	} {
		if got := x.err; got.NoTicket() != x.noTicket || got.Silent() != x.silent || got.PasswordRefused() != x.refused {
			t.Errorf("%s: no ticket %v, silent %v, refused %v", name, got.NoTicket(), got.Silent(), got.PasswordRefused())
		}
	}
}
