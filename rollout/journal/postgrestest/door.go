package postgrestest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// OpenDoor restarts the server so that it is also reached at another address of this computer, over TLS alone. The
// answer is its certificate as PEM, for sslrootcert.
func (s *Server) OpenDoor(ctx context.Context, address string) ([]byte, error) {
	certificate, key, err := identity(net.ParseIP(address))
	if err != nil {
		return nil, fmt.Errorf("make the server's certificate: %w", err)
	}
	if err := s.Stop(); err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	files := map[string][]byte{"door.crt": certificate, "door.key": key}
	for name, content := range files {
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, err
		}
		if err := asServer(&exec.Cmd{}, path); err != nil {
			return nil, err
		}
	}
	rules, err := os.OpenFile(filepath.Join(data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = rules.WriteString("\nhostssl all all all trust\n")
	if err := errors.Join(err, rules.Close()); err != nil {
		return nil, err
	}
	s.door = []string{"-c", "listen_addresses=127.0.0.1," + address, "-c", "ssl=on", "-c", "ssl_cert_file=door.crt", "-c", "ssl_key_file=door.key"}
	return certificate, s.Start(ctx)
}

// DoorAddress is where a database of the server is for those that come through the door.
func (s *Server) DoorAddress(address, database, rootFile string) string {
	return fmt.Sprintf("postgres://wavelock@%s:%d/%s?sslmode=verify-full&sslrootcert=%s", address, s.port, database, rootFile)
}

func identity(ip net.IP) (certificate, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "postgrestest"}, IPAddresses: []net.IP{ip},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), nil
}
