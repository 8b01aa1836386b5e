package logon

import (
	"context"
	"errors"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/spnego"
)

// spnegoExchange is the initiator of RFC 4178 with Kerberos on offer and its token sent along. With the first choice
// accepted no mechListMIC is owed; one that comes from the host is checked.
type spnegoExchange struct {
	inner     *kerberosExchange
	principal string
	to        Service
	mechTypes []byte
	asked     bool
}

var errRejected = &hinted{"the host refused the mechanism in SPNEGO", "the host may forbid it by policy; try the other of Kerberos and NTLM"}

func (x *spnegoExchange) Next(ctx context.Context, in []byte) (out []byte, done bool, err error) {
	if x.asked {
		return x.resume(ctx, in)
	}
	x.asked = true
	token, done, err := x.inner.Next(ctx, nil)
	if err != nil {
		return nil, false, err
	}
	offer := []asn1.ObjectIdentifier{gssapi.OIDKRB5.OID()}
	if x.mechTypes, err = asn1.Marshal(offer); err != nil {
		return nil, false, err
	}
	t := spnego.SPNEGOToken{Init: true, NegTokenInit: spnego.NegTokenInit{MechTypes: offer, MechTokenBytes: token}}
	out, err = t.Marshal()
	return out, done, err
}

func (x *spnegoExchange) resume(ctx context.Context, in []byte) ([]byte, bool, error) {
	resp, err := x.parse(in)
	if err != nil {
		return nil, false, x.failed(err)
	}
	token, done, err := x.inner.Next(ctx, resp.ResponseToken)
	if err != nil {
		return nil, false, err
	}
	if len(resp.MechListMIC) > 0 {
		if err := x.inner.verifyMIC(x.mechTypes, resp.MechListMIC); err != nil {
			return nil, false, x.failed(err)
		}
	}
	if token == nil {
		return nil, done, nil
	}
	answer := spnego.SPNEGOToken{Resp: true, NegTokenResp: spnego.NegTokenResp{NegState: asn1.Enumerated(spnego.NegStateAcceptIncomplete), ResponseToken: token}}
	out, err := answer.Marshal()
	return out, done, err
}

func (x *spnegoExchange) failed(err error) error {
	return &Error{Op: "negotiate", Principal: x.principal, Service: x.to, Err: err}
}

// parse takes a negTokenResp; a host that answers without SPNEGO, as http.sys may to NTLM, is taken at its word.
func (x *spnegoExchange) parse(in []byte) (resp spnego.NegTokenResp, err error) {
	defer guard("SPNEGO token", &err)
	if len(in) == 0 {
		return resp, errors.New("the host sent no token")
	}
	if in[0] != 0xa1 { // not the choice negTokenResp, RFC 4178 4.2
		return spnego.NegTokenResp{ResponseToken: in}, nil
	}
	var t spnego.SPNEGOToken
	if err := t.Unmarshal(in); err != nil {
		return resp, err
	}
	resp = t.NegTokenResp
	if resp.State() == spnego.NegStateReject {
		return resp, errRejected
	}
	if len(resp.SupportedMech) > 0 && !kerberosMech(resp.SupportedMech) {
		return resp, errRejected
	}
	if len(resp.ResponseToken) == 0 {
		return resp, errRejected
	}
	return resp, nil
}

// kerberosMech knows both names of Kerberos: Windows may answer with 1.2.840.48018.1.2.2, which began as a misprint.
func kerberosMech(mech asn1.ObjectIdentifier) bool {
	return mech.Equal(gssapi.OIDKRB5.OID()) || mech.Equal(gssapi.OIDMSLegacyKRB5.OID())
}

func (x *spnegoExchange) Sealer() (Sealer, error) { return x.inner.Sealer() }
func (x *spnegoExchange) Protocol() string        { return protocolSPNEGO }
func (x *spnegoExchange) Scheme() string          { return SchemeNegotiate }
