package pki

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
)

const (
	domainComputers = domainSID + "-515"
	domainUsers     = domainSID + "-513"
	enterpriseAdmin = domainSID + "-519"
)

// The writer of these tests and Samba's give descriptors that read the same. The
// bytes differ by an audit list and by the order of the parts, which are free.
func TestBothWritersAreReadAlike(t *testing.T) {
	for name, d := range descriptors(t) {
		t.Run(name, func(t *testing.T) {
			samba, err := ParseSecurityDescriptor(d.bytes)
			if err != nil {
				t.Fatal(err)
			}
			own, err := ParseSecurityDescriptor(sddl(t, d.sddl))
			if err != nil || !reflect.DeepEqual(samba, own) {
				t.Fatalf("\nSamba %+v\n  own %+v %v", samba, own, err)
			}
		})
	}
}

func TestObjectEntriesKeepTheirGUIDs(t *testing.T) {
	sd, err := ParseSecurityDescriptor(descriptors(t)["inherited-for-users"].bytes)
	if err != nil {
		t.Fatal(err)
	}
	want := ACE{Type: aceAllowObject, Flags: 2, Mask: rightControlAccess, ObjectType: guidEnroll, Inherited: "bf967aba-0de6-11d0-a285-00aa003049e2", SID: domainComputers}
	if sd.Owner != enterpriseAdmin || sd.Group != enterpriseAdmin || len(sd.ACEs) != 4 || sd.ACEs[0] != want {
		t.Fatalf("%+v", sd)
	}
}

func TestWhoMayEnrollAndWrite(t *testing.T) {
	for name, want := range map[string]struct{ enroll, autoEnroll, written bool }{
		"good": {true, true, false}, "esc4": {true, true, true}, "no-computers": {false, false, false}, "denied": {false, true, false},
		"denied-too-late": {true, true, false}, "denied-to-all": {false, false, false}, "inherit-only": {false, false, false},
		"inherited-for-users": {true, false, false}, "autoenroll-only": {false, true, false}, "all-rights": {true, true, false},
		"extended-rights": {false, false, false}, "generic-all": {true, true, true}, "generic-write": {true, true, true},
		"one-attribute": {true, true, true}, "owned-by-users": {true, true, true}, "service-account": {false, false, false},
		"shared-relay": {false, false, false}, "delegated": {true, true, false}, "audited": {true, true, false},
		"no-dacl": {true, true, true}, "empty-dacl": {false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			sd, err := ParseSecurityDescriptor(descriptors(t)[name].bytes)
			if err != nil {
				t.Fatal(err)
			}
			computer := []string{domainSID + "-1105", domainComputers}
			if got := sd.CanEnroll(computer); got != want.enroll {
				t.Errorf("enroll: %v", got)
			}
			if got := sd.CanAutoEnroll(computer); got != want.autoEnroll {
				t.Errorf("autoenroll: %v", got)
			}
			_, got := writable(newTemplateCase(Template{SecurityDescriptor: descriptors(t)[name].bytes}, Use{}))
			if got != want.written {
				t.Errorf("written by a crowd: %v %v", got, sd.writers())
			}
		})
	}
}

// What an expression decides is neither taken for a right of ours nor overlooked
// as somebody's.
func TestConditionalEntriesAreNeverInOurFavour(t *testing.T) {
	enroll := "(OA;;CR;" + guidEnroll + ";;DC)"
	for name, c := range map[string]struct {
		aces         string
		ours, theirs bool
	}{
		"allowed if":            {"(XA;;CR;;;DC)", false, true},
		"denied if":             {"(XD;;CR;;;DC)" + enroll, false, true},
		"allowed, denied if":    {enroll + "(XD;;CR;;;DC)", true, true},
		"allowed without an if": {enroll, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			sd, err := ParseSecurityDescriptor(sddl(t, "O:EAG:EAD:"+c.aces))
			if err != nil {
				t.Fatal(err)
			}
			if got := sd.CanEnroll([]string{domainComputers}); got != c.ours {
				t.Errorf("ours: %v", got)
			}
			if got := len(sd.enrollingCrowds()) > 0; got != c.theirs {
				t.Errorf("theirs: %v", got)
			}
		})
	}
}

func TestParseRefusesEveryBrokenDescriptor(t *testing.T) {
	good := descriptors(t)["good"].bytes
	patch := func(at int, v ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], v)
		return b
	}
	dacl := int(binary.LittleEndian.Uint32(good[16:]))
	for name, b := range map[string][]byte{
		"nothing":                            nil,
		"a header cut off":                   good[:19],
		"another revision":                   patch(0, 2),
		"not self-relative":                  patch(3, 0x00),
		"an owner behind the end":            patch(4, 0xff, 0xff, 0xff, 0xff),
		"an owner at the last byte":          patch(4, byte(len(good)-1), byte((len(good)-1)>>8), 0, 0),
		"a group behind the end":             patch(8, 0xff, 0xff, 0xff, 0x7f),
		"a DACL behind the end":              patch(16, 0xff, 0xff, 0xff, 0xff),
		"a DACL of another revision":         patch(dacl, 9),
		"a DACL longer than the descriptor":  patch(dacl+2, 0xff, 0xff),
		"a DACL shorter than its header":     patch(dacl+2, 7, 0),
		"more entries than there are":        patch(dacl+4, 0xff, 0xff),
		"an entry longer than the DACL":      patch(dacl+10, 0xff, 0xff),
		"an entry of no length":              patch(dacl+10, 0, 0),
		"an entry that ends in its GUID":     patch(dacl+10, 20, 0),
		"a SID of sixteen sub-authorities":   patch(dacl+8+28+1, 16),
		"a SID of another revision":          patch(dacl+8+28, 3),
		"a SID that reaches past its entry":  patch(dacl+8+28+1, 15),
		"far too much":                       make([]byte, MaxDescriptor+1),
		"a descriptor of zeros":              make([]byte, 64),
		"an owner inside of which it breaks": good[:44],
	} {
		t.Run(name, func(t *testing.T) {
			if sd, err := ParseSecurityDescriptor(b); err == nil || sd != nil || !strings.HasPrefix(err.Error(), "parse a security descriptor of ") {
				t.Fatalf("%+v %v", sd, err)
			}
		})
	}
	for n := range good {
		ParseSecurityDescriptor(good[:n]) // cut anywhere: no panic
	}
}

// FuzzParseSecurityDescriptor: foreign bytes are read or refused; what was read
// has only whole SIDs, and can be judged.
func FuzzParseSecurityDescriptor(f *testing.F) {
	for _, d := range descriptors(f) {
		f.Add(d.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sd, err := ParseSecurityDescriptor(b)
		if err != nil {
			return
		}
		if len(sd.ACEs) > len(b)/4 {
			t.Fatalf("%d entries in %d bytes", len(sd.ACEs), len(b))
		}
		for _, a := range sd.ACEs {
			if (a.Type.Allows() || a.Type.Denies()) != strings.HasPrefix(a.SID, "S-1-") || a.Type.Allows() && a.Type.Denies() {
				t.Fatalf("%+v", a)
			}
		}
		CheckTemplate(Template{SecurityDescriptor: b}, Use{SIDs: []string{domainComputers}})
		CheckTemplate(Template{SecurityDescriptor: b, NameFlags: 1}, Use{Route: Relay, Account: domainUsers})
	})
}
