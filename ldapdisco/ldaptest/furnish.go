package ldaptest

import (
	"strconv"
	"strings"
	"time"
)

// domainSID is the same for every domain of this package.
var domainSID = []uint32{21, 1004336348, 1177238915, 682003330}

// accountSID is the SID of an account of the domain, binary.
func accountSID(rid uint32) string {
	return sid(5, append(domainSID[:len(domainSID):len(domainSID)], rid)...)
}

// SID is the SID of the account with this relative id, as text.
func SID(rid uint32) string { return sidText(accountSID(rid)) }

// Well-known groups that computers have as primary group, [MS-DTYP] 2.4.2.4.
const (
	ridDomainComputers   = 515
	ridDomainControllers = 516
	ridReadOnlyDCs       = 521
)

const site = "Default-First-Site-Name"

func (s *Server) serverDN() string {
	return "CN=" + s.host.NetBIOSName + ",CN=Servers,CN=" + site + ",CN=Sites," + s.config
}

// category is the DN of a class in the schema.
func (s *Server) category(cn string) string { return "CN=" + cn + ",CN=Schema," + s.config }

// furnish makes what every domain has.
func (s *Server) furnish() error {
	netBIOS := s.cfg.Directory.NetBIOS()
	services := "CN=Public Key Services,CN=Services," + s.config
	entries := []Entry{
		{s.base, []Attribute{{"objectClass", []string{"top", "domain", "domainDNS"}}, {"objectCategory", []string{s.category("Domain-DNS")}}, {"objectSid", []string{sid(5, domainSID...)}}}},
		s.container("CN=Computers," + s.base), s.container("CN=Users," + s.base), s.unit("OU=Domain Controllers," + s.base),
		{s.config, []Attribute{{"objectClass", []string{"top", "configuration"}}}},
		s.container("CN=Partitions," + s.config), s.container("CN=Sites," + s.config), s.container("CN=Subnets,CN=Sites," + s.config),
		{"CN=" + netBIOS + ",CN=Partitions," + s.config, []Attribute{{"objectClass", []string{"top", "crossRef"}}, {"nCName", []string{s.base}},
			{"dnsRoot", []string{s.cfg.Directory.DNS()}}, {"nETBIOSName", []string{netBIOS}}, {"systemFlags", []string{"3"}}}},
		s.siteEntry(site), s.container("CN=Servers,CN=" + site + ",CN=Sites," + s.config),
		s.container("CN=Services," + s.config), s.container(services),
		s.container("CN=Certificate Templates," + services), s.container("CN=Enrollment Services," + services),
		s.container("CN=Certification Authorities," + services), s.container("CN=AIA," + services),
	}
	for _, e := range entries {
		if err := s.Add(e); err != nil {
			return err
		}
	}
	for rid, name := range map[uint32]string{ridDomainComputers: "Domain Computers", ridDomainControllers: "Domain Controllers", ridReadOnlyDCs: "Read-only Domain Controllers", 512: "Domain Admins"} {
		if err := s.Add(s.group("CN="+name+",CN=Users,"+s.base, rid)); err != nil {
			return err
		}
	}
	return s.AddController(s.cfg.Host, site)
}

func (s *Server) container(dn string) Entry {
	return Entry{dn, []Attribute{{"objectClass", []string{"top", "container"}}, {"objectCategory", []string{s.category("Container")}}}}
}

func (s *Server) unit(dn string) Entry {
	return Entry{dn, []Attribute{{"objectClass", []string{"top", "organizationalUnit"}}, {"objectCategory", []string{s.category("Organizational-Unit")}}}}
}

func (s *Server) siteEntry(name string) Entry {
	return Entry{"CN=" + name + ",CN=Sites," + s.config, []Attribute{{"objectClass", []string{"top", "site"}}, {"objectCategory", []string{s.category("Site")}}}}
}

func (s *Server) group(dn string, rid uint32) Entry {
	_, name := rdn(dn)
	return Entry{dn, []Attribute{{"objectClass", []string{"top", "group"}}, {"objectCategory", []string{s.category("Group")}}, {"sAMAccountName", []string{name}},
		{"groupType", []string{"-2147483646"}}, {"objectSid", []string{accountSID(rid)}}}}
}

// AddUnit makes an OU, given relative to the domain (OU=Web,OU=Servers), with those above it that are missing.
func (s *Server) AddUnit(ou string) error {
	parts := splitDN(ou)
	for i := len(parts) - 1; i >= 0; i-- {
		dn := strings.Join(parts[i:], ",") + "," + s.base
		if s.store.find(normal(dn)) != nil {
			continue
		}
		if err := s.Add(s.unit(dn)); err != nil {
			return err
		}
	}
	return nil
}

// AddGroup makes a group in an OU, or in CN=Users when ou is empty, and returns its distinguished name. Members are
// distinguished names.
func (s *Server) AddGroup(name, ou string, members ...string) (string, error) {
	at := "CN=Users"
	if ou != "" {
		at = ou
		if err := s.AddUnit(ou); err != nil {
			return "", err
		}
	}
	e := s.group("CN="+escapeValue(name)+","+at+","+s.base, s.nextRID.Add(1))
	e.Put("member", members...)
	return e.DN, s.Add(e)
}

// AddSite makes a site with its subnets, such as 10.1.0.0/16.
func (s *Server) AddSite(name string, subnets ...string) error {
	if s.store.find(normal("CN="+name+",CN=Sites,"+s.config)) == nil {
		if err := s.Add(s.siteEntry(name)); err != nil {
			return err
		}
	}
	for _, net := range subnets {
		e := Entry{"CN=" + net + ",CN=Subnets,CN=Sites," + s.config, []Attribute{{"objectClass", []string{"top", "subnet"}}, {"siteObject", []string{"CN=" + name + ",CN=Sites," + s.config}}}}
		if err := s.Add(e); err != nil {
			return err
		}
	}
	return nil
}

// AddController makes a domain controller: its account, and its server object in the site.
func (s *Server) AddController(host, site string) error {
	name, _, _ := strings.Cut(host, ".")
	name = strings.ToUpper(name)
	m := Machine{Name: name, OU: "OU=Domain Controllers", DNSHostName: host, OS: "Windows Server 2022 Standard", OSVersion: "10.0 (20348)", Control: 0x82000,
		SPNs:      []string{"HOST/" + host, "HOST/" + name, "ldap/" + host, "GC/" + host + "/" + s.cfg.Directory.DNS(), "exchangeAB/" + host},
		LastLogon: time.Now().Add(-24 * time.Hour), PrimaryGroup: ridDomainControllers}
	dn, err := s.AddMachine(m)
	if err != nil {
		return err
	}
	return s.Add(Entry{"CN=" + name + ",CN=Servers,CN=" + site + ",CN=Sites," + s.config, []Attribute{{"objectClass", []string{"top", "server"}},
		{"dNSHostName", []string{host}}, {"serverReference", []string{dn}}}})
}

// Machine is a computer account.
type Machine struct {
	Name            string // WEB01
	OU              string // relative to the domain: OU=Web,OU=Servers; empty: CN=Computers
	DNSHostName     string
	OS, OSVersion   string
	SPNs            []string
	Control         uint32 // userAccountControl; 0: an enabled workstation account, 0x1000
	LastLogon       time.Time
	PasswordLastSet time.Time // zero: as LastLogon
	RID             uint32    // 0: the next
	PrimaryGroup    uint32    // 0: Domain Computers
}

// AddMachine makes a computer account, and its OU when that is missing. It returns the distinguished name.
func (s *Server) AddMachine(m Machine) (string, error) {
	if m.OU != "" {
		if err := s.AddUnit(m.OU); err != nil {
			return "", err
		}
	}
	if m.RID == 0 {
		m.RID = s.nextRID.Add(1)
	}
	e := s.MachineEntry(m)
	return e.DN, s.Add(e)
}

// AddAccount makes a user account in CN=Users with this relative id.
func (s *Server) AddAccount(name string, rid uint32) error {
	return s.Add(Entry{"CN=" + escapeValue(name) + ",CN=Users," + s.base, []Attribute{{"objectClass", []string{"top", "person", "organizationalPerson", "user"}},
		{"objectCategory", []string{s.category("Person")}}, {"sAMAccountName", []string{name}}, {"objectSid", []string{accountSID(rid)}},
		{"userAccountControl", []string{"512"}}, {"primaryGroupID", []string{"513"}}}})
}

// AddMachines is AddFleet of computer accounts, all below one OU. Relative ids begin at 1,000,000.
func (s *Server) AddMachines(ou string, n int, build func(i int) Machine) error {
	if err := s.AddUnit(ou); err != nil {
		return err
	}
	return s.AddFleet(ou+","+s.base, n, func(i int) Entry {
		m := build(i)
		if m.RID == 0 {
			m.RID = 1_000_000 + uint32(i)
		}
		if m.OU == "" {
			m.OU = ou
		}
		return s.MachineEntry(m)
	})
}

var machineClasses = []string{"top", "person", "organizationalPerson", "user", "computer"}

// MachineEntry is the entry of a computer account, without adding it.
func (s *Server) MachineEntry(m Machine) Entry {
	at := m.OU
	if at == "" {
		at = "CN=Computers"
	}
	if m.Control == 0 {
		m.Control = 0x1000
	}
	if m.PrimaryGroup == 0 {
		m.PrimaryGroup = ridDomainComputers
	}
	if m.PasswordLastSet.IsZero() {
		m.PasswordLastSet = m.LastLogon
	}
	e := Entry{DN: "CN=" + escapeValue(m.Name) + "," + at + "," + s.base, Attributes: make([]Attribute, 0, 14)}
	put := func(name string, values ...string) {
		if len(values) > 0 && values[0] != "" {
			e.Attributes = append(e.Attributes, Attribute{name, values})
		}
	}
	put("objectClass", machineClasses...)
	put("objectCategory", s.category("Computer"))
	put("sAMAccountName", m.Name+"$")
	put("objectSid", accountSID(m.RID))
	put("userAccountControl", strconv.FormatUint(uint64(m.Control), 10))
	put("primaryGroupID", strconv.FormatUint(uint64(m.PrimaryGroup), 10))
	put("dNSHostName", m.DNSHostName)
	put("operatingSystem", m.OS)
	put("operatingSystemVersion", m.OSVersion)
	put("servicePrincipalName", m.SPNs...)
	put("lastLogonTimestamp", fileTime(m.LastLogon))
	put("pwdLastSet", fileTime(m.PasswordLastSet))
	put("whenCreated", "20240101000000.0Z")
	return e
}

// fileTime is empty for the zero time.
func fileTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt((t.Unix()+11644473600)*10_000_000+int64(t.Nanosecond()/100), 10)
}

// AddAuthority registers an enterprise CA: its enrollment service, and its certificate in NTAuth and AIA.
func (s *Server) AddAuthority(name, host string, der []byte, templates ...string) error {
	services := ",CN=Public Key Services,CN=Services," + s.config
	e := Entry{"CN=" + escapeValue(name) + ",CN=Enrollment Services" + services, []Attribute{{"objectClass", []string{"top", "pKIEnrollmentService"}},
		{"dNSHostName", []string{host}}, {"cACertificate", []string{string(der)}}, {"flags", []string{"10"}}}}
	e.Put("certificateTemplates", templates...)
	if err := s.Add(e); err != nil {
		return err
	}
	if err := s.publish("CN="+escapeValue(name)+",CN=AIA"+services, der); err != nil {
		return err
	}
	return s.publish("CN=NTAuthCertificates"+services, der)
}

// AddRoot publishes a root certificate that all computers of the forest trust.
func (s *Server) AddRoot(name string, der []byte) error {
	return s.publish("CN="+escapeValue(name)+",CN=Certification Authorities,CN=Public Key Services,CN=Services,"+s.config, der)
}

// AddList publishes a list of revoked certificates, as a CA on a host does: CN=CDP,CN=Public Key Services.
func (s *Server) AddList(name, host string, der []byte) error {
	point := "CN=" + escapeValue(host) + ",CN=CDP,CN=Public Key Services,CN=Services," + s.config
	for _, dn := range []string{point[strings.Index(point, "CN=CDP"):], point} {
		if s.store.find(normal(dn)) == nil {
			if err := s.Add(s.container(dn)); err != nil {
				return err
			}
		}
	}
	return s.Add(Entry{"CN=" + escapeValue(name) + "," + point, []Attribute{{"objectClass", []string{"top", "cRLDistributionPoint"}}, {"certificateRevocationList", []string{string(der)}}}})
}

// publish adds a certificate to an object, and makes the object when it is missing.
func (s *Server) publish(dn string, der []byte) error {
	if s.store.find(normal(dn)) == nil {
		return s.Add(Entry{dn, []Attribute{{"objectClass", []string{"top", "certificationAuthority"}}, {"cACertificate", []string{string(der)}}}})
	}
	return s.store.change(dn, func(e *Entry) { e.Put("cACertificate", append(e.Values("cACertificate"), string(der))...) })
}

// AddTemplate makes a certificate template. The attributes are LDAP's: msPKI-Certificate-Name-Flag, pKIExtendedKeyUsage.
func (s *Server) AddTemplate(name string, attributes ...Attribute) error {
	e := Entry{"CN=" + escapeValue(name) + ",CN=Certificate Templates,CN=Public Key Services,CN=Services," + s.config,
		[]Attribute{{"objectClass", []string{"top", "pKICertificateTemplate"}}, {"displayName", []string{name}}}}
	for _, a := range attributes {
		e.Put(a.Name, a.Values...)
	}
	return s.Add(e)
}

// Period is a duration as pKIExpirationPeriod holds it ([MS-CRTD] 2.13).
func Period(d time.Duration) string {
	n := uint64(-(int64(d) / 100))
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return string(b)
}
