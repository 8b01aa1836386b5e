package ldapdisco

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// PolicyObject is a Group Policy object as the directory has it, [MS-GPOL] 2.2. What it sets is in its files, and which
// one wins is for the computer to say: both are not asked here.
type PolicyObject struct {
	ID          string       `json:"id"`   // {6AC1786C-016F-11D2-945F-00C04FB984F9}, in capitals
	Name        string       `json:"name"` // displayName
	DN          string       `json:"dn"`
	Path        string       `json:"path"`                  // gPCFileSysPath, UNC
	ComputerOff bool         `json:"computerOff,omitempty"` // its computer part is switched off
	Links       []PolicyLink `json:"links,omitempty"`       // by where
}

// PolicyLink is one place that an object is linked to, [MS-GPOL] 2.2.2.
type PolicyLink struct {
	Container string `json:"container"` // distinguished name of the OU, domain or site
	Enforced  bool   `json:"enforced,omitempty"`
	Disabled  bool   `json:"disabled,omitempty"`
}

// PolicyObjects gives the Group Policy objects of the domain by id, with their links to OUs, to the domain and to sites.
// Objects of other domains that are linked here are left out.
func (d *Directory) PolicyObjects(ctx context.Context) ([]PolicyObject, error) {
	const op = "list the Group Policy objects"
	found, err := d.all(ctx, query{op: op, base: "CN=Policies,CN=System," + d.root.base, scope: ldap.ScopeSingleLevel, filter: "(objectClass=groupPolicyContainer)",
		attrs: []string{"cn", "displayName", "gPCFileSysPath", "flags"}})
	if err != nil {
		return nil, err
	}
	var all []PolicyObject
	for _, e := range found {
		const computerOff = 2
		all = append(all, PolicyObject{ID: strings.ToUpper(e.text("cn")), Name: e.text("displayName"), DN: clean(e.DN), Path: e.text("gPCFileSysPath"), ComputerOff: e.flags("flags")&computerOff != 0})
	}
	for _, base := range []string{d.root.base, "CN=Sites," + d.root.config} {
		linked, err := d.all(ctx, query{op: op, base: base, scope: ldap.ScopeWholeSubtree, filter: "(gPLink=*)", attrs: []string{"gPLink"}})
		if err != nil {
			return nil, err
		}
		for _, e := range linked {
			for dn, l := range policyLinks(e.text("gPLink")) {
				l.Container = clean(e.DN)
				if i := slices.IndexFunc(all, func(o PolicyObject) bool { return strings.EqualFold(o.DN, dn) }); i >= 0 {
					all[i].Links = append(all[i].Links, l)
				}
			}
		}
	}
	for i := range all {
		slices.SortFunc(all[i].Links, func(a, b PolicyLink) int { return strings.Compare(a.Container, b.Container) })
	}
	slices.SortFunc(all, func(a, b PolicyObject) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// policyLinks reads a gPLink, [MS-GPOL] 2.2.2: [LDAP://cn={GUID},cn=policies,cn=system,DC=...;n] for each object, where
// bit 0 of n disables the link and bit 1 enforces it. What is not so written is left out.
func policyLinks(text string) map[string]PolicyLink {
	links := map[string]PolicyLink{}
	for part := range strings.SplitSeq(text, "[") {
		part, ok := strings.CutSuffix(strings.TrimSpace(part), "]")
		i := strings.LastIndexByte(part, ';')
		if !ok || i < 0 || len(part) < len("LDAP://") || !strings.EqualFold(part[:len("LDAP://")], "LDAP://") {
			continue
		}
		n, err := strconv.ParseUint(part[i+1:], 10, 32)
		if err != nil || i <= len("LDAP://") {
			continue
		}
		links[part[len("LDAP://"):i]] = PolicyLink{Disabled: n&1 != 0, Enforced: n&2 != 0}
	}
	return links
}
