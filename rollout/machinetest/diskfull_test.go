package machinetest

import (
	"fmt"
	"maps"
	"testing"
)

// TestAFullDiskTakesNothing: whatever the door, nothing that is written to a computer whose disk is full stays there.
func TestAFullDiskTakesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	der, key := newCertificate(t, testFQDN)
	h.mu.Lock()
	h.install(der, key)
	h.files["old"], h.files["inf"] = []byte("old"), []byte("[NewRequest]\r\nSubject = \"CN="+testFQDN+"\"\r\nMachineKeySet = TRUE\r\n")
	h.mu.Unlock()
	c := client{t: t, h: h}
	c.must("transfer/Put", nsConfig+"/listener", onHTTP, listenerBody("Port", fmt.Sprint(h.cfg.HTTPPort))) // so that what is refused below is refused for the disk
	if r := c.cmd(`netsh advfirewall firewall add rule name="before" dir=in action=allow protocol=TCP localport=5986`); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	held := func() string {
		h.mu.Lock()
		defer h.mu.Unlock()
		files := maps.Clone(h.files)
		maps.DeleteFunc(files, func(_ string, data []byte) bool { return len(data) == 0 }) // a name needs no room
		text, _ := h.reg.query(`HKLM\SOFTWARE`, true, "", false)
		more, _ := h.reg.query(`HKLM\SYSTEM`, true, "", false)
		return fmt.Sprint(files, len(h.tasks), text, more)
	}
	before := held()
	h.Set(DiskFull)
	thumb := thumbprint(der)
	for name, code := range map[string]uint32{
		"an HTTPS listener": onlyCode(c.call("transfer/Create", nsConfig+"/listener", onHTTPS, listenerBody("Hostname", testFQDN, "CertificateThumbprint", thumb))),
		"a listener's port": onlyCode(c.call("transfer/Put", nsConfig+"/listener", onHTTP, listenerBody("Port", "5999"))),
		"a mapping":         onlyCode(c.call("transfer/Create", nsConfig+mappingResource, map[string]string{"Issuer": thumb, "Subject": "*", "URI": "*"}, mappingBody("UserName", "admin", "Password", "x"))),
		"a setting":         onlyCode(c.call("transfer/Put", nsConfig+"/service", nil, `<c:Service xmlns:c="`+nsConfig+`/service"><c:IPv4Filter>1.2.3.4-1.2.3.5</c:IPv4Filter></c:Service>`)),
	} {
		if code != 0x80070070 {
			t.Errorf("%s is answered %#x", name, code)
		}
	}
	for _, line := range []string{
		`reg add HKLM\SOFTWARE\x /v y /t REG_SZ /d z /f`,
		`reg copy HKLM\` + listenerKey + ` HKLM\SOFTWARE\x /s /f`,
		`reg export HKLM\` + listenerKey + ` C:\x.reg /y`,
		`netsh advfirewall firewall add rule name="x" dir=in action=allow protocol=TCP localport=5986`,
		`netsh advfirewall firewall set rule name="before" new enable=no`,
		`netsh http add sslcert ipport=0.0.0.0:5999 certhash=` + thumb + ` appid={` + winRMAppID + `} certstorename=MY`,
		`certreq -new inf req`,
	} {
		if r := c.cmd(line); r.code == 0 {
			t.Errorf("%s succeeds", line)
		}
	}
	for _, line := range []string{`echo x> new`, `echo x>> old`} {
		if r := c.cmd(line); r.stderr == "" {
			t.Errorf("%s says nothing", line)
		}
	}
	if after := held(); after != before {
		t.Errorf("something stayed:\n%s\nit was\n%s", after, before)
	}
}

func onlyCode(_ *node, code uint32) uint32 { return code }
