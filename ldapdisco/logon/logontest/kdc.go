package logontest

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// KDC is a key distribution centre for the accounts of a directory, over TCP, with pre-authentication. It knows no
// policy and no PAC. Its fields are set, and Trust is called, before the first request.
type KDC struct {
	Directory *Directory
	ETypes    []int32       // what it issues, in its order of preference; AES when nil
	Lifetime  time.Duration // of tickets; ten hours when zero

	ASRequests, TGSRequests, Refusals atomic.Int64

	mu       sync.RWMutex       // guards services and tgs
	services map[string]service // by lower-case SPN
	tgs      *keytab.Keytab

	listener net.Listener
	serving  sync.WaitGroup
}

type service struct {
	name types.PrincipalName
	keys *keytab.Keytab
}

// kdcMessageLimit is far above any request for a ticket.
const kdcMessageLimit = 64 << 10

// StartKDC serves the accounts of d on a free port of 127.0.0.1 until Close.
func StartKDC(d *Directory) (*KDC, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &KDC{Directory: d, services: map[string]service{}, listener: l}
	k.tgs = k.Register("krbtgt/" + d.Realm())
	k.serving.Add(1)
	go k.serve()
	return k, nil
}

// Addr is the host:port to give to clients.
func (k *KDC) Addr() string { return k.listener.Addr().String() }

// Close stops the KDC and waits for its connections.
func (k *KDC) Close() error {
	err := k.listener.Close()
	k.serving.Wait()
	return err
}

// Register gives each service principal a new key and returns them all in one keytab.
func (k *KDC) Register(spns ...string) *keytab.Keytab {
	all := keytab.New()
	for _, spn := range spns {
		kt := newKeytab(spn, k.Directory.Realm())
		all.Entries = append(all.Entries, kt.Entries...)
		k.mu.Lock()
		k.services[strings.ToLower(spn)] = service{types.NewPrincipalName(2, spn), kt}
		k.mu.Unlock()
	}
	return all
}

// Trust makes the KDC take ticket-granting tickets that another one gave for this realm.
func (k *KDC) Trust(other *KDC) {
	k.tgs.Entries = append(k.tgs.Entries, other.Register("krbtgt/"+k.Directory.Realm()).Entries...)
}

// newKeytab makes random AES keys: deriving them from a password would cost a simulated fleet minutes.
func newKeytab(spn, realm string) *keytab.Keytab {
	kt := keytab.New()
	kt.Entries = slices.Clone(template().Entries)
	for i := range kt.Entries {
		e := &kt.Entries[i]
		e.Principal.Components = strings.Split(spn, "/")
		e.Principal.NumComponents = int16(len(e.Principal.Components))
		e.Principal.Realm = realm
		e.Key.KeyValue = make([]byte, len(e.Key.KeyValue))
		rand.Read(e.Key.KeyValue)
	}
	return kt
}

// template holds entries to copy: gokrb5 does not export their type.
var template = sync.OnceValue(func() *keytab.Keytab {
	kt := keytab.New()
	for _, e := range aesTypes {
		if err := kt.AddEntry("template", "TEMPLATE", "template", time.Unix(0, 0), 1, e); err != nil {
			panic(err) // a constant entry always encodes
		}
	}
	return kt
})

var aesTypes = []int32{etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA1_96}

func (k *KDC) serve() {
	defer k.serving.Done()
	for {
		c, err := k.listener.Accept()
		if err != nil {
			return
		}
		k.serving.Add(1)
		go func() {
			defer k.serving.Done()
			defer c.Close()
			c.SetDeadline(time.Now().Add(5 * time.Second))
			k.answer(c)
		}()
	}
}

// answer serves one request; a malformed one is dropped.
func (k *KDC) answer(c net.Conn) {
	defer func() { recover() }() // gokrb5 indexes foreign bytes unchecked in places
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > kdcMessageLimit {
		return
	}
	req := make([]byte, n)
	if _, err := io.ReadFull(c, req); err != nil {
		return
	}
	rep, err := k.reply(req)
	var refusal messages.KRBError
	if errors.As(err, &refusal) {
		if refusal.ErrorCode != errorcode.KDC_ERR_PREAUTH_REQUIRED {
			k.Refusals.Add(1)
		}
		rep, err = refusal.Marshal()
	}
	if err != nil {
		return
	}
	c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(rep))), rep...))
}

func (k *KDC) reply(b []byte) ([]byte, error) {
	var as messages.ASReq
	if as.Unmarshal(b) == nil {
		k.ASRequests.Add(1)
		return k.as(as)
	}
	var tgs messages.TGSReq
	if err := tgs.Unmarshal(b); err != nil {
		return nil, err
	}
	k.TGSRequests.Add(1)
	return k.ticketFor(tgs)
}

// as proves the account by its encrypted time and gives the ticket-granting ticket.
func (k *KDC) as(req messages.ASReq) ([]byte, error) {
	body := req.ReqBody
	refuse := func(code int32) ([]byte, error) {
		e := messages.NewKRBError(body.SName, body.Realm, code, "")
		e.CName, e.CRealm = body.CName, body.Realm
		return nil, e
	}
	account, ok := k.Directory.find("", body.CName.PrincipalNameString())
	if !ok || body.Realm != k.Directory.Realm() {
		return refuse(errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN)
	}
	et, ok := k.chooseEType(body.EType)
	if !ok {
		return refuse(errorcode.KDC_ERR_ETYPE_NOSUPP)
	}
	key, _, err := crypto.GetKeyFromPassword(account.password, body.CName, body.Realm, et, nil)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(req.PAData, func(p types.PAData) bool { return p.PADataType == patype.PA_ENC_TIMESTAMP })
	if i < 0 {
		return nil, preauthRequired(body, et)
	}
	if !provesTime(req.PAData[i].PADataValue, key) {
		return refuse(errorcode.KDC_ERR_PREAUTH_FAILED)
	}
	part, err := k.issue(body, body.CName, body.Realm, k.tgs, et, time.Now())
	if err != nil {
		return nil, err
	}
	fields, err := part.seal(msgtype.KRB_AS_REP, key, keyusage.AS_REP_ENCPART)
	if err != nil {
		return nil, err
	}
	return (&messages.ASRep{KDCRepFields: fields}).Marshal()
}

func preauthRequired(body messages.KDCReqBody, et int32) error {
	info, err := asn1.Marshal([]types.ETypeInfo2Entry{{EType: et, Salt: body.CName.GetSalt(body.Realm)}})
	if err != nil {
		return err
	}
	data, err := asn1.Marshal(types.PADataSequence{{PADataType: patype.PA_ETYPE_INFO2, PADataValue: info}, {PADataType: patype.PA_ENC_TIMESTAMP}})
	if err != nil {
		return err
	}
	e := messages.NewKRBError(body.SName, body.Realm, errorcode.KDC_ERR_PREAUTH_REQUIRED, "")
	e.CName, e.CRealm, e.EData = body.CName, body.Realm, data
	return e
}

func provesTime(pa []byte, key types.EncryptionKey) bool {
	var sealed types.EncryptedData
	if sealed.Unmarshal(pa) != nil {
		return false
	}
	plain, err := crypto.DecryptEncPart(sealed, key, keyusage.AS_REQ_PA_ENC_TIMESTAMP)
	if err != nil {
		return false
	}
	var stamp types.PAEncTSEnc
	return stamp.Unmarshal(plain) == nil && time.Since(stamp.PATimestamp).Abs() < maxSkew
}
