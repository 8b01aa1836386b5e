package ldapdisco

import (
	"slices"
	"strings"
)

// userAccountControl, [MS-ADTS] 2.2.16.
const (
	accountDisabled        = 0x2
	serverTrustAccount     = 0x2000
	partialSecretsAccount  = 0x04000000
	groupDomainControllers = 516 // [MS-DTYP] 2.4.2.4
	groupReadOnlyDCs       = 521
)

// spnRoles are service classes that only computers of a role register. GCs register exchangeAB too, so it is not here.
var spnRoles = map[string]Role{
	"msclustervirtualserver":            RoleClusterName,
	"msservercluster":                   RoleClusterNode,
	"msserverclustermgmtapi":            RoleClusterNode,
	"exchangemdb":                       RoleExchange,
	"exchangerfr":                       RoleExchange,
	"mssqlsvc":                          RoleSQL,
	"hyper-v replica service":           RoleHyperV,
	"microsoft virtual console service": RoleHyperV,
}

// roleOrder makes the result the same whatever order the directory keeps.
var roleOrder = []Role{RoleDomainController, RoleReadOnlyDC, RoleCA, RoleClusterName, RoleClusterNode, RoleExchange, RoleSQL, RoleHyperV}

// rolesOf judges by account type, service principals, groups and the list of CAs.
func rolesOf(c Computer, control uint32, primaryGroup int64, caHosts map[string]bool) []Role {
	has := map[Role]bool{}
	for _, spn := range c.SPNs {
		class, _, _ := strings.Cut(spn, "/")
		if r, ok := spnRoles[strings.ToLower(class)]; ok {
			has[r] = true
		}
	}
	if has[RoleClusterName] {
		delete(has, RoleClusterNode) // the name object of a cluster has the nodes' principals as well
	}
	readOnly := control&partialSecretsAccount != 0 || primaryGroup == groupReadOnlyDCs
	has[RoleReadOnlyDC] = readOnly
	has[RoleDomainController] = readOnly || control&serverTrustAccount != 0 || primaryGroup == groupDomainControllers
	has[RoleCA] = c.DNSHostName != "" && caHosts[strings.ToLower(c.DNSHostName)]
	has[RoleExchange] = has[RoleExchange] || slices.ContainsFunc(c.MemberOf, isExchangeGroup)
	var roles []Role
	for _, r := range roleOrder {
		if has[r] {
			roles = append(roles, r)
		}
	}
	return roles
}

func isExchangeGroup(dn string) bool {
	lower := strings.ToLower(dn)
	return strings.HasPrefix(lower, "cn=exchange servers,") || strings.HasPrefix(lower, "cn=exchange trusted subsystem,")
}
