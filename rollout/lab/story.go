package lab

import (
	"cmp"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wavelock/ldapdisco/ldaptest"
	"wavelock/rollout/machinetest"
)

// Trouble is a computer with something that every domain has.
type Trouble struct {
	Host      string
	Story     string // what it is
	Ending    string // what has to come of it
	KeepsHTTP bool
	fault     machinetest.Fault
}

var commonTroubles = []Trouble{
	{Story: "its HTTP listener comes from Group Policy", Ending: "waits for its policy, and keeps HTTP until then", KeepsHTTP: true, fault: machinetest.GPOListener},
	{Story: "is a laptop that is switched off", Ending: "is deferred, and nothing was written to it", KeepsHTTP: false, fault: machinetest.Off},
	{Story: "somebody else is connected to it over HTTP", Ending: "is refused its removal of HTTP, because a client would be cut off", KeepsHTTP: true, fault: machinetest.HTTPClient},
	{Story: "a stale DNS record leads to another computer", Ending: "is refused: what answers is somebody else", KeepsHTTP: true, fault: machinetest.WrongHost},
}

// Troubles are the computers that were given one.
func (l *Lab) Troubles() []Trouble { return l.troubles }

// Troubled reports whether the computer was given one.
func (l *Lab) Troubled(host string) bool {
	for _, t := range l.troubles {
		if t.Host == host {
			return true
		}
	}
	return false
}

// Break switches a fault of a computer on.
func (l *Lab) Break(host, fault string) error {
	h, f, err := l.faulty(host, fault)
	if err == nil {
		h.Set(f)
	}
	return err
}

// Mend switches it off.
func (l *Lab) Mend(host, fault string) error {
	h, f, err := l.faulty(host, fault)
	if err == nil {
		h.Clear(f)
	}
	return err
}

func (l *Lab) faulty(host, fault string) (*machinetest.Host, machinetest.Fault, error) {
	f, err := machinetest.ParseFault(fault)
	if err != nil {
		return nil, f, err
	}
	h, err := l.host(host)
	return h, f, err
}

// Visit has a computer of the lab, or an address, connected to a port of another, until Leave.
func (l *Lab) Visit(host, from string, port int) error {
	h, err := l.host(host)
	if err != nil {
		return err
	}
	h.Visit(cmp.Or(l.records[from], from), port)
	return nil
}

// Leave ends what Visit began.
func (l *Lab) Leave(host, from string) error {
	h, err := l.host(host)
	if err != nil {
		return err
	}
	h.Leave(cmp.Or(l.records[from], from))
	return nil
}

// domainChange changes what the directory has of a computer. The computer itself does not hear of it.
func (l *Lab) domainChange(host, what string) (known bool, err error) {
	name := strings.ToUpper(strings.TrimSuffix(host, "."+domain))
	dn := "CN=" + name + "," + l.ous[host] + ",DC=corp,DC=example"
	switch what {
	case "disable-account":
		return true, l.ldap.Set(dn, "userAccountControl", "4098")
	case "enable-account":
		return true, l.ldap.Set(dn, "userAccountControl", "4096")
	case "delete-account":
		return true, l.ldap.Remove(dn)
	case "join-domain": // only its account is there
		now := l.cfg.Clock()
		_, err := l.ldap.AddMachine(ldaptest.Machine{Name: name, OU: kinds[0].ou, DNSHostName: host, OS: kinds[0].os, OSVersion: "10.0 (20348)", LastLogon: now, PasswordLastSet: now})
		return true, err
	}
	return false, nil
}

// Meddle does something to a computer, or to its account, that nobody here asked for; see machinetest.Host.Meddle.
func (l *Lab) Meddle(host, what string) error {
	if known, err := l.domainChange(host, what); known {
		return err
	}
	h, err := l.host(host)
	if err != nil {
		return err
	}
	if what == "take-name" { // somebody gives a service account the computer's name as a web server
		dn := "CN=svc-web,CN=Users,DC=corp,DC=example"
		return errors.Join(l.ldap.AddAccount("svc-web", 1777), l.ldap.Set(dn, "servicePrincipalName", "HTTP/"+host))
	}
	if what == "join-admins" { // the computer is one of those that remote connections may start from
		dn := "CN=" + strings.ToUpper(strings.TrimSuffix(host, "."+domain)) + "," + l.ous[host] + ",DC=corp,DC=example"
		_, err := l.ldap.AddGroup("WinRM admins", "OU=Servers", dn)
		return err
	}
	return h.Meddle(what)
}

// Address is where a computer listens on the port, 5985 or 5986.
func (l *Lab) Address(host string, port int) string { return l.hosts[host].Address(port) }

// Open reports whether a computer's port lets anybody in, as the computer knows.
func (l *Lab) Open(host string, port int) bool {
	if port == 5986 {
		return l.hosts[host].HTTPSOpen()
	}
	return l.hosts[host].HTTPOpen()
}

// Writes is how often anything on any computer was changed.
func (l *Lab) Writes() int64 {
	var n int64
	for _, h := range l.hosts {
		n += h.Writes()
	}
	return n
}

// Names are the full names of the computers, in the order of their making.
func (l *Lab) Names() []string { return slices.Clone(l.names) }

// LockedOut names the computers that are switched on and shut on both doors.
func (l *Lab) LockedOut() string {
	var out []string
	for _, name := range l.names {
		if !l.Open(name, 5985) && !l.Open(name, 5986) && !l.off(name) {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

func (l *Lab) off(name string) bool {
	for _, t := range l.troubles {
		if t.Host == name && t.fault == machinetest.Off {
			return true
		}
	}
	return false
}

// WriteFiles writes wavelock.yaml, ca.pem, hosts.csv, computers.ldif and the password's file.
func (l *Lab) WriteFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the lab's folder: %w", err)
	}
	anchors := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.ca.Root()})
	var hosts strings.Builder
	hosts.WriteString("host,address,ou\n")
	for _, name := range l.names {
		fmt.Fprintf(&hosts, "%s,%s,%q\n", name, l.records[name], l.ous[name])
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"ca.pem", anchors}, {"hosts.csv", []byte(hosts.String())}, {"computers.ldif", []byte(l.ldif())}, {"password", []byte(l.password + "\n")}, {"wavelock.yaml", []byte(l.yaml())}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.text, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	return nil
}

// ldif are the computers for a directory server of somebody's own, which the lab's hosts then stand behind.
func (l *Lab) ldif() string {
	var b strings.Builder
	made := map[string]bool{}
	for i, name := range l.names {
		k := kinds[i%len(kinds)]
		parents := strings.Split(k.ou, ",")
		for n := len(parents) - 1; n >= 0; n-- {
			if ou := strings.Join(parents[n:], ","); !made[ou] {
				made[ou] = true
				fmt.Fprintf(&b, "dn: %s,DC=corp,DC=example\nobjectClass: organizationalUnit\n\n", ou)
			}
		}
		short := strings.ToUpper(strings.TrimSuffix(name, "."+domain))
		fmt.Fprintf(&b, "dn: CN=%s,%s,DC=corp,DC=example\nobjectClass: computer\nsAMAccountName: %s$\nuserAccountControl: 4096\ndNSHostName: %s\noperatingSystem: %s\n\n",
			short, k.ou, short, name, k.os)
	}
	return b.String()
}

func (l *Lab) yaml() string {
	n, ous := l.cfg.Hosts, `"OU=Servers,DC=corp,DC=example"`
	if n >= len(kinds) { // the smallest labs have no workstation
		ous += `, "OU=Workstations,DC=corp,DC=example"`
	}
	return fmt.Sprintf(`# A simulated domain. Everything here means the same on a real one.
database: wavelock.db
resolver: %s
directory:
  urls: [%s]
  ca_file: ca.pem
  credential: directory
credentials:
  directory: {kind: ntlm, user: CORP\%s, password_file: password}
  hosts: {kind: ntlm, user: CORP\%s, password_file: password}
  relay: {kind: kerberos, user: %s@CORP.EXAMPLE, password_file: password, kdcs: ["%s"]}
relay:
  credential: relay
  mapper_port: %d
select:
  ous: [%s]
goal: close
policy:
  template: %s
  undo_after: 8s
  defer_for: 1h
  failure_limit: 5
waves:
  - {name: canary, count: 1, in_flight: 1, limit: 1}
  - {name: early, count: %d, in_flight: 4, limit: 2}
  - {name: broad, percent: 40, in_flight: 10, limit: 3}
  - {name: rest, in_flight: 20, limit: 3}
limits:
  parallel: 40
`, l.resolver, l.ldap.SecureURL(), account, account, relayAccount, l.kdc.Addr(), l.ca01.MapperAddr().Port(), ous, template, max(2, n/8))
}

// Reboot restarts a computer.
func (l *Lab) Reboot(host string) error {
	h, err := l.host(host)
	if err != nil {
		return err
	}
	h.Reboot()
	return nil
}
