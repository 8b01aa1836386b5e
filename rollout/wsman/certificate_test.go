package wsman_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout/wsman"
)

// TestACertificateThatIsAskedForLate: http.sys asks for the client's certificate only once it has read the request. OpenSSL
// does the same here, when it is told to.
func TestACertificateThatIsAskedForLate(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		missing(t, "%v", err)
	}
	l := newListener(t, true) // for its certificate
	cert, key, _ := certificateFiles(t, l)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	server := exec.Command("openssl", "s_server", "-accept", address, "-cert", cert, "-key", key, "-naccept", "1")
	log := &output{}
	server.Stdout, server.Stderr = log, log
	stdin, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	saw := func(text string) {
		for range 300 {
			if strings.Contains(log.String(), text) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("the server did not say %q: %s", text, log)
	}
	saw("ACCEPT")
	login, err := logon.Certificate(clientCertificate(t, x509.ExtKeyUsageClientAuth))
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com"}
		config.RootCAs.AddCert(l.Certificate())
		s, err := wsman.Open(t.Context(), wsman.Target{Host: hostName, Address: address, TLS: config, Login: login, Timeout: 20 * time.Second})
		if err == nil {
			s.Close()
		}
		opened <- err
	}()
	saw("wsmid:Identify/>")
	io.WriteString(stdin, "R\n") // asks for a certificate
	saw("depth=0")               // and shows it
	_, body := shellReplies("", "")
	body = wrap("x", "", body)
	fmt.Fprintf(stdin, "HTTP/1.1 200 OK\nContent-Type: %s\nContent-Length: %d\n\n%s\n", soapType, len(body), body)
	if err := <-opened; err != nil {
		t.Errorf("%v: %s", err, log)
	}
}

func TestAClientCertificateLogsOn(t *testing.T) {
	var seen []string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		if len(r.TLS.PeerCertificates) == 0 || r.Header.Get("Authorization") != "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual" {
			w.WriteHeader(401)
			return
		}
		b, _ := io.ReadAll(r.Body)
		_, body := shellReplies(first(actionRE, string(b)), string(b))
		w.Header().Set("Content-Type", soapType)
		io.WriteString(w, wrap("x", first(messageRE, string(b)), body))
	}))
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	srv.StartTLS()
	defer srv.Close()
	config := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "example.com"
	login, err := logon.Certificate(clientCertificate(t, x509.ExtKeyUsageClientAuth))
	if err != nil {
		t.Fatal(err)
	}
	target := wsman.Target{Host: hostName, Address: srv.Listener.Addr().String(), TLS: config, Login: login}
	s, err := wsman.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Get(t.Context(), wsman.Config("service")); err != nil || len(seen) != 2 {
		t.Fatal(err, seen)
	}
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) })
	var auth *wsman.AuthError
	if _, err := wsman.Open(t.Context(), target); !errors.As(err, &auth) || !strings.Contains(auth.Hint(), "certmapping") {
		t.Fatal(err)
	}
	target.TLS.MinVersion = tls.VersionTLS13
	if _, err := wsman.Open(t.Context(), target); err == nil || !strings.Contains(err.Error(), "TLS 1.2") {
		t.Fatal(err)
	}
}

// clientCertificate is one for the usages, signed by itself.
func clientCertificate(t *testing.T, usages ...x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: usages}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
