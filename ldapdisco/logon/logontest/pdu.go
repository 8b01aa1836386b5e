package logontest

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/crypto/common"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
)

// A sealed DCE/RPC fragment, [MS-RPCE] 2.2.2.11 to 2.2.2.13: the stub data pdu[from:to] is enciphered in place, the
// signature covers the whole fragment up to the end of the security trailer's header, and stands behind it.

// SealPDU enciphers pdu[from:to] and answers the token that comes after pdu. Header says whether both ends agreed to
// sign the header too; NTLM always does.
func (c *Conn) SealPDU(pdu []byte, from, to int, header bool) (token []byte, err error) {
	switch m, ok := c.mech.(interface {
		sealPDU(pdu []byte, from, to int, header bool) ([]byte, error)
	}); {
	case !c.complete:
		return nil, errIncomplete
	case !ok || from < 0 || from > to || to > len(pdu):
		return nil, errors.New("logontest: this fragment cannot be sealed")
	default:
		return m.sealPDU(pdu, from, to, header)
	}
}

// OpenPDU checks token and deciphers pdu[from:to] in place.
func (c *Conn) OpenPDU(pdu []byte, from, to int, header bool, token []byte) (err error) {
	defer func() {
		if r := recover(); r != nil { // gokrb5 indexes foreign bytes unchecked in places
			err = fmt.Errorf("logontest: malformed fragment: %v", r)
		}
	}()
	switch m, ok := c.mech.(interface {
		openPDU(pdu []byte, from, to int, header bool, token []byte) error
	}); {
	case !c.complete:
		return errIncomplete
	case !ok || from < 0 || from > to || to > len(pdu):
		return errors.New("logontest: this fragment cannot be opened")
	default:
		return m.openPDU(pdu, from, to, header, token)
	}
}

// TokenSize is the length of what SealPDU answers, which a fragment's header names before it is sealed.
func (c *Conn) TokenSize() int {
	if k, ok := c.mech.(*kerberos); ok && k.etype != nil {
		return wrapHeader + dceFill + wrapHeader + k.etype.GetHMACBitLength()/8 + k.etype.GetConfounderByteSize()
	}
	return ntlmSignatureSize
}

func (n *ntlm) sealPDU(pdu []byte, from, to int, _ bool) ([]byte, error) {
	if n.flags&flagSeal == 0 {
		return nil, errors.New("ntlm: the client asked for no sealing")
	}
	plain := bytes.Clone(pdu)
	n.out.stream.XORKeyStream(pdu[from:to], pdu[from:to])
	return n.out.mac(plain), nil
}

func (n *ntlm) openPDU(pdu []byte, from, to int, _ bool, token []byte) error {
	if n.flags&flagSeal == 0 {
		return errors.New("ntlm: the client asked for no sealing")
	}
	n.in.stream.XORKeyStream(pdu[from:to], pdu[from:to])
	if !hmac.Equal(n.in.mac(pdu), token) {
		return errors.New("ntlm: wrong signature or sequence number")
	}
	return nil
}

// dceFill is the extra count (EC) of a DCE-style Wrap token: one block, as Windows has it.
const dceFill = 16

// sealPDU makes the DCE-style Wrap token of [MS-KILE] 3.4.5.4.1: confounder, data, filler and header are enciphered
// together; all but the data goes into the token, rotated so that the data keeps its place.
func (k *kerberos) sealPDU(pdu []byte, from, to int, header bool) ([]byte, error) {
	h := make([]byte, wrapHeader)
	h[0], h[1], h[2], h[3] = 0x05, 0x04, k.ourFlags()|sealedFlag, 0xff
	binary.BigEndian.PutUint16(h[4:], dceFill)
	binary.BigEndian.PutUint64(h[8:], k.sendSeq)
	k.sendSeq++
	confounder := make([]byte, k.etype.GetConfounderByteSize())
	fillRandom(confounder)
	tail := append(bytes.Repeat([]byte{0xff}, dceFill), h...)
	sum, err := k.checksumPDU(keyusage.GSSAPI_ACCEPTOR_SEAL, confounder, signed(pdu, from, to, header), tail)
	if err != nil {
		return nil, err
	}
	key, err := k.etype.DeriveKey(k.key.KeyValue, common.GetUsageKe(keyusage.GSSAPI_ACCEPTOR_SEAL))
	if err != nil {
		return nil, err
	}
	_, cipher, err := k.etype.EncryptData(key, bytes.Join([][]byte{confounder, pdu[from:to], tail}, nil))
	if err != nil {
		return nil, err
	}
	rotation := wrapHeader + len(sum)
	binary.BigEndian.PutUint16(h[6:], uint16(rotation))
	body := rotateRight(append(cipher, sum...), dceFill+rotation)
	split := len(body) - (to - from)
	copy(pdu[from:to], body[split:])
	return append(h, body[:split]...), nil
}

func (k *kerberos) openPDU(pdu []byte, from, to int, header bool, token []byte) error {
	size := k.etype.GetHMACBitLength() / 8
	if len(token) <= wrapHeader || token[0] != 0x05 || token[1] != 0x04 || token[2] != k.ourFlags()&^sentByAcceptor|sealedFlag {
		return errors.New("kerberos: not a sealed wrap token of the client")
	}
	if seq := binary.BigEndian.Uint64(token[8:]); seq != k.recvSeq {
		return fmt.Errorf("kerberos: sequence number %d, want %d", seq, k.recvSeq)
	}
	fill, rotation := int(binary.BigEndian.Uint16(token[4:])), int(binary.BigEndian.Uint16(token[6:]))
	body := append(bytes.Clone(token[wrapHeader:]), pdu[from:to]...)
	confounder := k.etype.GetConfounderByteSize()
	if len(body) != confounder+to-from+fill+wrapHeader+size {
		return errors.New("kerberos: the wrap token has another size than it says")
	}
	body = rotateRight(body, len(body)-(rotation+fill)%len(body))
	cipher, sum := body[:len(body)-size], body[len(body)-size:]
	key, err := k.etype.DeriveKey(k.key.KeyValue, common.GetUsageKe(keyusage.GSSAPI_INITIATOR_SEAL))
	if err != nil {
		return err
	}
	plain, err := k.etype.DecryptData(key, cipher)
	if err != nil {
		return err
	}
	copy(pdu[from:to], plain[confounder:])
	tail := plain[confounder+to-from:]
	want, err := k.checksumPDU(keyusage.GSSAPI_INITIATOR_SEAL, plain[:confounder], signed(pdu, from, to, header), tail)
	if err != nil {
		return err
	}
	h := bytes.Clone(token[:wrapHeader])
	h[6], h[7] = 0, 0
	if !hmac.Equal(want, sum) || !bytes.Equal(tail[fill:], h) {
		return errors.New("kerberos: wrong checksum")
	}
	k.recvSeq++
	return nil
}

// signed is what the signature covers.
func signed(pdu []byte, from, to int, header bool) []byte {
	if header {
		return pdu
	}
	return pdu[from:to]
}

func (k *kerberos) checksumPDU(usage uint32, parts ...[]byte) ([]byte, error) {
	key, err := k.etype.DeriveKey(k.key.KeyValue, common.GetUsageKi(usage))
	if err != nil {
		return nil, err
	}
	m := hmac.New(k.etype.GetHashFunc(), key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)[:k.etype.GetHMACBitLength()/8], nil
}
