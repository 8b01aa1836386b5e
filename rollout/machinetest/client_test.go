package machinetest

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wavelock/ldapdisco/logon/logontest"
)

// client speaks SOAP to a computer past HTTP and logon: for its rules, not for its doors.
type client struct {
	t        testing.TB
	h        *Host
	user     string // admin when empty
	envelope int    // MaxEnvelopeSize, 153600 when 0
}

// as is a connection on which the account is logged on.
func as(user string) *session { return &session{basic: user, accept: &logontest.Conn{}} }

const nsTransfer = "http://schemas.xmlsoap.org/ws/2004/09/"

// raw sends one envelope and answers HTTP's status and the text.
func (c client) raw(action, uri string, selectors map[string]string, body string) (int, string) {
	c.t.Helper()
	if !strings.Contains(action, "://") {
		action = nsTransfer + action
	}
	set := ""
	for _, k := range slices.Sorted(maps.Keys(selectors)) {
		set += `<w:Selector Name="` + k + `">` + esc(selectors[k]) + `</w:Selector>`
	}
	if set != "" {
		set = "<w:SelectorSet>" + set + "</w:SelectorSet>"
	}
	size := c.envelope
	if size == 0 {
		size = 153600
	}
	user := c.user
	if user == "" {
		user = "admin"
	}
	env := `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:n="` + nsEnum + `" xmlns:rsp="` + nsShell + `"><s:Header>` +
		`<a:To>http://` + testFQDN + `:5985/wsman</a:To><a:Action s:mustUnderstand="true">` + action + `</a:Action><w:ResourceURI s:mustUnderstand="true">` + uri + `</w:ResourceURI><a:MessageID>uuid:1</a:MessageID>` +
		`<w:MaxEnvelopeSize s:mustUnderstand="true">` + strconv.Itoa(size) + `</w:MaxEnvelopeSize>` + set + `</s:Header><s:Body>` + body + `</s:Body></s:Envelope>`
	status, out, reset := c.h.soap(as(user), []byte(env))
	if reset {
		c.t.Fatalf("%s %s: the connection was reset", action, uri)
	}
	return status, out
}

// call answers the body, or the code of the fault.
func (c client) call(action, uri string, selectors map[string]string, body string) (*node, uint32) {
	c.t.Helper()
	status, out := c.raw(action, uri, selectors, body)
	var env node
	if err := xml.Unmarshal([]byte(out), &env); err != nil {
		c.t.Fatalf("%s %s: %v in %s", action, uri, err, out)
	}
	got := env.child("Body")
	f := got.child("Fault")
	if (f == nil) != (status == 200) {
		c.t.Fatalf("%s %s: status %d with %s", action, uri, status, out)
	}
	if f == nil {
		return got, 0
	}
	return got, codeOf(f.child("Detail"))
}

// codeOf is the code of a fault's detail, of either generation.
func codeOf(d *node) uint32 {
	text := d.child("WSManFault").attr("Code")
	if e := d.child("MSFT_WmiError"); e != nil {
		text = e.text("error_Code")
	}
	n, _ := strconv.ParseUint(text, 10, 32)
	return uint32(n)
}

func (c client) must(action, uri string, selectors map[string]string, body string) *node {
	c.t.Helper()
	n, code := c.call(action, uri, selectors, body)
	if code != 0 {
		c.t.Fatalf("%s %s: fault 0x%08x", action, uri, code)
	}
	return n
}

// fails asks for a fault with the code.
func (c client) fails(want uint32, action, uri string, selectors map[string]string, body string) {
	c.t.Helper()
	if _, code := c.call(action, uri, selectors, body); code != want {
		c.t.Errorf("%s %s: 0x%08x, want 0x%08x", action, uri, code, want)
	}
}

const enumerateBody = `<n:Enumerate><w:OptimizeEnumeration/><w:MaxElements>32000</w:MaxElements>%s</n:Enumerate>`

// list enumerates, and pulls until the end.
func (c client) list(uri, filter string) []node {
	c.t.Helper()
	if filter != "" {
		filter = `<w:Filter Dialect="http://schemas.microsoft.com/wbem/wsman/1/WQL">` + esc(filter) + `</w:Filter>`
	}
	resp := c.must("enumeration/Enumerate", uri, nil, fmt.Sprintf(enumerateBody, filter)).child("EnumerateResponse")
	var all []node
	for {
		if items := resp.child("Items"); items != nil {
			all = append(all, items.Nodes...)
		}
		if resp.child("EndOfSequence") != nil {
			return all
		}
		resp = c.must("enumeration/Pull", uri, nil, `<n:Pull><n:EnumerationContext>`+resp.text("EnumerationContext")+`</n:EnumerationContext><n:MaxElements>32000</n:MaxElements></n:Pull>`).child("PullResponse")
	}
}

// ran is what a command line came to.
type ran struct {
	code           int
	stdout, stderr string
}

// cmd runs one line in a shell of its own.
func (c client) cmd(line string) ran {
	c.t.Helper()
	uri := nsShell + "/cmd"
	created := c.must("transfer/Create", uri, nil, `<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>`)
	sel := map[string]string{"ShellId": created.child("Shell").text("ShellId")}
	defer c.must("transfer/Delete", uri, sel, "")
	id := c.must(nsShell+"/Command", uri, sel, `<rsp:CommandLine><rsp:Command>`+esc(line)+`</rsp:Command></rsp:CommandLine>`).child("CommandResponse").text("CommandId")
	var r ran
	for {
		resp := c.must(nsShell+"/Receive", uri, sel, `<rsp:Receive><rsp:DesiredStream CommandId="`+id+`">stdout stderr</rsp:DesiredStream></rsp:Receive>`).child("ReceiveResponse")
		for _, n := range resp.Nodes {
			b, err := base64.StdEncoding.DecodeString(n.Text)
			if err != nil {
				continue // the state
			}
			switch n.attr("Name") {
			case "stdout":
				r.stdout += string(b)
			case "stderr":
				r.stderr += string(b)
			}
		}
		if state := resp.child("CommandState"); strings.HasSuffix(state.attr("State"), "/Done") {
			r.code, _ = strconv.Atoi(state.text("ExitCode"))
			return r
		}
	}
}
