package machinetest

import "fmt"

// fault is a SOAP fault with WinRM's detail, in one of the forms that Windows has:
// plain, with the provider's own fault inside, or a CIM error.
type fault struct {
	code            uint32
	value, sub, why string
	detail          string   // the last part of FaultDetail's URI, if there is one
	by              provider // whose fault is inside
	inside, query   string   // what the provider says, and what it was asked, when that differs from why
	cim             bool     // an MSFT_WmiError instead
}

// provider is a plug-in of the service that answers with faults of its own.
type provider struct{ name, path string }

var (
	configProvider = provider{"Config provider", `%systemroot%\system32\WsmSvc.dll`}
	shellProvider  = provider{"Shell provider", `%systemroot%\system32\WsmSvc.dll`}
	wmiProvider    = provider{"WMI Provider", `%systemroot%\system32\WsmWmiPl.dll`}
)

// The faults, with the codes of wsmerror.h.
var (
	faultNotFound      = &fault{code: 0x80338000, sub: "a:DestinationUnreachable", why: "The WS-Management service cannot process the request. The resource URI and selectors do not match a resource."}
	faultAccessDenied  = &fault{code: 5, sub: "w:AccessDenied", why: "Access is denied."}
	faultTimedOut      = &fault{code: 0x80338029, value: "s:Receiver", sub: "w:TimedOut", why: "The WS-Management service cannot complete the operation within the time specified in OperationTimeout. "}
	faultExists        = &fault{code: 0x80338033, sub: "w:AlreadyExists", why: "The WS-Management service cannot create the resource because it already exists."}
	faultNoBody        = &fault{code: 0x80338041, sub: "w:SchemaValidationError", why: "The WS-Management service cannot process the request. The body element is missing."}
	faultNoShell       = &fault{code: 0x8033805B, sub: "w:InvalidSelectors", detail: "UnexpectedSelectors", by: shellProvider, why: "The WS-Management service cannot process the request because the request contained invalid selectors for the resource."}
	faultSelectors     = &fault{code: 0x8033805B, sub: "w:InvalidSelectors", detail: "UnexpectedSelectors", by: configProvider, why: "The WS-Management service cannot process the request because the request contained invalid selectors for the resource."}
	faultFilter        = &fault{code: 0x8033801A, sub: "n:CannotProcessFilter", by: wmiProvider, why: "The data source could not process the filter. The filter might be missing or it might be invalid. Change the filter and try the request again. "}
	faultEnumeration   = &fault{code: 0x80338031, sub: "n:InvalidEnumerationContext", why: "The supplied enumeration context is invalid."}
	faultNoCert        = &fault{code: 0x80338082, sub: "w:InvalidParameter", why: "The WS-Management service cannot find the certificate that was requested."}
	faultGPO           = &fault{code: 0x8033808A, sub: "w:InternalError", value: "s:Receiver", why: "Cannot change GPO controlled setting."}
	faultReadOnly      = &fault{code: 0x80070057, sub: "w:InvalidParameter", why: "This setting cannot be changed on the simulated computer."}
	faultThumbBlank    = &fault{code: 0x803380E7, sub: "w:InvalidParameter", why: "The CertificateThumbprint property must not be blank."}
	faultPortOwned     = &fault{code: 0x803380E8, sub: "w:InvalidParameter", why: "The SSL configuration of the IP and port is owned by another service."}
	faultNameMismatch  = &fault{code: 0x803380E9, sub: "w:InvalidParameter", why: "The certificate CN and the hostname that were provided do not match."}
	faultThumbForHTTP  = &fault{code: 0x803380EB, sub: "w:InvalidParameter", why: "A certificate thumbprint was given for an HTTP listener."}
	faultKeysChanged   = &fault{code: 0x803380ED, sub: "w:InvalidParameter", why: "The input XML changes the keys of the resource."}
	faultNoServerAuth  = &fault{code: 0x803380EE, sub: "w:InvalidParameter", why: "The certificate is not for server authentication."}
	faultDiskFull      = &fault{code: 0x80070070, sub: "w:InternalError", value: "s:Receiver", why: "There is not enough space on the disk. "}
	faultQuota         = &fault{code: 0x803381A5, sub: "w:QuotaLimit", cim: true, why: "The WS-Management service cannot process the request. The maximum number of concurrent shells for this user has been exceeded."}
	faultUnknownAction = &fault{code: 0x80338013, sub: "a:ActionNotSupported", why: "The action is not supported by the service."}
	faultEnvelope      = &fault{code: 0x80338048, sub: "w:EncodingLimit", why: "The response that the WS-Management service computed exceeds the maximum envelope size in the request."}
	faultBadXML        = &fault{code: 0x80338040, sub: "w:SchemaValidationError", why: "The request is not well-formed."}
)

// filterFault is the WMI provider's about a query.
func filterFault(why, query string) *fault {
	f := *faultFilter
	f.inside, f.query = why, query
	return &f
}

const (
	nsFault = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
	nsXSI   = "http://www.w3.org/2001/XMLSchema-instance"
	nsCIM   = "http://schemas.dmtf.org/wbem/wscim/1/common"
)

func (h *Host) faultBody(f *fault) string {
	value, detail := f.value, ""
	if value == "" {
		value = "s:Sender"
	}
	if f.detail != "" {
		detail = "<w:FaultDetail>http://schemas.dmtf.org/wbem/wsman/1/wsman/faultDetail/" + f.detail + "</w:FaultDetail>"
	}
	if f.cim {
		detail += wmiError(f)
	} else {
		detail += h.wsmanFault(f)
	}
	return fmt.Sprintf(`<s:Fault><s:Code><s:Value>%s</s:Value><s:Subcode><s:Value>%s</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">%s </s:Text></s:Reason><s:Detail>%s</s:Detail></s:Fault>`,
		value, f.sub, esc(f.why), detail)
}

func (h *Host) wsmanFault(f *fault) string {
	outer := fmt.Sprintf(`<f:WSManFault xmlns:f="%s" Code="%d" Machine="%s"><f:Message>`, nsFault, f.code, h.netBIOS())
	const end = "</f:Message></f:WSManFault>"
	if f.by.name == "" {
		return outer + esc(f.why) + " " + end
	}
	inside := f.inside
	if inside == "" {
		inside = f.why
	}
	extended := ""
	if f.query != "" {
		extended = fmt.Sprintf(`<f:ExtendedError><p:__ExtendedStatus xmlns:p="%sroot/cimv2/__ExtendedStatus" xmlns:cim="%s" xmlns:xsi="%s" xsi:type="p:__ExtendedStatus_Type"><p:Description xsi:nil="true"/><p:Operation>ExecQuery</p:Operation><p:ParameterInfo>%s</p:ParameterInfo><p:ProviderName>WinMgmt</p:ProviderName><p:StatusCode xsi:nil="true"/></p:__ExtendedStatus></f:ExtendedError>`,
			nsWMI, nsCIM, nsXSI, esc(f.query))
	}
	return outer + `<f:ProviderFault provider="` + f.by.name + `" path="` + f.by.path + `">` + outer + esc(inside) + " " + end + extended + "</f:ProviderFault>" + end
}

// wmiError is the detail that Windows Server 2012 and later have for errors of CIM.
func wmiError(f *fault) string {
	null := func(name, typ string) string { return `<p:` + name + ` xsi:type="cim:` + typ + `" xsi:nil="true"/>` }
	num := func(name, typ string, n uint32) string {
		return fmt.Sprintf(`<p:%s xsi:type="cim:%s">%d</p:%[1]s>`, name, typ, n)
	}
	text := func(name, s string) string {
		return `<p:` + name + ` xsi:type="cim:cimString">` + esc(s) + `</p:` + name + `>`
	}
	return `<p:MSFT_WmiError b:IsCIM_Error="true" xmlns:b="http://schemas.dmtf.org/wbem/wsman/1/cimbinding.xsd" xmlns:cim="` + nsCIM +
		`" xmlns:p="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/MSFT_WmiError" xsi:type="p:MSFT_WmiError_Type" xmlns:xsi="` + nsXSI + `">` +
		num("CIMStatusCode", "cimUnsignedInt", 27) + null("CIMStatusCodeDescription", "cimString") + null("ErrorSource", "cimString") +
		num("ErrorSourceFormat", "cimUnsignedShort", 0) + num("ErrorType", "cimUnsignedShort", 0) + text("Message", f.why+" ") +
		text("MessageID", fmt.Sprintf("HRESULT 0x%08x", f.code)) + null("OtherErrorSourceFormat", "cimString") + null("OtherErrorType", "cimString") +
		null("OwningEntity", "cimString") + num("PerceivedSeverity", "cimUnsignedShort", 0) + num("ProbableCause", "cimUnsignedShort", 0) +
		null("ProbableCauseDescription", "cimString") + num("error_Category", "cimUnsignedInt", 30) + num("error_Code", "cimUnsignedInt", f.code) +
		text("error_Type", "HRESULT") + text("error_WindowsErrorMessage", f.why+" ") + `</p:MSFT_WmiError>`
}
