package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wavelock/rollout/lab"
)

// admin and stranger are where the books look from: the address that wavelock itself
// has, and one of a computer that nobody has heard of.
var (
	admin    = net.IPv4(127, 0, 0, 1)
	stranger = net.IPv4(127, 99, 0, 7)
)

// wsmanAnswers asks for /wsman without credentials, on the wire and with none of the
// program's own code. WinRM wants to know who asks; all else is no WinRM: another
// product's 404, silence, or a certificate that does not hold.
func wsmanAnswers(l *lab.Lab, host string, port int, from net.IP) bool {
	scheme, roots := "http", x509.NewCertPool()
	if port == 5986 {
		scheme = "https"
	}
	if root, err := x509.ParseCertificate(l.CA().Root()); err == nil {
		roots.AddCert(root)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 3 * time.Second}
	c := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{ServerName: host, RootCAs: roots}}}
	resp, err := c.Post(scheme+"://"+l.Address(host, port)+"/wsman", "application/soap+xml", http.NoBody)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusUnauthorized
}

// doorsOf is how the host lets in whoever comes from the address: http, https, both or none.
func doorsOf(l *lab.Lab, host string, from net.IP) string {
	http, https := wsmanAnswers(l, host, 5985, from), wsmanAnswers(l, host, 5986, from)
	return map[[2]bool]string{{true, true}: "both", {true, false}: "http", {false, true}: "https", {}: "none"}[[2]bool{http, https}]
}

// books DIR [-stranger] HOST=http|https|both|none ... ends a scenario: by which doors each
// computer named lets in, asked from outside; no other computer may be shut on both. With
// -stranger, it is asked from an address that is not wavelock's, and nobody has to get in.
func cmdBooks(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 1, "books DIR [-stranger] HOST=DOORS...")
	l, from, args := labOf(ts, args[0]), admin, args[1:]
	if args[0] == "-stranger" {
		from, args = stranger, args[1:]
	}
	want := map[string]string{}
	for _, a := range args {
		host, doors, _ := strings.Cut(a, "=")
		want[host] = doors
	}
	for _, host := range l.Names() {
		doors := doorsOf(l, host, from)
		ts.Logf("from %s, %s lets in by %s", from, host, doors)
		w, named := want[host]
		delete(want, host)
		if named && w != doors || !named && doors == "none" && from.Equal(admin) {
			ts.Fatalf("%s lets in by %s, want %s", host, doors, w)
		}
	}
	if len(want) > 0 {
		ts.Fatalf("no such computers: %v", want)
	}
}

// turned-away DIR HOST PORT waits until a stranger is turned away there, who tries again and again.
func cmdTurnedAway(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "turned-away DIR HOST PORT")
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if !wsmanAnswers(labOf(ts, args[0]), args[1], map[string]int{"5985": 5985, "5986": 5986}[args[2]], stranger) {
			return
		}
	}
	ts.Fatalf("%s still lets a stranger in on %s", args[1], args[2])
}
