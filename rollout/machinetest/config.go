package machinetest

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

const nsConfig = "http://schemas.microsoft.com/wbem/wsman/1/config"

// configCall is the config provider, [MS-WSMV] 3.1.4.1.29.
func (h *Host) configCall(c *call) answer {
	resource := strings.ToLower(strings.TrimPrefix(c.resource, nsConfig))
	verb := c.action[strings.LastIndexByte(c.action, '/')+1:]
	switch {
	case resource == "/listener" && verb == "Enumerate":
		var items []object
		for _, l := range h.listeners() {
			if h.has(PortOpenLie) && l.transport == "HTTP" && h.lying != nil {
				continue
			}
			items = append(items, object{h.listenerXML(l), []field{{"Address", l.address}, {"Transport", l.transport}}})
		}
		return h.enumerate(c, items)
	case resource == "/listener":
		return h.listenerCall(c, verb)
	case resource == mappingResource:
		return h.mappingCall(c, verb)
	}
	s := sectionOf(resource)
	switch {
	case s == nil:
		return answer{fault: faultNotFound}
	case verb == "Get":
		return answer{body: h.sectionXML(s, nsConfig+resource, true)}
	case verb == "Put":
		return h.putSection(c, s, resource)
	}
	return answer{fault: faultUnknownAction}
}

func (h *Host) listenerXML(l listener) string {
	source := ""
	if l.source != "" {
		source = ` Source="` + l.source + `"`
	}
	text := func(name, v string) string {
		if v == "" {
			return "<cfg:" + name + "/>"
		}
		return "<cfg:" + name + ">" + esc(v) + "</cfg:" + name + ">"
	}
	return fmt.Sprintf(`<cfg:Listener xmlns:cfg="%s/listener" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xml:lang="en-US"%s>`, nsConfig, source) +
		text("Address", l.address) + text("Transport", l.transport) + text("Port", fmt.Sprint(l.port)) + text("Hostname", l.hostname) +
		text("Enabled", fmt.Sprint(l.enabled)) + text("URLPrefix", l.prefix) + text("CertificateThumbprint", l.thumb) +
		text("ListeningOn", h.cfg.Address) + text("ListeningOn", "127.0.0.1") + "</cfg:Listener>"
}

func (h *Host) listenerCall(c *call, verb string) answer {
	address, transport := c.selectors["address"], strings.ToUpper(c.selectors["transport"])
	if address == "" || (transport != "HTTP" && transport != "HTTPS") {
		return answer{fault: faultSelectors}
	}
	list := h.listeners()
	i := slices.IndexFunc(list, func(l listener) bool { return l.address == address && l.transport == transport })
	if verb != "Create" && i < 0 {
		return answer{fault: faultNotFound}
	}
	switch verb {
	case "Get":
		return answer{body: h.listenerXML(list[i])}
	case "Create":
		if i >= 0 {
			return answer{fault: faultExists}
		}
		return h.writeListener(c, listener{address: address, transport: transport, port: h.port(transport), prefix: "wsman", enabled: true}, true)
	case "Put":
		switch {
		case list[i].source == "GPO":
			return answer{fault: faultGPO}
		case h.refusesPut:
			return answer{fault: inner(faultKeysChanged)}
		}
		return h.writeListener(c, list[i], false)
	case "Delete":
		return h.deleteListener(list[i])
	}
	return answer{fault: faultUnknownAction}
}

// writeListener is Create and Put: Windows' rules, then the registry, the
// binding and the port.
func (h *Host) writeListener(c *call, l listener, create bool) answer {
	in := c.body.child("Listener")
	if in == nil {
		return answer{fault: faultNoBody}
	}
	if f := l.read(in); f != nil {
		return answer{fault: f}
	}
	if create && l.transport == "HTTPS" && l.thumb == "" {
		l.thumb = h.fitting(l.hostname)
	}
	if f := h.judge(l, create); f != nil {
		return answer{fault: f}
	}
	if h.has(DiskFull) {
		return answer{fault: inner(faultDiskFull)}
	}
	h.keepListener(l)
	if err := h.reload(); err != nil {
		return answer{fault: &fault{code: 0x80338082, sub: "w:InternalError", why: err.Error()}}
	}
	if !create {
		return answer{body: h.listenerXML(l)}
	}
	return answer{body: `<x:ResourceCreated><a:Address>http://` + h.cfg.FQDN + `/wsman</a:Address><a:ReferenceParameters><w:ResourceURI>` + nsConfig + `/listener</w:ResourceURI><w:SelectorSet><w:Selector Name="Address">` + esc(l.address) + `</w:Selector><w:Selector Name="Transport">` + l.transport + `</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>`}
}

// read takes over what a request says of the listener. The keys are repeated in it and cannot be changed.
func (l *listener) read(in *node) *fault {
	for i := range in.Nodes {
		v := strings.TrimSpace(in.Nodes[i].Text)
		switch in.Nodes[i].XMLName.Local {
		case "Address":
			if v != l.address {
				return faultKeysChanged
			}
		case "Transport":
			if !strings.EqualFold(v, l.transport) {
				return faultKeysChanged
			}
		case "Port":
			if _, err := fmt.Sscanf(v, "%d", &l.port); err != nil {
				return faultBadXML
			}
		case "Hostname":
			l.hostname = v
		case "Enabled":
			l.enabled = v == "true"
		case "URLPrefix":
			l.prefix = v
		case "CertificateThumbprint":
			l.thumb = strings.ToUpper(v)
		default: // ListeningOn among them: it is computed
			return inner(faultBadXML)
		}
	}
	return nil
}

// keepListener writes a listener into the registry, and for HTTPS its certificate's binding.
func (h *Host) keepListener(l listener) {
	h.writes.Add(1)
	path := listenerKey + `\` + l.address + "+" + l.transport
	h.reg.SetNum(path, "Port", uint32(l.port))
	h.reg.SetText(path, "uriprefix", l.prefix)
	if l.transport == "HTTPS" {
		h.reg.SetText(path, "hostname", l.hostname)
		h.reg.SetText(path, "certThumbprint", l.thumb)
		h.bind(l.thumb)
	}
}

// judge are the rules for a listener's certificate, [MS-WSMV] 3.1.4.1.29.5. The
// fault comes from the provider, inside an outer one.
func (h *Host) judge(l listener, create bool) *fault {
	if l.transport == "HTTP" {
		if l.thumb != "" {
			return faultThumbForHTTP
		}
		return nil
	}
	if app, ok := h.reg.Get(fmt.Sprintf(`%s\0.0.0.0:%d`, bindingKey, h.cfg.HTTPSPort), "AppId"); ok && !slices.Equal(app.Data, guid(winRMAppID)) {
		return inner(faultPortOwned)
	}
	switch {
	case l.thumb == "" && create:
		return inner(faultNoCert)
	case l.thumb == "":
		return inner(faultThumbBlank)
	}
	blob, _ := h.reg.Get(myKey+`\`+l.thumb, "Blob")
	cert, err := x509.ParseCertificate(derOf(blob.Data))
	switch {
	case err != nil || h.keys[l.thumb] == nil:
		return inner(faultNoCert)
	case !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
		return inner(faultNoServerAuth)
	case !strings.EqualFold(cert.Subject.CommonName, l.hostname):
		return inner(faultNameMismatch)
	}
	return nil
}

// fitting is a certificate that the service finds by itself: with a key, of the
// host name, for servers, of now.
func (h *Host) fitting(hostname string) string {
	for _, thumb := range h.reg.Keys(myKey) {
		blob, _ := h.reg.Get(myKey+`\`+thumb, "Blob")
		c, err := x509.ParseCertificate(derOf(blob.Data))
		if err == nil && h.keys[thumb] != nil && strings.EqualFold(c.Subject.CommonName, hostname) && hostname != "" &&
			slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && h.now().After(c.NotBefore) && h.now().Before(c.NotAfter) {
			return thumb
		}
	}
	return ""
}

func inner(f *fault) *fault {
	g := *f
	g.by = configProvider
	return &g
}

func (h *Host) deleteListener(l listener) answer {
	if l.source == "GPO" {
		return answer{fault: faultGPO}
	}
	h.writes.Add(1)
	h.reg.Delete(listenerKey + `\` + l.address + "+" + l.transport)
	if l.transport == "HTTPS" {
		h.unbind()
	}
	if l.transport == "HTTP" && h.has(PortOpenLie) {
		h.lying = h.doors["HTTP"]
		delete(h.doors, "HTTP")
	}
	if l.transport == "HTTP" && h.has(PortShared) {
		h.shared = h.doors["HTTP"]
		delete(h.doors, "HTTP")
	}
	if l.transport == "HTTP" && h.has(RebootOnDelete) {
		h.after(time.Millisecond, h.reboot)
		return answer{reset: true}
	}
	if l.transport == "HTTP" && h.has(PolicyRefresh) {
		h.after(time.Second, func() {
			h.reg.SetNum(policyKey, "AllowAutoConfig", 1)
			if err := h.reload(); err != nil {
				h.cfg.Log.Error("policy refresh", "host", h.cfg.FQDN, "err", err)
			}
		})
	}
	// The answer is still written over the connection; then the port closes.
	h.after(0, func() {
		if err := h.reload(); err != nil {
			h.cfg.Log.Error("delete listener", "host", h.cfg.FQDN, "err", err)
		}
	})
	if l.transport == "HTTP" && h.has(CutHTTPS) {
		h.cutOff()
		return answer{reset: true}
	}
	return answer{reset: h.has(ResetAfterDelete)}
}

// cutOff drops 5986 from the network: new connections and those that stand.
func (h *Host) cutOff() {
	h.cut = true
	for c, port := range h.connected {
		if port == h.cfg.HTTPSPort {
			c.Close()
		}
	}
}
