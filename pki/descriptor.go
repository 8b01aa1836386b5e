package pki

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// MaxDescriptor bounds what is parsed: the size of an ACL is a 16-bit number.
const MaxDescriptor = 128 << 10

// SecurityDescriptor is who owns an object of the directory and who may do what
// to it ([MS-DTYP] 2.4.6). The system's audit list is not read.
type SecurityDescriptor struct {
	Owner string // SID
	Group string
	ACEs  []ACE // in their order, which counts
	Open  bool  // there is no DACL at all: everybody may do everything
}

// ACE is one entry of the DACL ([MS-DTYP] 2.4.4).
type ACE struct {
	Type       ACEType
	Flags      uint8
	Mask       uint32
	ObjectType string // GUID of the right or attribute that it is about, empty: all
	Inherited  string // GUID of the class that may inherit it, empty: all
	SID        string
}

// ACEType says what an entry does.
type ACEType uint8

// The types that a DACL may hold, [MS-DTYP] 2.4.4.1.
const (
	aceAllow               ACEType = 0x00
	aceDeny                ACEType = 0x01
	aceAllowObject         ACEType = 0x05
	aceDenyObject          ACEType = 0x06
	aceAllowCallback       ACEType = 0x09
	aceDenyCallback        ACEType = 0x0a
	aceAllowCallbackObject ACEType = 0x0b
	aceDenyCallbackObject  ACEType = 0x0c
)

const aceInheritOnly = 0x08 // [MS-DTYP] 2.4.4.1: does not apply to the object that carries it

// Allows reports whether the entry gives a right, rather than denies one.
func (t ACEType) Allows() bool {
	return t == aceAllow || t == aceAllowObject || t == aceAllowCallback || t == aceAllowCallbackObject
}

// Denies reports whether the entry denies a right. Audit entries do neither.
func (t ACEType) Denies() bool {
	return t == aceDeny || t == aceDenyObject || t == aceDenyCallback || t == aceDenyCallbackObject
}

// Conditional entries hold only if an expression does, which is not evaluated here.
func (t ACEType) Conditional() bool { return t >= aceAllowCallback && t <= aceDenyCallbackObject }

// hasObject reports whether a GUID may stand before the SID.
func (t ACEType) hasObject() bool {
	return t == aceAllowObject || t == aceDenyObject || t == aceAllowCallbackObject || t == aceDenyCallbackObject
}

var errBreaksOff = errors.New("it breaks off")

// ParseSecurityDescriptor reads a self-relative security descriptor, as LDAP gives it.
func ParseSecurityDescriptor(b []byte) (*SecurityDescriptor, error) {
	sd, err := parseDescriptor(b)
	if err != nil {
		return nil, fmt.Errorf("parse a security descriptor of %d bytes: %w", len(b), err)
	}
	return sd, nil
}

const (
	daclPresent  = 0x0004 // [MS-DTYP] 2.4.6, control
	selfRelative = 0x8000
)

func parseDescriptor(b []byte) (*SecurityDescriptor, error) {
	switch {
	case len(b) > MaxDescriptor:
		return nil, fmt.Errorf("more than %d", MaxDescriptor)
	case len(b) < 20:
		return nil, errBreaksOff
	case b[0] != 1:
		return nil, fmt.Errorf("revision %d", b[0])
	}
	control := binary.LittleEndian.Uint16(b[2:])
	if control&selfRelative == 0 {
		return nil, errors.New("it is not self-relative")
	}
	sd := &SecurityDescriptor{}
	var err error
	if sd.Owner, err = sidAt(b, binary.LittleEndian.Uint32(b[4:])); err != nil {
		return nil, fmt.Errorf("owner: %w", err)
	}
	if sd.Group, err = sidAt(b, binary.LittleEndian.Uint32(b[8:])); err != nil {
		return nil, fmt.Errorf("group: %w", err)
	}
	dacl := binary.LittleEndian.Uint32(b[16:])
	if control&daclPresent == 0 || dacl == 0 {
		sd.Open = true
		return sd, nil
	}
	if uint64(dacl) > uint64(len(b)) {
		return nil, fmt.Errorf("DACL: %w", errBreaksOff)
	}
	if sd.ACEs, err = parseACL(b[dacl:]); err != nil {
		return nil, fmt.Errorf("DACL: %w", err)
	}
	return sd, nil
}

// sidAt reads the SID at an offset; offset 0 says that there is none.
func sidAt(b []byte, offset uint32) (string, error) {
	if offset == 0 {
		return "", nil
	}
	if uint64(offset) > uint64(len(b)) {
		return "", errBreaksOff
	}
	sid, _, err := parseSID(b[offset:])
	return sid, err
}

// parseSID reads a SID at the beginning of b, [MS-DTYP] 2.4.2.2.
func parseSID(b []byte) (sid string, size int, err error) {
	if len(b) < 8 {
		return "", 0, errBreaksOff
	}
	count := int(b[1])
	switch size = 8 + 4*count; {
	case b[0] != 1:
		return "", 0, fmt.Errorf("a SID of revision %d", b[0])
	case count > 15:
		return "", 0, fmt.Errorf("a SID of %d sub-authorities", count)
	case size > len(b):
		return "", 0, errBreaksOff
	}
	var s strings.Builder
	authority := uint64(binary.BigEndian.Uint16(b[2:]))<<32 | uint64(binary.BigEndian.Uint32(b[4:]))
	if authority < 1<<32 {
		fmt.Fprintf(&s, "S-1-%d", authority)
	} else {
		fmt.Fprintf(&s, "S-1-0x%012X", authority) // [MS-DTYP] 2.4.2.1
	}
	for i := range count {
		fmt.Fprintf(&s, "-%d", binary.LittleEndian.Uint32(b[8+4*i:]))
	}
	return s.String(), size, nil
}

// parseACL reads an ACL, [MS-DTYP] 2.4.5.
func parseACL(b []byte) ([]ACE, error) {
	if len(b) < 8 {
		return nil, errBreaksOff
	}
	size, count := int(binary.LittleEndian.Uint16(b[2:])), int(binary.LittleEndian.Uint16(b[4:]))
	switch {
	case b[0] != 2 && b[0] != 4:
		return nil, fmt.Errorf("an ACL of revision %d", b[0])
	case size < 8 || size > len(b):
		return nil, errBreaksOff
	}
	rest := b[8:size]
	aces := make([]ACE, 0, min(count, len(rest)/8))
	for i := range count {
		if len(rest) < 4 {
			return nil, fmt.Errorf("entry %d: %w", i, errBreaksOff)
		}
		n := int(binary.LittleEndian.Uint16(rest[2:]))
		if n < 4 || n > len(rest) {
			return nil, fmt.Errorf("entry %d: %w", i, errBreaksOff)
		}
		ace, err := parseACE(rest[:n])
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		aces = append(aces, ace)
		rest = rest[n:]
	}
	return aces, nil
}

// parseACE reads an entry, [MS-DTYP] 2.4.4.2 and 2.4.4.3. What neither allows nor
// denies is kept by its type alone.
func parseACE(b []byte) (ACE, error) {
	a := ACE{Type: ACEType(b[0]), Flags: b[1]}
	if !a.Type.Allows() && !a.Type.Denies() {
		return a, nil
	}
	if len(b) < 8 {
		return a, errBreaksOff
	}
	a.Mask = binary.LittleEndian.Uint32(b[4:])
	rest := b[8:]
	if a.Type.hasObject() {
		if len(rest) < 4 {
			return a, errBreaksOff
		}
		present := binary.LittleEndian.Uint32(rest)
		rest = rest[4:]
		var err error
		if a.ObjectType, rest, err = guidIf(present&1 != 0, rest); err != nil {
			return a, err
		}
		if a.Inherited, rest, err = guidIf(present&2 != 0, rest); err != nil {
			return a, err
		}
	}
	var err error
	a.SID, _, err = parseSID(rest)
	return a, err
}

// guidIf takes a GUID from b if it is there, [MS-DTYP] 2.3.4.2.
func guidIf(present bool, b []byte) (guid string, rest []byte, err error) {
	if !present {
		return "", b, nil
	}
	if len(b) < 16 {
		return "", nil, errBreaksOff
	}
	guid = fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
	return guid, b[16:], nil
}
