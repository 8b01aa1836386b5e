package ldapdisco_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/ldaptest"
)

// fleet gives a domain n more computers, made while they are searched.
func fleet(t testing.TB, s *ldaptest.Server, n int) {
	t.Helper()
	last := now.Add(-day)
	err := s.AddMachines("OU=Fleet", n, func(i int) ldaptest.Machine {
		name := fmt.Sprintf("SRV%06d", i)
		host := fmt.Sprintf("srv%06d.corp.example", i)
		return ldaptest.Machine{Name: name, DNSHostName: host, OS: "Windows Server 2022 Standard", OSVersion: "10.0 (20348)", LastLogon: last,
			SPNs: []string{"HOST/" + name, "HOST/" + host, "WSMAN/" + name, "WSMAN/" + host, "TERMSRV/" + name, "TERMSRV/" + host}}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// count lists to the end and gives how many came before an error.
func count(ctx context.Context, d *ldapdisco.Directory, q ldapdisco.Query) (n int, err error) {
	for _, err = range d.Computers(ctx, q) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func TestAnIncompleteListIsAnError(t *testing.T) {
	s := emptyDomain(t)
	fleet(t, s, 350)
	for what, tc := range map[string]struct {
		f    ldaptest.Faults
		want string
	}{
		"the connection breaks in a page": {ldaptest.Faults{DropAfterPages: 6}, "connection was lost"},
		"the cookie is lost":              {ldaptest.Faults{LoseCookieAfterPages: 6}, "LDAP result 12"},
		"the server omits the control":    {ldaptest.Faults{OmitPaging: true}, "broke the list off"},
		"the server has a size limit":     {ldaptest.Faults{SizeLimit: true}, "LDAP result 4"},
		"the server is busy":              {ldaptest.Faults{Busy: true}, "LDAP result 51"},
		"the server refers elsewhere":     {ldaptest.Faults{Refer: "ldap://other.example/"}, "Referral"},
		"the server gives empty pages":    {ldaptest.Faults{EndlessPages: true}, "without end"},
		"the server ignores the size":     {ldaptest.Faults{IgnorePageSize: true}, "more entries in one page"},
		"the server falls silent":         {ldaptest.Faults{Hang: true}, "not answered in time"},
	} {
		cfg := sealed(s)
		cfg.PageSize = 50
		if tc.f.Hang {
			cfg.Timeout = 200 * time.Millisecond
		}
		d := dial(t, cfg)
		s.SetFaults(tc.f)
		n, err := count(t.Context(), d, ldapdisco.Query{})
		s.SetFaults(ldaptest.Faults{})
		var e *ldapdisco.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tc.want) || n >= 351 {
			t.Errorf("%s: %d computers, %v", what, n, err)
			continue
		}
		if e.Code != 0 && e.Hint() == "" {
			t.Errorf("%s: no hint: %v", what, err)
		}
	}
	d := dial(t, sealed(s))
	if n, err := count(t.Context(), d, ldapdisco.Query{}); n != 351 || err != nil {
		t.Errorf("after all that: %d computers, %v", n, err)
	}
}

func TestServerKilledInTheMiddle(t *testing.T) {
	s := emptyDomain(t)
	fleet(t, s, 2000)
	cfg := sealed(s)
	cfg.PageSize = 100
	d := dial(t, cfg)
	n := 0
	var last error
	for _, err := range d.Computers(t.Context(), ldapdisco.Query{}) {
		if last = err; err != nil {
			break
		}
		if n++; n == 450 {
			s.Close()
		}
	}
	if last == nil || n < 450 || n > 2000 {
		t.Errorf("%d computers, %v", n, last)
	}
	if _, err := d.Domain(t.Context()); err == nil {
		t.Error("a dead connection answered")
	}
}

func TestEveryPageSizeGivesAll(t *testing.T) {
	s := emptyDomain(t)
	const all = 1022 // with the domain controller
	fleet(t, s, all-1)
	for _, size := range []uint32{73, 511, 1022, 5000} { // 5000 is cut to 1000 by the server
		cfg := sealed(s)
		cfg.PageSize = size
		if n, err := count(t.Context(), dial(t, cfg), ldapdisco.Query{}); n != all || err != nil {
			t.Errorf("page size %d: %d computers, %v", size, n, err)
		}
	}
}

func TestCancelledListing(t *testing.T) {
	s := emptyDomain(t)
	fleet(t, s, 500)
	cfg := sealed(s)
	cfg.PageSize, cfg.Timeout = 20, 10*time.Second
	d := dial(t, cfg)
	s.SetFaults(ldaptest.Faults{Delay: 20 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := count(ctx, d, ldapdisco.Query{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 3*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	s.SetFaults(ldaptest.Faults{})
	if n, err := count(t.Context(), d, ldapdisco.Query{}); err != nil || n != 501 {
		t.Errorf("the connection cannot be used after a cancelled listing: %d, %v", n, err)
	}
}

func TestAConsumerMayAskInBetween(t *testing.T) {
	s := domain(t)
	cfg := sealed(s)
	cfg.PageSize = 3
	d := dial(t, cfg)
	n := 0
	for c, err := range d.Computers(t.Context(), ldapdisco.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.GroupSIDs(t.Context(), c.DN); err != nil {
			t.Fatalf("%s: %v", c.DN, err)
		}
		n++
	}
	if n < 20 {
		t.Errorf("%d computers", n)
	}
	for range d.Computers(t.Context(), ldapdisco.Query{}) {
		break // and may leave
	}
}

func TestConcurrentUse(t *testing.T) {
	d := dial(t, sealed(domain(t)))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if n, err := count(t.Context(), d, ldapdisco.Query{}); err != nil || n < 20 {
				t.Errorf("%d, %v", n, err)
			}
			if _, err := d.Templates(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestListingKeepsOnePageInMemory(t *testing.T) {
	s := emptyDomain(t)
	fleet(t, s, 5000)
	cfg := sealed(s)
	cfg.PageSize = 200
	d := dial(t, cfg)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var first, most uint64
	n := 0
	for _, err := range d.Computers(t.Context(), ldapdisco.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		switch n++; {
		case n == 100:
			first = heap()
		case n%1000 == 0:
			most = max(most, heap())
		}
	}
	// 5,000 computers as structs are about 8 MB
	if most > first+3<<20 {
		t.Errorf("the heap grew from %d to %d KiB while %d computers went by", first>>10, most>>10, n)
	}
}

func TestADomainBelowIsReported(t *testing.T) {
	s := domain(t)
	s.SetFaults(ldaptest.Faults{ChildDomain: "eu"})
	log, text := logged()
	cfg := sealed(s)
	cfg.Log = log
	if n, err := count(t.Context(), dial(t, cfg), ldapdisco.Query{}); err != nil || n < 20 || !strings.Contains(text.String(), "DC=eu,DC=corp,DC=example") {
		t.Errorf("%d, %v, %s", n, err, text)
	}
}

func TestReferralsOfTheOwnDomainAreQuiet(t *testing.T) {
	log, text := logged()
	cfg := sealed(domain(t))
	cfg.Log = log
	d := dial(t, cfg)
	if _, err := count(t.Context(), d, ldapdisco.Query{}); err != nil || text.Len() > 0 {
		t.Errorf("%v, %s", err, text)
	}
}
