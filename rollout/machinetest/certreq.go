package machinetest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"regexp"
	"strings"
)

// HRESULTs of certreq and CertEnroll.
const (
	errNotFound = 0x80092004 // CRYPT_E_NOT_FOUND: no request waits for this certificate
	errNoFile   = 0x80070002
	errBadData  = 0x8007000D
	errDiskFull = 0x80070070
	errNoNames  = 0x80094001
)

// files answers the arguments of certreq that are no options, in lower case.
func files(args []string) (out []string) {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			out = append(out, strings.ToLower(a))
		}
	}
	return out
}

var (
	infSubject = regexp.MustCompile(`(?m)^Subject\s*=\s*"CN=([^",]+)"`)
	infDNS     = regexp.MustCompile(`"dns=([^"&]+)&?"`)
	infMachine = regexp.MustCompile(`(?mi)^MachineKeySet\s*=\s*TRUE`)
)

// certreqNew makes a key and a request as its policy file says, and keeps the key with the requests that wait.
func certreqNew(x *execution, args []string) int {
	f := files(args)
	if len(f) != 2 {
		return 1
	}
	inf, ok := x.h.files[f[0]]
	if !ok {
		return hresult(errNoFile)
	}
	text := strings.ReplaceAll(string(inf), "\r\n", "\n")
	subject := infSubject.FindStringSubmatch(text)
	if subject == nil || !infMachine.MatchString(text) || !strings.Contains(text, "[NewRequest]") {
		return hresult(errBadData)
	}
	if x.h.has(DiskFull) {
		return hresult(errDiskFull)
	}
	t := &x509.CertificateRequest{Subject: pkix.Name{CommonName: subject[1]}}
	for _, m := range infDNS.FindAllStringSubmatch(text, -1) {
		t.DNSNames = append(t.DNSNames, m[1])
	}
	key, err := x.h.cfg.NewKey()
	if err != nil {
		return 1
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, t, key)
	if err != nil {
		return hresult(errNoNames)
	}
	x.h.awaited = append(x.h.awaited, key)
	block := pem.EncodeToMemory(&pem.Block{Type: "NEW CERTIFICATE REQUEST", Bytes: der})
	x.h.files[f[1]] = bytes.ReplaceAll(block, []byte("\n"), []byte("\r\n"))
	x.h.writes.Add(1)
	x.out.WriteString("CertReq: Request Created\r\n")
	return 0
}

// certreqAccept binds a certificate to the key that waits for it.
func certreqAccept(x *execution, args []string) int {
	f := files(args)
	if len(f) != 1 {
		return 1
	}
	raw, ok := x.h.files[f[0]]
	if !ok {
		return hresult(errNoFile)
	}
	if block, _ := pem.Decode(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))); block != nil {
		raw = block.Bytes
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		return hresult(errBadData)
	}
	if x.h.has(DiskFull) {
		return hresult(errDiskFull)
	}
	key, err := x.h.takeRequest(cert.PublicKey)
	if err != nil {
		return hresult(errNotFound)
	}
	x.h.install(raw, key)
	x.h.writes.Add(1)
	return 0
}

// takeRequest is the waiting key for a public key; a request is good for one certificate.
func (h *Host) takeRequest(public crypto.PublicKey) (signer, error) {
	for i, key := range h.awaited {
		if k, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && k.Equal(public) {
			h.awaited = append(h.awaited[:i:i], h.awaited[i+1:]...)
			return key, nil
		}
	}
	return nil, errors.New("no request waits for this certificate")
}

// progMkdir and progRd know no folders, only files whose names begin with one.
func progMkdir(x *execution, _ string) int {
	x.h.writes.Add(1)
	return 0
}

func progRd(x *execution, rest string) int {
	args, _ := options(split(rest), "s q")
	for _, a := range args {
		prefix, found := strings.ToLower(a)+`\`, false
		for name := range x.h.files {
			if strings.HasPrefix(name, prefix) {
				delete(x.h.files, name)
				found = true
			}
		}
		if !found {
			x.err.WriteString("The system cannot find the file specified.\r\n")
			return 2
		}
	}
	x.h.writes.Add(1)
	return 0
}

// Files are the names of the files that are on the computer.
func (h *Host) Files() (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range h.files {
		names = append(names, name)
	}
	return names
}
