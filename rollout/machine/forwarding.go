package machine

import (
	"net/netip"
	"strconv"
	"strings"

	"wavelock/pki"
	"wavelock/rollout"
)

// forwards are the collectors that the computer sends its events to. Each is a value of
// the policy's key, named 1, 2 and so on; other keys are not looked at.
func forwards(keys []regKey) []rollout.Forwarding {
	var all []rollout.Forwarding
	for _, k := range keys {
		if !strings.EqualFold(k.path, forwardingKey) {
			continue
		}
		for _, v := range k.values {
			if v.kind != "REG_SZ" && v.kind != "REG_EXPAND_SZ" || strings.TrimSpace(v.data) == "" {
				continue
			}
			all = append(all, forwarding(v.data))
		}
	}
	return all
}

// forwarding reads Server=http://wec1.corp.example:5985/wsman/SubscriptionManager/WEC,Refresh=60,IssuerCA=<thumbprint>, as
// the policy "Configure target Subscription Manager" explains it. People type it: order, case, blanks and quotes are
// theirs. Without a scheme it is taken for HTTP, since nothing says HTTPS.
func forwarding(text string) rollout.Forwarding {
	const most = 200 // of a text that is shown as it is
	var f rollout.Forwarding
	server := ""
	for part := range strings.SplitSeq(text, ",") {
		name, value, named := strings.Cut(part, "=")
		name, value = strings.ToLower(strings.Trim(name, " \t\"'")), strings.Trim(value, " \t\"'")
		switch {
		case named && name == "server" && server == "":
			server = value
		case named && name == "issuerca":
			f.ByCertificate, f.IssuerCA = value != "", pki.ParseThumbprint(strings.Clone(value))
		case !named && server == "" && strings.Contains(name, "://"):
			server = name
		}
	}
	var ok bool
	if f.Server, f.Port, f.HTTPS, ok = endpoint(strings.ToLower(server)); !ok {
		text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
		return rollout.Forwarding{Unclear: strings.ToValidUTF8(text[:min(len(text), most)], "")}
	}
	return f
}

// endpoint takes a URL in lower case apart; port 0 is none.
func endpoint(url string) (host string, port int, https, ok bool) {
	scheme, rest, has := strings.Cut(url, "://")
	switch {
	case !has:
		rest = url
	case strings.TrimSpace(scheme) == "https":
		https = true
	case strings.TrimSpace(scheme) != "http":
		return "", 0, false, false
	}
	rest, _, _ = strings.Cut(strings.TrimSpace(rest), "/")
	host = rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		n, err := strconv.ParseUint(rest[i+1:], 10, 16)
		if err != nil || n == 0 {
			return "", 0, false, false
		}
		host, port = rest[:i], int(n)
	}
	if inner, is := strings.CutPrefix(host, "["); is {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return a.WithZone("").String(), port, https, err == nil && strings.HasSuffix(inner, "]")
	}
	host = strings.TrimSuffix(host, ".")
	return strings.Clone(host), port, https, isComputerName(host)
}

// isComputerName reports whether s can be the name or the IPv4 address of a computer, in lower case.
func isComputerName(s string) bool {
	return s != "" && len(s) <= 255 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && strings.Trim(s, ".-_") != "" && s[0] != '.'
}
