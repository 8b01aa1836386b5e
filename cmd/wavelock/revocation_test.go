package main

import (
	"errors"
	"testing"

	"wavelock/pki/revocation"
	"wavelock/rollout"
)

// Whatever the checker may say has its text and its hint among the reasons of the rollout.
func TestRevocationCodesAreReasons(t *testing.T) {
	for _, code := range revocation.Codes {
		if r := rollout.Reason(code); r.Title() == code || r.Hint() == "" {
			t.Errorf("%s has no text among the reasons", code)
		}
	}
}

func TestDistributionPoint(t *testing.T) {
	for address, want := range map[string][2]string{
		"ldap:///CN=CORP%20CA,CN=ca01,CN=CDP,DC=corp,DC=example?certificateRevocationList?base?objectClass=cRLDistributionPoint": {"CN=CORP CA,CN=ca01,CN=CDP,DC=corp,DC=example", "certificateRevocationList"},
		"ldap:///CN=x,DC=corp?deltaRevocationList?base": {"CN=x,DC=corp", "deltaRevocationList"},
		"ldap:///CN=x,DC=corp":                          {"CN=x,DC=corp", "certificateRevocationList"},
	} {
		if dn, attribute, err := distributionPoint(address); err != nil || dn != want[0] || attribute != want[1] {
			t.Errorf("%s: %q %q %v", address, dn, attribute, err)
		}
	}
	for _, address := range []string{"ldap://evil.example/CN=x?certificateRevocationList", "ldap:///", "ldap:///?x"} {
		if _, _, err := distributionPoint(address); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, _, err := distributionPoint("ldap://%zz"); err == nil {
		t.Error("an address that is none is taken")
	}
}
