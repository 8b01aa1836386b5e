package pki

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// What is read from the text is what the parser of bytes reads from what the text stands for.
func TestParseSDDL(t *testing.T) {
	t.Parallel()
	for text, d := range descriptors(t) {
		want, err := ParseSecurityDescriptor(d.bytes)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSDDL(d.sddl)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if len(got.ACEs) != len(want.ACEs) || got.Open != want.Open {
			t.Errorf("%s: %d entries, want %d", text, len(got.ACEs), len(want.ACEs))
			continue
		}
		for i, a := range got.ACEs {
			w := want.ACEs[i]
			if len(a.SID) == 2 { // it depends on the domain
				a.SID = w.SID
			}
			w.Flags &= aceInheritOnly
			if !reflect.DeepEqual(a, w) {
				t.Errorf("%s, entry %d:\ngot  %+v\nwant %+v", text, i, a, w)
			}
		}
	}
}

func TestMayRead(t *testing.T) {
	t.Parallel()
	service := []string{"S-1-5-20", "S-1-1-0", "S-1-5-11"}
	for text, want := range map[string]bool{
		"D:PAI(A;;GAGR;;;BA)(A;;GAGR;;;SY)":                                 false, // as certutil prints a key of the Microsoft Strong Cryptographic Provider
		"D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;BU)":              false, // and one of nCipher's key storage provider
		"D:PAI(A;;0xd01f01ff;;;SY)(A;;0xd01f01ff;;;BA)(A;;0x80120089;;;NS)": true,  // and what the snap-in's Read gives
		"O:SYG:SYD:AI(A;;GAGR;;;SY)(A;;GAGR;;;NS)(A;;GR;;;BU)":              true,
		"D:(A;;FR;;;S-1-5-20)S:(AU;FA;CCDC;;;WD)":                           true,
		"D:(A;;GR;;;WD)":             true,
		"D:(D;;GR;;;NS)(A;;GA;;;WD)": false,
		"D:(A;;GA;;;WD)(D;;GR;;;NS)": true, // the first that speaks of it decides
		"D:(A;;RC;;;NS)":             false,
		"D:(A;OIIO;GA;;;NS)":         false,
		"D:(A;OICI;GA;;;NS)":         true,
		"D:":                         false,
		"D:P":                        false,
		`D:(XA;;GA;;;NS;(@User.x == "a" && (Member_of {SID(BA)})))`: false, // perhaps
		"D:NO_ACCESS_CONTROL": true,
		"O:SYG:SY":            true,
	} {
		sd, err := ParseSDDL(text)
		if err != nil || sd.MayRead(service) != want {
			t.Errorf("%s: %+v, %v; want %v", text, sd, err, want)
		}
	}
}

func TestParseSDDLRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "D", "X:", "D:(A;;GA;;;NS", "D:(A;;GA;;NS)", "D:(Q;;GA;;;NS)", "D:(A;;GQ;;;NS)", "D:(A;;G;;;NS)", "D:(A;;0xq;;;NS)",
		"D:(A;;GA;;;nobody)", "D:(A;;GA;;;)", "D:QQ(A;;GA;;;NS)", "O:", "O:SYG:", "D:(A;;GA;;;NS)x", strings.Repeat("D", MaxSDDL+1), "D:" + strings.Repeat("(", 1000)} {
		if sd, err := ParseSDDL(text); err == nil {
			t.Errorf("%.60q: %+v", text, sd)
		}
	}
}

// FuzzParseSDDL: what was read of entries can be written down, and is read the same again.
func FuzzParseSDDL(f *testing.F) {
	f.Add("O:BAG:SYD:PAI(A;;GAGR;;;BA)(D;OICIIO;0x80120089;;;S-1-5-21-1-2-3-512)S:(AU;FA;CC;;;WD)")
	f.Add("D:(OA;;CR;0e10c968-78fb-11d2-90d4-00c04f79dc55;;DA)")
	f.Add("D:NO_ACCESS_CONTROLS:")
	f.Add("O:SYG:SY")
	f.Add(`D:(XA;;FX;;;S-1-1-0;(@User.Title=="PM" && (@User.Division=="Finance")))`)
	f.Fuzz(func(t *testing.T, text string) {
		sd, err := ParseSDDL(text)
		if err != nil {
			return
		}
		if !sd.Open && len(sd.ACEs) == 0 && sd.MayRead([]string{"S-1-1-0"}) {
			t.Fatal("an empty list gives rights")
		}
		if sd.Open {
			return
		}
		written := "D:"
		for _, a := range sd.ACEs {
			flags := ""
			if a.Flags&aceInheritOnly != 0 {
				flags = "IO"
			}
			for name, typ := range sddlTypes {
				if typ == a.Type {
					written += fmt.Sprintf("(%s;%s;0x%x;%s;%s;%s)", name, flags, a.Mask, a.ObjectType, a.Inherited, a.SID)
				}
			}
		}
		again, err := ParseSDDL(written)
		if err != nil || !reflect.DeepEqual(again.ACEs, sd.ACEs) {
			t.Fatalf("%+v became %q: %+v, %v", sd.ACEs, written, again, err)
		}
	})
}
