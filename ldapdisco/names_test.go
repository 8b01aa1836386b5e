package ldapdisco_test

import (
	"bytes"
	"slices"
	"testing"

	"wavelock/ldapdisco/ldaptest"
)

func TestNamesOfSIDs(t *testing.T) {
	s := domain(t)
	if err := s.AddAccount("svc-wavelock", 1601); err != nil {
		t.Fatal(err)
	}
	d := dial(t, sealed(s))
	ask := []string{ldaptest.SID(1601), ldaptest.SID(515), "S-1-5-11", "nonsense", "S-1-5", "S-1-5-x", "S-1-x-1"}
	for i := range 120 { // more than one filter
		ask = append(ask, ldaptest.SID(900000+uint32(i)))
	}
	names, err := d.Names(t.Context(), ask)
	if err != nil || len(names) != 2 || names[ldaptest.SID(1601)] != "svc-wavelock" || names[ldaptest.SID(515)] != "Domain Computers" {
		t.Errorf("%v, %v", names, err)
	}
	sids, err := d.Token(t.Context(), "svc-wavelock")
	if err != nil || !slices.Equal(sids, []string{ldaptest.SID(1601), ldaptest.SID(513)}) {
		t.Errorf("%v, %v", sids, err)
	}
	if sids, err := d.Token(t.Context(), "nobody*)(x"); err != nil || sids != nil {
		t.Errorf("%v, %v", sids, err)
	}
}

func TestPoliciesAndLists(t *testing.T) {
	s := domain(t)
	services := ",CN=Public Key Services,CN=Services," + s.ConfigDN()
	for _, e := range []ldaptest.Entry{
		{DN: "CN=OID" + services, Attributes: []ldaptest.Attribute{{Name: "objectClass", Values: []string{"top", "msPKI-Enterprise-Oid"}}}},
		{DN: "CN=1.AB,CN=OID" + services, Attributes: []ldaptest.Attribute{{Name: "objectClass", Values: []string{"top", "msPKI-Enterprise-Oid"}},
			{Name: "msPKI-Cert-Template-OID", Values: []string{"1.2.3.4"}}, {Name: "msDS-OIDToGroupLink", Values: []string{"CN=Admins,DC=corp,DC=example"}}}},
		{DN: "CN=2.AB,CN=OID" + services, Attributes: []ldaptest.Attribute{{Name: "objectClass", Values: []string{"top", "msPKI-Enterprise-Oid"}},
			{Name: "msPKI-Cert-Template-OID", Values: []string{"1.2.3.5"}}}},
	} {
		if err := s.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	d := dial(t, sealed(s))
	if lists, err := d.RevocationLists(t.Context()); err != nil || len(lists) != 0 {
		t.Errorf("before there is any: %v, %v", lists, err)
	}
	if err := s.AddList("CORP-CA01-CA", "ca01", []byte("a list")); err != nil {
		t.Fatal(err)
	}
	if err := s.AddList("CORP-CA02-CA", "ca02", []byte{0}); err != nil { // waits for its first
		t.Fatal(err)
	}
	if err := s.AddList("CORP-CA01-CA(2)", "ca01", []byte("of its third key")); err != nil {
		t.Fatal(err)
	}
	lists, err := d.RevocationLists(t.Context())
	if err != nil || len(lists) != 2 || string(bytes.Join(lists["CORP-CA01-CA"], []byte(", "))) != "a list, of its third key" || len(lists["CORP-CA01-CA(2)"]) != 1 {
		t.Errorf("%v, %v", lists, err)
	}
	linked, err := d.LinkedPolicies(t.Context())
	if err != nil || len(linked) != 1 || linked["1.2.3.4"] != "CN=Admins,DC=corp,DC=example" {
		t.Errorf("%v, %v", linked, err)
	}
	point := "CN=CORP-CA01-CA,CN=ca01,CN=CDP" + services
	if v, err := d.Values(t.Context(), point, "certificateRevocationList"); err != nil || len(v) != 1 || string(v[0]) != "a list" {
		t.Errorf("%q, %v", v, err)
	}
	if v, err := d.Values(t.Context(), "CN=Nobody,CN=CDP"+services, "certificateRevocationList"); err != nil || v != nil {
		t.Errorf("%q, %v", v, err)
	}
}
