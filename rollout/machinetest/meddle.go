package machinetest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const forwardingKey = `SOFTWARE\Policies\Microsoft\Windows\EventLog\EventForwarding\SubscriptionManager`

// meddlings are what a person at the computer, or another program, does to the computer.
var meddlings = map[string]func(*Host){
	// Enable-PSRemoting makes the HTTP listener again.
	"enable-remoting": func(h *Host) {
		h.reg.SetNum(listenerKey+`\*+HTTP`, "Port", uint32(h.cfg.HTTPPort))
		h.reg.SetText(listenerKey+`\*+HTTP`, "uriprefix", "wsman")
	},
	// A policy that makes the HTTP listener is linked, and the computer refreshes its policies.
	"link-policy": func(h *Host) {
		h.faults = append(h.faults, GPOListener)
		h.linkPolicy()
	},
	// The HTTPS listener is deleted, with its binding in http.sys.
	"drop-https": func(h *Host) {
		h.reg.Delete(listenerKey + `\*+HTTPS`)
		h.reg.Delete(fmt.Sprintf(`%s\0.0.0.0:%d`, bindingKey, h.cfg.HTTPSPort))
	},
	// An event collector with a subscription whose sources come over HTTP, and one that fetches from web02.
	"collect-events": func(h *Host) {
		const key = `SOFTWARE\Microsoft\Windows\CurrentVersion\EventCollector\Subscriptions\`
		h.services["wecsvc"] = "Running"
		h.reg.SetNum(key+"Logons", "Enabled", 1)
		h.reg.SetText(key+"Logons", "SubscriptionType", "SourceInitiated")
		h.reg.SetNum(key+"Servers", "Enabled", 1)
		h.reg.SetText(key+"Servers", "SubscriptionType", "CollectorInitiated")
		h.reg.SetText(key+`Servers\EventSources\web02.corp.example`, "LastError", "")
	},
	// A policy sends the events to web01, over HTTP.
	"forward-http": func(h *Host) {
		h.reg.SetText(forwardingKey, "1", "Server=http://web01.corp.example:5985/wsman/SubscriptionManager/WEC,Refresh=60")
	},
	// A policy sends them there over HTTPS, to be let in with Kerberos.
	"forward-https": func(h *Host) {
		h.reg.SetText(forwardingKey, "1", "Server=HTTPS://web01.corp.example:5986/wsman/SubscriptionManager/WEC,Refresh=60")
	},
	// A policy sends them there over HTTPS, with a certificate that some CA has issued.
	"forward-by-certificate": func(h *Host) {
		h.reg.SetText(forwardingKey, "1", "Server=https://web01.corp.example:5986/wsman/SubscriptionManager/WEC,Refresh=60,IssuerCA="+strings.Repeat("5A", 20))
	},
	// Somebody gives NETWORK SERVICE the right to read the keys of this computer.
	"grant-keys": func(h *Host) { h.keyACL = grantedACL },
	// The keys of this computer are where nobody has a list of who may use them.
	"hide-keys": func(h *Host) { h.keyACL = "" },
	// Somebody puts web01 into Server Manager's list on this computer.
	"manage-servers": func(h *Host) { h.serverList(`c:\users\ann\`, h.cfg.FQDN, "web01.corp.example") },
	// Somebody starts Server Manager on this computer, which puts the computer into the list.
	"manage-itself": func(h *Host) { h.serverList(`c:\users\ann\`, h.cfg.FQDN) },
	// A list of Server Manager is far larger than one that people make.
	"manage-too-many": func(h *Host) { h.serverList(`c:\users\bob\`, slices.Repeat([]string{h.cfg.FQDN}, 1000)...) },
	// A configuration is pushed by Desired State Configuration.
	"configure": func(h *Host) { h.files[`c:\windows\system32\configuration\current.mof`] = []byte("encrypted") },
	// Somebody switches the tasks off that he does not know.
	"disable-tasks": func(h *Host) {
		for _, t := range h.tasks {
			t.def.Settings.Enabled = new(bool)
		}
	},
	// Somebody deletes the tasks that he does not know.
	"delete-tasks": func(h *Host) { clear(h.tasks) },
	// The service changes no listener that is there; it can be deleted and made anew.
	"refuse-put": func(h *Host) { h.refusesPut = true },
	// http.sys is told to listen on addresses of IPv6 alone: netsh http add iplisten. Here it is seen by netstat only.
	"listen-on-ipv6": func(h *Host) { h.onlyIPv6 = true },
	// Somebody disables the WinRM service, which runs until the next restart.
	"disable-winrm": func(h *Host) { h.disabled = true },
	// Another controller arms the undo for its own campaign.
	"arm-elsewhere": func(h *Host) {
		h.reg.SetText(`SOFTWARE\wavelock\undo`, "armed", "elsewhere")
		h.registerTask(`\wavelock\undo`, `<Task xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"><Triggers><BootTrigger/></Triggers><Actions><Exec><Command>net.exe</Command><Arguments>start winrm</Arguments></Exec></Actions></Task>`, true)
	},
	// The computer gets another name, and was not restarted yet.
	"rename": func(h *Host) {
		const key = `SYSTEM\CurrentControlSet\Control\ComputerName\`
		h.reg.SetText(key+"ActiveComputerName", "ComputerName", h.netBIOS())
		h.reg.SetText(key+"ComputerName", "ComputerName", "RENAMED")
	},
	// Every rule for the HTTPS port lets everybody in.
	"widen-rule": func(h *Host) {
		for _, v := range h.reg.Values(firewallKey + `\FirewallRules`) {
			if strings.Contains(v.Text, fmt.Sprintf("|LPort=%d|", h.cfg.HTTPSPort)) {
				v.Text = remoteFields.ReplaceAllString(v.Text, "|")
				h.reg.Set(firewallKey+`\FirewallRules`, v)
			}
		}
	},
}

// serverList writes a profile's list of Server Manager.
func (h *Host) serverList(profile string, names ...string) {
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="utf-8"?><ServerList xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" localhostName="%s" xmlns="urn:serverpool-schema">`, h.cfg.FQDN)
	for _, name := range names {
		fmt.Fprintf(&b, `<ServerInfo name="%s" status="1" lastUpdateTime="2026-03-02T10:00:00.1234567+01:00" locale="en-US" />`, name)
	}
	b.WriteString("</ServerList>")
	h.files[profile+`appdata\roaming\microsoft\windows\servermanager\serverlist.xml`] = []byte(b.String())
}

var remoteFields = regexp.MustCompile(`\|(RA[46]=[^|]*\|)+`)

// Meddle does something to the computer that nobody here asked for, such as enable-remoting or rename; meddlings has
// them all.
func (h *Host) Meddle(what string) error {
	do := meddlings[what]
	if do == nil {
		return fmt.Errorf("nobody knows how to %q", what)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	do(h)
	return h.reload()
}
