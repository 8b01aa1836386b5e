package pki

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const domainSID = "S-1-5-21-1004336348-1177238915-682003330"

// sddl writes a self-relative security descriptor from SDDL ([MS-DTYP] 2.5.1). It
// shares nothing with the parser, and is itself compared with Samba's.
func sddl(t testing.TB, text string) []byte {
	t.Helper()
	m := regexp.MustCompile(`^O:(\w\w)G:(\w\w)(?:D:([A-Z]*)((?:\([^)]*\))*))?(?:S:.*)?$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no SDDL: %s", text)
	}
	control := uint16(0x8000)
	var acl []byte
	if strings.Contains(text, "D:") {
		control |= 0x0004
		if strings.Contains(m[3], "P") {
			control |= 0x1000
		}
		if strings.Contains(m[3], "AI") {
			control |= 0x0400
		}
		acl = sddlACL(t, m[4])
	}
	owner, group := sddlSID(t, m[1]), sddlSID(t, m[2])
	b := binary.LittleEndian.AppendUint16([]byte{1, 0}, control)
	at := uint32(20)
	b = binary.LittleEndian.AppendUint32(b, at)
	at += uint32(len(owner))
	b = binary.LittleEndian.AppendUint32(b, at)
	at += uint32(len(group))
	b = binary.LittleEndian.AppendUint32(b, 0)
	if acl == nil {
		at = 0
	}
	b = binary.LittleEndian.AppendUint32(b, at)
	return append(append(append(b, owner...), group...), acl...)
}

func sddlACL(t testing.TB, text string) []byte {
	t.Helper()
	var body []byte
	revision, count := byte(2), uint16(0)
	for _, m := range regexp.MustCompile(`\(([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		ace := sddlACE(t, strings.Split(m[1], ";"))
		if ace[0] >= 5 {
			revision = 4
		}
		body = append(body, ace...)
		count++
	}
	b := binary.LittleEndian.AppendUint16([]byte{revision, 0}, uint16(8+len(body)))
	b = binary.LittleEndian.AppendUint16(b, count)
	return append(append(b, 0, 0), body...)
}

func sddlACE(t testing.TB, f []string) []byte {
	t.Helper()
	if len(f) != 6 {
		t.Fatalf("no ACE: %q", f)
	}
	types := map[string]byte{"A": 0, "D": 1, "OA": 5, "OD": 6, "XA": 9, "XD": 10}
	var flags byte
	for bit, name := range map[byte]string{0x02: "CI", 0x08: "IO"} {
		if strings.Contains(f[1], name) {
			flags |= bit
		}
	}
	bits := map[string]uint32{"CC": 1, "DC": 2, "LC": 4, "SW": 8, "RP": 0x10, "WP": 0x20, "DT": 0x40, "LO": 0x80, "CR": 0x100,
		"SD": 0x10000, "RC": 0x20000, "WD": 0x40000, "WO": 0x80000, "GA": 0x10000000, "GW": 0x40000000}
	var mask uint32
	for s := f[2]; s != ""; s = s[2:] {
		mask |= bits[s[:2]]
	}
	body := binary.LittleEndian.AppendUint32(nil, mask)
	if types[f[0]] == 5 || types[f[0]] == 6 {
		present, guids := uint32(0), []byte(nil)
		for i, g := range f[3:5] {
			if g != "" {
				present |= 1 << i
				guids = append(guids, sddlGUID(t, g)...)
			}
		}
		body = append(binary.LittleEndian.AppendUint32(body, present), guids...)
	}
	body = append(body, sddlSID(t, f[5])...)
	b := binary.LittleEndian.AppendUint16([]byte{types[f[0]], flags}, uint16(4+len(body)))
	return append(b, body...)
}

func sddlGUID(t testing.TB, g string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(g, "-", ""))
	if err != nil || len(b) != 16 {
		t.Fatalf("no GUID: %s", g)
	}
	return append([]byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]}, b[8:]...)
}

func sddlSID(t testing.TB, s string) []byte {
	t.Helper()
	if known := map[string]string{"AU": "S-1-5-11", "WD": "S-1-1-0", "EA": domainSID + "-519", "DA": domainSID + "-512", "DU": domainSID + "-513",
		"DC": domainSID + "-515"}[s]; known != "" {
		s = known
	}
	parts := strings.Split(s, "-")
	authority, err := strconv.ParseUint(parts[2], 10, 48)
	if err != nil {
		t.Fatal(err)
	}
	b := append([]byte{1, byte(len(parts) - 3)}, binary.BigEndian.AppendUint64(nil, authority)[2:]...)
	for _, p := range parts[3:] {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return b
}

// descriptor is one that Samba wrote, see testdata/samba/make.py.
type descriptor struct {
	sddl  string
	bytes []byte
}

func descriptors(t testing.TB) map[string]descriptor {
	t.Helper()
	text, err := os.ReadFile("testdata/samba/descriptors.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]descriptor{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		b, err := hex.DecodeString(f[2])
		if err != nil {
			t.Fatal(err)
		}
		all[f[0]] = descriptor{f[1], b}
	}
	if len(all) < 20 {
		t.Fatalf("%d descriptors", len(all))
	}
	return all
}
