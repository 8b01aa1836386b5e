package ldapdisco_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

// relay breaks TLS open, with a certificate that its clients trust.
type relay struct {
	addr  string
	roots *x509.CertPool
}

func newRelay(t *testing.T, target string, targetRoots *x509.CertPool) relay {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "relay"}, DNSNames: []string{"dc1.corp.example"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go pipe(in, target, targetRoots)
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return relay{l.Addr().String(), roots}
}

func pipe(in net.Conn, target string, roots *x509.CertPool) {
	defer in.Close()
	out, err := tls.Dial("tcp", target, &tls.Config{RootCAs: roots, ServerName: "dc1.corp.example"})
	if err != nil {
		return
	}
	defer out.Close()
	go io.Copy(out, in)
	io.Copy(in, out)
}
