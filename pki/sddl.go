package pki

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxSDDL bounds the text that is parsed: more than a full ACL takes.
const MaxSDDL = 256 << 10

// ParseSDDL reads a security descriptor that is written as text ([MS-DTYP] 2.5.1), as certutil -v prints that of a private
// key. The audit list is not read. Abbreviations that mean something else in every domain, such as DA, stay as they are.
func ParseSDDL(text string) (*SecurityDescriptor, error) {
	sd, err := parseSDDL(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("parse a security descriptor in text: %w", err)
	}
	return sd, nil
}

func parseSDDL(rest string) (*SecurityDescriptor, error) {
	if len(rest) > MaxSDDL {
		return nil, fmt.Errorf("more than %d bytes", MaxSDDL)
	}
	sd := &SecurityDescriptor{Open: true}
	if rest == "" {
		return nil, errBreaksOff
	}
	for rest != "" {
		if len(rest) < 2 || rest[1] != ':' {
			return nil, fmt.Errorf("%.20q is no part of it", rest)
		}
		tag := rest[0]
		var err error
		switch rest = rest[2:]; tag {
		case 'O':
			sd.Owner, rest, err = sddlOwner(rest)
		case 'G':
			sd.Group, rest, err = sddlOwner(rest)
		case 'D':
			rest, err = sd.sddlList(rest)
		case 'S':
			rest = ""
		default:
			err = errors.New("no such part")
		}
		if err != nil {
			return nil, fmt.Errorf("%c: %w", tag, err)
		}
	}
	return sd, nil
}

// sddlOwner takes a SID from the text. Nothing marks its end but the colon after the next part's letter.
func sddlOwner(text string) (sid, rest string, err error) {
	end := len(text)
	if i := strings.IndexByte(text, ':'); i > 0 {
		end = i - 1
	}
	sid, err = sddlTrustee(text[:end])
	return sid, text[end:], err
}

// sddlList reads the flags and the entries of the DACL.
func (sd *SecurityDescriptor) sddlList(text string) (rest string, err error) {
	sd.Open = false
	end := strings.IndexByte(text, '(')
	if i := strings.IndexByte(text, ':'); i > 0 && (end < 0 || i < end) {
		end = i - 1 // an empty list, and the next part
	}
	if end < 0 {
		end = len(text)
	}
	if sd.Open = text[:end] == "NO_ACCESS_CONTROL"; !sd.Open && strings.Trim(text[:end], "PARI") != "" {
		return "", fmt.Errorf("the flags %.40q", text[:end])
	}
	for text = text[end:]; strings.HasPrefix(text, "("); {
		n := closing(text)
		if n < 0 {
			return "", errBreaksOff
		}
		a, err := sddlEntry(text[1:n])
		if err != nil {
			return "", fmt.Errorf("entry %d: %w", len(sd.ACEs), err)
		}
		sd.ACEs, text = append(sd.ACEs, a), text[n+1:]
	}
	return text, nil
}

// closing is where the bracket that text begins with is closed: conditions have brackets of their own.
func closing(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

var sddlTypes = map[string]ACEType{"A": aceAllow, "D": aceDeny, "OA": aceAllowObject, "OD": aceDenyObject,
	"XA": aceAllowCallback, "XD": aceDenyCallback, "ZA": aceAllowCallbackObject}

// sddlEntry reads type;flags;rights;object;inherited object;SID, and leaves a condition after them unread.
func sddlEntry(text string) (a ACE, err error) {
	f := strings.SplitN(text, ";", 7)
	if len(f) < 6 {
		return a, errBreaksOff
	}
	var known bool
	if a.Type, known = sddlTypes[f[0]]; !known {
		return a, fmt.Errorf("the type %.20q", f[0])
	}
	for i := 0; i+1 < len(f[1]); i += 2 {
		if f[1][i:i+2] == "IO" {
			a.Flags |= aceInheritOnly
		}
	}
	if a.Mask, err = sddlRights(f[2]); err != nil {
		return a, err
	}
	a.ObjectType, a.Inherited = strings.ToLower(f[3]), strings.ToLower(f[4])
	a.SID, err = sddlTrustee(f[5])
	return a, err
}

var sddlMasks = map[string]uint32{
	"CC": 0x1, "DC": 0x2, "LC": 0x4, "SW": 0x8, "RP": 0x10, "WP": 0x20, "DT": 0x40, "LO": 0x80, "CR": 0x100,
	"SD": 0x10000, "RC": 0x20000, "WD": 0x40000, "WO": 0x80000, "GA": rightGenericAll, "GX": 0x20000000, "GW": rightGenericWrite, "GR": rightGenericRead,
	"FA": 0x1f01ff, "FR": 0x120089, "FW": 0x120116, "FX": 0x1200a0, "KA": 0xf003f, "KR": 0x20019, "KW": 0x20006, "KX": 0x20019,
}

// sddlRights reads letters, two for each right, or a number.
func sddlRights(text string) (mask uint32, err error) {
	if text != "" && text[0] >= '0' && text[0] <= '9' {
		n, err := strconv.ParseUint(text, 0, 32)
		if err != nil {
			return 0, fmt.Errorf("the rights %.20q", text)
		}
		return uint32(n), nil
	}
	for rest := text; rest != ""; rest = rest[2:] {
		if len(rest) < 2 || sddlMasks[rest[:2]] == 0 {
			return 0, fmt.Errorf("the rights %.40q", text)
		}
		mask |= sddlMasks[rest[:2]]
	}
	return mask, nil
}

// sddlSIDs are the abbreviations that mean the same everywhere.
var sddlSIDs = map[string]string{"WD": "S-1-1-0", "CO": "S-1-3-0", "CG": "S-1-3-1", "OW": "S-1-3-4", "NU": "S-1-5-2", "IU": "S-1-5-4", "SU": "S-1-5-6",
	"AN": "S-1-5-7", "ED": "S-1-5-9", "PS": "S-1-5-10", "AU": "S-1-5-11", "RC": "S-1-5-12", "SY": "S-1-5-18", "LS": "S-1-5-19", "NS": "S-1-5-20",
	"BA": "S-1-5-32-544", "BU": "S-1-5-32-545", "BG": "S-1-5-32-546", "PU": "S-1-5-32-547", "AO": "S-1-5-32-548", "SO": "S-1-5-32-549",
	"PO": "S-1-5-32-550", "BO": "S-1-5-32-551", "RU": "S-1-5-32-554", "RD": "S-1-5-32-555", "AC": "S-1-15-2-1"}

func sddlTrustee(text string) (string, error) {
	if sid := sddlSIDs[text]; sid != "" {
		return sid, nil
	}
	short := len(text) == 2 && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	if !short && (!strings.HasPrefix(text, "S-1-") || strings.Trim(text[4:], "0123456789-xXABCDEFabcdef") != "") {
		return "", fmt.Errorf("%.80q is no SID", text)
	}
	return text, nil
}

// MayRead reports whether a token with these SIDs may read the file or key: for a private key, use it. An entry under a
// condition gives nothing here.
func (sd *SecurityDescriptor) MayRead(token []string) bool {
	return sd.allows(token, rightReadData|rightGenericRead, "", doubtDenies)
}
