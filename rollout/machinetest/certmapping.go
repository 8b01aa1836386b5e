package machinetest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// mapping is winrm/config/service/certmapping: which local account the owners of some certificates are, [MS-WSMV] 2.2.4.3.
type mapping struct {
	uri, subject, issuer string // the selectors
	user, password       string
	enabled              bool
}

const (
	mappingResource = "/service/certmapping"
	mutualScheme    = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"
	// negotiateCertificate in a binding's DefaultFlags has http.sys ask for a certificate in the handshake itself.
	negotiateCertificate = 0x2
)

// mappingCall is [MS-WSMV] 3.1.4.1.29.3.
func (h *Host) mappingCall(c *call, verb string) answer {
	if verb == "Enumerate" {
		var items []object
		for _, m := range h.mappings {
			items = append(items, object{m.xml(), []field{{"URI", m.uri}, {"Subject", m.subject}, {"Issuer", m.issuer}}})
		}
		return h.enumerate(c, items)
	}
	key := mapping{uri: c.selectors["uri"], subject: c.selectors["subject"], issuer: strings.ToUpper(c.selectors["issuer"]), enabled: true}
	if !key.valid() {
		return answer{fault: faultSelectors}
	}
	i := slices.IndexFunc(h.mappings, func(m mapping) bool { return m.uri == key.uri && m.subject == key.subject && m.issuer == key.issuer })
	switch {
	case verb == "Create" && i >= 0:
		return answer{fault: faultExists}
	case verb != "Create" && i < 0:
		return answer{fault: faultNotFound}
	}
	switch verb {
	case "Get":
		return answer{body: h.mappings[i].xml()}
	case "Create":
		return h.writeMapping(c, key, func(m mapping) string {
			h.mappings = append(h.mappings, m)
			return `<x:ResourceCreated><a:Address>http://` + h.cfg.FQDN + `/wsman</a:Address><a:ReferenceParameters><w:ResourceURI>` + nsConfig + mappingResource + `</w:ResourceURI><w:SelectorSet><w:Selector Name="URI">` + esc(m.uri) +
				`</w:Selector><w:Selector Name="Subject">` + esc(m.subject) + `</w:Selector><w:Selector Name="Issuer">` + m.issuer + `</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>`
		})
	case "Put":
		return h.writeMapping(c, h.mappings[i], func(m mapping) string {
			h.mappings[i] = m
			return m.xml()
		})
	case "Delete":
		h.writes.Add(1)
		h.mappings = slices.Delete(h.mappings, i, i+1)
		return answer{}
	}
	return answer{fault: faultUnknownAction}
}

var issuerThumb = regexp.MustCompile(`^[0-9A-F]{40}$`)

// valid are the rules for the selectors: at most one asterisk, at the URI's end, at either end of the subject.
func (m mapping) valid() bool {
	inner := strings.TrimSuffix(strings.TrimPrefix(m.subject, "*"), "*")
	return m.uri != "" && !strings.ContainsAny(m.uri, " \t\r\n?") && !strings.Contains(strings.TrimSuffix(m.uri, "*"), "*") &&
		m.subject != "" && !strings.Contains(inner, "*") && len(m.subject)-len(inner) <= 1 && issuerThumb.MatchString(m.issuer)
}

// writeMapping takes what a Create or Put says of the account.
func (h *Host) writeMapping(c *call, m mapping, write func(mapping) string) answer {
	in := c.body.child("CertMapping")
	if in == nil {
		return answer{fault: faultNoBody}
	}
	for i := range in.Nodes {
		v := strings.TrimSpace(in.Nodes[i].Text)
		switch name := in.Nodes[i].XMLName.Local; {
		case name == "UserName":
			m.user = v
		case name == "Password":
			m.password = v
		case name == "Enabled":
			m.enabled = v == "true"
		case name == "URI" && v == m.uri, name == "Subject" && v == m.subject, name == "Issuer" && strings.EqualFold(v, m.issuer):
		case name == "URI", name == "Subject", name == "Issuer":
			return answer{fault: faultKeysChanged}
		default:
			return answer{fault: inner(faultBadXML)}
		}
	}
	if h.has(DiskFull) {
		return answer{fault: inner(faultDiskFull)}
	}
	h.writes.Add(1)
	return answer{body: write(m)}
}

// xml never has the password.
func (m mapping) xml() string {
	enabled := "false"
	if m.enabled {
		enabled = "true"
	}
	return `<cfg:CertMapping xmlns:cfg="` + nsConfig + mappingResource + `" xml:lang="en-US"><cfg:URI>` + esc(m.uri) + `</cfg:URI><cfg:Subject>` + esc(m.subject) +
		`</cfg:Subject><cfg:Issuer>` + m.issuer + `</cfg:Issuer><cfg:UserName>` + esc(m.user) + `</cfg:UserName><cfg:Enabled>` + enabled + `</cfg:Enabled><cfg:Password/></cfg:CertMapping>`
}

// asksForCertificate tells if a handshake has to bring the client's certificate. http.sys asks for it when WinRM wants it: in
// TLS 1.2 by renegotiation, which crypto/tls does not have as a server, so here it asks at once; in TLS 1.3 by an
// authentication after the handshake, which hardly any client has, so here nobody is asked unless the binding says so.
func (h *Host) asksForCertificate(hello *tls.ClientHelloInfo) bool {
	flags, _ := h.reg.Num(bindingPath(h.cfg.HTTPSPort), "DefaultFlags")
	if flags&negotiateCertificate != 0 {
		return true
	}
	on, _ := h.effective(setting("Certificate"))
	return on == "true" && !slices.Contains(hello.SupportedVersions, tls.VersionTLS13)
}

// mutual logs on the owner of the TLS certificate. It answers false when it has answered the request.
func (h *Host) mutual(w http.ResponseWriter, r *http.Request, s *session) bool {
	if !h.enabled("Certificate") || r.TLS == nil {
		h.unauthorized(w, "")
		return false
	}
	if len(r.TLS.PeerCertificates) == 0 && r.TLS.Version == tls.VersionTLS13 {
		// The client cannot be asked any more, and the connection ends.
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close()
		}
		return false
	}
	user := h.mapped(r.TLS.PeerCertificates)
	if user == "" {
		h.unauthorized(w, "")
		return false
	}
	s.basic = user
	return true
}

// mapped is the account that a certificate is mapped to, if its chain is good and the account's password is still the one
// that was stored.
func (h *Host) mapped(presented []*x509.Certificate) string {
	if len(presented) == 0 {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	options := x509.VerifyOptions{Roots: h.store(rootKey), Intermediates: h.store(caKey), CurrentTime: h.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, c := range presented[1:] {
		options.Intermediates.AddCert(c)
	}
	chains, err := presented[0].Verify(options)
	if err != nil || len(chains[0]) < 2 {
		h.cfg.Log.Debug("client certificate refused", "host", h.cfg.FQDN, "err", err)
		return ""
	}
	name, issuer := upn(presented[0]), thumbprint(chains[0][1].Raw)
	for _, m := range h.mappings {
		if m.enabled && m.issuer == issuer && m.matches(name) && h.cfg.Directory.Check(m.user, m.password) {
			return m.user
		}
	}
	return ""
}

func (m mapping) matches(name string) bool {
	have, want := strings.ToLower(name), strings.ToLower(m.subject)
	switch {
	case name == "":
		return false
	case strings.HasPrefix(want, "*"):
		return strings.HasSuffix(have, want[1:])
	case strings.HasSuffix(want, "*"):
		return strings.HasPrefix(have, want[:len(want)-1])
	}
	return have == want
}

func (h *Host) store(key string) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, name := range h.reg.Keys(key) {
		blob, _ := h.reg.Get(key+`\`+name, "Blob")
		if c, err := x509.ParseCertificate(derOf(blob.Data)); err == nil {
			pool.AddCert(c)
		}
	}
	return pool
}

const rootKey = `SOFTWARE\Microsoft\SystemCertificates\Root\Certificates`

// InstallRoot puts a certificate among the computer's roots, as Group Policy does.
func (h *Host) InstallRoot(der []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reg.Set(rootKey+`\`+thumbprint(der), Value{Name: "Blob", Type: Binary, Data: blobOf(der, "", false)})
}

// MapCertificate does what an administrator does on the computer itself to let a certificate in: the switch in service/auth, and
// the entry for everybody whom the issuer has certified under that name.
func (h *Host) MapCertificate(issuer []byte, subject, user, password string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reg.SetNum(serviceKey, "auth_certificate", 1)
	h.mappings = append(h.mappings, mapping{uri: "*", subject: subject, issuer: thumbprint(issuer), user: user, password: password, enabled: true})
}

// upn is the user principal name in a certificate, [MS-WCCE] 2.2.2.7.7.5. It is looked for by its bytes.
func upn(c *x509.Certificate) string {
	mark, _ := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}) // it can be written
	for _, e := range c.Extensions {
		if _, after, ok := strings.Cut(string(e.Value), string(mark)); ok && e.Id.String() == "2.5.29.17" {
			var explicit, text asn1.RawValue
			if _, err := asn1.Unmarshal([]byte(after), &explicit); err != nil {
				return ""
			}
			if _, err := asn1.Unmarshal(explicit.Bytes, &text); err != nil {
				return ""
			}
			return string(text.Bytes)
		}
	}
	return ""
}
