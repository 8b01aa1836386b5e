package wsman

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestErrorsReadAsSentences(t *testing.T) {
	cause := errors.New("connection reset by peer")
	for want, err := range map[string]error{
		`connect to host1 (192.0.2.1:5986): connection reset by peer`:                                                     &DialError{"host1", "192.0.2.1:5986", cause},
		`TLS handshake with host1 (192.0.2.1:5986): connection reset by peer`:                                             &TLSError{"host1", "192.0.2.1:5986", cause},
		`host1 does not accept CORP\admin (HTTP 401)`:                                                                     &AuthError{Host: "host1", Principal: `CORP\admin`, Status: 401},
		`host1: connection reset by peer`:                                                                                 &AuthError{Host: "host1", Principal: `CORP\admin`, Err: cause},
		`get config/service on host1: connection reset by peer (after the request was sent)`:                              &TransportError{"host1", "get config/service", cause, true},
		`get config/service on host1: the answer (HTTP 200, "text/html") is not sealed and not believed`:                  &ClearTextError{"host1", "get config/service", 200, "text/html"},
		`identify on host1: HTTP 404`:                                                                                     &ProtocolError{Host: "host1", Op: "identify", Status: 404},
		`a command was started on host1 and its end was not seen: connection reset by peer`:                               &RunError{"host1", cause},
		`delete config/listener?Address=*+Transport=HTTP on host1: fault 0x8033808A: Cannot change it.`:                   &Fault{Host: "host1", Op: "delete " + Config("listener", Selector{"Address", "*"}, Selector{"Transport", "HTTP"}).String(), Code: codeGPOControlled, Message: " Cannot\n change it. "},
		`get wmi/root/cimv2/X on host1: fault n:CannotProcessFilter of WMI Provider: ` + strings.Repeat("x", 500) + `...`: &Fault{Host: "host1", Op: "get " + WMI("root/cimv2", "X").String(), Subcode: "n:CannotProcessFilter", Provider: "WMI Provider", Reason: strings.Repeat("x", 1000)},
	} {
		if err.Error() != want {
			t.Errorf("%s\nwant %s", err, want)
		}
	}
}

func TestHints(t *testing.T) {
	for want, err := range map[string]error{
		"allow Negotiate":  &AuthError{Status: 401, Offered: []string{"Basic", "Digest"}},
		"network":          &AuthError{Status: 401, Offered: []string{"Negotiate"}},
		"no WinRM":         &ProtocolError{Status: 404},
		"stopped":          &ProtocolError{Status: 503},
		"redirects":        &ProtocolError{Status: 302},
		"look before":      &TransportError{Sent: true},
		"proxies":          &ClearTextError{},
		"may still run":    &RunError{Err: errors.New("x")},
		"Group Policy":     &Fault{Code: codeGPOControlled},
		"administrator":    fmt.Errorf("wrapped: %w", &Fault{Subcode: "w:AccessDenied"}),
		"LocalMachine":     &Fault{Code: codeCertNotFound, Outer: codeAccessDenied},
		"expired":          &TLSError{Err: x509.CertificateInvalidError{Reason: x509.Expired}},
		"server authentic": &TLSError{Err: x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}},
	} {
		if h := hint(err); !strings.Contains(h, want) {
			t.Errorf("%v: %q lacks %q", err, h, want)
		}
	}
	for _, err := range []error{&TransportError{}, &AuthError{Err: errors.New("x")}, &Fault{Code: 1}, &DialError{Err: errors.New("x")}} {
		if h := hint(err); h != "" {
			t.Errorf("%v: %q", err, h)
		}
	}
}

func TestOutcomeUnknown(t *testing.T) {
	for err, want := range map[error]bool{
		&TransportError{Sent: true}:                       true,
		&TransportError{}:                                 false,
		&ProtocolError{Sent: true}:                        true,
		&ProtocolError{}:                                  false,
		&ClearTextError{}:                                 true,
		&RunError{Err: &Fault{}}:                          true,
		&Fault{}:                                          false,
		&AuthError{Status: 401}:                           false,
		&DialError{Err: errors.New("x")}:                  false,
		fmt.Errorf("close: %w", &RunError{Err: &Fault{}}): true,
	} {
		if got := OutcomeUnknown(err); got != want {
			t.Errorf("%T %v: %v", err, err, got)
		}
	}
}

func TestFaultsAreToldApart(t *testing.T) {
	tell := func(f *Fault) string {
		var is []string
		for name, yes := range map[string]bool{"not found": f.IsNotFound(), "timed out": f.IsTimedOut(), "exists": f.IsExists(), "gpo": f.IsGPOControlled(), "denied": f.IsAccessDenied(), "selectors": f.IsInvalidSelectors()} {
			if yes {
				is = append(is, name)
			}
		}
		return strings.Join(is, " ")
	}
	for code, want := range map[string]string{
		"2150858752": "not found", "-2144108544": "not found", "0x80338000": "not found", "2150858793": "timed out", "2150858803": "exists", "2150858890": "gpo",
		"5": "denied", "2147942405": "denied", "2150858843": "selectors", "2150858882": "", "": "", "nonsense": "",
	} {
		e, err := Parse([]byte(`<Fault><Detail><WSManFault Code="` + code + `"/></Detail></Fault>`))
		if err != nil {
			t.Fatal(err)
		}
		if got := tell(parseFault(e)); got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
	nested, err := Parse([]byte(`<Fault><Detail><WSManFault Code="2150858817"><Message><ProviderFault provider="Config provider" path="p"><WSManFault Code="2150858882"><Message>inner</Message></WSManFault></ProviderFault></Message></WSManFault></Detail></Fault>`))
	if err != nil {
		t.Fatal(err)
	}
	f := parseFault(nested)
	if f.Code != codeCertNotFound || f.Outer != codeBodyMissing || f.Message != "inner" || f.Provider != "Config provider" || !f.Has(codeBodyMissing) {
		t.Errorf("%+v", f)
	}
}

func TestElement(t *testing.T) {
	e, err := Parse([]byte(`<p:X xmlns:p="u" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:cim="c" a="1">
		<p:Date><cim:Datetime>2026-11-23T02:00:00Z</cim:Datetime></p:Date><p:Many>1</p:Many><p:Many xsi:nil="true"/><p:Many> 2 </p:Many><p:None xsi:nil="true"/><p:Deep><p:Er>x</p:Er></p:Deep></p:X>`))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "X" || e.Space != "u" || e.Attr("a") != "1" || e.Text != "" || e.Value("Date") != "2026-11-23T02:00:00Z" {
		t.Errorf("%+v", e)
	}
	if got := strings.Join(e.Values("Many"), "|"); got != "1| 2 " {
		t.Error(got)
	}
	if !e.Child("None").Nil() || !e.Child("Absent").Nil() || e.Child("Deep").Nil() || e.At("Deep", "Er").Text != "x" || e.At("No", "Er") != nil {
		t.Error("nil or paths")
	}
	e.Set("Deep", "flat")
	e.Set("New", "n")
	e.Remove("Many")
	if e.Value("Deep") != "flat" || e.Value("New") != "n" || len(e.All("Many")) != 0 || len(e.Children) != 4 {
		t.Errorf("%+v", e)
	}
	var none *Element
	if none.Value("x") != "" || none.Child("x") != nil || none.Attr("x") != "" || none.All("x") != nil || none.Values("x") != nil {
		t.Error("an absent element")
	}
	for _, bad := range []string{"", "x", "<a>", "<a></b>", "<a/><b/>", strings.Repeat("<a>", 65) + strings.Repeat("</a>", 65), `<!DOCTYPE a><a/>`, `<a>&x;</a>`} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%.20q was parsed", bad)
		}
	}
	if _, err := Parse([]byte("<a>" + strings.Repeat("<b/>", maxElements) + "</a>")); err == nil {
		t.Error("too many elements were parsed")
	}
}
