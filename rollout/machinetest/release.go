package machinetest

import (
	"crypto/tls"
	"fmt"
	"sync"
)

// Release is a version of Windows, as far as versions differ in what is asked of them here.
type Release struct {
	Name     string // Windows Server 2022
	Caption  string // of Win32_OperatingSystem
	Product  string // ProductName in the registry, which never learned of Windows 11
	Version  string // 10.0.20348
	Build    string
	Client   bool   // else a server
	Schema   string // of firewall rules, [MS-FASP] appendix B
	MaxTLS   uint16
	Suites   []uint16 // of TLS 1.2; nil: what crypto/tls has
	Shell    string   // Windows PowerShell; empty: there is none
	OldShell string   // its engine of version 1 and 2; empty: taken out
}

// suites2012R2 has forward secrecy with RSA in CBC mode only ("TLS Cipher Suites in Windows 8.1"), of which crypto/tls has these.
var suites2012R2 = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}

// Releases are those that are supported, the oldest server first.
var Releases = []Release{
	{"Windows Server 2012 R2", "Microsoft Windows Server 2012 R2 Standard", "Windows Server 2012 R2 Standard", "6.3.9600", "9600", false, "v2.22", tls.VersionTLS12, suites2012R2, "4.0", "2.0"},
	{"Windows Server 2016", "Microsoft Windows Server 2016 Standard", "Windows Server 2016 Standard", "10.0.14393", "14393", false, "v2.26", tls.VersionTLS12, nil, "5.1.14393.0", "2.0"},
	{"Windows Server 2019", "Microsoft Windows Server 2019 Standard", "Windows Server 2019 Standard", "10.0.17763", "17763", false, "v2.29", tls.VersionTLS12, nil, "5.1.17763.1", "2.0"},
	{"Windows Server 2022", "Microsoft Windows Server 2022 Standard", "Windows Server 2022 Standard", "10.0.20348", "20348", false, "v2.31", tls.VersionTLS13, nil, "5.1.20348.1", "2.0"},
	{"Windows Server 2025", "Microsoft Windows Server 2025 Standard", "Windows Server 2025 Standard", "10.0.26100", "26100", false, "v2.33", tls.VersionTLS13, nil, "5.1.26100.1", ""},
	{"Windows 10", "Microsoft Windows 10 Enterprise", "Windows 10 Enterprise", "10.0.19045", "19045", true, "v2.30", tls.VersionTLS12, nil, "5.1.19041.1", "2.0"},
	{"Windows 11", "Microsoft Windows 11 Enterprise", "Windows 10 Enterprise", "10.0.22631", "22631", true, "v2.32", tls.VersionTLS13, nil, "5.1.22621.1", "2.0"},
}

// releaseNamed is one of Releases.
func releaseNamed(name string) Release {
	for _, r := range Releases {
		if r.Name == name {
			return r
		}
	}
	panic("machinetest: no release " + name)
}

// winRMRules are the built-in rules for 5985. A client's WinRM was switched on by somebody: until then nobody reaches it.
func (r Release) winRMRules() []Value {
	const names = "App=System|Name=@FirewallAPI.dll,-30253|Desc=@FirewallAPI.dll,-30256|EmbedCtxt=@FirewallAPI.dll,-30267|"
	rule := func(id, fields string) Value {
		return Value{Name: id, Type: SZ, Text: r.Schema + "|Action=Allow|" + fields + names}
	}
	if r.Client {
		return []Value{
			rule("WINRM-HTTP-In-TCP", "Active=FALSE|Dir=In|Protocol=6|Profile=Public|LPort=5985|RA4=LocalSubnet|RA6=LocalSubnet|"),
			rule("WINRM-HTTP-In-TCP-NoScope", "Active=TRUE|Dir=In|Protocol=6|Profile=Domain|Profile=Private|LPort=5985|"),
		}
	}
	return []Value{
		rule("WINRM-HTTP-In-TCP", "Active=TRUE|Dir=In|Protocol=6|Profile=Domain|Profile=Private|LPort=5985|"),
		rule("WINRM-HTTP-In-TCP-PUBLIC", "Active=TRUE|Dir=In|Protocol=6|Profile=Public|LPort=5985|RA4=LocalSubnet|RA6=LocalSubnet|"),
	}
}

// rulesOf are a release's 400 firewall rules ([MS-GPFAS] 2.2.2.19), made once a process.
func rulesOf(r Release) []Value {
	made, _ := ruleSets.LoadOrStore(r.Schema+fmt.Sprint(r.Client), sync.OnceValue(func() []Value {
		rules := r.winRMRules()
		for i := len(rules); i < 400; i++ {
			rules = append(rules, Value{Name: fmt.Sprintf("{7C4E7A5B-0000-4D4B-9B42-%012X}", i), Type: SZ,
				Text: fmt.Sprintf(`%s|Action=Allow|Active=%s|Dir=In|Protocol=6|Profile=Domain|LPort=%d|App=%%SystemRoot%%\system32\svchost.exe|Svc=svc%03d|Name=Feature %d (TCP-In)|Desc=Inbound rule of feature %d.|EmbedCtxt=Features|`,
					r.Schema, []string{"TRUE", "FALSE"}[i%2], 20000+i, i, i, i)})
		}
		return rules
	}))
	return made.(func() []Value)()
}

var ruleSets sync.Map

// describe writes what the registry says of the release.
func (r Release) describe(reg *Registry, httpPort int) {
	reg.SetText(`SOFTWARE\Microsoft\Windows NT\CurrentVersion`, "ProductName", r.Product)
	reg.SetText(`SOFTWARE\Microsoft\Windows NT\CurrentVersion`, "CurrentBuildNumber", r.Build)
	if r.Shell != "" {
		reg.SetText(`SOFTWARE\Microsoft\PowerShell\3\PowerShellEngine`, "PowerShellVersion", r.Shell)
	}
	if r.OldShell != "" {
		reg.SetText(`SOFTWARE\Microsoft\PowerShell\1\PowerShellEngine`, "PowerShellVersion", r.OldShell)
	}
	if r.Build == "9600" { // later ones leave out what is at its default
		reg.SetText(listenerKey+`\*+HTTP`, "hostname", "")
		reg.SetText(listenerKey+`\*+HTTP`, "certThumbprint", "")
		reg.SetNum(listenerKey+`\*+HTTP`, "enabled", 1)
	}
	reg.SetNum(listenerKey+`\*+HTTP`, "Port", uint32(httpPort))
	reg.SetText(listenerKey+`\*+HTTP`, "uriprefix", "wsman")
}
