package machinetest

import (
	"strconv"
	"strings"
)

// section is a part of winrm/config: its settings in the order in which
// Windows writes them, and the sections inside it.
type section struct {
	name  string
	items []item
}

// item is a setting or, with a section, what is inside.
type item struct {
	name, def     string
	value, policy string // in the registry; a setting without any cannot be changed here
	section       *section
}

var (
	ports       = &section{"DefaultPorts", []item{{name: "HTTP", def: "5985"}, {name: "HTTPS", def: "5986"}}}
	serviceAuth = &section{"Auth", []item{
		{name: "Basic", def: "false", value: "auth_basic", policy: "AllowBasic"},
		{name: "Kerberos", def: "true", value: "auth_kerberos", policy: "AllowKerberos"},
		{name: "Negotiate", def: "true", value: "auth_negotiate", policy: "AllowNegotiate"},
		{name: "Certificate", def: "false", value: "auth_certificate"},
		{name: "CredSSP", def: "false", value: "auth_credssp", policy: "AllowCredSSP"},
		{name: "CbtHardeningLevel", def: "Relaxed", value: "cbt_hardening_level", policy: "CbtHardeningLevel"},
	}}
	serviceConfig = &section{"Service", []item{
		{name: "RootSDDL", def: "O:NSG:BAD:P(A;;GA;;;BA)(A;;GR;;;IU)S:P(AU;FA;GA;;;WD)(AU;SA;GXGW;;;WD)", value: "rootSDDL"},
		{name: "MaxConcurrentOperations", def: "4294967295"}, {name: "MaxConcurrentOperationsPerUser", def: "1500"},
		{name: "EnumerationTimeoutms", def: "240000"}, {name: "MaxConnections", def: "300"}, {name: "MaxPacketRetrievalTimeSeconds", def: "120"},
		{name: "AllowUnencrypted", def: "false", value: "allow_unencrypted", policy: "AllowUnencryptedTraffic"},
		{section: serviceAuth}, {section: ports},
		{name: "IPv4Filter", def: "*", value: "ipv4filter", policy: "IPv4Filter"},
		{name: "IPv6Filter", def: "*", value: "ipv6filter", policy: "IPv6Filter"},
		{name: "EnableCompatibilityHttpListener", def: "false", value: "enable_http_compat", policy: "HttpCompatibilityListener"},
		{name: "EnableCompatibilityHttpsListener", def: "false", value: "enable_https_compat", policy: "HttpsCompatibilityListener"},
		{name: "CertificateThumbprint"},
		{name: "AllowRemoteAccess", def: "true", value: "allow_remote_requests"},
	}}
	clientConfig = &section{"Client", []item{
		{name: "NetworkDelayms", def: "5000"}, {name: "URLPrefix", def: "wsman"}, {name: "AllowUnencrypted", def: "false"},
		{section: &section{"Auth", []item{{name: "Basic", def: "true"}, {name: "Digest", def: "true"}, {name: "Kerberos", def: "true"},
			{name: "Negotiate", def: "true"}, {name: "Certificate", def: "true"}, {name: "CredSSP", def: "false"}}}},
		{section: ports}, {name: "TrustedHosts"},
	}}
	winrsConfig = &section{"Winrs", []item{{name: "AllowRemoteShellAccess", def: "true"}, {name: "IdleTimeout", def: "7200000"},
		{name: "MaxConcurrentUsers", def: "2147483647"}, {name: "MaxShellRunTime", def: "2147483647"}, {name: "MaxProcessesPerShell", def: "2147483647"},
		{name: "MaxMemoryPerShellMB", def: "2147483647"}, {name: "MaxShellsPerUser", def: "2147483647"}}}
	wholeConfig = &section{"Config", []item{{name: "MaxEnvelopeSizekb", def: "500"}, {name: "MaxTimeoutms", def: "60000"}, {name: "MaxBatchItems", def: "32000"},
		{name: "MaxProviderRequests", def: "4294967295"}, {section: clientConfig}, {section: serviceConfig}, {section: winrsConfig}}}
)

// sectionOf finds what a resource below winrm/config names, in lower case.
func sectionOf(resource string) *section {
	s := wholeConfig
	for _, name := range strings.FieldsFunc(resource, func(r rune) bool { return r == '/' }) {
		var next *section
		for _, i := range s.items {
			if i.section != nil && strings.EqualFold(i.section.name, name) {
				next = i.section
			}
		}
		if s = next; s == nil {
			return nil
		}
	}
	return s
}

// setting is one of the service's, by its element's name.
func setting(name string) item {
	for _, s := range []*section{serviceAuth, serviceConfig} {
		for _, i := range s.items {
			if i.name == name {
				return i
			}
		}
	}
	panic("machinetest: no setting " + name)
}

// effective is what counts: a policy, else the registry, else the default.
func (h *Host) effective(i item) (value string, policy bool) {
	if i.policy != "" {
		if v, ok := h.reg.Get(policyKey, i.policy); ok {
			return i.text(v), true
		}
	}
	if i.value != "" {
		if v, ok := h.reg.Get(serviceKey, i.value); ok {
			return i.text(v), false
		}
	}
	if i.name == "MaxEnvelopeSizekb" {
		return strconv.Itoa(h.cfg.MaxEnvelope / 1024), false
	}
	return i.def, false
}

func (i item) text(v Value) string {
	if v.Type == DWORD {
		return strconv.FormatBool(v.Num != 0)
	}
	return v.Text
}

// enabled is a switch of the service.
func (h *Host) enabled(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, _ := h.effective(setting(name))
	return v == "true"
}

// sectionXML writes a section. Read by itself its names are in the resource's
// namespace; inside another they are in that one's.
func (h *Host) sectionXML(s *section, space string, root bool) string {
	var b strings.Builder
	b.WriteString("<cfg:" + s.name)
	switch {
	case root && s == wholeConfig:
		b.WriteString(` xmlns:cfg="` + space + `"`)
	case root:
		b.WriteString(` xmlns:cfg="` + space + `" xml:lang="en-US"`)
	}
	b.WriteString(">")
	for _, i := range s.items {
		if i.section != nil {
			b.WriteString(h.sectionXML(i.section, space, false))
			continue
		}
		v, policy := h.effective(i)
		mark := ""
		if policy {
			mark = ` Source="GPO"`
		}
		b.WriteString("<cfg:" + i.name + mark + ">" + esc(v) + "</cfg:" + i.name + ">")
	}
	b.WriteString("</cfg:" + s.name + ">")
	return b.String()
}

// putSection changes settings. One that a policy sets may be given as it is, and
// not otherwise; nothing is changed when one is refused.
func (h *Host) putSection(c *call, s *section, resource string) answer {
	in := c.body.child(s.name)
	if in == nil {
		return answer{fault: faultNoBody}
	}
	var todo []func()
	if f := h.collect(in, s, &todo); f != nil {
		return answer{fault: inner(f)}
	}
	if h.has(DiskFull) && len(todo) > 0 {
		return answer{fault: inner(faultDiskFull)}
	}
	h.writes.Add(1)
	for _, write := range todo {
		write()
	}
	return answer{body: h.sectionXML(s, nsConfig+resource, true)}
}

// collect judges what a Put holds, and gathers what is to be written.
func (h *Host) collect(in *node, s *section, todo *[]func()) *fault {
	for k := range in.Nodes {
		n := &in.Nodes[k]
		i, ok := s.find(n.XMLName.Local)
		if !ok {
			return faultBadXML
		}
		if i.section != nil {
			if f := h.collect(n, i.section, todo); f != nil {
				return f
			}
			continue
		}
		v := strings.TrimSpace(n.Text)
		have, policy := h.effective(i)
		switch {
		case v == have:
		case policy:
			return faultGPO
		case i.value == "":
			return faultReadOnly
		case (i.def == "true" || i.def == "false") && v != "true" && v != "false":
			return faultBadXML
		case i.def == "true" || i.def == "false":
			*todo = append(*todo, func() { h.reg.SetNum(serviceKey, i.value, map[string]uint32{"true": 1}[v]) })
		default:
			*todo = append(*todo, func() { h.reg.SetText(serviceKey, i.value, v) })
		}
	}
	return nil
}

func (s *section) find(name string) (item, bool) {
	for _, i := range s.items {
		if i.name == name || i.section != nil && i.section.name == name {
			return i, true
		}
	}
	return item{}, false
}
