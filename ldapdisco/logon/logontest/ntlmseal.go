package logontest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rc4"
	"encoding/binary"
	"errors"
)

const ntlmSignatureSize = 16 // [MS-NLMP] 2.2.2.9

// ntlmDirection is the keys and the sequence number of one direction, [MS-NLMP] 3.4.5.
type ntlmDirection struct {
	signKey []byte
	stream  *rc4.Cipher
	seq     uint32
	rc4MAC  bool // the checksum is enciphered too, with key exchange only
}

func newDirection(session []byte, flags uint32, name string) *ntlmDirection {
	weak := session
	switch {
	case flags&flag128 != 0:
	case flags&flag56 != 0:
		weak = session[:7]
	default:
		weak = session[:5]
	}
	sign := md5.Sum(append(append([]byte{}, session...), "session key to "+name+" signing key magic constant\x00"...))
	seal := md5.Sum(append(append([]byte{}, weak...), "session key to "+name+" sealing key magic constant\x00"...))
	stream, err := rc4.NewCipher(seal[:])
	if err != nil {
		panic(err) // a 16-byte key is always good
	}
	return &ntlmDirection{signKey: sign[:], stream: stream, rc4MAC: flags&flagKeyExchange != 0}
}

// mac is MAC of [MS-NLMP] 3.4.4.2; it moves the key stream and the sequence number on.
func (d *ntlmDirection) mac(msg []byte) []byte {
	seq := binary.LittleEndian.AppendUint32(nil, d.seq)
	d.seq++
	sum := hmacMD5(d.signKey, seq, msg)[:8]
	if d.rc4MAC {
		d.stream.XORKeyStream(sum, sum)
	}
	return append(append([]byte{1, 0, 0, 0}, sum...), seq...)
}

func (n *ntlm) wrap(msg []byte, seal bool) (header, data []byte, err error) {
	if n.flags&(flagSign|flagSeal) == 0 {
		return nil, nil, errors.New("ntlm: the client asked for no message security")
	}
	data = append([]byte{}, msg...)
	if seal {
		n.out.stream.XORKeyStream(data, data)
	}
	return n.out.mac(msg), data, nil
}

// unwrap takes every message as sealed: neither WinRM nor LDAP has an NTLM message that is only signed.
func (n *ntlm) unwrap(header, data []byte) ([]byte, bool, error) {
	if n.flags&(flagSign|flagSeal) == 0 {
		return nil, false, errors.New("ntlm: the client asked for no message security")
	}
	if len(header) != ntlmSignatureSize {
		return nil, false, errors.New("ntlm: the signature is not 16 bytes")
	}
	msg := append([]byte{}, data...)
	n.in.stream.XORKeyStream(msg, msg)
	if !hmac.Equal(n.in.mac(msg), header) {
		return nil, false, errors.New("ntlm: wrong signature or sequence number")
	}
	return msg, true, nil
}

// sign and verify leave the key stream as it was: [MS-SPNG] 3.3.5.1 has the mechListMIC and the first message
// start from the same state. The sequence number moves on.
func (n *ntlm) sign(msg []byte) ([]byte, error) {
	before := *n.out.stream
	mic := n.out.mac(msg)
	*n.out.stream = before
	return mic, nil
}

func (n *ntlm) verify(msg, mic []byte) error {
	before := *n.in.stream
	want := n.in.mac(msg)
	*n.in.stream = before
	if !hmac.Equal(want, mic) {
		return errors.New("ntlm: wrong mechListMIC")
	}
	return nil
}
