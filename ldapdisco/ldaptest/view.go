package ldaptest

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// view is an entry with the attributes that a domain controller works out.
type view struct {
	store *store
	entry *Entry
}

// values finds an attribute by its name in lower case.
func (v *view) values(key string) []string {
	switch key {
	case "memberof":
		return v.store.memberOf(v.entry)
	case "distinguishedname":
		return []string{v.entry.DN}
	case "canonicalname":
		return []string{canonicalName(v.entry.DN)}
	}
	if stored := v.entry.Values(key); stored != nil {
		return stored
	}
	attr, value := rdn(v.entry.DN)
	switch key {
	case "objectguid":
		return []string{guid(v.entry.DN)}
	case "name", strings.ToLower(attr):
		return []string{value}
	}
	return nil
}

// all are the attributes that * asks for.
func (v *view) all() []Attribute {
	list := append([]Attribute(nil), v.entry.Attributes...)
	attr, _ := rdn(v.entry.DN)
	for _, name := range []string{"distinguishedName", "name", attr, "objectGUID", "memberOf"} {
		if v.entry.Values(name) == nil {
			if values := v.values(strings.ToLower(name)); len(values) > 0 {
				list = append(list, Attribute{name, values})
			}
		}
	}
	return list
}

// holds tells if a group has the member, directly or through other groups.
func (v *view) holds(member string) bool {
	self := normal(v.entry.DN)
	for _, g := range v.store.allGroups(&Entry{DN: member}) {
		if g == self {
			return true
		}
	}
	return false
}

// tokenGroups are the SIDs of all groups of an account, [MS-ADTS] 3.1.1.4.5.19.
func (v *view) tokenGroups() []string {
	var sids []string
	for _, g := range v.store.allGroups(v.entry) {
		if at, ok := v.store.index[v.store.key(g)]; ok {
			if sid := v.store.slots[at].get().First("objectSid"); sid != "" {
				sids = append(sids, sid)
			}
		}
	}
	own := v.entry.First("objectSid")
	if rid := v.entry.First("primaryGroupID"); rid != "" && len(own) > 12 {
		var n uint32
		fmt.Sscan(rid, &n)
		sids = append(sids, own[:len(own)-4]+string(binary.LittleEndian.AppendUint32(nil, n)))
	}
	return sids
}

// sid encodes S-1-5-21-... ([MS-DTYP] 2.4.2.2).
func sid(authority uint64, sub ...uint32) string {
	b := []byte{1, byte(len(sub)), byte(authority >> 40), byte(authority >> 32), byte(authority >> 24), byte(authority >> 16), byte(authority >> 8), byte(authority)}
	for _, s := range sub {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	return string(b)
}

// sidText is the reverse.
func sidText(b string) string {
	if len(b) < 8 || len(b) != 8+4*int(b[1]) {
		return ""
	}
	s := fmt.Sprintf("S-%d-%d", b[0], binary.BigEndian.Uint32([]byte(b[4:8])))
	for i := 8; i < len(b); i += 4 {
		s += fmt.Sprintf("-%d", binary.LittleEndian.Uint32([]byte(b[i:i+4])))
	}
	return s
}
