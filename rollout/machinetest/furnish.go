package machinetest

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
)

// common is what all computers have in common, made once a process.
var common = sync.OnceValue(func() (c struct {
	certs    map[string][]byte // thumbprint to blob
	services []service
}) {
	c.certs = decoys()
	c.services = commonServices()
	return c
})

type service struct{ name, state, start string }

// furnish fills the registry of a fresh computer.
func (h *Host) furnish() {
	c := common()
	h.cfg.Release.describe(&h.reg, h.cfg.HTTPPort)
	h.reg.SetNum(serviceKey, "allow_remote_requests", 1)
	h.reg.share(firewallKey+`\FirewallRules`, rulesOf(h.cfg.Release))
	for _, p := range []string{"DomainProfile", "StandardProfile", "PublicProfile"} {
		h.reg.SetNum(firewallKey+`\`+p, "EnableFirewall", 1)
		h.reg.SetNum(firewallKey+`\`+p, "DoNotAllowExceptions", 0)
	}
	for thumb, blob := range c.certs {
		h.reg.Set(myKey+`\`+thumb, Value{Name: "Blob", Type: Binary, Data: blob})
	}
	h.reg.make(bindingKey)
	h.reg.SetText(bindingKey+`\0.0.0.0:443`, "SslCertStoreName", "MY")
	h.reg.Set(bindingKey+`\0.0.0.0:443`, Value{Name: "AppId", Type: Binary, Data: guid("4dc3e181-e14b-4a21-b022-59fc669b0914")})
	h.reg.SetText(`SOFTWARE\Microsoft\Ole`, "EnableDCOM", "Y")
	h.reg.SetText(`SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Client`, "trusted_hosts", h.cfg.TrustedHosts)
	const shell = `SOFTWARE\Policies\Microsoft\Windows\PowerShell`
	if h.cfg.LogShell {
		h.reg.SetNum(shell+`\ScriptBlockLogging`, "EnableScriptBlockLogging", 1)
		h.reg.SetNum(shell+`\ModuleLogging`, "EnableModuleLogging", 1)
		h.reg.SetText(shell+`\ModuleLogging\ModuleNames`, "*", "*")
		h.reg.SetNum(shell+`\Transcription`, "EnableTranscripting", 1)
		h.reg.SetText(shell+`\Transcription`, "OutputDirectory", cmp.Or(h.cfg.Transcripts, `\\logs.corp.example\transcripts$`))
	}
}

// decoys are the other certificates that a machine's store has: of another name,
// expired, self-signed, without a key.
func decoys() map[string][]byte {
	blobs := map[string][]byte{}
	for i := range 7 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic("machinetest: no randomness: " + err.Error())
		}
		now := time.Now()
		t := &x509.Certificate{SerialNumber: big.NewInt(int64(1000 + i)), Subject: pkix.Name{CommonName: fmt.Sprintf("decoy%d.corp.example", i)},
			DNSNames: []string{fmt.Sprintf("decoy%d.corp.example", i)}, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(1, 0, 0),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		switch i {
		case 0:
			t.NotBefore, t.NotAfter = now.AddDate(-3, 0, 0), now.AddDate(-1, 0, 0)
		case 1:
			t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}
		der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
		if err != nil {
			panic("machinetest: " + err.Error())
		}
		blobs[thumbprint(der)] = blobOf(der, fmt.Sprintf("decoy-%d", i), i != 2)
	}
	return blobs
}

func commonServices() []service {
	list := []service{{"WinRM", "Running", "Auto"}, {"Schedule", "Running", "Auto"}, {"mpssvc", "Running", "Auto"}, {"W32Time", "Running", "Auto"},
		{"Dnscache", "Running", "Auto"}, {"EventLog", "Running", "Auto"}, {"LanmanServer", "Running", "Auto"}, {"Netlogon", "Running", "Auto"},
		{"CertPropSvc", "Running", "Manual"}, {"Wecsvc", "Stopped", "Manual"}}
	for i := len(list); i < 200; i++ {
		list = append(list, service{fmt.Sprintf("svc%03d", i), []string{"Running", "Stopped"}[i%2], []string{"Auto", "Manual", "Disabled"}[i%3]})
	}
	return list
}

// running tells if the WinRM service runs.
func (h *Host) running() bool {
	return h.services["winrm"] != "Stopped" && h.services["winrm"] != stopPending
}

// stopPending is a service's state, Win32_Service, until it has stopped: then it can be started again.
const stopPending = "Stop Pending"

// WinRMStopsIn has the WinRM service take so much longer to stop than net waits for it.
func (h *Host) WinRMStopsIn(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopTime = d
}

// allServices is the common list with this computer's differences.
func (h *Host) allServices() []service {
	list := slices.Clone(common().services)
	for i := range list {
		s := &list[i]
		key := strings.ToLower(s.name)
		if st, ok := h.services[key]; ok {
			s.state = st
		}
		if key == "winrm" && h.disabled {
			s.start = "Disabled"
		}
	}
	return list
}

func thumbprint(der []byte) string {
	sum := sha1.Sum(der)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// blobOf serialises a store entry as [MS-GPEF] 2.2.1.1.1 describes it.
func blobOf(der []byte, container string, hasKey bool) []byte {
	var b []byte
	entry := func(id uint32, v []byte) {
		b = binary.LittleEndian.AppendUint32(b, id)
		b = binary.LittleEndian.AppendUint32(b, 1)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	sum := sha1.Sum(der)
	entry(3, sum[:])
	if hasKey {
		entry(2, keyInfo(container, "Microsoft Software Key Storage Provider"))
	}
	entry(11, utf16z("WinRM "+container))
	entry(32, der)
	return b
}

// keyInfo is property 2, [MS-GPEF] 2.2.1.1.1.1.1.
func keyInfo(container, provider string) []byte {
	c, p := utf16z(container), utf16z(provider)
	var b []byte
	b = binary.LittleEndian.AppendUint32(b, 28)
	b = binary.LittleEndian.AppendUint32(b, uint32(28+len(c)))
	b = binary.LittleEndian.AppendUint32(b, 0)    // a CNG provider
	b = binary.LittleEndian.AppendUint32(b, 0x20) // machine key set
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, 0xFFFFFFFF)
	return append(append(b, c...), p...)
}

// derOf takes the certificate out of a store entry.
func derOf(blob []byte) []byte {
	for len(blob) >= 12 {
		id, n := binary.LittleEndian.Uint32(blob), int(binary.LittleEndian.Uint32(blob[8:]))
		if n < 0 || n > len(blob)-12 {
			return nil
		}
		if id == 32 {
			return blob[12 : 12+n]
		}
		blob = blob[12+n:]
	}
	return nil
}

func utf16z(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// guid writes a GUID as Windows stores it: the first three groups little endian.
func guid(s string) []byte {
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != 16 {
		panic("machinetest: " + s + " is no GUID")
	}
	b := []byte{raw[3], raw[2], raw[1], raw[0], raw[5], raw[4], raw[7], raw[6]}
	return append(b, raw[8:]...)
}

// Install puts a certificate with its key into the machine store, as an
// enrollment by somebody else did.
func (h *Host) Install(der []byte, key signer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.install(der, key)
}

// Bind does the same, and has http.sys present the certificate on the HTTPS port:
// netsh http update sslcert.
func (h *Host) Bind(der []byte, key signer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bind(h.install(der, key))
}

func (h *Host) install(der []byte, key signer) string {
	thumb := thumbprint(der)
	h.reg.Set(myKey+`\`+thumb, Value{Name: "Blob", Type: Binary, Data: blobOf(der, thumb[:8], true)})
	h.keys[thumb] = key
	return thumb
}
