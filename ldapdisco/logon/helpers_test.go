package logon_test

import (
	"net"
	"testing"
)

// listenSilently accepts connections, says nothing, and closes them at the end of the test.
func listenSilently(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String() // the backlog accepts
}
