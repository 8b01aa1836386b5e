package machine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"wavelock/rollout"
	"wavelock/rollout/wsman"
)

// administratorsSID is the local group of administrators; its name is localised.
const administratorsSID = "S-1-5-32-544"

const productDC = 2

// readAdmins lists the direct members of the local group of administrators. A
// domain controller has no local groups of its own.
func readAdmins(ctx context.Context, s *wsman.Session, product int) ([]rollout.Administrator, error) {
	if product == productDC {
		return nil, errors.New("a domain controller has no local administrators")
	}
	return membersOf(ctx, s, administratorsSID)
}

// membersOf lists the direct members of a local group, by its well-known SID.
func membersOf(ctx context.Context, s *wsman.Session, sid string) ([]rollout.Administrator, error) {
	group, err := first(ctx, s, "root/cimv2", "select Name, Domain from Win32_Group where LocalAccount=TRUE and SID='"+sid+"'")
	if err != nil {
		return nil, err
	}
	domain, name := group.Value("Domain"), group.Value("Name")
	if strings.ContainsAny(domain+name, `'"\`) {
		return nil, fmt.Errorf("the group %q of %q cannot be asked for", name, domain)
	}
	list := []rollout.Administrator{}
	q := wsman.Query{WQL: fmt.Sprintf(`select * from Win32_GroupUser where GroupComponent="Win32_Group.Domain='%s',Name='%s'"`, domain, name)}
	for e, err := range s.Enumerate(ctx, wsman.WMI("root/cimv2", "*"), q) {
		if err != nil {
			return nil, err
		}
		a, err := member(e.Child("PartComponent"))
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// objectPath is the textual form of a reference: \\HOST\root\cimv2:Win32_Group.Domain="D",Name="N"
var objectPath = regexp.MustCompile(`(?i)(Win32_\w+)\.Domain=["']([^"']*)["'],Name=["']([^"']*)["']`)

// member reads the end of an association. It comes as an endpoint reference, from
// some versions as text.
func member(e *wsman.Element) (rollout.Administrator, error) {
	if r, ok := e.Reference(); ok {
		a := rollout.Administrator{Group: strings.HasSuffix(strings.ToLower(r.URI), "/win32_group")}
		for _, s := range r.Selectors {
			switch strings.ToLower(s.Name) {
			case "domain":
				a.Domain = s.Value
			case "name":
				a.Name = s.Value
			}
		}
		return a, nil
	}
	if e != nil {
		if m := objectPath.FindStringSubmatch(e.Text); m != nil {
			return rollout.Administrator{Domain: m[2], Name: m[3], Group: strings.EqualFold(m[1], "Win32_Group")}, nil
		}
	}
	return rollout.Administrator{}, errors.New("a member of the group of administrators cannot be read")
}

// readWinners asks the resultant set of policy which object set what for WinRM.
// Where its logging is switched off there is nothing to read.
func readWinners(ctx context.Context, s *wsman.Session) ([]rollout.PolicyValue, error) {
	const namespace = "root/rsop/computer"
	names := map[string]string{}
	for e, err := range s.Enumerate(ctx, wsman.WMI(namespace, "*"), wsman.Query{WQL: "select id, name from RSOP_GPO"}) {
		if err != nil {
			return nil, err
		}
		names[strings.ToLower(e.Value("id"))] = e.Value("name")
	}
	list := []rollout.PolicyValue{}
	q := wsman.Query{WQL: `select valueName, GPOID from RSOP_RegistryPolicySetting where precedence=1 and registryKey='Software\\Policies\\Microsoft\\Windows\\WinRM\\Service'`}
	for e, err := range s.Enumerate(ctx, wsman.WMI(namespace, "*"), q) {
		if err != nil {
			return nil, err
		}
		id := e.Value("GPOID")
		name := names[strings.ToLower(id)]
		if name == "" {
			name = id
		}
		list = append(list, rollout.PolicyValue{Name: e.Value("valueName"), GPO: name, ID: policyID(id)})
	}
	return list, nil
}

// policyID is the GUID of a Group Policy object in its distinguished name, in braces
// and capitals; empty for the local policy and for what is none.
func policyID(dn string) string {
	from, to := strings.IndexByte(dn, '{'), strings.IndexByte(dn, '}')
	if from < 0 || to < from {
		return ""
	}
	return strings.ToUpper(dn[from : to+1])
}
