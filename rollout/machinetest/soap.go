package machinetest

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// node is an element of a request.
type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Nodes   []node     `xml:",any"`
}

func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	for i := range n.Nodes {
		if n.Nodes[i].XMLName.Local == name {
			return &n.Nodes[i]
		}
	}
	return nil
}

func (n *node) text(name string) string {
	if c := n.child(name); c != nil {
		return strings.TrimSpace(c.Text)
	}
	return ""
}

func (n *node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// call is one request: what, on which resource, by whom.
type call struct {
	action, resource, messageID string
	selectors                   map[string]string // by lower-case name
	envelope                    int               // MaxEnvelopeSize
	body                        *node
	session                     *session
}

// answer is what a call comes to: a body, or a fault.
type answer struct {
	action string // of the answer; the call's with Response when empty
	body   string
	fault  *fault
	reset  bool // the connection is cut instead
}

// fault is a SOAP fault with WinRM's detail.
type fault struct {
	code            uint32
	value, sub, why string
	provider        uint32 // the code inside, when a provider has one of its own
	wmi             uint32 // an MSFT_WmiError instead
}

// The faults, with the codes of wsmerror.h.
var (
	faultNotFound      = &fault{code: 0x80338000, sub: "a:DestinationUnreachable", why: "The WS-Management service cannot process the request. The resource URI and selectors do not match a resource."}
	faultAccessDenied  = &fault{code: 5, sub: "w:AccessDenied", why: "Access is denied."}
	faultTimedOut      = &fault{code: 0x80338029, value: "s:Receiver", sub: "w:TimedOut", why: "The WS-Management service cannot complete the operation within the time specified in OperationTimeout."}
	faultExists        = &fault{code: 0x80338033, sub: "w:AlreadyExists", why: "The WS-Management service cannot create the resource because it already exists."}
	faultNoBody        = &fault{code: 0x80338041, sub: "w:SchemaValidationError", why: "The WS-Management service cannot process the request. The body element is missing."}
	faultNoShell       = &fault{code: 0x8033805B, sub: "w:InvalidSelectors", why: "The request contains invalid selectors for the resource."}
	faultNoCert        = &fault{code: 0x80338082, sub: "w:InvalidParameter", why: "The WS-Management service cannot find the certificate that was requested."}
	faultGPO           = &fault{code: 0x8033808A, sub: "w:InternalError", value: "s:Receiver", why: "Cannot change GPO controlled setting."}
	faultThumbBlank    = &fault{code: 0x803380E7, sub: "w:InvalidParameter", why: "The CertificateThumbprint property must not be blank."}
	faultPortOwned     = &fault{code: 0x803380E8, sub: "w:InvalidParameter", why: "The SSL configuration of the IP and port is owned by another service."}
	faultNameMismatch  = &fault{code: 0x803380E9, sub: "w:InvalidParameter", why: "The certificate CN and the hostname that were provided do not match."}
	faultThumbForHTTP  = &fault{code: 0x803380EB, sub: "w:InvalidParameter", why: "A certificate thumbprint was given for an HTTP listener."}
	faultKeysChanged   = &fault{code: 0x803380ED, sub: "w:InvalidParameter", why: "The input XML changes the keys of the resource."}
	faultNoServerAuth  = &fault{code: 0x803380EE, sub: "w:InvalidParameter", why: "The certificate is not for server authentication."}
	faultQuota         = &fault{code: 0x803381A5, sub: "w:QuotaLimit", why: "The WS-Management service cannot process the request. The maximum number of concurrent shells for this user has been exceeded."}
	faultUnknownAction = &fault{code: 0x80338013, sub: "a:ActionNotSupported", why: "The action is not supported by the service."}
	faultEnvelope      = &fault{code: 0x80338048, sub: "w:EncodingLimit", why: "The response that the WS-Management service computed exceeds the maximum envelope size in the request."}
	faultBadXML        = &fault{code: 0x80338040, sub: "w:SchemaValidationError", why: "The request is not well-formed."}
)

const (
	nsShell = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
	nsEnum  = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
	nsXfer  = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
)

// soap executes one envelope. It answers the HTTP status and the envelope, or
// that the connection is to be cut.
func (h *Host) soap(s *session, in []byte) (status int, out string, reset bool) {
	var env node
	if err := xml.Unmarshal(in, &env); err != nil {
		return 500, h.envelope(&call{}, answer{fault: faultBadXML}), false
	}
	body := env.child("Body")
	if body.child("Identify") != nil {
		return 200, identify("OS: 10.0.20348 SP: 0.0 Stack: 3.0"), false
	}
	c := h.readCall(s, env.child("Header"), body)
	h.mu.Lock()
	a := h.dispatch(c)
	h.mu.Unlock()
	if a.reset {
		return 0, "", true
	}
	text := h.envelope(c, a)
	if len(text) > c.envelope && a.fault == nil {
		a = answer{fault: faultEnvelope}
		text = h.envelope(c, a)
	}
	if a.fault != nil {
		return 500, text, false
	}
	return 200, text, false
}

func (h *Host) readCall(s *session, header, body *node) *call {
	c := &call{action: header.text("Action"), resource: header.text("ResourceURI"), messageID: header.text("MessageID"),
		selectors: map[string]string{}, envelope: h.cfg.MaxEnvelop, body: body, session: s}
	if n, err := strconv.Atoi(header.text("MaxEnvelopeSize")); err == nil && n > 0 {
		c.envelope = min(n, c.envelope)
	}
	if set := header.child("SelectorSet"); set != nil {
		for i := range set.Nodes {
			c.selectors[strings.ToLower(set.Nodes[i].attr("Name"))] = strings.TrimSpace(set.Nodes[i].Text)
		}
	}
	return c
}

// dispatch finds who is responsible for the resource.
func (h *Host) dispatch(c *call) answer {
	name := c.session.user()
	if i := strings.LastIndexByte(name, '\\'); i >= 0 {
		name = name[i+1:]
	}
	if h.has(AccessDenied) || !slices.ContainsFunc(h.cfg.Admins, func(a string) bool { return strings.EqualFold(a, name) }) {
		return answer{fault: faultAccessDenied}
	}
	if strings.HasSuffix(c.action, "/enumeration/Pull") {
		return h.pull(c)
	}
	uri := strings.ToLower(c.resource)
	switch {
	case strings.Contains(uri, "/windows/shell"):
		return h.shellCall(c)
	case strings.Contains(uri, "/wsman/1/config"):
		return h.configCall(c)
	case strings.Contains(uri, "/wsman/1/wmi/"), strings.Contains(uri, "/wscim/1/"):
		return h.wmiCall(c)
	}
	return answer{fault: faultNotFound}
}

const envelopeHead = `<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:x="` + nsXfer +
	`" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp="` + nsShell + `" xmlns:n="` + nsEnum + `" xmlns:e="http://schemas.xmlsoap.org/ws/2004/08/eventing" xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd">`

func (h *Host) envelope(c *call, a answer) string {
	action, body := a.action, a.body
	if action == "" {
		action = c.action + "Response"
	}
	if a.fault != nil {
		action, body = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault", h.faultBody(a.fault)
		if strings.HasPrefix(a.fault.sub, "a:") {
			action = "http://schemas.xmlsoap.org/ws/2004/08/addressing/fault"
		}
	}
	return envelopeHead + "<s:Header><a:Action>" + action + "</a:Action><a:MessageID>uuid:" + strings.ToUpper(uuid.NewString()) +
		"</a:MessageID><a:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:To><a:RelatesTo>" + esc(c.messageID) +
		"</a:RelatesTo></s:Header><s:Body>" + body + "</s:Body></s:Envelope>"
}

func (h *Host) faultBody(f *fault) string {
	value := f.value
	if value == "" {
		value = "s:Sender"
	}
	name := h.netBIOS()
	detail := fmt.Sprintf(`<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="%d" Machine="%s"><f:Message>%s</f:Message></f:WSManFault>`, f.code, name, esc(f.why))
	switch {
	case f.provider != 0:
		detail = fmt.Sprintf(`<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="%d" Machine="%s"><f:Message><f:ProviderFault provider="Config provider" path="%%systemroot%%\system32\WsmSvc.dll"><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="%d" Machine="%s"><f:Message>%s</f:Message></f:WSManFault></f:ProviderFault></f:Message></f:WSManFault>`,
			f.code, name, f.provider, name, esc(f.why))
	case f.wmi != 0:
		detail = fmt.Sprintf(`<p:MSFT_WmiError b:IsCIM_Error="true" xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wmi/root/microsoft/windows/microsoftmanagement/MSFT_WmiError" xmlns:b="http://schemas.dmtf.org/wbem/wsman/1/cimbinding.xsd"><p:error_Code xsi:type="cim:cimUnsignedInt" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common">%d</p:error_Code><p:Message>%s</p:Message></p:MSFT_WmiError>`, f.wmi, esc(f.why))
	}
	return fmt.Sprintf(`<s:Fault><s:Code><s:Value>%s</s:Value><s:Subcode><s:Value>%s</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">%s </s:Text></s:Reason><s:Detail>%s</s:Detail></s:Fault>`,
		value, f.sub, esc(f.why), detail)
}

func identify(version string) string {
	return `<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body><wsmid:IdentifyResponse xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"><wsmid:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd</wsmid:ProtocolVersion><wsmid:ProductVendor>Microsoft Corporation</wsmid:ProductVendor><wsmid:ProductVersion>` + version + `</wsmid:ProductVersion></wsmid:IdentifyResponse></s:Body></s:Envelope>`
}

// esc makes text safe in XML; what XML cannot carry becomes a question mark, as
// [MS-WSMV] has it.
func esc(s string) string {
	var b strings.Builder
	clean := strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return '?'
		}
		return r
	}, s)
	if xml.EscapeText(&b, []byte(clean)) != nil {
		return ""
	}
	return b.String()
}

// enumerate answers items in as many rounds as the envelope's size asks for.
func (h *Host) enumerate(c *call, items []string) answer {
	e := c.body.child("Enumerate")
	if e == nil {
		return answer{fault: faultNoBody}
	}
	if e.child("OptimizeEnumeration") == nil {
		id := uuid.NewString()
		h.pulls[id] = items
		return answer{body: `<n:EnumerateResponse><n:EnumerationContext>uuid:` + id + `</n:EnumerationContext></n:EnumerateResponse>`}
	}
	now, ctx, end := h.page(c, items, e.text("MaxElements"))
	return answer{body: `<n:EnumerateResponse><n:EnumerationContext>` + ctx + `</n:EnumerationContext><w:Items>` + now + `</w:Items>` + mark(end, "w") + `</n:EnumerateResponse>`}
}

func mark(end bool, prefix string) string {
	if end {
		return "<" + prefix + ":EndOfSequence/>"
	}
	return ""
}

func (h *Host) pull(c *call) answer {
	p := c.body.child("Pull")
	if p == nil {
		return answer{fault: faultNoBody}
	}
	id := strings.TrimPrefix(p.text("EnumerationContext"), "uuid:")
	items, ok := h.pulls[id]
	if !ok {
		return answer{fault: &fault{code: 0x80338031, sub: "n:InvalidEnumerationContext", why: "The supplied enumeration context is invalid."}}
	}
	delete(h.pulls, id)
	now, ctx, end := h.page(c, items, p.text("MaxElements"))
	if !end {
		ctx = "<n:EnumerationContext>" + ctx + "</n:EnumerationContext>"
	}
	return answer{body: "<n:PullResponse>" + ctx + "<n:Items>" + now + "</n:Items>" + mark(end, "n") + "</n:PullResponse>"}
}

// page takes as many items as fit and keeps the others under a new context.
func (h *Host) page(c *call, items []string, limit string) (now, context string, end bool) {
	most, err := strconv.Atoi(limit)
	if err != nil || most < 1 {
		most = 1
	}
	var b strings.Builder
	n := 0
	for n < len(items) && n < most && (n == 0 || b.Len()+len(items[n]) < c.envelope-4096) {
		b.WriteString(items[n])
		n++
	}
	if n == len(items) {
		return b.String(), "", true
	}
	id := uuid.NewString()
	h.pulls[id] = items[n:]
	return b.String(), "uuid:" + id, false
}
