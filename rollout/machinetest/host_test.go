package machinetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/ldapdisco/logon/logontest"
)

const (
	testFQDN     = "web01.corp.example"
	testPassword = "Passw0rd.1"
)

// nextAddress gives every test a computer on an address of its own.
var nextAddress atomic.Int32

// newHost boots a computer that admin administers and user may log on to.
func newHost(t testing.TB, change ...func(*Config)) *Host {
	t.Helper()
	dir := logontest.NewDirectory("CORP", "corp.example")
	dir.Add("admin", testPassword)
	dir.Add("user", testPassword)
	pid := os.Getpid() // another run of these tests may be under way on this computer
	address := fmt.Sprintf("127.%d.%d.%d", 128+pid>>8&63, pid&255, nextAddress.Add(1))
	cfg := Config{FQDN: testFQDN, Address: address, Directory: dir, Admins: []string{"admin"}}
	for _, f := range change {
		f(&cfg)
	}
	h := New(cfg)
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// newCertificate is one for a TLS server of that name, signed by itself.
func newCertificate(t testing.TB, cn string, change ...func(*x509.Certificate)) ([]byte, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn}, DNSNames: []string{cn},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true}
	for _, f := range change {
		f(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// listenHTTPS gives the computer a certificate of its name, an HTTPS listener with
// it and a firewall rule, as an administrator does, and answers the certificate.
func listenHTTPS(t testing.TB, h *Host) []byte {
	t.Helper()
	der, key := newCertificate(t, testFQDN)
	h.Install(der, key)
	c := client{t: t, h: h}
	c.must("transfer/Create", nsConfig+"/listener", map[string]string{"Address": "*", "Transport": "HTTPS"},
		`<cfg:Listener xmlns:cfg="`+nsConfig+`/listener"><cfg:Hostname>`+testFQDN+`</cfg:Hostname><cfg:CertificateThumbprint>`+thumbprint(der)+`</cfg:CertificateThumbprint></cfg:Listener>`)
	if r := c.cmd(`netsh advfirewall firewall add rule name="test" dir=in action=allow protocol=TCP localport=5986 profile=domain`); r.code != 0 {
		t.Fatal(r)
	}
	return der
}
