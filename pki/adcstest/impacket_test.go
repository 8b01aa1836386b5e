package adcstest_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"wavelock/ldapdisco/logon/logontest"
	"wavelock/pki/adcstest"
)

// impacket is a client that shares nothing with this package: its own DCE/RPC, NTLM and sealing, and a request that
// testdata/icpr.py packs by hand from the IDL.
func TestAnIndependentClient(t *testing.T) {
	python := "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import impacket").Run(); err != nil {
		if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
			t.Fatal("python3-impacket: ", err)
		}
		t.Skip("python3-impacket is not here")
	}
	accounts := logontest.NewDirectory("CORP", "corp.example")
	accounts.Add("alice", "S3cret!pw")
	ca := start(t, func(c *adcstest.Config) {
		c.Templates = []adcstest.Template{{Name: "WinRMHTTPS", OID: machine, SuppliesSubject: true, Enroll: []string{"alice"}}, {Name: "Pending", OID: machine + ".1", SuppliesSubject: true, Pend: true}}
	})
	s, err := ca.Serve(adcstest.Endpoint{Host: &logontest.Host{Directory: accounts, NetBIOSName: "CA01", DNSName: "ca01.corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cmd := exec.CommandContext(t.Context(), python, "testdata/icpr.py", strconv.Itoa(int(s.Addr().Port())), strconv.Itoa(int(s.MapperAddr().Port())))
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%s\n%s", out, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"mapped True", "issued 0x3", "subject=CN = srv02.corp.example", "chain of 3", "pending 0x5", "still pending 0x5", "not there 0x80094800",
		"wrong CA 0x80070057", "integrity only refused", "no authentication refused", "bad password refused", ""}, "\n")
	if got := string(out); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}
