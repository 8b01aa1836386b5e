package ldapdisco_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/ldaptest"
	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
)

// pair is two controllers of one domain with the same computers, each in an order of its own, as controllers have them.
type pair struct{ first, second *ldaptest.Server }

func newPair(t *testing.T, n int) pair {
	t.Helper()
	p := pair{emptyDomain(t), emptyDomain(t, func(c *ldaptest.Config) { c.Host = "dc2.corp.example" })}
	for s, order := range map[*ldaptest.Server]func(int) int{p.first: func(i int) int { return i }, p.second: func(i int) int { return n - 1 - i }} {
		err := s.AddMachines("OU=Fleet", n, func(i int) ldaptest.Machine {
			name := fmt.Sprintf("SRV%04d", order(i))
			return ldaptest.Machine{Name: name, DNSHostName: strings.ToLower(name) + ".corp.example", OS: "Windows Server 2022 Standard", LastLogon: now}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// LookupSRV is the domain's DNS: the first controller before the second.
func (p pair) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	if name != "dc._msdcs.corp.example" {
		return "", nil, &net.DNSError{IsNotFound: true}
	}
	return "", []*net.SRV{{Target: "dc1.corp.example.", Port: 389}, {Target: "dc2.corp.example.", Port: 389, Priority: 1}}, nil
}

// dial asks for the controllers by DNS, as the program does, and takes the first.
func (p pair) dial(t *testing.T) *ldapdisco.Directory {
	t.Helper()
	found, err := ldapdisco.Locate(t.Context(), p, "corp.example", "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := ldapdisco.Config{Login: logon.NTLM("CORP", user, password), Timeout: time.Second, PageSize: 50,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			real := map[string]string{"dc1.corp.example:389": p.first.Addr(), "dc2.corp.example:389": p.second.Addr()}[addr]
			return new(net.Dialer).DialContext(ctx, network, real)
		}}
	for _, l := range found {
		cfg.URLs = append(cfg.URLs, l.URL(false))
	}
	return dial(t, cfg)
}

// namesOf lists to the end, and tells which came twice.
func namesOf(t *testing.T, d *ldapdisco.Directory, at func(n int)) (names map[string]bool, twice []string, err error) {
	t.Helper()
	names = map[string]bool{}
	for c, err := range d.Computers(t.Context(), ldapdisco.Query{}) {
		if err != nil {
			return names, twice, err
		}
		if names[c.Name] {
			twice = append(twice, c.Name)
		}
		names[c.Name] = true
		at(len(names))
	}
	return names, twice, nil
}

// A controller that fails on page k of a list, in any way, is followed by the next: nothing is missing, and nothing comes twice.
func TestAControllerLostInTheMiddleOfAList(t *testing.T) {
	const n = 330
	for what, fail := range map[string]func(s *ldaptest.Server){
		"it is gone":                  func(s *ldaptest.Server) { s.Close() },
		"it hangs up within a page":   func(s *ldaptest.Server) { s.SetFaults(ldaptest.Faults{DropAfterPages: -1}) },
		"it has lost the cookie":      func(s *ldaptest.Server) { s.SetFaults(ldaptest.Faults{LoseCookieAfterPages: 1}) },
		"it falls silent":             func(s *ldaptest.Server) { s.SetFaults(ldaptest.Faults{Hang: true}) },
		"it is busy":                  func(s *ldaptest.Server) { s.SetFaults(ldaptest.Faults{Busy: true}) },
		"it no longer says what next": func(s *ldaptest.Server) { s.SetFaults(ldaptest.Faults{OmitPaging: true}) },
		"it gives nothing for ever":   func(s *ldaptest.Server) { s.SetFaults(ldaptest.Faults{EndlessPages: true}) },
		"its connections are dropped": func(s *ldaptest.Server) { s.DropConnections(); s.SetFaults(ldaptest.Faults{Refer: "ldap://x/"}) },
	} {
		for _, page := range []int{1, 3, 5} {
			t.Run(fmt.Sprintf("%s, page %d", what, page), func(t *testing.T) {
				t.Parallel()
				p := newPair(t, n)
				d := p.dial(t)
				names, twice, err := namesOf(t, d, func(have int) {
					if have == page*50-7 {
						fail(p.first)
					}
				})
				if err != nil || len(twice) > 0 || len(names) != n+1+1 { // each domain controller knows of itself alone
					t.Errorf("%d computers, %d twice, %v", len(names), len(twice), err)
				}
				if d.Server() != "ldap://dc2.corp.example" {
					t.Errorf("%s is asked", d.Server())
				}
				if _, err := d.Domain(t.Context()); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}

func TestWhenEveryControllerIsLostItIsAnError(t *testing.T) {
	p := newPair(t, 330)
	d := p.dial(t)
	names, twice, err := namesOf(t, d, func(have int) {
		switch have {
		case 120:
			p.first.Close()
		case 200:
			p.second.Close()
		}
	})
	var e *ldapdisco.Error
	if !errors.As(err, &e) || len(names) >= 331 || len(twice) > 0 {
		t.Fatalf("%d computers, %v", len(names), err)
	}
	for _, want := range []string{"dc1.corp.example", "dc2.corp.example", "connection was lost"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error: %v", want, err)
		}
	}
}

// A list that each controller drops comes to an end.
func TestAListThatNobodyCanGiveEnds(t *testing.T) {
	p := newPair(t, 330)
	d := p.dial(t)
	for _, s := range []*ldaptest.Server{p.first, p.second} {
		s.SetFaults(ldaptest.Faults{DropAfterPages: 6})
	}
	if names, _, err := namesOf(t, d, func(int) {}); err == nil || p.first.Binds.Load()+p.second.Binds.Load() > 8 {
		t.Errorf("%d computers, %v", len(names), err)
	}
}

// What the account was refused by the second controller is not tried anywhere else.
func TestARefusedLogonEndsTheSearchForAnotherController(t *testing.T) {
	p := newPair(t, 200)
	d := p.dial(t)
	p.second.SetLogonState(user, ldaptest.AccountDisabled)
	_, _, err := namesOf(t, d, func(have int) {
		if have == 60 {
			p.first.DropConnections()
		}
	})
	if err == nil || !strings.Contains(err.Error(), "disabled") || p.second.Binds.Load() != 2 { // NEGOTIATE and AUTHENTICATE
		t.Errorf("%d binds, %v", p.second.Binds.Load(), err)
	}
}

func TestAnotherDomainDoesNotTakeOver(t *testing.T) {
	first := emptyDomain(t)
	accounts := logontest.NewDirectory("CORP", "other.example")
	accounts.Add(user, password)
	other := emptyDomain(t, func(c *ldaptest.Config) { c.Directory = accounts })
	fleet(t, first, 200)
	fleet(t, other, 200)
	cfg := sealed(first)
	cfg.URLs, cfg.PageSize = append(cfg.URLs, other.URL()), 50
	_, _, err := namesOf(t, dial(t, cfg), func(have int) {
		if have == 60 {
			first.Close()
		}
	})
	if err == nil || !strings.Contains(err.Error(), "it serves DC=other,DC=example, not DC=corp,DC=example") {
		t.Errorf("%v", err)
	}
}

func TestManyListsMoveTogether(t *testing.T) {
	p := newPair(t, 330)
	d := p.dial(t)
	var begun, done sync.WaitGroup
	begun.Add(4)
	for range 4 {
		done.Go(func() {
			names, twice, err := namesOf(t, d, func(have int) {
				if have == 60 {
					begun.Done()
					begun.Wait()
					p.first.DropConnections()
				}
			})
			if err != nil || len(twice) > 0 || len(names) < 331 {
				t.Errorf("%d computers, %d twice, %v", len(names), len(twice), err)
			}
		})
	}
	done.Wait()
}

func TestAClosedDirectoryStaysClosed(t *testing.T) {
	p := newPair(t, 200)
	d := p.dial(t)
	_, _, err := namesOf(t, d, func(have int) {
		if have == 60 {
			d.Close()
		}
	})
	if err == nil || p.second.Binds.Load() > 0 {
		t.Errorf("%d binds, %v", p.second.Binds.Load(), err)
	}
}

// A domain with many controllers behind a firewall that swallows: some are tried, not all.
func TestNotEveryControllerIsTried(t *testing.T) {
	first := emptyDomain(t)
	fleet(t, first, 200)
	cfg := sealed(first)
	cfg.PageSize = 50
	var dialled atomic.Int64
	toFirst := cfg.Dial
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "gone") {
			dialled.Add(1)
			return nil, errors.New("i/o timeout")
		}
		return toFirst(ctx, network, addr)
	}
	for i := range 50 {
		cfg.URLs = append(cfg.URLs, fmt.Sprintf("ldap://gone%d.corp.example", i))
	}
	_, _, err := namesOf(t, dial(t, cfg), func(have int) {
		if have == 60 {
			first.Close()
		}
	})
	if err == nil || dialled.Load() != 8 {
		t.Errorf("%d were tried: %v", dialled.Load(), err)
	}
}
