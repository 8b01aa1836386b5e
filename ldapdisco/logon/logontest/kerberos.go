package logontest

import (
	"crypto/rand"
	"crypto/sha256"
	stdasn1 "encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/etype"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Token identifiers, RFC 4121 4.1.
const (
	tokenAPREQ    = 0x0100
	tokenAPREP    = 0x0200
	tokenKRBERROR = 0x0300
)

// First bytes of Kerberos messages that come without GSS framing, as DCE/RPC has them.
const (
	bareAPREQ = 0x60 | asnAppTag.APREQ
	bareAPREP = 0x60 | asnAppTag.APREP
)

const flagDCEStyle = 0x1000 // GSS_C_DCE_STYLE, RFC 4757 7.1

func fillRandom(b []byte) { rand.Read(b) } // never fails

const maxSkew = 5 * time.Minute

// kerberos accepts one AP-REQ (RFC 4121) and answers with an AP-REP that carries a key of its own, as Windows does.
type kerberos struct {
	host    *Host
	accepts func(binding []byte) error
	client  string
	asked   uint32 // flags of the authenticator's checksum

	key     types.EncryptionKey
	etype   etype.EType
	subkey  bool // key came from us: flag AcceptorSubkey
	sendSeq uint64
	recvSeq uint64

	third *types.EncryptionKey // DCE style: the client has to answer our AP-REP under this key
}

func (k *kerberos) step(token []byte) ([]byte, bool, error) {
	if k.host.Keytab == nil {
		return nil, false, errors.New("kerberos: this host has no keytab")
	}
	if k.third != nil {
		return nil, true, k.checkThird(token)
	}
	id, body, err := uint16(tokenAPREQ), token, error(nil)
	if token[0] != bareAPREQ {
		id, body, err = unframe(token)
	}
	if err != nil {
		return nil, false, err
	}
	if id != tokenAPREQ {
		return nil, false, fmt.Errorf("kerberos: token %04x is no AP-REQ", id)
	}
	var req messages.APReq
	if err := req.Unmarshal(body); err != nil {
		return nil, false, fmt.Errorf("kerberos: AP-REQ: %w", err)
	}
	if err := k.checkTicket(&req); err != nil {
		return errorToken(err), false, fmt.Errorf("kerberos: %w", err)
	}
	if err := k.checkAuthenticator(&req); err != nil {
		return nil, false, err
	}
	out, err := k.establish(&req)
	return out, err == nil && k.third == nil, err
}

// checkThird is the third leg of a DCE-style logon, [MS-KILE] 3.4.5.1: an AP-REP in which the client repeats our
// sequence number. It proves that the client is there now, which replaces the mutual AP-REP's time.
func (k *kerberos) checkThird(token []byte) error {
	var rep messages.APRep
	if err := rep.Unmarshal(token); err != nil {
		return fmt.Errorf("kerberos: AP-REP of the client: %w", err)
	}
	plain, err := crypto.DecryptEncPart(rep.EncPart, *k.third, keyusage.AP_REP_ENCPART)
	if err != nil {
		return fmt.Errorf("kerberos: AP-REP of the client: %w", err)
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(plain); err != nil {
		return fmt.Errorf("kerberos: AP-REP of the client: %w", err)
	}
	if uint64(part.SequenceNumber) != k.sendSeq {
		return errors.New("kerberos: the client answered another AP-REP")
	}
	k.third = nil
	return nil
}

// checkTicket checks ticket, authenticator and that they were not seen before.
func (k *kerberos) checkTicket(req *messages.APReq) error {
	ok, err := req.Verify(k.host.Keytab, maxSkew, types.HostAddress{}, nil)
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("the ticket is not valid")
	}
	if k.host.replays.seen(req.EncryptedAuthenticator.Cipher, time.Now()) {
		return messages.NewKRBError(req.Ticket.SName, req.Ticket.Realm, errorcode.KRB_AP_ERR_REPEAT, "replay")
	}
	return nil
}

// checkAuthenticator looks at the GSS checksum (RFC 4121 4.1.1) and its channel binding.
func (k *kerberos) checkAuthenticator(req *messages.APReq) error {
	sum := req.Authenticator.Cksum
	if sum.CksumType != chksumtype.GSSAPI || len(sum.Checksum) < 24 || binary.LittleEndian.Uint32(sum.Checksum) != 16 {
		return errors.New("kerberos: the authenticator has no GSS checksum")
	}
	if err := k.accepts(sum.Checksum[4:20]); err != nil {
		return err
	}
	k.asked = binary.LittleEndian.Uint32(sum.Checksum[20:])
	name, realm := req.Authenticator.CName.PrincipalNameString(), req.Authenticator.CRealm
	k.client = name + "@" + realm
	if realm == k.host.Directory.Realm() {
		k.client = k.host.Directory.NetBIOS() + `\` + name
	}
	return nil
}

// establish picks the keys and makes the AP-REP, when the client wants one.
func (k *kerberos) establish(req *messages.APReq) (token []byte, err error) {
	session := req.Ticket.DecryptedEncPart.Key
	if k.etype, err = crypto.GetEtype(session.KeyType); err != nil {
		return nil, err
	}
	k.recvSeq = uint64(uint32(req.Authenticator.SeqNumber))
	k.key = session
	dce := k.asked&flagDCEStyle != 0
	if !dce && !types.IsFlagSet(&req.APOptions, flags.APOptionMutualRequired) {
		if len(req.Authenticator.SubKey.KeyValue) > 0 {
			k.key = req.Authenticator.SubKey
		}
		k.sendSeq = k.recvSeq
		return nil, nil
	}
	k.key.KeyValue = make([]byte, k.etype.GetKeyByteSize())
	rand.Read(k.key.KeyValue)
	k.subkey = true
	var seq [4]byte
	rand.Read(seq[:])
	k.sendSeq = uint64(binary.BigEndian.Uint32(seq[:]) >> 2) // small enough that no peer takes it for negative
	if dce {
		k.third = &session
	}
	return apReply(req, session, k.key, int64(k.sendSeq), dce)
}

func apReply(req *messages.APReq, session, subkey types.EncryptionKey, seq int64, bare bool) ([]byte, error) {
	part, err := asn1.Marshal(messages.EncAPRepPart{CTime: req.Authenticator.CTime, Cusec: req.Authenticator.Cusec, Subkey: subkey, SequenceNumber: seq})
	if err != nil {
		return nil, err
	}
	part = asn1tools.AddASNAppTag(part, asnAppTag.EncAPRepPart)
	sealed, err := crypto.GetEncryptedData(part, session, keyusage.AP_REP_ENCPART, 0)
	if err != nil {
		return nil, err
	}
	rep, err := asn1.Marshal(messages.APRep{PVNO: 5, MsgType: msgtype.KRB_AP_REP, EncPart: sealed})
	if err != nil {
		return nil, err
	}
	rep = asn1tools.AddASNAppTag(rep, asnAppTag.APREP)
	if bare {
		return rep, nil
	}
	return frame(tokenAPREP, rep), nil
}

// errorToken puts a Kerberos error into the token that a client can read the reason from.
func errorToken(err error) []byte {
	var k messages.KRBError
	if !errors.As(err, &k) {
		return nil
	}
	b, err := k.Marshal()
	if err != nil {
		return nil
	}
	return frame(tokenKRBERROR, b)
}

// frame and unframe are the InitialContextToken of RFC 2743 3.1 with the token id of RFC 4121 4.1.
func frame(id uint16, body []byte) []byte {
	b, err := stdasn1.Marshal(oidKerberos)
	if err != nil {
		panic(err) // a constant OID always encodes
	}
	b = binary.BigEndian.AppendUint16(b, id)
	return tlv(stdasn1.ClassApplication, 0, append(b, body...))
}

func unframe(token []byte) (uint16, []byte, error) {
	var outer stdasn1.RawValue
	var oid stdasn1.ObjectIdentifier
	if _, err := stdasn1.Unmarshal(token, &outer); err != nil {
		return 0, nil, fmt.Errorf("kerberos: token: %w", err)
	}
	body, err := stdasn1.Unmarshal(outer.Bytes, &oid)
	if err != nil || len(body) < 2 || !oid.Equal(oidKerberos) {
		return 0, nil, errors.New("kerberos: not a Kerberos token")
	}
	return binary.BigEndian.Uint16(body), body[2:], nil
}

func (k *kerberos) user() string { return k.client }

// layer looks at GSS_C_CONF_FLAG and GSS_C_INTEG_FLAG, RFC 4121 4.1.1.1.
func (k *kerberos) layer() bool { return k.asked&(16|32) != 0 }

// replayCache remembers authenticators for as long as they could be replayed.
type replayCache struct {
	mu   sync.Mutex // guards made
	made map[[16]byte]time.Time
}

func (r *replayCache) seen(authenticator []byte, now time.Time) bool {
	sum := sha256.Sum256(authenticator)
	key := [16]byte(sum[:16])
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made == nil {
		r.made = map[[16]byte]time.Time{}
	}
	if len(r.made) > 1000 {
		for k, t := range r.made {
			if now.Sub(t) > 2*maxSkew {
				delete(r.made, k)
			}
		}
	}
	_, again := r.made[key]
	r.made[key] = now
	return again
}
