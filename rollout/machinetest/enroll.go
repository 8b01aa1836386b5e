package machinetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// progCertreq enrolls as the computer: key and request are made here.
func progCertreq(x *execution, rest string) int {
	args := split(rest)
	switch {
	case len(args) > 1 && strings.EqualFold(args[0], "-new"):
		return certreqNew(x, args[1:])
	case len(args) > 1 && strings.EqualFold(args[0], "-accept"):
		return certreqAccept(x, args[1:])
	}
	if len(args) < 2 || !strings.EqualFold(args[0], "-enroll") {
		x.err.WriteString("Unexpected argument.\r\n")
		return 1
	}
	template := args[len(args)-1]
	h := x.h
	switch {
	case h.has(EnrollFailed):
		return hresult(0x800706BA)
	case h.has(EnrollDenied):
		return hresult(0x80094012)
	case h.has(EnrollPending):
		x.out.WriteString("Certificate request is pending: Taken Under Submission (0)\r\n")
		return 5
	}
	if err := h.enroll(template); err != nil {
		h.cfg.Log.Debug("enroll", "host", h.cfg.FQDN, "err", err)
		var e *EnrollError
		switch {
		case errors.As(err, &e) && e.Pending:
			return 5
		case errors.As(err, &e):
			return hresult(e.HRESULT)
		}
		return hresult(0x800706BA)
	}
	return 0
}

func hresult(code uint32) int { return int(code) }

func (h *Host) enroll(template string) error {
	if h.cfg.Enroll == nil {
		return errors.New("this computer has no CA")
	}
	key, err := h.cfg.NewKey()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: h.cfg.FQDN}}, key)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	der, err := h.cfg.Enroll(context.Background(), EnrollRequest{Account: h.netBIOS() + "$", FQDN: h.cfg.FQDN, Template: template, CSR: csr})
	if err != nil {
		return err
	}
	if h.has(DiskFull) {
		return &EnrollError{HRESULT: 0x80070070}
	}
	h.writes.Add(1)
	h.install(der, key)
	return nil
}

// selfSigned is a certificate that nobody asked for, for the fault of that name.
func (h *Host) selfSigned() (string, error) {
	for thumb := range h.keys {
		if strings.HasPrefix(h.reg.Text(myKey+`\`+thumb, "note"), "self-signed") {
			return thumb, nil
		}
	}
	key, err := h.cfg.NewKey()
	if err != nil {
		return "", err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(666), Subject: pkix.Name{CommonName: h.cfg.FQDN}, DNSNames: []string{h.cfg.FQDN},
		NotBefore: h.now().Add(-time.Hour), NotAfter: h.now().AddDate(1, 0, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return "", err
	}
	thumb := h.install(der, key)
	h.reg.SetText(myKey+`\`+thumb, "note", "self-signed")
	return thumb, nil
}

func progCertutil(x *execution, rest string) int {
	args := split(rest)
	var files []string
	verb := ""
	for _, a := range args {
		switch {
		case strings.EqualFold(a, "-f"):
		case strings.HasPrefix(a, "-"):
			verb = strings.ToLower(a)
		default:
			files = append(files, strings.ToLower(a))
		}
	}
	if len(files) == 0 {
		return 1
	}
	in, ok := x.h.files[files[0]]
	switch {
	case verb == "-store":
		return x.certutilStore(args, files)
	case !ok:
		return hresult(errNoFile)
	case verb == "-hashfile":
		fmt.Fprintf(&x.out, "SHA256 hash of %s:\r\n%x\r\nCertUtil: -hashfile command completed successfully.\r\n", files[0], sha256.Sum256(in))
		return 0
	case verb == "-decode" && len(files) == 2:
		out, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(in)), ""))
		if err != nil {
			return hresult(0x8007000D)
		}
		x.h.files[files[1]] = out
		x.h.writes.Add(1)
		return 0
	}
	return 1
}
