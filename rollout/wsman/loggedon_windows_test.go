package wsman_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout/wsman"
)

// TestLoggedOn opens a session as the account that it runs as, and uses it. TestTheLoggedOnAccountInWine runs it; on
// Windows it does for any host:
//
//	WAVELOCK_TEST_HOST      host.corp.example
//	WAVELOCK_TEST_ADDRESS   its listener, ip:port
//	WAVELOCK_TEST_CA_FILE   PEM of the roots, to use TLS
func TestLoggedOn(t *testing.T) {
	target := wsman.Target{Host: os.Getenv("WAVELOCK_TEST_HOST"), Address: os.Getenv("WAVELOCK_TEST_ADDRESS")}
	if target.Host == "" {
		t.Skip("WAVELOCK_TEST_HOST names no host")
	}
	login, err := logon.LoggedOn()
	if err != nil {
		t.Fatal(err)
	}
	defer login.Close()
	target.Login = login
	if file := os.Getenv("WAVELOCK_TEST_CA_FILE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		target.TLS = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: os.Getenv("WAVELOCK_TEST_TLS_NAME")}
		target.TLS.RootCAs.AppendCertsFromPEM(pem)
	}
	s, err := wsman.Open(t.Context(), target)
	if err != nil {
		t.Fatalf("log on: %v", err)
	}
	defer s.Close()
	id, err := s.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sh, err := s.Shell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer sh.Close(t.Context())
	res, err := sh.Run(t.Context(), "echo hello", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s says %q to %s, over %d connection", id.Vendor, res.Stdout, login.Principal(), s.Connections())
}
