package logontest

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

const defaultLifetime = 10 * time.Hour

// issued is a new ticket with what its owner must know of it.
type issued struct {
	client types.PrincipalName
	realm  string // the client's
	ticket messages.Ticket
	part   messages.EncKDCRepPart
}

// ticketFor is the TGS exchange: the caller shows its ticket-granting ticket and names a service.
func (k *KDC) ticketFor(req messages.TGSReq) ([]byte, error) {
	body := req.ReqBody
	refuse := func(code int32) ([]byte, error) { return nil, messages.NewKRBError(body.SName, body.Realm, code, "") }
	i := slices.IndexFunc(req.PAData, func(p types.PAData) bool { return p.PADataType == patype.PA_TGS_REQ })
	if i < 0 {
		return nil, errors.New("TGS-REQ without ticket")
	}
	var ap messages.APReq
	if err := ap.Unmarshal(req.PAData[i].PADataValue); err != nil {
		return nil, err
	}
	if ok, err := ap.Verify(k.tgs, maxSkew, types.HostAddress{}, nil); !ok {
		return nil, err
	}
	service, ok := k.service(body.SName)
	if !ok {
		return refuse(errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN)
	}
	et, ok := k.chooseEType(body.EType)
	if !ok {
		return refuse(errorcode.KDC_ERR_ETYPE_NOSUPP)
	}
	tgt := ap.Ticket.DecryptedEncPart
	made, err := k.issue(body, tgt.CName, tgt.CRealm, service.keys, et, tgt.AuthTime)
	if err != nil {
		return nil, err
	}
	key, usage := tgt.Key, uint32(keyusage.TGS_REP_ENCPART_SESSION_KEY)
	if sub := ap.Authenticator.SubKey; len(sub.KeyValue) > 0 {
		key, usage = sub, keyusage.TGS_REP_ENCPART_AUTHENTICATOR_SUB_KEY
	}
	fields, err := made.seal(msgtype.KRB_TGS_REP, key, usage)
	if err != nil {
		return nil, err
	}
	return (&messages.TGSRep{KDCRepFields: fields}).Marshal()
}

func (k *KDC) service(name types.PrincipalName) (service, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	s, ok := k.services[strings.ToLower(name.PrincipalNameString())]
	return s, ok
}

func (k *KDC) chooseEType(offered []int32) (int32, bool) {
	ours := k.ETypes
	if ours == nil {
		ours = aesTypes
	}
	for _, e := range ours {
		if slices.Contains(offered, e) {
			return e, true
		}
	}
	return 0, false
}

// issue makes a ticket for the service that body names, under the key in kt.
func (k *KDC) issue(body messages.KDCReqBody, client types.PrincipalName, realm string, kt *keytab.Keytab, et int32, authenticated time.Time) (issued, error) {
	life := k.Lifetime
	if life == 0 {
		life = defaultLifetime
	}
	now := time.Now().UTC().Truncate(time.Second)
	made := issued{client: client, realm: realm}
	ticket, key, err := messages.NewTicket(client, realm, body.SName, k.Directory.Realm(), types.NewKrbFlags(), kt, et, 1, authenticated.UTC(), now, now.Add(life), now.Add(life))
	if err != nil {
		return made, err
	}
	made.ticket = ticket
	made.part = messages.EncKDCRepPart{
		Key: key, Nonce: body.Nonce, Flags: types.NewKrbFlags(), LastReqs: []messages.LastReq{{LRValue: now}},
		AuthTime: authenticated.UTC(), StartTime: now, EndTime: now.Add(life), RenewTill: now.Add(life), SRealm: k.Directory.Realm(), SName: body.SName,
	}
	return made, nil
}

func (i issued) seal(kind int, key types.EncryptionKey, usage uint32) (messages.KDCRepFields, error) {
	fields := messages.KDCRepFields{PVNO: 5, MsgType: kind, CRealm: i.realm, CName: i.client, Ticket: i.ticket}
	b, err := i.part.Marshal()
	if err != nil {
		return fields, err
	}
	fields.EncPart, err = crypto.GetEncryptedData(b, key, usage, 1)
	return fields, err
}

// WriteCCache writes a credential cache with a ticket-granting ticket of the user, as kinit does.
func (k *KDC) WriteCCache(path, user string) error {
	realm := k.Directory.Realm()
	client := types.NewPrincipalName(1, user)
	tgs := types.PrincipalName{NameType: 2, NameString: []string{"krbtgt", realm}}
	et, _ := k.chooseEType(aesTypes)
	made, err := k.issue(messages.KDCReqBody{SName: tgs}, client, realm, k.tgs, et, time.Now())
	if err != nil {
		return err
	}
	ticket, err := made.ticket.Marshal()
	if err != nil {
		return err
	}
	c := ccache{5, 4, 0, 0} // version 4, no header fields
	c.principal(client, realm)
	c.principal(client, realm)
	c.principal(tgs, realm)
	c = binary.BigEndian.AppendUint16(c, uint16(made.part.Key.KeyType))
	c.data(made.part.Key.KeyValue)
	for _, t := range []time.Time{made.part.AuthTime, made.part.StartTime, made.part.EndTime, made.part.RenewTill} {
		c = binary.BigEndian.AppendUint32(c, uint32(t.Unix()))
	}
	c = append(c, 0)                    // not a session key for user-to-user
	c = append(c, 0, 0, 0, 0)           // ticket flags
	c = append(c, make([]byte, 4+4)...) // no addresses, no authorization data
	c.data(ticket)
	c.data(nil) // no second ticket
	return os.WriteFile(path, c, 0o600)
}

// WriteKeytab writes the keys of a user's password, as ktpass does.
func (k *KDC) WriteKeytab(path, user string) error {
	account, ok := k.Directory.find("", user)
	if !ok {
		return errors.New("no such account: " + user)
	}
	kt := keytab.New()
	for _, e := range aesTypes {
		if err := kt.AddEntry(user, k.Directory.Realm(), account.password, time.Now(), 1, e); err != nil {
			return err
		}
	}
	b, err := kt.Marshal()
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// ccache is a file of MIT's format 4 being written.
type ccache []byte

func (c *ccache) data(b []byte) {
	*c = binary.BigEndian.AppendUint32(*c, uint32(len(b)))
	*c = append(*c, b...)
}

func (c *ccache) principal(p types.PrincipalName, realm string) {
	*c = binary.BigEndian.AppendUint32(*c, uint32(p.NameType))
	*c = binary.BigEndian.AppendUint32(*c, uint32(len(p.NameString)))
	c.data([]byte(realm))
	for _, s := range p.NameString {
		c.data([]byte(s))
	}
}
