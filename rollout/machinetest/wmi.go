package machinetest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

const nsWMI = "http://schemas.microsoft.com/wbem/wsman/1/wmi/"

// field is one property of an instance.
type field struct{ name, value string }

// instance is one object of a WMI class.
type instance []field

func (i instance) get(name string) string {
	for _, f := range i {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// datetimes are marked so that they are written as CIM wants them.
const datetimeMark = "\x00dt:"

func datetime(t time.Time) string {
	return datetimeMark + t.Format("2006-01-02T15:04:05.000000-07:00")
}

// wmiCall is the WMI provider, [MS-WSMV] 3.1.4.1.1.
func (h *Host) wmiCall(c *call) answer {
	uri := c.resource[strings.LastIndex(c.resource, "/wsman/1/wmi/")+len("/wsman/1/wmi/"):]
	if strings.Contains(c.resource, "/wscim/1/") {
		uri = c.selectors["__cimnamespace"] + "/" + c.resource[strings.LastIndexByte(c.resource, '/')+1:]
	}
	i := strings.LastIndexByte(uri, '/')
	namespace, class := uri[:max(i, 0)], uri[i+1:]
	verb := c.action[strings.LastIndexByte(c.action, '/')+1:]
	switch {
	case strings.EqualFold(class, "StdRegProv") && (strings.EqualFold(namespace, "root/default") || strings.EqualFold(namespace, "root/cimv2")):
		return h.stdRegProv(c, verb)
	case strings.EqualFold(class, "PS_ScheduledTask") && strings.EqualFold(namespace, "root/Microsoft/Windows/TaskScheduler"):
		return h.scheduledTasks(c, verb)
	case verb == "Enumerate":
		return h.wmiEnumerate(c, namespace, class)
	case verb == "Get":
		for _, in := range h.instances(namespace, class) {
			if in.matches(c.selectors) {
				return answer{body: render(namespace, class, in)}
			}
		}
		return answer{fault: faultNotFound}
	case verb == "Delete" && strings.EqualFold(class, "MSFT_ScheduledTask"):
		path := c.selectors["taskpath"] + c.selectors["taskname"]
		if !h.removeTask(path) {
			return answer{fault: faultNotFound}
		}
		return answer{}
	}
	return answer{fault: faultUnknownAction}
}

// keys are the properties that name an instance of the class.
var keys = map[string][]string{"win32_service": {"Name"}, "win32_computersystem": {"Name"}, "msft_scheduledtask": {"TaskName", "TaskPath"}}

func (i instance) keys(namespace, class string) []field {
	list := []field{{"__cimnamespace", namespace}}
	for _, name := range keys[strings.ToLower(class)] {
		list = append(list, field{name, i.get(name)})
	}
	return list
}

func (i instance) matches(selectors map[string]string) bool {
	for name, v := range selectors {
		if name != "__cimnamespace" && !strings.EqualFold(i.get(name), v) {
			return false
		}
	}
	return true
}

func (h *Host) wmiEnumerate(c *call, namespace, class string) answer {
	e := c.body.child("Enumerate")
	if e == nil {
		return answer{fault: faultNoBody}
	}
	q := query{class: class}
	f := e.child("Filter")
	if f != nil {
		var ok bool
		if q, ok = parseWQL(f.Text); !ok {
			return answer{fault: filterFault("The WQL query is invalid.", f.Text)}
		}
	}
	all := h.instances(namespace, q.class)
	switch {
	case all == nil && f != nil:
		return answer{fault: filterFault("The specified class does not exist in the given namespace.", f.Text)}
	case all == nil:
		return answer{fault: faultNotFound}
	}
	var items []object
	for _, in := range all {
		if !q.accepts(in) {
			continue
		}
		if len(q.columns) > 0 {
			items = append(items, object{fragment(namespace, q.class, in, q.columns), nil})
		} else {
			items = append(items, object{render(namespace, q.class, in), in.keys(namespace, q.class)})
		}
	}
	return h.enumerate(c, items)
}

func fieldXML(f field) string {
	if v, ok := strings.CutPrefix(f.value, datetimeMark); ok {
		return "<p:" + f.name + `><cim:Datetime xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common">` + v + "</cim:Datetime></p:" + f.name + ">"
	}
	if path, ok := strings.CutPrefix(f.value, referenceMark); ok {
		return "<p:" + f.name + ">" + referenceXML(path) + "</p:" + f.name + ">"
	}
	if f.value == "" {
		return "<p:" + f.name + ` xsi:nil="true"/>`
	}
	return "<p:" + f.name + ">" + esc(f.value) + "</p:" + f.name + ">"
}

func render(namespace, class string, in instance) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<p:%s xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:p="%s%s/%s" xsi:type="p:%s_Type" xml:lang="en-US">`, class, nsWMI, namespace, class, class)
	for _, f := range in {
		b.WriteString(fieldXML(f))
	}
	b.WriteString("</p:" + class + ">")
	return b.String()
}

// fragment is the form of an item when the query names columns.
func fragment(namespace, class string, in instance, columns []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<w:XmlFragment xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:p="%s%s/%s">`, nsWMI, namespace, class)
	for _, col := range columns {
		for _, f := range in {
			if strings.EqualFold(f.name, col) {
				b.WriteString(fieldXML(f))
			}
		}
	}
	b.WriteString("</w:XmlFragment>")
	return b.String()
}

// instances of a class; nil when the namespace has no such class.
func (h *Host) instances(namespace, class string) []instance {
	list := classes[strings.ToLower(namespace+"/"+class)]
	if list == nil {
		return nil
	}
	if all := list(h); all != nil {
		return all
	}
	return []instance{}
}

// classes are those that are asked for, in their namespaces.
var classes = map[string]func(*Host) []instance{
	"root/cimv2/win32_computersystem": func(h *Host) []instance {
		name, domain := h.identity()
		role := map[int]string{1: "1", 2: "5", 3: "3"}[h.cfg.Product]
		return []instance{{{"DNSHostName", name}, {"Domain", domain}, {"DomainRole", role}, {"Manufacturer", "Example"}, {"Name", strings.ToUpper(name)}, {"PartOfDomain", "true"}}}
	},
	"root/cimv2/win32_operatingsystem": func(h *Host) []instance {
		return []instance{{{"BuildNumber", h.cfg.Release.Build}, {"Caption", h.cfg.Release.Caption}, {"LastBootUpTime", datetime(h.booted)},
			{"LocalDateTime", datetime(h.now())}, {"OSLanguage", "1033"}, {"ProductType", strconv.Itoa(h.cfg.Product)}, {"Version", h.cfg.Release.Version}}}
	},
	"root/cimv2/win32_service": func(h *Host) (list []instance) {
		for _, s := range h.allServices() {
			list = append(list, instance{{"Name", s.name}, {"StartMode", s.start}, {"State", s.state}})
		}
		return list
	},
	"root/standardcimv2/msft_nettcpconnection":      (*Host).connections,
	"root/cimv2/win32_group":                        (*Host).groups,
	"root/cimv2/win32_groupuser":                    (*Host).members,
	"root/rsop/computer/rsop_gpo":                   (*Host).policyObjects,
	"root/rsop/computer/rsop_registrypolicysetting": (*Host).policySettings,
	"root/microsoft/windows/taskscheduler/msft_scheduledtask": func(h *Host) (list []instance) {
		for _, t := range h.tasks {
			i := strings.LastIndexByte(t.path, '\\')
			state := "3" // ready
			if on := t.def.Settings.Enabled; on != nil && !*on {
				state = "1"
			}
			if t.busy {
				state = "4"
			}
			list = append(list, instance{{"State", state}, {"TaskName", t.path[i+1:]}, {"TaskPath", t.path[:i+1]}, {"URI", t.path}})
		}
		return list
	},
}

// connections are the established ones on WinRM's ports, and one of somebody
// else where that fault is on.
func (h *Host) connections() []instance {
	list := []instance{}
	add := func(local string, port int, remote string, remotePort string) {
		list = append(list, instance{{"CreationTime", datetime(h.now())}, {"LocalAddress", local}, {"LocalPort", strconv.Itoa(port)}, {"OwningProcess", "4"},
			{"RemoteAddress", remote}, {"RemotePort", remotePort}, {"State", "5"}})
	}
	for c, port := range h.connected {
		local, _, _ := net.SplitHostPort(c.LocalAddr().String())
		remote, remotePort, _ := net.SplitHostPort(c.RemoteAddr().String())
		add(local, port, remote, remotePort)
	}
	if h.has(HTTPClient) && h.doors["HTTP"] != nil {
		add(h.cfg.Address, h.cfg.HTTPPort, "127.99.0.7", "50123")
	}
	for _, v := range h.visitors {
		transport, port := "HTTP", h.cfg.HTTPPort
		if v.port == 5986 {
			transport, port = "HTTPS", h.cfg.HTTPSPort
		}
		if h.doors[transport] != nil {
			add(h.cfg.Address, port, v.address, "50999")
		}
	}
	return list
}

// regWrite answers as Windows does: 112 is ERROR_DISK_FULL.
func (h *Host) regWrite(method, path, name string, in *node) int {
	if h.has(DiskFull) {
		return 112
	}
	switch method {
	case "SetStringValue":
		h.reg.SetText(path, name, in.child("sValue").raw())
	case "SetDWORDValue":
		n, err := strconv.ParseUint(in.text("uValue"), 10, 32)
		if err != nil {
			return 1
		}
		h.reg.SetNum(path, name, uint32(n))
	case "CreateKey":
		h.reg.make(path)
	}
	h.writes.Add(1)
	return 0
}

// stdRegProv is the registry over WMI. What goes wrong is in ReturnValue, never a fault.
func (h *Host) stdRegProv(c *call, method string) answer {
	in := c.body.child(method + "_INPUT")
	if in == nil {
		return answer{fault: faultNoBody}
	}
	path, name := in.text("sSubKeyName"), in.text("sValueName")
	var out []field
	code := 0
	switch method {
	case "GetStringValue", "GetExpandedStringValue", "GetDWORDValue", "GetBinaryValue":
		v, ok := h.reg.Get(path, name)
		out, code = valueFields(method, v, ok), missing(ok)
	case "EnumKey":
		for _, k := range h.reg.Keys(path) {
			out = append(out, field{"sNames", k})
		}
		code = missing(h.reg.Exists(path))
	case "EnumValues":
		for _, v := range h.reg.Values(path) {
			out = append(out, field{"sNames", v.Name}, field{"Types", strconv.Itoa(int(v.Type))})
		}
		code = missing(h.reg.Exists(path))
	case "SetStringValue", "SetDWORDValue", "CreateKey":
		code = h.regWrite(method, path, name, in)
	case "DeleteKey":
		h.writes.Add(1)
		switch {
		case len(h.reg.Keys(path)) > 0:
			code = 5
		case !h.reg.Delete(path):
			code = 2
		}
	case "DeleteValue":
		h.writes.Add(1)
		code = missing(h.reg.Unset(path, name))
	default:
		return answer{fault: faultUnknownAction}
	}
	return outputs(c, method, append(out, field{"ReturnValue", strconv.Itoa(code)}))
}

// valueFields are a value as the method that asks for it answers it; bytes are a field each.
func valueFields(method string, v Value, found bool) []field {
	switch {
	case method == "GetBinaryValue":
		var out []field
		for _, b := range v.Data {
			out = append(out, field{"uValue", strconv.Itoa(int(b))})
		}
		return out
	case method != "GetDWORDValue":
		return []field{{"sValue", v.Text}}
	case found:
		return []field{{"uValue", fmt.Sprint(v.Num)}}
	}
	return []field{{"uValue", ""}}
}

func missing(ok bool) int {
	if ok {
		return 0
	}
	return 2
}

func outputs(c *call, method string, fields []field) answer {
	var b strings.Builder
	fmt.Fprintf(&b, `<p:%s_OUTPUT xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:p="%s">`, method, c.resource)
	for _, f := range fields {
		b.WriteString(fieldXML(f))
	}
	b.WriteString("</p:" + method + "_OUTPUT>")
	return answer{action: c.action + "Response", body: b.String()}
}

// scheduledTasks are the static methods of PS_ScheduledTask.
func (h *Host) scheduledTasks(c *call, method string) answer {
	in := c.body.child(method + "_INPUT")
	if in == nil {
		return answer{fault: faultNoBody}
	}
	path := in.text("TaskPath") + in.text("TaskName")
	failed := func(hresult uint32) answer {
		return answer{fault: &fault{code: hresult, value: "s:Receiver", sub: "w:InternalError", why: "The task operation failed.", cim: true}}
	}
	switch method {
	case "RegisterByXml":
		if h.has(DiskFull) {
			return failed(0x80070070)
		}
		h.writes.Add(1)
		if code := h.registerTask(path, in.text("Xml"), in.text("Force") == "true"); code != 0 {
			return failed(code)
		}
		return outputs(c, method, []field{{"ReturnValue", "0"}})
	case "StartByPath":
		h.writes.Add(1)
		if !h.startTask(path) {
			return failed(errNoFile)
		}
		return outputs(c, method, []field{{"ReturnValue", "0"}})
	case "GetInfoByName":
		t := h.tasks[strings.ToLower(path)]
		if t == nil {
			return failed(errNoFile)
		}
		return answer{action: c.action + "Response", body: fmt.Sprintf(`<p:GetInfoByName_OUTPUT xmlns:p="%s" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><p:ReturnValue>0</p:ReturnValue><p:cmdletOutput xmlns:q="%sroot/Microsoft/Windows/TaskScheduler/MSFT_TaskDynamicInfo"><q:LastTaskResult>%d</q:LastTaskResult><q:NumberOfMissedRuns>0</q:NumberOfMissedRuns><q:TaskName>%s</q:TaskName><q:TaskPath>%s</q:TaskPath></p:cmdletOutput></p:GetInfoByName_OUTPUT>`,
			c.resource, nsWMI, t.result, esc(in.text("TaskName")), esc(in.text("TaskPath")))}
	}
	return answer{fault: faultUnknownAction}
}
