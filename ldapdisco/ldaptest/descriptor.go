package ldaptest

import "encoding/binary"

// Relative ids of groups that a template's descriptor names, [MS-DTYP] 2.4.2.4.
const (
	RIDDomainComputers  = 515
	ridEnterpriseAdmins = 519
)

// Rights on a template, [MS-CRTD] 2.5.1 and [MS-DTYP] 2.4.3.
const (
	fullControl   = 0x000f01ff
	readTemplate  = 0x00020094
	controlAccess = 0x00000100
)

// enrollGUID is 0e10c968-78fb-11d2-90d4-00c04f79dc55 in the order of the wire.
var enrollGUID = []byte{0x68, 0xc9, 0x10, 0x0e, 0xfb, 0x78, 0xd2, 0x11, 0x90, 0xd4, 0x00, 0xc0, 0x4f, 0x79, 0xdc, 0x55}

// EnrollDescriptor is the nTSecurityDescriptor of a template that the groups may enroll, authenticated users may read
// and enterprise administrators own ([MS-DTYP] 2.4.6, self-relative).
func EnrollDescriptor(rids ...uint32) string {
	owner := accountSID(ridEnterpriseAdmins)
	body := allow(fullControl, nil, owner)
	for _, rid := range rids {
		body = append(body, allow(controlAccess, enrollGUID, accountSID(rid))...)
	}
	body = append(body, allow(readTemplate, nil, sid(5, 11))...)
	at := binary.LittleEndian.AppendUint32
	b := binary.LittleEndian.AppendUint16([]byte{1, 0}, 0x8004) // self-relative, with a DACL
	b = at(at(at(b, 20), 20), 0)                                // owner, group, no SACL
	b = at(b, uint32(20+len(owner)))
	b = append(b, owner...)
	b = binary.LittleEndian.AppendUint16(append(b, 4, 0), uint16(8+len(body)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(rids)+2))
	return string(append(append(b, 0, 0), body...))
}

// allow is one ACE, for all of the object or for one right of it.
func allow(mask uint32, right []byte, who string) []byte {
	kind := byte(0) // ACCESS_ALLOWED_ACE
	var object []byte
	if right != nil {
		kind, object = 5, append([]byte{1, 0, 0, 0}, right...) // ACCESS_ALLOWED_OBJECT_ACE with an ObjectType
	}
	b := binary.LittleEndian.AppendUint16([]byte{kind, 0}, uint16(8+len(object)+len(who)))
	b = binary.LittleEndian.AppendUint32(b, mask)
	return append(append(b, object...), who...)
}
