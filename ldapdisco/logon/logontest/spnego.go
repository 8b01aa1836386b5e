package logontest

import (
	"bytes"
	"encoding/asn1"
	"errors"
)

// First bytes of the tokens that Step can get.
const (
	gssInitialTag = 0x60 // InitialContextToken, RFC 2743 3.1
	negRespTag    = 0xa1 // NegotiationToken, choice negTokenResp, RFC 4178 4.2
)

// negState of NegTokenResp, RFC 4178 4.2.2.
const (
	acceptCompleted  = 0
	acceptIncomplete = 1
)

var (
	oidSPNEGO     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2}
	oidKerberos   = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}
	oidMSKerberos = asn1.ObjectIdentifier{1, 2, 840, 48018, 1, 2, 2}
	oidNTLM       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 2, 10}

	spnegoOIDBytes = []byte{0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02}
)

// negotiation is what SPNEGO has agreed on one connection.
type negotiation struct {
	mechTypes []byte // DER of MechTypeList, which the mechListMIC covers
	chosen    asn1.ObjectIdentifier
	first     bool // chosen is the client's first choice: no mechListMIC is needed
	awaitMIC  bool // the mechanism is done, the client's mechListMIC is not here yet
}

type negTokenInit struct {
	MechTypes asn1.RawValue  `asn1:"explicit,tag:0"`
	ReqFlags  asn1.BitString `asn1:"explicit,optional,tag:1"`
	MechToken []byte         `asn1:"explicit,optional,tag:2"`
	MIC       []byte         `asn1:"explicit,optional,tag:3"`
}

type negTokenResp struct {
	State asn1.Enumerated       `asn1:"explicit,optional,tag:0"`
	Mech  asn1.ObjectIdentifier `asn1:"explicit,optional,tag:1"`
	Token []byte                `asn1:"explicit,optional,tag:2"`
	MIC   []byte                `asn1:"explicit,optional,tag:3"`
}

func isSPNEGO(token []byte) bool {
	if len(token) == 0 {
		return false
	}
	if token[0] == negRespTag {
		return true
	}
	oid := bytes.Index(token, spnegoOIDBytes)
	return token[0] == gssInitialTag && oid >= 2 && oid <= 6 // after tag and length
}

// negotiate is the acceptor of RFC 4178.
func (c *Conn) negotiate(token []byte) ([]byte, bool, error) {
	if token[0] == negRespTag {
		return c.continueNegotiation(token)
	}
	init, mechs, err := parseNegTokenInit(token)
	if err != nil {
		return nil, false, err
	}
	n := &negotiation{mechTypes: init.MechTypes.FullBytes}
	for i, m := range mechs {
		if c.supports(m) {
			n.chosen, n.first = m, i == 0
			break
		}
	}
	if n.chosen == nil {
		return nil, false, errors.New("spnego: no mechanism in common")
	}
	c.spnego, c.mech = n, nil
	if !n.first || len(init.MechToken) == 0 { // the optimistic token was for another mechanism
		return n.answer(acceptIncomplete, nil, nil), false, nil
	}
	return c.negotiateStep(init.MechToken, nil)
}

func (c *Conn) continueNegotiation(token []byte) ([]byte, bool, error) {
	n := c.spnego
	if n == nil {
		return nil, false, errors.New("spnego: answer on a connection without negotiation")
	}
	var choice asn1.RawValue
	if _, err := asn1.Unmarshal(token, &choice); err != nil {
		return nil, false, err
	}
	var resp negTokenResp
	if _, err := asn1.Unmarshal(choice.Bytes, &resp); err != nil {
		return nil, false, err
	}
	if n.awaitMIC {
		if err := c.mech.verify(n.mechTypes, resp.MIC); err != nil {
			return nil, false, err
		}
		return n.answer(acceptCompleted, nil, nil), true, nil
	}
	return c.negotiateStep(resp.Token, resp.MIC)
}

// negotiateStep moves the chosen mechanism on and guards the list of mechanisms as RFC 4178 5 asks.
func (c *Conn) negotiateStep(token, mic []byte) ([]byte, bool, error) {
	n := c.spnego
	if isSPNEGO(token) {
		return nil, false, errors.New("spnego: inside spnego")
	}
	out, done, err := c.stepMechanism(token)
	if err != nil {
		if out != nil {
			out = n.answer(acceptIncomplete, out, nil) // carries the Kerberos error
		}
		return out, false, err
	}
	if !done {
		return n.answer(acceptIncomplete, out, nil), false, nil
	}
	if n.first && mic == nil {
		return n.answer(acceptCompleted, out, nil), true, nil
	}
	if mic != nil {
		if err := c.mech.verify(n.mechTypes, mic); err != nil {
			return nil, false, err
		}
	}
	ours, err := c.mech.sign(n.mechTypes)
	if err != nil {
		return nil, false, err
	}
	if mic == nil {
		n.awaitMIC = true
		return n.answer(acceptIncomplete, out, ours), false, nil
	}
	return n.answer(acceptCompleted, out, ours), true, nil
}

func (c *Conn) supports(mech asn1.ObjectIdentifier) bool {
	if mech.Equal(oidNTLM) {
		return true
	}
	return c.host.Keytab != nil && (mech.Equal(oidKerberos) || mech.Equal(oidMSKerberos))
}

func parseNegTokenInit(token []byte) (negTokenInit, []asn1.ObjectIdentifier, error) {
	var outer, choice asn1.RawValue
	var oid asn1.ObjectIdentifier
	var init negTokenInit
	if _, err := asn1.Unmarshal(token, &outer); err != nil {
		return init, nil, err
	}
	rest, err := asn1.Unmarshal(outer.Bytes, &oid)
	if err != nil || !oid.Equal(oidSPNEGO) {
		return init, nil, errors.New("spnego: not a negotiation token")
	}
	if _, err := asn1.Unmarshal(rest, &choice); err != nil {
		return init, nil, err
	}
	if choice.Class != asn1.ClassContextSpecific || choice.Tag != 0 {
		return init, nil, errors.New("spnego: not a negTokenInit")
	}
	if _, err := asn1.Unmarshal(choice.Bytes, &init); err != nil {
		return init, nil, err
	}
	var mechs []asn1.ObjectIdentifier
	// An explicit tag around a RawValue keeps the tag: the list is inside.
	if init.MechTypes.Class == asn1.ClassContextSpecific {
		if _, err := asn1.Unmarshal(init.MechTypes.Bytes, &init.MechTypes); err != nil {
			return init, nil, err
		}
	}
	if _, err := asn1.Unmarshal(init.MechTypes.FullBytes, &mechs); err != nil {
		return init, nil, err
	}
	return init, mechs, nil
}

// answer encodes a negTokenResp. Its fields are all optional on the wire, so they are joined by hand.
func (n *negotiation) answer(state asn1.Enumerated, token, mic []byte) []byte {
	var fields []byte
	add := func(tag int, v any) {
		inner, err := asn1.Marshal(v)
		if err != nil {
			panic(err) // enumerated, OID and octet string always encode
		}
		fields = append(fields, tlv(asn1.ClassContextSpecific, tag, inner)...)
	}
	add(0, state)
	if n.chosen != nil {
		add(1, n.chosen)
	}
	if token != nil {
		add(2, token)
	}
	if mic != nil {
		add(3, mic)
	}
	return tlv(asn1.ClassContextSpecific, 1, tlv(asn1.ClassUniversal, asn1.TagSequence, fields))
}

func tlv(class, tag int, content []byte) []byte {
	b, err := asn1.Marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: content})
	if err != nil {
		panic(err) // a raw value always encodes
	}
	return b
}
