package logon

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// NTLM negotiate flags that matter here, [MS-NLMP] 2.2.2.5.
const (
	ntlmUnicode       = 0x00000001
	ntlmRequestTarget = 0x00000004
	ntlmSign          = 0x00000010
	ntlmSeal          = 0x00000020
	ntlmNTLM          = 0x00000200
	ntlmExtended      = 0x00080000
	ntlmTargetInfo    = 0x00800000
	ntlm128           = 0x20000000
	ntlmKeyExchange   = 0x40000000
)

// AV pairs of a CHALLENGE with a fixed size, [MS-NLMP] 2.2.2.1.
const (
	avEOL       = 0
	avFlags     = 6
	avTimestamp = 7
)

// Offsets in CHALLENGE and NEGOTIATE, [MS-NLMP] 2.2.1.
const (
	challengeFlagsAt      = 20
	challengeTargetInfoAt = 40
	challengeFixedSize    = 48
	negotiateFlagsAt      = 12
)

var challengePrefix = []byte("NTLMSSP\x00\x02\x00\x00\x00")

// checkChallenge refuses a CHALLENGE that would weaken the context, and one that the NTLM library would trip over: it
// takes the flags as they come and reads pairs of fixed size unchecked.
func checkChallenge(m []byte, want uint32) error {
	if len(m) < challengeFixedSize || !bytes.HasPrefix(m, challengePrefix) {
		return errors.New("the answer is not an NTLM challenge")
	}
	if flags := binary.LittleEndian.Uint32(m[challengeFlagsAt:]); flags&want != want {
		return &hinted{"the host offers NTLM without 128-bit sealing",
			"sealing may have been stripped on the way; use Kerberos or HTTPS, and check the NTLM minimum session security of the host"}
	}
	size := uint64(binary.LittleEndian.Uint16(m[challengeTargetInfoAt:]))
	offset := uint64(binary.LittleEndian.Uint32(m[challengeTargetInfoAt+4:]))
	if size == 0 || offset+size > uint64(len(m)) {
		return errors.New("the NTLM challenge has no target information")
	}
	return checkPairs(m[offset : offset+size])
}

func checkPairs(info []byte) error {
	for len(info) >= 4 {
		id, size := binary.LittleEndian.Uint16(info), int(binary.LittleEndian.Uint16(info[2:]))
		switch {
		case id == avEOL:
			return nil
		case 4+size > len(info),
			id == avFlags && size != 4,
			id == avTimestamp && size != 8:
			return errors.New("the target information of the NTLM challenge is malformed")
		}
		info = info[4+size:]
	}
	return errors.New("the target information of the NTLM challenge has no end")
}
