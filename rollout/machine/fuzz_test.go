package machine

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
)

// property is one property of a serialized certificate.
func property(id uint32, value []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// FuzzBlob: what is read from a store entry does not depend on properties that we do not know.
func FuzzBlob(f *testing.F) {
	f.Add(property(propCertificate, []byte{0x30, 0x03, 0x02, 0x01, 0x01}))
	f.Add(slices.Concat(property(propKeyInfo, []byte("k")), property(propArchived, nil)))
	f.Add([]byte{32, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, blob []byte) {
		c, _, err := storeEntry(blob)
		if err != nil {
			return
		}
		if c.Thumbprint == "" {
			t.Fatal("a certificate without a thumbprint")
		}
		again, _, err := storeEntry(slices.Concat(property(99, []byte("unknown")), blob))
		if err != nil || again.Thumbprint != c.Thumbprint || again.HasKey != c.HasKey || again.Archived != c.Archived {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}

// FuzzRule: a rule that touches a port says so in its text.
func FuzzRule(f *testing.F) {
	f.Add("WINRM-HTTP-In-TCP", "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|Profile=Domain|LPort=5985|App=System|Name=@FirewallAPI.dll,-30253|")
	f.Add("{guid}", "v2.10|Action=Block|Active=FALSE|Dir=In|Protocol=6|LPort2_10=5000-6000|RA42=LocalSubnet|RA4=10.0.0.0-10.0.0.4|Name=a|")
	f.Add("x", "v2.10|Dir=Out|LPort=RPC|LPort=99999999999999999999|LPort=6000-5000|=|==||")
	f.Fuzz(func(t *testing.T, id, text string) {
		r, relevant := parseRule(id, text)
		if relevant && strings.Contains(text, "|Dir=Out|") && !strings.Contains(text, "Dir=In") {
			t.Fatal("an outbound rule is relevant")
		}
		for _, part := range slices.Concat(r.Ports, r.Remote, []string{r.Name}) {
			if !strings.Contains(text, part) {
				t.Fatalf("%q is not in the text", part)
			}
		}
		if touches(r, 5985) && len(r.Ports) == 0 {
			t.Fatal("a rule without ports touches one")
		}
		if touches(r, 5985, 5986) && !mentions(text, []int{5985, 5986}) {
			t.Fatal("it touches a port and does not mention it")
		}
	})
}

// FuzzRegQuery: what was read can be printed as reg query does, and is read the same again.
func FuzzRegQuery(f *testing.F) {
	f.Add("\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\x\r\n    armed    REG_SZ    c 1\r\n    (Default)    REG_SZ    (value not set)\r\n    Blob    REG_BINARY    0102FF\r\n\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\x\\y\r\n")
	f.Add("    orphan    REG_SZ    x\r\nHKEY_LOCAL_MACHINE\\\r\n        REG_DWORD    0x1\n    empty    REG_SZ\n    a    b    REG_MULTI_SZ    c\\0d")
	f.Fuzz(func(t *testing.T, text string) {
		keys := parseRegQuery(text)
		again := parseRegQuery(printed(keys))
		if !slices.EqualFunc(keys, again, func(a, b regKey) bool { return a.path == b.path && slices.Equal(a.values, b.values) }) {
			t.Fatalf("%+v\nbecame\n%+v", keys, again)
		}
	})
}

func printed(keys []regKey) string {
	var b bytes.Buffer
	for _, k := range keys {
		b.WriteString(hive + k.path + "\r\n")
		for _, v := range k.values {
			b.WriteString("    " + v.name + "    " + v.kind + "    " + v.data + "\r\n")
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

// FuzzRegistryAnswer takes the whole answer of the bulk read through everything that is made of it.
func FuzzRegistryAnswer(f *testing.F) {
	part := func(path, values string) string { return section + "\r\n\r\n" + hive + path + "\r\n" + values }
	f.Add(part(firewallPolicy+`\FirewallRules`, "    r    REG_SZ    v2.10|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=5986|\r\n") +
		part(`SOFTWARE\Policies\Microsoft\WindowsFirewall\DomainProfile\Logging`, "    LogDroppedPackets    REG_DWORD    0x1\r\n    LogFilePath    REG_SZ    c:\\x.log\r\n") +
		part(`SOFTWARE\Microsoft\SystemCertificates\MY\Certificates\AA`, "    Blob    REG_BINARY    20000000010000000000\r\n") +
		part(`SYSTEM\CurrentControlSet\Services\HTTP\Parameters\SslBindingInfo\0.0.0.0:5986`, "    SslCertHash    REG_BINARY    AABB\r\n    AppId    REG_BINARY    00112233445566778899AABBCCDDEEFF\r\n") +
		part(`SOFTWARE\Policies\Microsoft\Windows\WinRM\Service`, "    AllowAutoConfig    REG_DWORD    0x1\r\n    IPv4Filter    REG_SZ    *\r\n") +
		part(`SOFTWARE\wavelock\before`, "    image    REG_SZ    {\"host\":\"h\"}\r\n") +
		part(subscriptionsKey+`\Logons`, "    Enabled    REG_DWORD    0x1\r\n") + part(forwardingKey, "    1    REG_SZ    Server=http://wec1:5985/wsman,Refresh=60\r\n") +
		part(nameKey+`\ComputerName`, "    ComputerName    REG_SZ    WEB09\r\n"))
	f.Add(strings.Repeat(section+"\r\n", len(bulkKeys)))
	m := &Machine{cfg: Config{HTTPPort: 5985, HTTPSPort: 5986}}
	f.Fuzz(func(t *testing.T, text string) {
		parts, err := parseBulk(text, len(bulkKeys))
		if err != nil {
			return
		}
		fw := m.firewall(parts[0], parts[1])
		if len(fw.Profiles) != 3 || fw.Total < len(fw.Rules) {
			t.Fatalf("%+v", fw)
		}
		certs, _, _ := certificates(parts[2])
		for _, c := range certs {
			if pki.ParseThumbprint(string(c.Thumbprint)) != c.Thumbprint {
				t.Fatalf("thumbprint %q", c.Thumbprint)
			}
		}
		bindings(parts[3])
		winRMPolicy(parts[4])
		image(parts[5])
		for _, f := range uses(parts[6], parts[7], parts[8], "").Forwards {
			if (f.Server == "") == (f.Unclear == "") {
				t.Fatalf("%+v", f)
			}
		}
		for _, p := range fw.Profiles {
			if checkLogPath(p.DropLog) == nil && strings.ContainsAny(p.DropLog, "\"&|<>^\r\n") {
				t.Fatalf("the log's path %q is syntax", p.DropLog)
			}
		}
	})
}

// FuzzCommandLines: whatever the configuration or the directory says, a line that is built has no more commands than
// the one that was meant.
func FuzzCommandLines(f *testing.F) {
	f.Add("10.0.0.0/8", "domain", "WinRMHTTPS")
	f.Add(`10.0.0.1" & calc & "`, "any", `x & calc`)
	f.Add("%comspec%", "a^b", "-config evil")
	f.Fuzz(func(t *testing.T, source, profile, template string) {
		if line, err := addRule(5986, []string{source}, []string{profile}); err == nil && (strings.ContainsAny(line, "&|<>^%!\r\n") || strings.Count(line, `"`) != 2) {
			t.Fatal(line)
		}
		if line, err := blockLine(5985, []string{source}); err == nil && (strings.ContainsAny(line, "&|<>^%!\r\n") || strings.Count(line, `"`) != 2) {
			t.Fatal(line)
		}
		text, err := enrollXML(template)
		if err != nil {
			return
		}
		if !strings.Contains(text, "<Arguments>-enroll -machine -q "+xmlText(template)+"</Arguments>") || strings.ContainsAny(template, " \"&|<>") {
			t.Fatal(text)
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{"2026-03-02T10:01:00.123456+01:00", "20260302100100.000000-060", "2026-03-02T10:01:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := cimTime(s); err == nil && at.Equal(time.Time{}) && !strings.HasPrefix(s, "0001") {
			t.Fatalf("%q is no time", s)
		}
		parseDrops(s, rollout.System{})
	})
}
