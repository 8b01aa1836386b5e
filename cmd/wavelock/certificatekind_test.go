package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
)

// writePair writes a client certificate and its key as the configuration names them.
func writePair(t *testing.T, dir string, san []byte, usage x509.ExtKeyUsage, until time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice"}, NotBefore: until.AddDate(-1, 0, 0), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	if san != nil {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 17}, Value: san}}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"c.pem": {Type: "CERTIFICATE", Bytes: der}, "c.key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDoctorLooksAtCertificates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	upn := append([]byte{0x30, 0x1a, 0xa0, 0x18, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x14, 0x02, 0x03, 0xa0, 0x0a, 0x0c, 0x08}, "al@x.tld"...)
	for name, x := range map[string]struct {
		san   []byte
		usage x509.ExtKeyUsage
		until time.Time
		as    string // the credential's name
		want  result
		says  string
	}{
		"of a tier":            {upn, x509.ExtKeyUsageClientAuth, now.AddDate(0, 6, 0), "tier0", good, "the certificate of al@x.tld until 2026-11-04"},
		"of all hosts":         {upn, x509.ExtKeyUsageClientAuth, now.AddDate(0, 6, 0), hostsCredential, doubt, "only HTTP cannot be secured"},
		"that ends soon":       {upn, x509.ExtKeyUsageClientAuth, now.AddDate(0, 0, 3), "tier0", doubt, "expires on 2026-05-07"},
		"that has ended":       {upn, x509.ExtKeyUsageClientAuth, now.AddDate(0, 0, -1), "tier0", wrong, "to 2026-05-03 only"},
		"that is not yet good": {upn, x509.ExtKeyUsageClientAuth, now.AddDate(2, 0, 0), "tier0", wrong, "valid from 2027-05-04"},
		"of nobody":            {nil, x509.ExtKeyUsageClientAuth, now.AddDate(0, 6, 0), "tier0", wrong, "has no UPN"},
		"of a server":          {upn, x509.ExtKeyUsageServerAuth, now.AddDate(0, 6, 0), "tier0", wrong, "not for client authentication"},
	} {
		dir := t.TempDir()
		writePair(t, dir, x.san, x.usage, x.until)
		var said bytes.Buffer
		c := &clinic{a: &app{now: func() time.Time { return now }, err: &said}, cfg: Config{dir: dir, Credentials: map[string]Credential{
			x.as: {Kind: "certificate", Certificate: "c.pem", Key: "c.key"}, "directory": {Kind: "ntlm"}}}}
		r := c.certificates(t.Context())
		if r.Result != x.want || !strings.Contains(r.Detail, x.says) || r.Result != good && r.Next == "" {
			t.Errorf("%s: %+v", name, r)
		}
		if runtime.GOOS != "windows" && !strings.Contains(said.String(), "c.key; chmod 600") {
			t.Errorf("%s: nobody says that others can read the key: %q", name, said.String())
		}
	}
	c := &clinic{cfg: Config{Credentials: map[string]Credential{"directory": {Kind: "ntlm"}}}}
	if r := c.certificates(t.Context()); r.Result != "" {
		t.Errorf("without any: %+v", r)
	}
}

func TestInitWithACertificateForHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePair(t, dir, nil, x509.ExtKeyUsageClientAuth, time.Now().AddDate(0, 6, 0))
	o := initOptions{Domain: "corp.example", Kind: "windows", Certificate: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "c.key")}
	a := &app{in: strings.NewReader(""), err: new(bytes.Buffer)}
	if err := a.inquire(&o); err != nil { // the account that this program runs as has no name to ask for
		t.Fatal(err)
	}
	cfg, err := o.config(filepath.Join(dir, "wavelock.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := facts{}.yaml(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "wavelock.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := loadConfig(filepath.Join(dir, "wavelock.yaml"))
	if err != nil || read.Credentials["directory"].Kind != "windows" {
		t.Fatalf("%+v %v", read.Credentials, err)
	}
	login, err := a.login(read, hostsCredential)
	if err != nil || logon.ClientCertificate(login) == nil {
		t.Fatal(login, err)
	}
	o.Key = ""
	if _, err := o.config(filepath.Join(dir, "wavelock.yaml")); err == nil || !strings.Contains(err.Error(), "both files") {
		t.Error(err)
	}
}
