package ldapdisco

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// parseGUID reads an objectGUID: three little-endian fields and eight bytes ([MS-DTYP] 2.3.4.2).
func parseGUID(b []byte) (string, error) {
	if len(b) != 16 {
		return "", fmt.Errorf("a GUID of %d bytes", len(b))
	}
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16]), nil
}

const maxSubAuthorities = 15 // [MS-DTYP] 2.4.2.2

// parseSID reads an objectSid: revision, count, a big-endian authority and little-endian sub-authorities ([MS-DTYP] 2.4.2.2).
func parseSID(b []byte) (string, error) {
	if len(b) < 8 || b[0] != 1 || b[1] > maxSubAuthorities || len(b) != 8+4*int(b[1]) {
		return "", fmt.Errorf("a malformed SID of %d bytes", len(b))
	}
	authority := uint64(binary.BigEndian.Uint16(b[2:]))<<32 | uint64(binary.BigEndian.Uint32(b[4:]))
	var s strings.Builder
	if authority >= 1<<32 {
		fmt.Fprintf(&s, "S-1-0x%012X", authority) // [MS-DTYP] 2.4.2.1
	} else {
		fmt.Fprintf(&s, "S-1-%d", authority)
	}
	for i := 8; i < len(b); i += 4 {
		fmt.Fprintf(&s, "-%d", binary.LittleEndian.Uint32(b[i:]))
	}
	return s.String(), nil
}

// relativeID is the last part of a SID in its text form, empty if there is none.
func relativeID(sid string) string {
	i := strings.LastIndexByte(sid, '-')
	if i < 0 {
		return ""
	}
	return sid[i+1:]
}
