package logon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Token identifiers, RFC 4121 4.1.
const (
	tokenAPREQ    = 0x0100
	tokenAPREP    = 0x0200
	tokenKRBERROR = 0x0300
)

// kerberosExchange is the AP exchange of RFC 4121: AP-REQ, AP-REP.
type kerberosExchange struct {
	login        *KerberosLogin
	to           Service
	ticket       serviceTicket
	realm        string
	client       types.PrincipalName
	binding      [16]byte
	withoutLayer bool // LDAP inside TLS: message security must not be asked for

	authenticator types.Authenticator
	asked         bool
	sealer        *kerberosSealer
}

func (x *kerberosExchange) Next(_ context.Context, in []byte) (out []byte, done bool, err error) {
	fail := func(op string, err error) ([]byte, bool, error) {
		return nil, false, &Error{Op: op, Principal: x.login.principal, Service: x.to, Err: err}
	}
	switch {
	case x.sealer != nil:
		return fail("finish", errors.New("the host sent a token after Kerberos was over"))
	case !x.asked:
		if in != nil {
			return fail("start", errors.New("the host spoke first"))
		}
		x.asked = true
		if out, err = x.request(); err != nil {
			return fail("start", err)
		}
		return out, false, nil
	}
	if err := x.complete(in); err != nil {
		return fail("check the host's proof", err)
	}
	return nil, true, nil
}

// request makes the AP-REQ: mutual authentication, a subkey of our own, channel binding and the wanted protection in the
// checksum of the authenticator (RFC 4121 4.1.1).
func (x *kerberosExchange) request() ([]byte, error) {
	a, err := types.NewAuthenticator(x.realm, x.client)
	if err != nil {
		return nil, err
	}
	et, err := crypto.GetEtype(x.ticket.session.KeyType)
	if err != nil {
		return nil, err
	}
	if err := a.GenerateSeqNumberAndSubKey(x.ticket.session.KeyType, et.GetKeyByteSize()); err != nil {
		return nil, err
	}
	sum := binary.LittleEndian.AppendUint32(nil, uint32(len(x.binding)))
	sum = append(sum, x.binding[:]...)
	sum = binary.LittleEndian.AppendUint32(sum, x.gssFlags())
	a.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: sum}
	req, err := messages.NewAPReq(x.ticket.Ticket, x.ticket.session, a)
	if err != nil {
		return nil, err
	}
	types.SetFlag(&req.APOptions, flags.APOptionMutualRequired)
	b, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	x.authenticator = a
	return frame(tokenAPREQ, b), nil
}

func (x *kerberosExchange) gssFlags() uint32 {
	if x.withoutLayer {
		return gssapi.ContextFlagMutual
	}
	return gssapi.ContextFlagMutual | gssapi.ContextFlagReplay | gssapi.ContextFlagSequence | gssapi.ContextFlagConf | gssapi.ContextFlagInteg
}

// complete takes the AP-REP, which proves that the host could read our ticket, and the keys from it.
func (x *kerberosExchange) complete(token []byte) (err error) {
	defer guard("Kerberos token", &err)
	id, body, err := unframe(token)
	if err != nil {
		return err
	}
	switch id {
	case tokenAPREP:
	case tokenKRBERROR:
		var e messages.KRBError
		if err := e.Unmarshal(body); err != nil {
			return err
		}
		return e
	default:
		return fmt.Errorf("unexpected Kerberos token %04x", id)
	}
	var rep messages.APRep
	if err := rep.Unmarshal(body); err != nil {
		return err
	}
	plain, err := crypto.DecryptEncPart(rep.EncPart, x.ticket.session, keyusage.AP_REP_ENCPART)
	if err != nil {
		return err
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(plain); err != nil {
		return err
	}
	if part.Cusec != x.authenticator.Cusec || !part.CTime.Equal(x.authenticator.CTime.Truncate(time.Second)) {
		return errors.New("the AP-REP does not answer this request")
	}
	x.sealer, err = x.newSealer(part)
	return err
}

// newSealer uses the host's subkey if it sent one, else ours (RFC 4121 2).
func (x *kerberosExchange) newSealer(part messages.EncAPRepPart) (*kerberosSealer, error) {
	key, flag := x.authenticator.SubKey, byte(0)
	if len(part.Subkey.KeyValue) > 0 {
		key, flag = part.Subkey, acceptorSubkey
	}
	et, err := aes(key)
	if err != nil {
		return nil, err
	}
	return &kerberosSealer{key: key, etype: et, subkey: flag, sendSeq: uint64(x.authenticator.SeqNumber), recvSeq: uint64(uint32(part.SequenceNumber))}, nil
}

func (x *kerberosExchange) Sealer() (Sealer, error) {
	if x.sealer == nil {
		return nil, &Error{Op: "seal", Principal: x.login.principal, Service: x.to, Err: errors.New("the exchange is not complete")}
	}
	return x.sealer, nil
}

func (x *kerberosExchange) Protocol() string { return protocolKerberos }
func (x *kerberosExchange) Scheme() string   { return SchemeKerberos }

// verifyMIC checks a mechListMIC of SPNEGO.
func (x *kerberosExchange) verifyMIC(msg, mic []byte) error {
	if x.sealer == nil {
		return errors.New("MIC before the keys are known")
	}
	return x.sealer.verifyMIC(msg, mic)
}

// frame makes the InitialContextToken of RFC 2743 3.1 with the token id of RFC 4121 4.1; unframe takes it apart.
func frame(id uint16, body []byte) []byte {
	b, err := asn1.Marshal(gssapi.OIDKRB5.OID())
	if err != nil {
		panic(err) // a constant OID always encodes
	}
	b = binary.BigEndian.AppendUint16(b, id)
	return asn1tools.AddASNAppTag(append(b, body...), 0)
}

func unframe(token []byte) (uint16, []byte, error) {
	var oid asn1.ObjectIdentifier
	rest, err := asn1.UnmarshalWithParams(token, &oid, "application,explicit,tag:0")
	if err != nil {
		return 0, nil, fmt.Errorf("not a GSS token: %w", err)
	}
	if len(rest) < 2 || !oid.Equal(gssapi.OIDKRB5.OID()) {
		return 0, nil, errors.New("not a Kerberos token")
	}
	return binary.BigEndian.Uint16(rest), rest[2:], nil
}
