package logon_test

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
)

// TestTicketRequestsAreLimited: a wave of hosts asks a slow KDC for no more tickets at once than it may.
func TestTicketRequestsAreLimited(t *testing.T) {
	d := newDomain(t)
	cache := filepath.Join(t.TempDir(), "ccache")
	if err := d.kdc.WriteCCache(cache, "admin"); err != nil {
		t.Fatal(err)
	}
	slow, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slow.Close() })
	const limit = 3
	arrived := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := slow.Accept()
			if err != nil {
				return
			}
			arrived <- c // never answered
		}
	}()
	l, err := logon.Kerberos(logon.KerberosConfig{CCache: cache, Realm: "corp.example", KDCs: []string{slow.Addr().String()}, TicketRequests: limit})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var hosts sync.WaitGroup
	for range 50 {
		hosts.Go(func() {
			if _, err := l.Start(ctx, host1, nil); err == nil {
				t.Error("a ticket from a KDC that says nothing")
			}
		})
	}
	var open []net.Conn
	for range limit {
		open = append(open, <-arrived)
	}
	select {
	case <-arrived:
		t.Errorf("more than %d requests at once", limit)
	case <-time.After(300 * time.Millisecond): // the others had the time to come
	}
	cancel()
	hosts.Wait()
	for _, c := range open { // the requests under way end, and their slots are free
		c.Close()
	}
	slow.Close()
	l.Close()
}
