package pki

import (
	"slices"
	"strings"
)

// The rights of [MS-ADTS] 5.1.3.2 that matter on a template, and the generic ones.
const (
	rightReadData      = 0x00000001 // of a file, [MS-DTYP] 2.4.3
	rightGenericRead   = 0x80000000
	rightWriteProperty = 0x00000020
	rightControlAccess = 0x00000100
	rightWriteDAC      = 0x00040000
	rightWriteOwner    = 0x00080000
	rightGenericAll    = 0x10000000
	rightGenericWrite  = 0x40000000
)

// The extended rights of [MS-CRTD] 2.5.1.
const (
	guidEnroll     = "0e10c968-78fb-11d2-90d4-00c04f79dc55"
	guidAutoEnroll = "a05b8cc2-17bc-4802-a710-e7c15ab866a2"
)

// doubt is how to take an entry that holds under a condition.
type doubt bool

const (
	doubtAllows doubt = true  // for "may somebody?": what might be, is
	doubtDenies doubt = false // for "may we?": what might not be, is not
)

// allows reports whether a token with these SIDs has the right: the first entry
// that speaks of it decides, as in [MS-ADTS] 5.1.3.3.3.
func (sd *SecurityDescriptor) allows(token []string, right uint32, object string, d doubt) bool {
	if sd.Open {
		return true
	}
	for _, a := range sd.ACEs {
		if !a.about(right, object) || !slices.Contains(token, a.SID) {
			continue
		}
		if a.Type.Conditional() && a.Type.Allows() != bool(d) {
			continue // the doubtful entry says what is not to be taken for granted
		}
		return a.Type.Allows()
	}
	return false
}

// about reports whether the entry applies to the object itself and speaks of the right.
func (a ACE) about(right uint32, object string) bool {
	if a.Flags&aceInheritOnly != 0 || !a.Type.Allows() && !a.Type.Denies() {
		return false
	}
	if a.Mask&(right|rightGenericAll) == 0 {
		return false
	}
	return a.ObjectType == "" || a.ObjectType == object
}

// CanEnroll reports whether a token with these SIDs may enroll. The well-known
// SIDs of every logon need not be among them.
func (sd *SecurityDescriptor) CanEnroll(sids []string) bool {
	return sd.allows(append(everyLogon(), sids...), rightControlAccess, guidEnroll, doubtDenies)
}

// CanAutoEnroll reports whether autoenrollment may use the template for a token
// with these SIDs.
func (sd *SecurityDescriptor) CanAutoEnroll(sids []string) bool {
	return sd.allows(append(everyLogon(), sids...), rightControlAccess, guidAutoEnroll, doubtDenies)
}

// everyLogon are the SIDs that tokenGroups does not list: everyone and authenticated users.
func everyLogon() []string { return []string{"S-1-1-0", "S-1-5-11"} }

// crowds are those that anybody in the domain is in, or can be in.
var crowds = map[string]string{
	"S-1-1-0": "Everyone", "S-1-5-7": "Anonymous", "S-1-5-11": "Authenticated Users", "S-1-5-15": "This Organization", "S-1-5-2": "Network",
	"S-1-5-32-545": "Users", "S-1-5-32-546": "Guests", "S-1-5-32-554": "Pre-Windows 2000 Compatible Access",
}

// crowd names a SID that stands for more people than anybody can vouch for. A
// computer account is one of them: ten of them anybody may create.
func crowd(sid string) (name string, is bool) {
	if name, is = crowds[sid]; is {
		return name, true
	}
	if !strings.HasPrefix(sid, "S-1-5-21-") {
		return "", false
	}
	switch sid[strings.LastIndexByte(sid, '-')+1:] {
	case "513":
		return "Domain Users", true
	case "514":
		return "Domain Guests", true
	case "515":
		return "Domain Computers", true
	}
	return "", false
}

// administers reports whether a SID is of those who own the directory or the CA anyway.
func administers(sid string) bool {
	switch sid {
	case "S-1-5-18", "S-1-5-9", "S-1-5-32-544", "S-1-3-0", "S-1-5-10":
		return true
	}
	if !strings.HasPrefix(sid, "S-1-5-21-") {
		return false
	}
	switch sid[strings.LastIndexByte(sid, '-')+1:] {
	case "500", "512", "516", "517", "518", "519", "521":
		return true
	}
	return false
}

// sids are those that the allowing entries name, each once, in their order.
func (sd *SecurityDescriptor) sids() []string {
	if sd.Open {
		return []string{"S-1-1-0"}
	}
	var out []string
	for _, a := range sd.ACEs {
		if a.Type.Allows() && a.SID != "" && !slices.Contains(out, a.SID) {
			out = append(out, a.SID)
		}
	}
	return out
}

// enrollees are the SIDs that may enroll, judged one by one.
func (sd *SecurityDescriptor) enrollees() []string {
	var out []string
	for _, sid := range sd.sids() {
		if sd.gives(sid, rightControlAccess, guidEnroll) {
			out = append(out, sid)
		}
	}
	return out
}

// gives reports whether an entry gives sid itself the right, and nothing before takes it.
func (sd *SecurityDescriptor) gives(sid string, right uint32, object string) bool {
	named := sd.Open || slices.ContainsFunc(sd.ACEs, func(a ACE) bool { return a.Type.Allows() && a.about(right, object) && a.SID == sid })
	return named && sd.allows(member(sid), right, object, doubtAllows)
}

// member is the token of somebody who is in sid and in nothing else but the crowds.
func member(sid string) []string { return append(everyLogon(), sid) }

// enrollingCrowds names the crowds that may enroll.
func (sd *SecurityDescriptor) enrollingCrowds() []string {
	var out []string
	for _, sid := range sd.enrollees() {
		if name, is := crowd(sid); is {
			out = append(out, name)
		}
	}
	return out
}

// writers are the SIDs that may change the object: its owner, and whoever may
// write its attributes or its descriptor. One attribute is enough: each of them
// is a switch of the template.
func (sd *SecurityDescriptor) writers() []string {
	var out []string
	if sd.Owner != "" {
		out = append(out, sd.Owner)
	}
	for _, sid := range sd.sids() {
		if !slices.Contains(out, sid) && sd.mayWrite(sid) {
			out = append(out, sid)
		}
	}
	return out
}

func (sd *SecurityDescriptor) mayWrite(sid string) bool {
	for _, right := range []uint32{rightWriteDAC, rightWriteOwner, rightGenericWrite, rightWriteProperty} {
		if sd.gives(sid, right, "") {
			return true
		}
	}
	return slices.ContainsFunc(sd.ACEs, func(a ACE) bool {
		return a.ObjectType != "" && !a.enrollsOnly() && a.Mask&(rightWriteProperty|rightGenericAll) != 0 && a.SID == sid && sd.gives(sid, rightWriteProperty, a.ObjectType)
	})
}

// enrollsOnly reports whether the entry is about a right to enroll: its identifier names no attribute, so the write
// that Windows' own templates carry beside it (RPWPCR) gives nothing.
func (a ACE) enrollsOnly() bool { return a.ObjectType == guidEnroll || a.ObjectType == guidAutoEnroll }
