package machinetest

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule is a firewall rule as far as a port and an address ask for it.
type rule struct {
	allow, active, in bool
	name              string
	ports             []string
	remotes           []string
	profiles          []string
	protocol          string
	narrow            bool // for one program, service, interface, local address or peer that IPsec knows: not for http.sys
}

// parseRule reads the string of [MS-GPFAS] 2.2.2.19.
func parseRule(s string) rule {
	var r rule
	for _, f := range strings.Split(s, "|") {
		k, v, _ := strings.Cut(f, "=")
		switch k {
		case "Action":
			r.allow = v == "Allow" || v == "ByPass"
		case "Active":
			r.active = v == "TRUE"
		case "Dir":
			r.in = v == "In"
		case "Protocol":
			r.protocol = v
		case "Profile":
			r.profiles = append(r.profiles, v)
		case "LPort", "LPort2_10":
			r.ports = append(r.ports, v)
		case "RA4", "RA6":
			r.remotes = append(r.remotes, v)
		case "Name":
			r.name = v
		case "App":
			r.narrow = r.narrow || !strings.EqualFold(v, "System")
		case "Svc", "IF", "IFType", "LA4", "LA6", "RPort", "RPort2_10", "Security", "RMauth", "RUAuth":
			r.narrow = true
		}
	}
	return r
}

func (r rule) covers(port int, remote netip.Addr) bool {
	if !r.active || !r.in || r.narrow || (r.protocol != "" && r.protocol != "6") {
		return false
	}
	// The computers of a domain are in the domain profile.
	if len(r.profiles) > 0 && !slices.Contains(r.profiles, "Domain") {
		return false
	}
	return inPorts(r.ports, port) && inRemotes(r.remotes, remote)
}

func inPorts(ports []string, port int) bool {
	if len(ports) == 0 {
		return true
	}
	for _, p := range ports {
		lo, hi, span := strings.Cut(p, "-")
		if !span {
			hi = lo
		}
		l, err1 := strconv.Atoi(lo)
		u, err2 := strconv.Atoi(hi)
		if err1 == nil && err2 == nil && l <= port && port <= u {
			return true
		}
	}
	return false
}

func inRemotes(remotes []string, a netip.Addr) bool {
	if len(remotes) == 0 {
		return true
	}
	return slices.ContainsFunc(remotes, func(s string) bool {
		r, ok := remoteRange(s)
		return s == "LocalSubnet" || ok && a.BitLen() == r.from.BitLen() && r.from.Compare(a) <= 0 && a.Compare(r.to) <= 0
	})
}

// firewallAllows decides about a connection: block beats allow, and what no rule
// allows is refused while the profile is on and the service runs.
func (h *Host) firewallAllows(port int, remote string) bool {
	if h.profile("EnableFirewall", 1) == 0 || h.has(FirewallStopped) {
		return true
	}
	a, err := netip.ParseAddr(remote)
	if err != nil {
		return false
	}
	// The registry holds the standard ports; a lab on other ports means those.
	switch port {
	case h.cfg.HTTPPort:
		port = 5985
	case h.cfg.HTTPSPort:
		port = 5986
	}
	rules := h.reg.Values(policyFirewallKey + `\FirewallRules`)
	if h.profile("AllowLocalPolicyMerge", 1) != 0 {
		rules = append(slices.Clip(rules), h.reg.Values(firewallKey+`\FirewallRules`)...)
	}
	allowed := h.profile("DefaultInboundAction", 1) == 0
	for _, v := range rules {
		if !strings.Contains(v.Text, "598") && strings.Contains(v.Text, "LPort=2") {
			continue // one of the many about other ports
		}
		r := parseRule(v.Text)
		if !r.covers(port, a) {
			continue
		}
		if !r.allow {
			return false
		}
		allowed = true
	}
	return allowed && h.profile("DoNotAllowExceptions", 0) == 0
}

const policyFirewallKey = `SOFTWARE\Policies\Microsoft\WindowsFirewall`

// profile is a setting of the domain profile, or of a key below it: the policy's wins.
func (h *Host) profile(name string, def uint64, below ...string) uint64 {
	for _, key := range []string{policyFirewallKey, firewallKey} {
		if n, ok := h.reg.Num(strings.Join(append([]string{key, "DomainProfile"}, below...), `\`), name); ok {
			return n
		}
	}
	return def
}

// dropLog is where the firewall writes what it drops, if it is told to.
const dropLog = `c:\windows\system32\logfiles\firewall\pfirewall.log`

// logDrop writes a line as the firewall does, in local time.
func (h *Host) logDrop(port int, remote, local net.Addr) {
	if h.profile("LogDroppedPackets", 0, "Logging") == 0 {
		return
	}
	if h.files[dropLog] == nil {
		h.files[dropLog] = []byte("#Version: 1.5\r\n#Software: Microsoft Windows Firewall\r\n#Time Format: Local\r\n#Fields: date time action protocol src-ip dst-ip src-port dst-port size tcpflags tcpsyn tcpack tcpwin icmptype icmpcode info path\r\n\r\n")
	}
	from, err := netip.ParseAddrPort(remote.String())
	to, err2 := netip.ParseAddrPort(local.String())
	if err != nil || err2 != nil {
		return
	}
	h.files[dropLog] = fmt.Appendf(h.files[dropLog], "%s DROP TCP %s %s %d %d 52 S 1804299 0 64240 - - - RECEIVE\r\n", h.now().Format(time.DateTime), from.Addr(), to.Addr(), from.Port(), port)
}

// protocolNumbers are the names that netsh takes.
var protocolNumbers = map[string]string{"tcp": "6", "udp": "17", "any": ""}

// addRule writes a rule as netsh does: under a new GUID, never replacing another.
func (h *Host) addRule(id string, args map[string]string) {
	var b strings.Builder
	b.WriteString(h.cfg.Release.Schema + "|Action=")
	if strings.EqualFold(args["action"], "block") {
		b.WriteString("Block|")
	} else {
		b.WriteString("Allow|")
	}
	b.WriteString("Active=" + map[bool]string{true: "FALSE", false: "TRUE"}[strings.EqualFold(args["enable"], "no")] + "|Dir=")
	b.WriteString(map[bool]string{true: "Out|", false: "In|"}[strings.EqualFold(args["dir"], "out")])
	if n := protocolNumbers[strings.ToLower(args["protocol"])]; n != "" {
		b.WriteString("Protocol=" + n + "|")
	}
	for _, p := range strings.Split(args["profile"], ",") {
		if p != "" && !strings.EqualFold(p, "any") {
			b.WriteString("Profile=" + strings.ToUpper(p[:1]) + strings.ToLower(p[1:]) + "|")
		}
	}
	for _, p := range strings.Split(args["localport"], ",") {
		field := "LPort"
		if strings.Contains(p, "-") {
			field = "LPort2_10"
		}
		if p != "" && !strings.EqualFold(p, "any") {
			b.WriteString(field + "=" + p + "|")
		}
	}
	for _, a := range strings.Split(args["remoteip"], ",") {
		switch {
		case a == "" || strings.EqualFold(a, "any"):
		case strings.EqualFold(a, "localsubnet"):
			b.WriteString("RA4=LocalSubnet|RA6=LocalSubnet|")
		case strings.Contains(a, ":"):
			b.WriteString("RA6=" + a + "|")
		default:
			b.WriteString("RA4=" + stored(a) + "|")
		}
	}
	b.WriteString("Name=" + args["name"] + "|")
	h.reg.SetText(firewallKey+`\FirewallRules`, id, b.String())
}
