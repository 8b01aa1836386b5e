package wsman

import (
	"fmt"
	"strconv"
	"strings"
)

// Fault is the host's refusal to do what was asked. Depend on Code, not on texts: they are in the host's language.
type Fault struct {
	Host, Op string
	Status   int    // of HTTP
	Subcode  string // w:TimedOut, w:AccessDenied; the prefix is the host's own
	Code     uint32 // of the innermost fault that has one: Win32, HRESULT or WS-Man
	Outer    uint32 // of the outermost, when the provider below had more to say
	Reason   string // of SOAP
	Message  string // of the innermost fault
	Detail   string // FaultDetail URI
	Provider string // name of the provider that failed
}

func (f *Fault) Error() string {
	s := fmt.Sprintf("%s on %s: ", f.Op, f.Host)
	if f.Code != 0 {
		s += fmt.Sprintf("fault 0x%08X", f.Code)
	} else {
		s += "fault " + f.Subcode
	}
	if f.Provider != "" {
		s += " of " + f.Provider
	}
	if text := f.text(); text != "" {
		s += ": " + text
	}
	return s
}

func (f *Fault) text() string {
	text := f.Message
	if text == "" {
		text = f.Reason
	}
	return shorten(strings.Join(strings.Fields(text), " "))
}

// shorten keeps a host from filling logs.
func shorten(s string) string {
	const most = 500
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// Has tells if the code is the inner or outer one.
func (f *Fault) Has(code uint32) bool { return f.Code == code || f.Outer == code }

func (f *Fault) subcode(name string) bool {
	_, local, ok := strings.Cut(f.Subcode, ":")
	if !ok {
		local = f.Subcode
	}
	return local == name
}

// Codes of wsmerror.h and winerror.h that the tool acts on.
const (
	codeAccessDenied     = 5
	codeAccessDeniedHR   = 0x80070005
	codeWMIAccessDenied  = 0x80041003
	codeNotFound         = 0x80338000
	codeWMINotFound      = 0x80041002
	codeTimedOut         = 0x80338029
	codeAlreadyExists    = 0x80338033
	codeBodyMissing      = 0x80338041
	codeInvalidSelectors = 0x8033805B
	codeCertNotFound     = 0x80338082
	codeGPOControlled    = 0x8033808A
	codeShellQuota       = 0x803381A5
)

// IsNotFound tells if the resource or instance does not exist.
func (f *Fault) IsNotFound() bool {
	return f.Has(codeNotFound) || f.Has(codeWMINotFound) || f.Code == 0 && f.subcode("DestinationUnreachable")
}

// IsTimedOut tells if the operation had nothing to say within OperationTimeout.
func (f *Fault) IsTimedOut() bool { return f.Has(codeTimedOut) || f.subcode("TimedOut") }

// IsExists tells if a Create met an existing instance.
func (f *Fault) IsExists() bool { return f.Has(codeAlreadyExists) || f.subcode("AlreadyExists") }

// IsGPOControlled tells if Group Policy owns the setting.
func (f *Fault) IsGPOControlled() bool { return f.Has(codeGPOControlled) }

// IsJudgement tells if WS-Management itself refused the request, with a code of wsmerror.h: no lack of rights, room or
// certificate, which would meet the next request as well.
func (f *Fault) IsJudgement() bool {
	return f.Code&0xFFFF0000 == 0x80330000 && !f.IsAccessDenied() && f.Code != codeCertNotFound
}

// IsAccessDenied tells if we are logged on but not allowed.
func (f *Fault) IsAccessDenied() bool {
	return f.Has(codeAccessDenied) || f.Has(codeAccessDeniedHR) || f.Has(codeWMIAccessDenied) || f.subcode("AccessDenied")
}

// IsInvalidSelectors tells if a key was wrong or, for a shell, that it has ended.
func (f *Fault) IsInvalidSelectors() bool {
	return f.Has(codeInvalidSelectors) || f.subcode("InvalidSelectors")
}

// Hint tells an administrator what the code means and what to do.
func (f *Fault) Hint() string {
	if h := faultHints[f.Code]; h != "" {
		return h
	}
	if h := faultHints[f.Outer]; h != "" {
		return h
	}
	if f.IsAccessDenied() {
		return faultHints[codeAccessDenied]
	}
	return ""
}

// parseFault reads the three forms that Windows has: WSManFault, WSManFault with the provider's fault inside, and
// MSFT_WmiError; and SOAP's own.
func parseFault(e *Element) *Fault {
	f := &Fault{
		Subcode: strings.TrimSpace(e.At("Code", "Subcode").Value("Value")),
		Reason:  strings.TrimSpace(e.Child("Reason").Value("Text")),
	}
	if f.Subcode == "" {
		f.Subcode = strings.TrimSpace(e.Child("Code").Value("Value"))
	}
	f.Subcode = shorten(f.Subcode)
	detail := e.Child("Detail")
	f.Detail = strings.TrimSpace(detail.Value("FaultDetail"))
	if w := detail.Child("WSManFault"); w != nil {
		f.Outer = parseCode(w.Attr("Code"))
		f.takeInnermost(w)
	}
	if w := detail.Child("MSFT_WmiError"); w != nil {
		f.Message = strings.TrimSpace(w.Value("Message"))
		f.Code = parseCode(w.Value("error_Code"))
		if _, hresult, ok := strings.Cut(w.Value("MessageID"), "HRESULT "); ok && f.Code == 0 {
			f.Code = parseCode(hresult)
		}
	}
	if f.Outer == f.Code {
		f.Outer = 0
	}
	return f
}

// takeInnermost goes down through Message/ProviderFault/WSManFault; the last one with a code counts.
func (f *Fault) takeInnermost(w *Element) {
	for w != nil {
		message := w.Child("Message")
		if code := parseCode(w.Attr("Code")); code != 0 {
			f.Code = code
		}
		if message != nil && strings.TrimSpace(message.Text) != "" {
			f.Message = strings.TrimSpace(message.Text)
		}
		provider := message.Child("ProviderFault")
		if provider != nil {
			f.Provider = shorten(strings.TrimSpace(provider.Attr("provider")))
			if text := strings.TrimSpace(provider.Text); text != "" {
				f.Message = text
			}
		}
		if w = provider.Child("WSManFault"); w == nil {
			w = message.Child("WSManFault")
		}
	}
}

// parseCode reads decimal, negative decimal and hexadecimal codes.
func parseCode(s string) uint32 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 0, 64)
	if err != nil {
		return 0
	}
	return uint32(n)
}
