package logontest

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rc4"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

var (
	ntlmSignature       = []byte("NTLMSSP\x00")
	ntlmNegotiatePrefix = []byte("NTLMSSP\x00\x01\x00\x00\x00")
)

// Negotiate flags, [MS-NLMP] 2.2.2.5.
const (
	flagUnicode     = 0x00000001
	flagOEM         = 0x00000002
	flagTarget      = 0x00000004
	flagSign        = 0x00000010
	flagSeal        = 0x00000020
	flagNTLM        = 0x00000200
	flagAlwaysSign  = 0x00008000
	flagDomain      = 0x00010000
	flagExtended    = 0x00080000
	flagTargetInfo  = 0x00800000
	flagVersion     = 0x02000000
	flag128         = 0x20000000
	flagKeyExchange = 0x40000000
	flag56          = 0x80000000
)

// AV pairs, [MS-NLMP] 2.2.2.1.
const (
	avEOL             = 0
	avComputerNetBIOS = 1
	avDomainNetBIOS   = 2
	avComputerDNS     = 3
	avDomainDNS       = 4
	avFlags           = 6
	avTimestamp       = 7
	avChannelBinding  = 10

	avFlagMIC = 2
)

// ntlm is an NTLMv2 acceptor, [MS-NLMP] 3.2. It also takes clients that the usual libraries send away: without
// MIC, without Version, with OEM strings.
type ntlm struct {
	host    *Host
	accepts func(binding []byte) error

	negotiate, challenge []byte
	nonce                [8]byte
	account              string

	flags   uint32
	in, out *ntlmDirection
}

func (n *ntlm) step(token []byte) ([]byte, bool, error) {
	if len(token) < 16 {
		return nil, false, errors.New("ntlm: short message")
	}
	switch kind := binary.LittleEndian.Uint32(token[8:]); kind {
	case 1:
		return n.makeChallenge(token), false, nil
	case 3:
		if n.challenge == nil {
			return nil, false, errors.New("ntlm: AUTHENTICATE before NEGOTIATE")
		}
		err := n.authenticate(bytes.Clone(token))
		n.challenge = nil // a challenge is good for one answer
		return nil, err == nil, err
	default:
		return nil, false, fmt.Errorf("ntlm: message of type %d", kind)
	}
}

// makeChallenge is [MS-NLMP] 3.2.5.1.1.
func (n *ntlm) makeChallenge(negotiate []byte) []byte {
	n.negotiate = bytes.Clone(negotiate)
	asked := binary.LittleEndian.Uint32(negotiate[12:])
	flags := uint32(flagTarget | flagNTLM | flagAlwaysSign | flagDomain | flagExtended | flagTargetInfo)
	flags |= asked & (flagSign | flagSeal | flagVersion | flag128 | flagKeyExchange | flag56)
	name := utf16le(n.host.Directory.NetBIOS())
	if asked&flagUnicode != 0 {
		flags |= flagUnicode
	} else {
		flags |= flagOEM
		name = []byte(n.host.Directory.NetBIOS())
	}
	rand.Read(n.nonce[:])
	info := n.targetInfo()
	const fixed = 56
	m := append(bytes.Clone(ntlmSignature), 2, 0, 0, 0)
	m = appendField(m, len(name), fixed)
	m = binary.LittleEndian.AppendUint32(m, flags)
	m = append(m, n.nonce[:]...)
	m = append(m, make([]byte, 8)...)
	m = appendField(m, len(info), fixed+len(name))
	m = append(m, 10, 0, 0x63, 0x45, 0, 0, 0, 15) // Version: 10.0.17763, NTLMSSP_REVISION_W2K3
	m = append(append(m, name...), info...)
	n.challenge = m
	return m
}

func (n *ntlm) targetInfo() []byte {
	var b []byte
	pair := func(id uint16, value []byte) {
		b = binary.LittleEndian.AppendUint16(b, id)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	pair(avDomainNetBIOS, utf16le(n.host.Directory.NetBIOS()))
	pair(avComputerNetBIOS, utf16le(n.host.NetBIOSName))
	pair(avDomainDNS, utf16le(n.host.Directory.DNS()))
	pair(avComputerDNS, utf16le(n.host.DNSName))
	const epoch1601 = 116444736000000000 // FILETIME of 1970
	pair(avTimestamp, binary.LittleEndian.AppendUint64(nil, uint64(time.Now().UnixNano()/100+epoch1601)))
	pair(avEOL, nil)
	return b
}

func appendField(b []byte, length, offset int) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(length))
	b = binary.LittleEndian.AppendUint16(b, uint16(length))
	return binary.LittleEndian.AppendUint32(b, uint32(offset))
}

// authenticate is [MS-NLMP] 3.2.5.1.2 for NTLMv2 with extended session security.
func (n *ntlm) authenticate(m []byte) error {
	const fixed = 64
	if len(m) < fixed {
		return errors.New("ntlm: short AUTHENTICATE")
	}
	flags := binary.LittleEndian.Uint32(m[60:])
	response, domain, user, key := field(m, 20), field(m, 28), field(m, 36), field(m, 52)
	text := fromUTF16LE
	if flags&flagUnicode == 0 {
		text = func(b []byte) string { return string(b) }
	}
	if len(response) < 44 {
		return errors.New("ntlm: the client did not send an NTLMv2 response")
	}
	if flags&flagExtended == 0 {
		return errors.New("ntlm: the client did not agree to extended session security")
	}
	account, ok := n.host.Directory.find(text(domain), text(user))
	if !ok {
		return fmt.Errorf("ntlm: no such account %s\\%s", text(domain), text(user))
	}
	owf := account.ntowfv2(text(domain), text(user))
	proof := hmacMD5(owf, n.nonce[:], response[16:])
	if !hmac.Equal(proof, response[:16]) {
		return fmt.Errorf("ntlm: wrong password for %s\\%s", text(domain), text(user))
	}
	session, err := exportedKey(hmacMD5(owf, proof), flags, key)
	if err != nil {
		return err
	}
	if err := n.checkClientInfo(m, response[44:], session); err != nil {
		return err
	}
	n.account = n.host.Directory.NetBIOS() + `\` + account.name
	n.flags = flags
	n.in, n.out = newDirection(session, flags, "client-to-server"), newDirection(session, flags, "server-to-client")
	return nil
}

// exportedKey is ExportedSessionKey of [MS-NLMP] 3.1.5.1.2.
func exportedKey(base []byte, flags uint32, encrypted []byte) ([]byte, error) {
	if flags&flagKeyExchange == 0 {
		return base, nil
	}
	if len(encrypted) != 16 {
		return nil, errors.New("ntlm: no session key")
	}
	cipher, err := rc4.NewCipher(base)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 16)
	cipher.XORKeyStream(key, encrypted)
	return key, nil
}

// checkClientInfo verifies the MIC, when the client says that there is one, and the channel binding.
func (n *ntlm) checkClientInfo(m, info, session []byte) error {
	var binding []byte
	for len(info) >= 4 {
		id, size := binary.LittleEndian.Uint16(info), int(binary.LittleEndian.Uint16(info[2:]))
		if id == avEOL {
			break
		}
		if 4+size > len(info) {
			return errors.New("ntlm: truncated target information")
		}
		value := info[4 : 4+size]
		switch {
		case id == avChannelBinding:
			binding = value
		case id == avFlags && size == 4 && binary.LittleEndian.Uint32(value)&avFlagMIC != 0:
			if err := n.checkMIC(m, session); err != nil {
				return err
			}
		}
		info = info[4+size:]
	}
	return n.accepts(binding)
}

func (n *ntlm) checkMIC(m, session []byte) error {
	const at, end = 72, 88 // after the Version field
	if len(m) < end {
		return errors.New("ntlm: the promised MIC is missing")
	}
	got := bytes.Clone(m[at:end])
	clear(m[at:end])
	if !hmac.Equal(got, hmacMD5(session, n.negotiate, n.challenge, m)) {
		return errors.New("ntlm: wrong MIC")
	}
	return nil
}

// field reads a Len, MaxLen, BufferOffset triple; nil when it points outside.
func field(m []byte, at int) []byte {
	size, offset := uint64(binary.LittleEndian.Uint16(m[at:])), uint64(binary.LittleEndian.Uint32(m[at+4:]))
	if offset+size > uint64(len(m)) {
		return nil
	}
	return m[offset : offset+size]
}

func (n *ntlm) user() string { return n.account }

func (n *ntlm) layer() bool { return n.flags&(flagSign|flagSeal) != 0 }
