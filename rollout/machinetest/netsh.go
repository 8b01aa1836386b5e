package machinetest

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// netshArguments are those of add rule that Windows knows.
var netshArguments = []string{"name", "dir", "action", "program", "service", "description", "enable", "profile", "localip", "remoteip",
	"localport", "remoteport", "protocol", "interfacetype", "rmtcomputergrp", "rmtusrgrp", "edge", "security"}

const (
	netshInvalid = "A specified value is not valid.\r\n"
	noSpace      = "There is not enough space on the disk.\r\n"
)

// progNetsh is netsh advfirewall firewall {add,set,delete} rule, and netsh http.
func progNetsh(x *execution, rest string) int {
	args := split(rest)
	if len(args) > 0 && strings.EqualFold(args[0], "http") {
		return netshHTTP(x, args[1:])
	}
	if len(args) < 4 || !strings.EqualFold(args[0], "advfirewall") || !strings.EqualFold(args[1], "firewall") || !strings.EqualFold(args[3], "rule") {
		x.out.WriteString("The following command was not found: " + strings.TrimSpace(rest) + ".\r\n")
		return 1
	}
	if x.h.has(FirewallStopped) {
		x.out.WriteString("An error occurred while attempting to contact the  Windows Defender Firewall service. Make sure that the service is running and try your request again.\r\n")
		return 1
	}
	match, change, ok := netshPairs(args[4:])
	if !ok || match["name"] == "" {
		x.out.WriteString(netshInvalid)
		return 1
	}
	n, complaint := x.h.changeRules(strings.ToLower(args[2]), match, change)
	if complaint == "" && n == 0 {
		complaint = "\r\nNo rules match the specified criteria.\r\n"
	}
	if complaint != "" {
		x.out.WriteString(complaint)
		return 1
	}
	x.h.writes.Add(1)
	x.out.WriteString("Ok.\r\n\r\n")
	return 0
}

// changeRules does what the verb says, and tells on how many rules, or what netsh complains of instead.
func (h *Host) changeRules(verb string, match, change map[string]string) (n int, complaint string) {
	switch verb {
	case "add":
		switch {
		case len(change) > 0 || !validRule(match):
			return 0, netshInvalid
		case h.has(DiskFull):
			return 0, noSpace
		case !h.has(RuleIgnored):
			h.addRule("{"+strings.ToUpper(uuid.NewString())+"}", match)
		}
		return 1, ""
	case "delete":
		return h.eachRule(match, func(id, _ string) { h.reg.Unset(firewallKey+`\FirewallRules`, id) }), ""
	case "set":
		switch {
		case len(change) != 1 || change["enable"] == "":
			return 0, netshInvalid // the simulated one can do no more
		case h.has(DiskFull):
			return 0, noSpace
		}
		from, to := "|Active=TRUE|", "|Active=FALSE|"
		if strings.EqualFold(change["enable"], "yes") {
			from, to = to, from
		}
		return h.eachRule(match, func(id, text string) {
			h.reg.SetText(firewallKey+`\FirewallRules`, id, strings.Replace(text, from, to, 1))
		}), ""
	}
	return 0, netshInvalid
}

// netshPairs reads name=value, and those after the word new apart.
func netshPairs(args []string) (match, change map[string]string, ok bool) {
	match, change = map[string]string{}, map[string]string{}
	to := match
	for _, a := range args {
		if strings.EqualFold(a, "new") {
			to = change
			continue
		}
		k, v, pair := strings.Cut(a, "=")
		if !pair || !slices.Contains(netshArguments, strings.ToLower(k)) {
			return nil, nil, false
		}
		to[strings.ToLower(k)] = v
	}
	return match, change, true
}

// eachRule calls f for the rules that match by name and protocol, and tells how many.
func (h *Host) eachRule(match map[string]string, f func(id, text string)) int {
	n := 0
	for _, v := range slices.Clone(h.reg.Values(firewallKey + `\FirewallRules`)) {
		r := parseRule(v.Text)
		protocol, given := match["protocol"]
		if strings.EqualFold(r.name, match["name"]) && (!given || r.protocol == protocolNumbers[strings.ToLower(protocol)]) {
			f(v.Name, v.Text)
			n++
		}
	}
	return n
}

func validRule(o map[string]string) bool {
	protocol, known := protocolNumbers[strings.ToLower(o["protocol"])]
	if !known && o["protocol"] != "" {
		if _, err := strconv.ParseUint(o["protocol"], 10, 8); err != nil {
			return false
		}
	}
	return !strings.EqualFold(o["name"], "all") && oneOf(o["dir"], "in", "out") && oneOf(o["action"], "allow", "block", "bypass") &&
		(o["enable"] == "" || oneOf(o["enable"], "yes", "no")) &&
		all(o["profile"], func(p string) bool { return oneOf(p, "domain", "private", "public", "any") }) &&
		(o["localport"] == "" || protocol == "6" || protocol == "17") && all(o["localport"], validPort) && all(o["remoteip"], validRemote)
}

func oneOf(s string, list ...string) bool {
	return slices.ContainsFunc(list, func(o string) bool { return strings.EqualFold(s, o) })
}

func all(list string, ok func(string) bool) bool {
	if list == "" {
		return true
	}
	return !slices.ContainsFunc(strings.Split(list, ","), func(s string) bool { return !ok(s) })
}

func validPort(s string) bool {
	lo, hi, span := strings.Cut(s, "-")
	if !span {
		hi = lo
	}
	l, err1 := strconv.ParseUint(lo, 10, 16)
	u, err2 := strconv.ParseUint(hi, 10, 16)
	return err1 == nil && err2 == nil && l <= u || oneOf(s, "any", "RPC", "RPC-EPMap", "IPHTTPS")
}

func validRemote(s string) bool {
	if oneOf(s, "any", "localsubnet", "dns", "dhcp", "wins", "defaultgateway") {
		return true
	}
	_, ok := remoteRange(s)
	return ok
}

// addressRange is what an address, a subnet or a range covers.
type addressRange struct{ from, to netip.Addr }

// remoteRange reads an address, address/prefix, address/mask or from-to.
func remoteRange(s string) (addressRange, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return addressRange{a, a}, true
	}
	if lo, hi, ok := strings.Cut(s, "-"); ok {
		l, err1 := netip.ParseAddr(lo)
		u, err2 := netip.ParseAddr(hi)
		return addressRange{l, u}, err1 == nil && err2 == nil && l.BitLen() == u.BitLen() && l.Compare(u) <= 0
	}
	address, mask, ok := strings.Cut(s, "/")
	if m := net.ParseIP(mask).To4(); ok && m != nil {
		if ones, bits := net.IPMask(m).Size(); bits != 0 {
			s = address + "/" + strconv.Itoa(ones)
		}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return addressRange{}, false
	}
	p = p.Masked()
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	to, _ := netip.AddrFromSlice(last)
	return addressRange{p.Addr(), to}, true
}

// stored is how the firewall keeps a subnet of IPv4: with its mask.
func stored(s string) string {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return s
	}
	return p.Masked().Addr().String() + "/" + net.IP(net.CIDRMask(p.Bits(), 32)).String()
}
