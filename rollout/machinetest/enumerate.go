package machinetest

import (
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// object is an instance in XML, and what tells it from others of its resource.
type object struct {
	xml  string
	keys []field
}

// reference is the object's endpoint reference.
func (o object) reference(resource string) string {
	var b strings.Builder
	b.WriteString(`<a:EndpointReference><a:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address><a:ReferenceParameters><w:ResourceURI>` + esc(resource) + `</w:ResourceURI><w:SelectorSet>`)
	for _, k := range o.keys {
		b.WriteString(`<w:Selector Name="` + k.name + `">` + esc(k.value) + `</w:Selector>`)
	}
	b.WriteString(`</w:SelectorSet></a:ReferenceParameters></a:EndpointReference>`)
	return b.String()
}

// choose writes the objects as the mode asks, DSP0226 8.7.
func choose(items []object, mode, resource string) *fault {
	switch mode {
	case "", "EnumerateObject":
	case "EnumerateObjectAndEPR":
		for i, o := range items {
			items[i].xml = "<w:Item>" + o.xml + o.reference(resource) + "</w:Item>"
		}
	case "EnumerateEPR":
		for i, o := range items {
			items[i].xml = o.reference(resource)
		}
	default:
		return &fault{code: 0x80338036, sub: "w:UnsupportedFeature", detail: "EnumerationMode", why: "The enumeration mode is not supported."}
	}
	return nil
}

// enumerate answers items in as many rounds as the envelope's size asks for.
func (h *Host) enumerate(c *call, items []object) answer {
	e := c.body.child("Enumerate")
	if e == nil {
		return answer{fault: faultNoBody}
	}
	if f := choose(items, e.text("EnumerationMode"), c.resource); f != nil {
		return answer{fault: f}
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
		return answer{fault: faultEnumeration}
	}
	delete(h.pulls, id)
	now, ctx, end := h.page(c, items, p.text("MaxElements"))
	if !end {
		ctx = "<n:EnumerationContext>" + ctx + "</n:EnumerationContext>"
	}
	return answer{body: "<n:PullResponse>" + ctx + "<n:Items>" + now + "</n:Items>" + mark(end, "n") + "</n:PullResponse>"}
}

// page takes as many items as fit and keeps the others under a new context.
func (h *Host) page(c *call, items []object, limit string) (now, context string, end bool) {
	most, err := strconv.Atoi(limit)
	if err != nil || most < 1 {
		most = 1
	}
	var b strings.Builder
	n := 0
	for n < len(items) && n < most && (n == 0 || b.Len()+len(items[n].xml) < c.envelope-4096) {
		b.WriteString(items[n].xml)
		n++
	}
	if n == len(items) {
		return b.String(), "", true
	}
	id := uuid.NewString()
	h.pulls[id] = items[n:]
	return b.String(), "uuid:" + id, false
}
