package machinetest

import (
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
	"time"

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

// raw is the element's own text, blanks included.
func (n *node) raw() string {
	if n == nil {
		return ""
	}
	return n.Text
}

func (n *node) attr(name string) string {
	if n == nil {
		return ""
	}
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
	timeout                     time.Duration     // OperationTimeout
	body                        *node
	session                     *session
}

// answer is what a call comes to: a body, or a fault.
type answer struct {
	action string // of the answer; the call's with Response when empty
	body   string
	fault  *fault
	reset  bool // the connection is cut instead
	// wait holds back a fault until there is news, or the operation's time is over.
	wait <-chan struct{}
}

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
		return 200, identify("OS: " + h.cfg.Release.Version + " SP: 0.0 Stack: 3.0"), false
	}
	c := h.readCall(s, env.child("Header"), body)
	a := h.execute(c)
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

// execute does what is asked, and waits where WinRM waits.
func (h *Host) execute(c *call) answer {
	over := time.NewTimer(c.timeout)
	defer over.Stop()
	for {
		h.mu.Lock()
		a := h.dispatch(c)
		h.mu.Unlock()
		if a.wait == nil {
			return a
		}
		select {
		case <-a.wait:
		case <-over.C:
			return a
		case <-c.session.gone:
			return answer{reset: true}
		}
	}
}

func (h *Host) readCall(s *session, header, body *node) *call {
	c := &call{action: header.text("Action"), resource: header.text("ResourceURI"), messageID: header.text("MessageID"),
		selectors: map[string]string{}, envelope: h.cfg.MaxEnvelope, timeout: time.Minute, body: body, session: s}
	if d, ok := parseISO(header.text("OperationTimeout")); ok && d > 0 {
		c.timeout = min(d, c.timeout) // MaxTimeoutms
	}
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
		switch a.fault.sub[:2] {
		case "a:":
			action = "http://schemas.xmlsoap.org/ws/2004/08/addressing/fault"
		case "n:":
			action = nsEnum + "/fault"
		}
	}
	return envelopeHead + "<s:Header><a:Action>" + action + "</a:Action><a:MessageID>uuid:" + strings.ToUpper(uuid.NewString()) +
		"</a:MessageID><a:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:To><a:RelatesTo>" + esc(c.messageID) +
		"</a:RelatesTo></s:Header><s:Body>" + body + "</s:Body></s:Envelope>"
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
