package ldapdisco

import "time"

// Computer is a computer account as the directory describes it. Nobody asked the computer itself.
type Computer struct {
	GUID        string `json:"guid"`
	SID         string `json:"sid"`
	DN          string `json:"dn"`
	OU          string `json:"ou"`      // canonical: corp.example/Servers/Web
	Name        string `json:"name"`    // account without its $
	Account     string `json:"account"` // sAMAccountName, with its $
	DNSHostName string `json:"dnsHostName,omitempty"`
	OS          string `json:"os,omitempty"`
	OSVersion   string `json:"osVersion,omitempty"` // 10.0 (20348)

	SPNs     []string `json:"spns,omitempty"`
	Roles    []Role   `json:"roles,omitempty"`
	MemberOf []string `json:"memberOf,omitempty"` // distinguished names, without the primary group
	Site     string   `json:"site,omitempty"`     // of domain controllers; of others the address decides, see Domain.SiteOf
	Cluster  string   `json:"cluster,omitempty"`  // of a cluster's own name; the directory does not know its nodes

	Enabled         bool      `json:"enabled"`
	Created         time.Time `json:"created,omitzero"`
	LastLogon       time.Time `json:"lastLogon,omitzero"` // replicated, so up to 14 days behind
	PasswordLastSet time.Time `json:"passwordLastSet,omitzero"`

	Problem *Problem `json:"problem,omitempty"` // why it cannot be managed; nil: nothing is known against it
}

// Role is something that a computer does for others.
type Role string

// Roles that the directory tells.
const (
	RoleDomainController Role = "domain-controller"
	RoleReadOnlyDC       Role = "read-only-dc" // besides domain-controller
	RoleCA               Role = "ca-server"
	RoleClusterName      Role = "cluster-name"
	RoleClusterNode      Role = "cluster-node"
	RoleExchange         Role = "exchange"
	RoleSQL              Role = "sql"
	RoleHyperV           Role = "hyper-v"
)

// has reports whether it has the role.
func (c Computer) has(r Role) bool {
	for _, have := range c.Roles {
		if have == r {
			return true
		}
	}
	return false
}

// LastSeen is the last sign of life: a logon, or the change of its password that a computer makes every 30 days.
func (c Computer) LastSeen() time.Time {
	if c.PasswordLastSet.After(c.LastLogon) {
		return c.PasswordLastSet
	}
	return c.LastLogon
}
