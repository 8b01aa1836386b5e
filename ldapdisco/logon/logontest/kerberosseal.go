package logontest

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
)

// Flags of RFC 4121 4.2.2.
const (
	sentByAcceptor = 1
	sealedFlag     = 2
	acceptorSubkey = 4
)

const wrapHeader = 16 // RFC 4121 4.2.6.2

// wrap makes a Wrap token (RFC 4121 4.2.6.2). Sealed, it comes in WinRM's two pieces: what Windows' EncryptMessage puts
// into its token buffer (header, rotated trailer, confounder), and as many bytes as the message has.
func (k *kerberos) wrap(msg []byte, seal bool) (header, data []byte, err error) {
	h := make([]byte, wrapHeader)
	h[0], h[1], h[2], h[3] = 0x05, 0x04, k.ourFlags(), 0xff
	binary.BigEndian.PutUint64(h[8:], k.sendSeq)
	k.sendSeq++
	if !seal {
		sum, err := k.etype.GetChecksumHash(k.key.KeyValue, append(bytes.Clone(msg), h...), keyusage.GSSAPI_ACCEPTOR_SEAL)
		if err != nil {
			return nil, nil, err
		}
		binary.BigEndian.PutUint16(h[4:], uint16(len(sum))) // EC, after the checksum was taken with zero
		return h, append(bytes.Clone(msg), sum...), nil
	}
	h[2] |= sealedFlag
	_, cipher, err := k.etype.EncryptMessage(k.key.KeyValue, append(bytes.Clone(msg), h...), keyusage.GSSAPI_ACCEPTOR_SEAL)
	if err != nil {
		return nil, nil, err
	}
	rotation := wrapHeader + k.etype.GetHMACBitLength()/8
	binary.BigEndian.PutUint16(h[6:], uint16(rotation))
	token := append(h, rotateRight(cipher, rotation)...)
	n := wrapHeader + rotation + k.etype.GetConfounderByteSize()
	return token[:n:n], token[n:], nil
}

func (k *kerberos) ourFlags() byte {
	f := byte(sentByAcceptor)
	if k.subkey {
		f |= acceptorSubkey
	}
	return f
}

func (k *kerberos) unwrap(header, data []byte) ([]byte, bool, error) {
	token := append(bytes.Clone(header), data...)
	if len(token) <= wrapHeader || token[0] != 0x05 || token[1] != 0x04 || token[3] != 0xff {
		return nil, false, errors.New("kerberos: not a wrap token")
	}
	if token[2]&^sealedFlag != k.ourFlags()&^sentByAcceptor {
		return nil, false, fmt.Errorf("kerberos: flags %02x in a wrap token of the client", token[2])
	}
	if seq := binary.BigEndian.Uint64(token[8:]); seq != k.recvSeq {
		return nil, false, fmt.Errorf("kerberos: sequence number %d, want %d", seq, k.recvSeq)
	}
	h, body := bytes.Clone(token[:wrapHeader]), token[wrapHeader:]
	extra, rotation := int(binary.BigEndian.Uint16(h[4:])), int(binary.BigEndian.Uint16(h[6:]))
	body = rotateRight(body, len(body)-rotation%len(body))
	h[6], h[7] = 0, 0
	sealed := h[2]&sealedFlag != 0
	open := k.openSigned
	if sealed {
		open = k.openSealed
	}
	msg, err := open(h, body, extra)
	if err == nil {
		k.recvSeq++
	}
	return msg, sealed, err
}

func (k *kerberos) openSealed(h, body []byte, extra int) ([]byte, error) {
	if len(body) < k.etype.GetConfounderByteSize()+wrapHeader+k.etype.GetHMACBitLength()/8 {
		return nil, errors.New("kerberos: short wrap token")
	}
	plain, err := crypto.DecryptMessage(body, k.key, keyusage.GSSAPI_INITIATOR_SEAL)
	if err != nil {
		return nil, err
	}
	end := len(plain) - wrapHeader
	if end-extra < 0 || !bytes.Equal(plain[end:], h) {
		return nil, errors.New("kerberos: the sealed header differs")
	}
	return plain[:end-extra], nil
}

func (k *kerberos) openSigned(h, body []byte, extra int) ([]byte, error) {
	if extra > len(body) || extra != k.etype.GetHMACBitLength()/8 {
		return nil, errors.New("kerberos: checksum of the wrong size")
	}
	msg, sum := body[:len(body)-extra], body[len(body)-extra:]
	h[4], h[5] = 0, 0
	want, err := k.etype.GetChecksumHash(k.key.KeyValue, append(bytes.Clone(msg), h...), keyusage.GSSAPI_INITIATOR_SEAL)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(sum, want) {
		return nil, errors.New("kerberos: wrong checksum")
	}
	return msg, nil
}

// sign and verify make and check MIC tokens, RFC 4121 4.2.6.1.
func (k *kerberos) sign(msg []byte) ([]byte, error) {
	h := micHeader(k.ourFlags(), k.sendSeq)
	k.sendSeq++
	sum, err := k.etype.GetChecksumHash(k.key.KeyValue, append(bytes.Clone(msg), h...), keyusage.GSSAPI_ACCEPTOR_SIGN)
	return append(h, sum...), err
}

func (k *kerberos) verify(msg, mic []byte) error {
	h := micHeader(k.ourFlags()&^sentByAcceptor, k.recvSeq)
	want, err := k.etype.GetChecksumHash(k.key.KeyValue, append(bytes.Clone(msg), h...), keyusage.GSSAPI_INITIATOR_SIGN)
	if err != nil {
		return err
	}
	if !hmac.Equal(mic, append(h, want...)) {
		return errors.New("kerberos: wrong mechListMIC")
	}
	k.recvSeq++
	return nil
}

func micHeader(flags byte, seq uint64) []byte {
	h := []byte{0x04, 0x04, flags, 0xff, 0xff, 0xff, 0xff, 0xff}
	return binary.BigEndian.AppendUint64(h, seq)
}

func rotateRight(b []byte, n int) []byte {
	n %= len(b)
	return append(bytes.Clone(b[len(b)-n:]), b[:len(b)-n]...)
}
