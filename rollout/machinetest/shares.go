package machinetest

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// sharesKey has a value for each share, and below it a key with a descriptor for each.
const sharesKey = `SYSTEM\CurrentControlSet\Services\LanmanServer\Shares`

// Two of the rights that Set-SmbShareAccess knows, and one of an administrator who counts bits: read, and append without
// deleting or writing over ([MS-DTYP] 2.4.3).
const (
	ShareFull   uint32 = 0x001F01FF
	ShareChange uint32 = 0x001301BF
	ShareAppend uint32 = 0x0012019C
)

// ShareEntry is one entry of a share's list.
type ShareEntry struct {
	SID  string
	Mask uint32
	Deny bool
}

// SetShare makes a share as the server service keeps it: what it is, and a self-relative descriptor with its list.
func (r *Registry) SetShare(name, folder string, list ...ShareEntry) {
	r.Set(sharesKey, Value{Name: name, Type: MultiSZ, List: []string{"CSCFlags=0", "MaxUses=4294967295", "Path=" + folder, "Permissions=0", "ShareName=" + name, "Type=0"}})
	r.Set(sharesKey+`\Security`, Value{Name: name, Type: Binary, Data: shareDescriptor(list)})
}

// shareDescriptor is one as [MS-DTYP] 2.4.6 has it, of SYSTEM and SYSTEM's group, the list at its end.
func shareDescriptor(list []ShareEntry) []byte {
	owner := sidOf("S-1-5-18")
	b := binary.LittleEndian.AppendUint16([]byte{1, 0}, 0x8004) // self-relative, with a DACL
	for _, at := range []int{20, 20 + len(owner), 0, 20 + 2*len(owner)} {
		b = binary.LittleEndian.AppendUint32(b, uint32(at))
	}
	b = append(append(b, owner...), owner...)
	var entries []byte
	for _, e := range list {
		kind := byte(0)
		if e.Deny {
			kind = 1
		}
		sid := sidOf(e.SID)
		entries = binary.LittleEndian.AppendUint16(append(entries, kind, 0), uint16(8+len(sid)))
		entries = append(binary.LittleEndian.AppendUint32(entries, e.Mask), sid...)
	}
	b = binary.LittleEndian.AppendUint16(append(b, 2, 0), uint16(8+len(entries)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(list)))
	return append(append(b, 0, 0), entries...)
}

// sidOf encodes a SID, [MS-DTYP] 2.4.2.2.
func sidOf(text string) []byte {
	parts := strings.Split(text, "-")
	numbers := make([]uint64, len(parts))
	for i, p := range parts[1:] {
		n, err := strconv.ParseUint(p, 10, 48)
		if err != nil {
			panic(fmt.Sprintf("machinetest: %s is no SID", text))
		}
		numbers[i] = n
	}
	b := append([]byte{1, byte(len(parts) - 3)}, binary.BigEndian.AppendUint64(nil, numbers[1])[2:]...)
	for _, n := range numbers[2 : len(parts)-1] {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return b
}
