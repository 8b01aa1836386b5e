package wsman_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

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
	opened := make(chan error, 1)
	go func() {
		config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com", Certificates: []tls.Certificate{{Certificate: l.TLS.Certificates[0].Certificate, PrivateKey: l.TLS.Certificates[0].PrivateKey}}}
		config.RootCAs.AddCert(l.Certificate())
		s, err := wsman.Open(t.Context(), wsman.Target{Host: hostName, Address: address, TLS: config, Timeout: 20 * time.Second})
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
