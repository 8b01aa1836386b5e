package machinetest

import (
	"regexp"
	"strings"
)

// groups are the computer's own, with well-known SIDs. A domain controller has none.
func (h *Host) groups() []instance {
	if h.cfg.Product == 2 {
		return nil
	}
	name := h.netBIOS()
	return []instance{
		{{"Caption", name + `\Administrators`}, {"Domain", name}, {"LocalAccount", "true"}, {"Name", "Administrators"}, {"SID", "S-1-5-32-544"}},
		{{"Caption", name + `\Remote Management Users`}, {"Domain", name}, {"LocalAccount", "true"}, {"Name", "Remote Management Users"}, {"SID", "S-1-5-32-580"}},
		{{"Caption", name + `\Users`}, {"Domain", name}, {"LocalAccount", "true"}, {"Name", "Users"}, {"SID", "S-1-5-32-545"}},
	}
}

// members are Win32_GroupUser: both ends are references.
func (h *Host) members() []instance {
	if h.cfg.Product == 2 {
		return nil
	}
	name, domain := h.netBIOS(), h.cfg.Directory.NetBIOS()
	group := reference("Win32_Group", name, "Administrators")
	list := []instance{{{"GroupComponent", group}, {"PartComponent", reference("Win32_UserAccount", name, "Administrator")}},
		{{"GroupComponent", group}, {"PartComponent", reference("Win32_Group", domain, "Domain Admins")}}}
	for _, a := range h.cfg.Admins {
		list = append(list, instance{{"GroupComponent", group}, {"PartComponent", reference("Win32_UserAccount", domain, a)}})
	}
	return append(list, instance{{"GroupComponent", reference("Win32_Group", name, "Users")}, {"PartComponent", reference("Win32_Group", domain, "Domain Users")}})
}

// A reference is kept as WQL compares it, and written as an endpoint reference.
const referenceMark = "\x00ref:"

func reference(class, domain, name string) string {
	return referenceMark + class + ".Domain='" + domain + "',Name='" + name + "'"
}

var referenceParts = regexp.MustCompile(`^(\w+)\.Domain='([^']*)',Name='([^']*)'$`)

func referenceXML(path string) string {
	m := referenceParts.FindStringSubmatch(path)
	if m == nil {
		return esc(path)
	}
	return `<a:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address><a:ReferenceParameters><w:ResourceURI>` + nsWMI + `root/cimv2/` + m[1] +
		`</w:ResourceURI><w:SelectorSet><w:Selector Name="Domain">` + esc(m[2]) + `</w:Selector><w:Selector Name="Name">` + esc(m[3]) + `</w:Selector></w:SelectorSet></a:ReferenceParameters>`
}

// The one Group Policy object that sets what is below policyKey.
const (
	policyObject = "cn={6AC1786C-016F-11D2-945F-00C04FB984F9},cn=policies,cn=system,DC=corp,DC=example"
	policyName   = "WinRM for servers"
)

func (h *Host) policyObjects() []instance {
	return []instance{
		{{"enabled", "true"}, {"guidName", "{31B2F340-016D-11D2-945F-00C04FB984F9}"}, {"id", "cn={31B2F340-016D-11D2-945F-00C04FB984F9},cn=policies,cn=system,DC=corp,DC=example"}, {"name", "Default Domain Policy"}},
		{{"enabled", "true"}, {"guidName", "{6AC1786C-016F-11D2-945F-00C04FB984F9}"}, {"id", policyObject}, {"name", policyName}},
	}
}

// policySettings are the values below policyKey, each set by two objects of which one wins.
func (h *Host) policySettings() (list []instance) {
	for _, v := range h.reg.Values(policyKey) {
		for precedence, id := range map[string]string{"1": policyObject, "2": h.policyObjects()[0].get("id")} {
			list = append(list, instance{{"GPOID", id}, {"deleted", "false"}, {"precedence", precedence},
				{"registryKey", strings.Replace(policyKey, "SOFTWARE", "Software", 1)}, {"valueName", v.Name}})
		}
	}
	return list
}
