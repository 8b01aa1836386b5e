package rollout

// HostID is a host's fully qualified DNS name in lower case.
type HostID string

// Zone names a part of the network that one set of workers can reach.
type Zone string

// Role is something a computer does for others and that changes how it must be treated.
type Role string

// The roles that planning and checks know. A directory may report others.
const (
	RoleDomainController Role = "domain-controller"
	RoleCA               Role = "ca-server"
	RoleClusterNode      Role = "cluster-node"
	RoleController       Role = "wavelock-controller" // the computer that runs this program
)

// Host is a computer as the directory describes it.
type Host struct {
	ID      HostID   `json:"id"`
	GUID    string   `json:"guid,omitempty"`    // objectGUID
	SID     string   `json:"sid,omitempty"`     // objectSid
	Account string   `json:"account,omitempty"` // sAMAccountName, with its $
	Domain  string   `json:"domain"`            // DNS name of the domain
	OU      string   `json:"ou,omitempty"`      // canonical: corp.example/Servers/Web
	Site    string   `json:"site,omitempty"`
	OS      string   `json:"os,omitempty"`
	Roles   []Role   `json:"roles,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	// Cluster is the name that nodes of one failover cluster share.
	Cluster string `json:"cluster,omitempty"`
	Zone    Zone   `json:"zone,omitempty"`
	// SPNOwner is another object of the directory that has SPN, by which clients ask for tickets to the host's WinRM; empty
	// when none has. SPNByDefault says that they do unless told otherwise: it is HTTP/<our full name>, or what stands for it.
	SPNOwner     string `json:"spn_owner,omitempty"`
	SPN          string `json:"spn,omitempty"`
	SPNByDefault bool   `json:"spn_by_default,omitempty"`
	Neighbours
}

// Has reports whether the host has the role.
func (h Host) Has(r Role) bool {
	for _, have := range h.Roles {
		if have == r {
			return true
		}
	}
	return false
}
