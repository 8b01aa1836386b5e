package ldapdisco_test

import (
	"reflect"
	"testing"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/ldaptest"
)

const policies = "cn=policies,cn=system,DC=corp,DC=example"

func TestPolicyObjects(t *testing.T) {
	t.Parallel()
	s := emptyDomain(t)
	link := func(id, options string) string { return "[LDAP://cn=" + id + "," + policies + ";" + options + "]" }
	const winrm, other, gone = "{6AC1786C-016F-11D2-945F-00C04FB984F9}", "{31B2F340-016D-11D2-945F-00C04FB984F9}", "{00000000-0000-0000-0000-000000000000}"
	if err := s.LDIF(`dn: CN=System,DC=corp,DC=example
objectClass: container

dn: CN=Policies,CN=System,DC=corp,DC=example
objectClass: container

dn: CN={6ac1786c-016f-11d2-945f-00c04fb984f9},CN=Policies,CN=System,DC=corp,DC=example
objectClass: groupPolicyContainer
displayName: WinRM for servers
gPCFileSysPath: \\corp.example\SysVol\corp.example\Policies\{6AC1786C-016F-11D2-945F-00C04FB984F9}
flags: 0

dn: CN={31B2F340-016D-11D2-945F-00C04FB984F9},CN=Policies,CN=System,DC=corp,DC=example
objectClass: groupPolicyContainer
displayName: Users only
flags: 2

dn: OU=Web,DC=corp,DC=example
objectClass: organizationalUnit
gPLink: ` + link(winrm, "2") + link(other, "1") + link(gone, "0") + `

dn: OU=Odd,DC=corp,DC=example
objectClass: organizationalUnit
gPLink: [LDAP://;0][LDAP://cn=x[]LDAP;] ;0]` + link(winrm, "x") + `
`); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(ldaptest.Entry{DN: "CN=Paris,CN=Sites,CN=Configuration,DC=corp,DC=example", Attributes: []ldaptest.Attribute{
		{Name: "objectClass", Values: []string{"site"}}, {Name: "gPLink", Values: []string{link(winrm, "0")}}}}); err != nil {
		t.Fatal(err)
	}
	got, err := dial(t, sealed(s)).PolicyObjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []ldapdisco.PolicyObject{
		{ID: other, Name: "Users only", DN: "CN=" + other + ",CN=Policies,CN=System,DC=corp,DC=example", ComputerOff: true,
			Links: []ldapdisco.PolicyLink{{Container: "OU=Web,DC=corp,DC=example", Disabled: true}}},
		{ID: winrm, Name: "WinRM for servers", DN: "CN={6ac1786c-016f-11d2-945f-00c04fb984f9},CN=Policies,CN=System,DC=corp,DC=example", Path: `\\corp.example\SysVol\corp.example\Policies\` + winrm,
			Links: []ldapdisco.PolicyLink{{Container: "CN=Paris,CN=Sites,CN=Configuration,DC=corp,DC=example"}, {Container: "OU=Web,DC=corp,DC=example", Enforced: true}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
