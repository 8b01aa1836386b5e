package machine

import (
	"slices"
	"strconv"
	"strings"

	"wavelock/rollout"
)

// parseRule reads a firewall rule's string, [MS-GPFAS] 2.2.2.19. Only fields that
// say who may connect are kept; relevant is false for rules that are outbound or
// not about TCP.
func parseRule(id, text string) (r rollout.FirewallRule, relevant bool) {
	r.ID = id
	in, tcp := false, true
	_, fields, _ := strings.Cut(text, "|") // the version comes first
	for field := range strings.SplitSeq(fields, "|") {
		k, v, _ := strings.Cut(field, "=")
		switch k {
		case "Action":
			r.Allow = v == "Allow" || v == "ByPass"
		case "Active":
			r.Active = v == "TRUE"
		case "Dir":
			in = v == "In"
		case "Protocol":
			tcp = v == "6"
		case "Profile":
			r.Profiles = append(r.Profiles, strings.ToLower(v))
		case "LPort", "LPort2_10":
			r.Ports = append(r.Ports, v)
		case "RA4", "RA6", "RA42", "RA62":
			r.Remote = append(r.Remote, v)
		case "Name":
			r.Name = v
		case "App": // http.sys, which listens for WinRM, is the system itself
			if !strings.EqualFold(v, "System") {
				r.Only = append(r.Only, field)
			}
		default:
			if k != "" && !describes[k] {
				r.Only = append(r.Only, field)
			}
		}
	}
	return r, in && tcp
}

// describes has the fields of a rule that do not limit it, [MS-GPFAS] 2.2.2.19. A field that is not known may, [MS-FASP] 2.2.37
// gets new ones with every version.
var describes = map[string]bool{"Desc": true, "EmbedCtxt": true, "Edge": true, "Defer": true, "LSM": true, "NNm": true}

// touches reports whether the rule is about one of the ports. A rule for every
// port of one program or service is about that program.
func touches(r rollout.FirewallRule, ports ...int) bool {
	return slices.ContainsFunc(r.Ports, func(p string) bool { return covers(p, ports) })
}

// covers reports whether a port or a span of ports of a rule has one of ours in it.
func covers(p string, ports []int) bool {
	from, to, span := strings.Cut(p, "-")
	lo, err := strconv.Atoi(from)
	if err != nil {
		return false // RPC, Teredo and other names for ports that are not ours
	}
	hi := lo
	if span {
		if hi, err = strconv.Atoi(to); err != nil {
			return false
		}
	}
	return slices.ContainsFunc(ports, func(port int) bool { return lo <= port && port <= hi })
}

// mentions is touches without reading the rest of the rule: of some hundreds a few are about our ports.
func mentions(text string, ports []int) bool {
	for {
		_, rest, found := strings.Cut(text, "|LPort")
		if !found {
			return false
		}
		field, _, _ := strings.Cut(rest, "|")
		if _, v, _ := strings.Cut(field, "="); covers(v, ports) {
			return true
		}
		text = rest
	}
}

// profileKeys are the profiles' keys; StandardProfile is the private one.
var profileKeys = map[string]string{"DomainProfile": "domain", "StandardProfile": "private", "PrivateProfile": "private", "PublicProfile": "public"}

// profiles merges local and policy state: a policy's value wins ([MS-GPFAS] 2.2.3).
func profiles(local, policy []regKey) []rollout.FirewallProfile {
	list := []rollout.FirewallProfile{{Name: "domain"}, {Name: "private"}, {Name: "public"}}
	for i := range list {
		p := &list[i]
		p.Enabled, p.BlockIn, p.LocalMerge = true, true, true
		for _, keys := range [][]regKey{local, policy} {
			for _, k := range keys {
				if profileKeys[k.last()] == p.Name {
					apply(k, p)
				}
			}
		}
		p.DropLog = dropLog(p.Name, local, policy)
	}
	return list
}

// dropLog is the file in which a profile logs what it drops. It is empty when it does not.
func dropLog(profile string, local, policy []regKey) string {
	on, path := false, `%systemroot%\system32\LogFiles\Firewall\pfirewall.log`
	for _, keys := range [][]regKey{local, policy} {
		for _, k := range keys {
			parent, isLogging := strings.CutSuffix(k.path, `\Logging`)
			if !isLogging || profileKeys[regKey{path: parent}.last()] != profile {
				continue
			}
			if v, ok := k.value("LogDroppedPackets"); ok {
				n, number := v.number()
				on = number && n != 0
			}
			if p := k.text("LogFilePath"); p != "" {
				path = p
			}
		}
	}
	if !on {
		return ""
	}
	return path
}

func apply(k regKey, p *rollout.FirewallProfile) {
	for name, set := range map[string]func(uint64){
		"EnableFirewall":        func(n uint64) { p.Enabled = n != 0 },
		"DefaultInboundAction":  func(n uint64) { p.BlockIn = n != 0 },
		"AllowLocalPolicyMerge": func(n uint64) { p.LocalMerge = n != 0 },
	} {
		if v, ok := k.value(name); ok {
			if n, ok := v.number(); ok {
				set(n)
			}
		}
	}
}

// rules are the rules of a key that are about the ports, and how many there were.
func rules(keys []regKey, ports ...int) (list []rollout.FirewallRule, total int) {
	for _, k := range keys {
		if k.last() != "FirewallRules" {
			continue
		}
		for _, v := range k.values {
			total++
			if !mentions(v.data, ports) {
				continue
			}
			r, relevant := parseRule(v.name, v.data)
			if relevant && touches(r, ports...) {
				r, _ = parseRule(strings.Clone(v.name), strings.Clone(v.data))
				list = append(list, r)
			}
		}
	}
	return list, total
}
