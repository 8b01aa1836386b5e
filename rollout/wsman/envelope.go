package wsman

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Actions of WS-Transfer and WS-Enumeration.
const (
	actionGet       = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Get"
	actionPut       = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Put"
	actionCreate    = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Create"
	actionDelete    = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Delete"
	actionEnumerate = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate"
	actionPull      = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Pull"
	actionRelease   = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Release"
)

// maxEnvelopeSize suits every Windows: the service's limit is 150 KiB on 2008 R2 and 500 KiB later.
const maxEnvelopeSize = 150 << 10

// envelope is a request of ours.
type envelope struct {
	action    string
	to        string
	resource  Resource
	messageID string
	sessionID string
	timeout   string // xs:duration
	locale    string
	body      string // XML
}

// String has the shape that pypsrp sends and Windows accepts.
func (e envelope) String() string {
	var b strings.Builder
	w := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
	}
	w(`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"`,
		` xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:m="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"`,
		` xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration"><s:Header>`)
	w(`<a:Action s:mustUnderstand="true">`, escape(e.action), `</a:Action>`)
	w(`<a:To>`, escape(e.to), `</a:To>`)
	w(`<w:ResourceURI s:mustUnderstand="true">`, escape(e.resource.URI), `</w:ResourceURI>`)
	w(`<a:MessageID>`, escape(e.messageID), `</a:MessageID>`)
	w(`<a:ReplyTo><a:Address s:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>`)
	w(`<w:MaxEnvelopeSize s:mustUnderstand="true">`, strconv.Itoa(maxEnvelopeSize), `</w:MaxEnvelopeSize>`)
	w(`<w:OperationTimeout>`, escape(e.timeout), `</w:OperationTimeout>`)
	w(`<w:Locale s:mustUnderstand="false" xml:lang="`, escape(e.locale), `"/><m:DataLocale s:mustUnderstand="false" xml:lang="`, escape(e.locale), `"/>`)
	w(`<m:SessionId s:mustUnderstand="false">`, escape(e.sessionID), `</m:SessionId>`)
	if len(e.resource.Selectors) > 0 {
		w(`<w:SelectorSet>`)
		for _, s := range e.resource.Selectors {
			w(`<w:Selector Name="`, escape(s.Name), `">`, escape(s.Value), `</w:Selector>`)
		}
		w(`</w:SelectorSet>`)
	}
	w(`</s:Header><s:Body>`, e.body, `</s:Body></s:Envelope>`)
	return b.String()
}

// instance writes e as an instance of the resource: all names are in the namespace that is the resource's URI, and
// attributes such as xml:lang and Source, which the host adds, are left out.
func instance(uri string, e *Element) string {
	var b strings.Builder
	writeElement(&b, e, ` xmlns:p="`+escape(uri)+`"`)
	return b.String()
}

func writeElement(b *strings.Builder, e *Element, declaration string) {
	b.WriteString("<p:" + e.Name + declaration)
	if e.Nil() {
		b.WriteString(` xmlns:xsi="` + xsiNamespace + `" xsi:nil="true"/>`)
		return
	}
	b.WriteByte('>')
	if len(e.Children) == 0 {
		b.WriteString(escape(e.Text))
	}
	for _, c := range e.Children {
		writeElement(b, c, "")
	}
	b.WriteString("</p:" + e.Name + ">")
}

// validNames tells if all names of e can be written: they come from hosts and from callers.
func validNames(e *Element) bool {
	if !isName(e.Name) {
		return false
	}
	for _, c := range e.Children {
		if !validNames(c) {
			return false
		}
	}
	return true
}

// isName tells if s is an XML name as WMI and WinRM use them.
func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > utf8.RuneSelf && r != utf8.RuneError
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '-' || r == '.')) {
			return false
		}
	}
	return s != ""
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "\r", "&#xD;", "\n", "&#xA;", "\t", "&#x9;")

// escape makes s safe as text and attribute. Characters that XML cannot hold become U+FFFD.
func escape(s string) string {
	return escaper.Replace(strings.Map(func(r rune) rune {
		if isXMLChar(r) {
			return r
		}
		return utf8.RuneError
	}, s))
}

// isXMLChar is the production Char of XML 1.0.
func isXMLChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}
