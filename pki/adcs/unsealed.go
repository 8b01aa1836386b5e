package adcs

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/oiweiwei/go-msrpc/dcerpc"
	icertpassage "github.com/oiweiwei/go-msrpc/msrpc/icpr/icertpassage/v0"
)

// faultDenied is ERROR_ACCESS_DENIED, as a fault; accessDenied is the same as a return value.
const (
	faultDenied  = 5
	accessDenied = 0x80070005
)

// TakesUnsealed reports whether the CA takes calls without packet privacy, which [MS-ICPR] 3.1.4.1 has it refuse as long as
// IF_ENFORCEENCRYPTICERTREQUEST is set. It is asked for a request that does not exist, first sealed, so that a refusal of
// the account is not taken for one of the call: nothing is changed. With NTLM nothing is tried: a logon that protects
// nothing could be passed on. Errors are *Error.
func (c *Client) TakesUnsealed(ctx context.Context, ca CA) (taken bool, err error) {
	const op = "try a call without packet privacy"
	defer func() {
		if r := recover(); r != nil { // the library decodes foreign bytes
			taken, err = false, &Error{Op: op, CA: ca.String(), Kind: Protocol, Err: fmt.Errorf("an answer that cannot be read: %v", r)}
		}
	}()
	if c.cfg.Kerberos == nil {
		return false, &Error{Op: op, CA: ca.String(), Kind: Logon, Err: errors.New("it is tried with Kerberos only")}
	}
	leave, err := c.enter(ctx, ca)
	if err != nil {
		return false, refused(op, ca.String(), err)
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	nobodys := func() *icertpassage.CertServerRequestRequest {
		return &icertpassage.CertServerRequestRequest{Authority: ca.Name, RequestID: math.MaxInt32, Attributes: blob(nil), Request: blob(nil)}
	}
	if out, err := c.invoke(ctx, ca, nobodys(), dcerpc.WithSeal()); err != nil {
		return false, refused(op, ca.String(), err)
	} else if out.Return == accessDenied {
		return false, &Error{Op: op, CA: ca.String(), Kind: Denied, HRESULT: out.Return, Err: errors.New("the account may not ask this CA at all")}
	}
	out, err := c.invoke(ctx, ca, nobodys(), dcerpc.WithConnect())
	switch {
	case err == nil:
		return out.Return != accessDenied, nil
	case faultOf(err) == faultDenied:
		return false, nil
	}
	return false, refused(op, ca.String(), err)
}
