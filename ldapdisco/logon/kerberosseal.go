package logon

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/etype"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Flags of a token, RFC 4121 4.2.2.
const (
	sentByAcceptor = 1
	isSealed       = 2
	acceptorSubkey = 4
)

// tokenHeader is the size of the header of a Wrap or MIC token, RFC 4121 4.2.6.
const tokenHeader = 16

// kerberosSealer makes and reads the per-message tokens of RFC 4121, as initiator.
type kerberosSealer struct {
	key              types.EncryptionKey
	etype            etype.EType
	subkey           byte // acceptorSubkey, if the key came from the host
	sendSeq, recvSeq uint64
}

// aes refuses keys whose messages RFC 4121 does not describe.
func aes(key types.EncryptionKey) (etype.EType, error) {
	if !slices.Contains(etypes, key.KeyType) {
		return nil, notAES("the key", key.KeyType)
	}
	return crypto.GetEtype(key.KeyType)
}

func notAES(what string, etype int32) error {
	return &hinted{fmt.Sprintf("%s is of encryption type %d, not AES", what, etype), kerberosHints[errorcode.KDC_ERR_ETYPE_NOSUPP]}
}

func (s *kerberosSealer) checksumSize() int { return s.etype.GetHMACBitLength() / 8 }

// Seal splits the token as WinRM sends it. With a rotation of one header and one checksum (what MIT and Windows use
// without a trailer buffer) the ciphertext of the message itself comes last, and all before it is the header.
func (s *kerberosSealer) Seal(msg []byte) (header, data []byte, err error) {
	h, cipher, err := s.encrypt(msg)
	if err != nil {
		return nil, nil, err
	}
	rotation := tokenHeader + s.checksumSize()
	binary.BigEndian.PutUint16(h[6:], uint16(rotation))
	at := len(cipher) - rotation
	token := append(append(h, cipher[at:]...), cipher[:at]...)
	n := tokenHeader + rotation + s.etype.GetConfounderByteSize()
	return token[:n:n], token[n:], nil
}

// Wrap makes a token without rotation, sealed or only signed.
func (s *kerberosSealer) Wrap(msg []byte, seal bool) ([]byte, error) {
	if seal {
		h, cipher, err := s.encrypt(msg)
		return append(h, cipher...), err
	}
	h := s.header(0)
	sum, err := s.etype.GetChecksumHash(s.key.KeyValue, slices.Concat(msg, h), keyusage.GSSAPI_INITIATOR_SEAL)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(h[4:], uint16(len(sum))) // the checksum was taken with EC zero, RFC 4121 4.2.4
	return slices.Concat(h, msg, sum), nil
}

func (s *kerberosSealer) encrypt(msg []byte) (header, cipher []byte, err error) {
	h := s.header(isSealed)
	_, cipher, err = s.etype.EncryptMessage(s.key.KeyValue, slices.Concat(msg, h), keyusage.GSSAPI_INITIATOR_SEAL)
	return h, cipher, err
}

// header takes the next sequence number.
func (s *kerberosSealer) header(flags byte) []byte {
	h := []byte{0x05, 0x04, flags | s.subkey, 0xff, 0, 0, 0, 0}
	h = binary.BigEndian.AppendUint64(h, s.sendSeq)
	s.sendSeq++
	return h
}

func (s *kerberosSealer) Open(header, data []byte) ([]byte, error) {
	msg, sealed, err := s.Unwrap(slices.Concat(header, data))
	if err == nil && !sealed {
		return nil, errors.New("the message is signed but not sealed")
	}
	return msg, err
}

func (s *kerberosSealer) Unwrap(token []byte) (msg []byte, sealed bool, err error) {
	defer guard("Kerberos message", &err)
	if len(token) <= tokenHeader || token[0] != 0x05 || token[1] != 0x04 || token[3] != 0xff {
		return nil, false, errors.New("not a Kerberos message")
	}
	h, body := slices.Clone(token[:tokenHeader]), token[tokenHeader:]
	sealed = h[2]&isSealed != 0
	if h[2]&^isSealed != sentByAcceptor|s.subkey {
		return nil, false, fmt.Errorf("Kerberos message with flags %02x", h[2])
	}
	if seq := binary.BigEndian.Uint64(h[8:]); seq != s.recvSeq {
		return nil, false, fmt.Errorf("Kerberos message number %d came instead of %d", seq, s.recvSeq)
	}
	extra, rotation := int(binary.BigEndian.Uint16(h[4:])), int(binary.BigEndian.Uint16(h[6:]))
	clear(h[6:8]) // what was sealed or signed has no rotation
	if sealed {
		msg, err = s.decrypt(h, body, extra, rotation)
	} else {
		msg, err = s.verify(h, unrotate(body, rotation), extra)
	}
	if err != nil {
		return nil, false, err
	}
	s.recvSeq++
	return msg, sealed, nil
}

func (s *kerberosSealer) decrypt(h, body []byte, extra, rotation int) ([]byte, error) {
	if len(body) < s.etype.GetConfounderByteSize()+extra+tokenHeader+s.checksumSize() {
		return nil, errors.New("short Kerberos message")
	}
	plain, err := crypto.DecryptMessage(unrotate(body, rotation), s.key, keyusage.GSSAPI_ACCEPTOR_SEAL)
	if err != nil && extra != 0 { // Windows rotates by EC+RRC when EC is not zero ([MS-KILE] 3.4.5.4.1)
		plain, err = crypto.DecryptMessage(unrotate(body, rotation+extra), s.key, keyusage.GSSAPI_ACCEPTOR_SEAL)
	}
	if err != nil {
		return nil, err
	}
	end := len(plain) - tokenHeader
	if !hmac.Equal(plain[end:], h) {
		return nil, errors.New("the sealed header of a Kerberos message differs from the clear one")
	}
	return plain[:end-extra], nil
}

func (s *kerberosSealer) verify(h, body []byte, extra int) ([]byte, error) {
	if extra != s.checksumSize() || extra > len(body) {
		return nil, errors.New("signed Kerberos message without checksum")
	}
	clear(h[4:6])
	msg, sum := body[:len(body)-extra], body[len(body)-extra:]
	want, err := s.etype.GetChecksumHash(s.key.KeyValue, slices.Concat(msg, h), keyusage.GSSAPI_ACCEPTOR_SEAL)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(sum, want) {
		return nil, errors.New("the signature of a Kerberos message is wrong")
	}
	return msg, nil
}

// verifyMIC checks a MIC token, RFC 4121 4.2.6.1.
func (s *kerberosSealer) verifyMIC(msg, mic []byte) error {
	h := []byte{0x04, 0x04, sentByAcceptor | s.subkey, 0xff, 0xff, 0xff, 0xff, 0xff}
	h = binary.BigEndian.AppendUint64(h, s.recvSeq)
	sum, err := s.etype.GetChecksumHash(s.key.KeyValue, slices.Concat(msg, h), keyusage.GSSAPI_ACCEPTOR_SIGN)
	if err != nil {
		return err
	}
	if !hmac.Equal(mic, slices.Concat(h, sum)) {
		return errors.New("wrong MIC")
	}
	s.recvSeq++
	return nil
}

// unrotate turns b left by n.
func unrotate(b []byte, n int) []byte {
	if len(b) == 0 {
		return b
	}
	n %= len(b)
	return slices.Concat(b[n:], b[:n])
}
