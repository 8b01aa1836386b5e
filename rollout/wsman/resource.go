package wsman

import "strings"

// Resource is something on the host that has a URI, and selectors that pick the instance.
type Resource struct {
	URI       string
	Selectors []Selector
}

// Selector is one key of an instance, such as Transport=HTTPS.
type Selector struct{ Name, Value string }

const (
	configURI = "http://schemas.microsoft.com/wbem/wsman/1/config"
	wmiURI    = "http://schemas.microsoft.com/wbem/wsman/1/wmi/"
)

// Config is a part of winrm/config: listener, service, service/auth. The alias with winrm/ is not allowed on the wire.
func Config(name string, selectors ...Selector) Resource {
	return Resource{URI: strings.TrimSuffix(configURI+"/"+name, "/"), Selectors: selectors}
}

// WMI is a class in a namespace such as root/cimv2; the class * is for WQL.
func WMI(namespace, class string, selectors ...Selector) Resource {
	return Resource{URI: wmiURI + strings.ReplaceAll(namespace, `\`, "/") + "/" + class, Selectors: selectors}
}

// String is the URI with the selectors, for errors and logs.
func (r Resource) String() string {
	s := strings.TrimPrefix(strings.TrimPrefix(r.URI, "http://schemas.microsoft.com/wbem/wsman/1/"), "http://schemas.dmtf.org/wbem/wsman/1/")
	for i, sel := range r.Selectors {
		sep := "+"
		if i == 0 {
			sep = "?"
		}
		s += sep + sel.Name + "=" + sel.Value
	}
	return s
}

// reference reads an endpoint reference: what Create answers and EnumerateObjectAndEPR lists.
func reference(epr *Element) Resource {
	params := epr.Child("ReferenceParameters")
	r := Resource{URI: strings.TrimSpace(params.Value("ResourceURI"))}
	for _, s := range params.Child("SelectorSet").All("Selector") {
		r.Selectors = append(r.Selectors, Selector{s.Attr("Name"), s.Text})
	}
	return r
}

// Reference is the resource that an item of an enumeration with Query.EPR points to, or the end of an association.
func (e *Element) Reference() (Resource, bool) {
	if epr := e.Child("EndpointReference"); epr != nil {
		return reference(epr), true
	}
	return reference(e), e.Child("ReferenceParameters") != nil
}
