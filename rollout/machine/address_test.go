package machine_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout"
	"wavelock/rollout/wsman"
)

// A computer with several addresses in DNS is reached at one where WinRM listens: with an empty IPv6Filter it does not at the
// first that a resolver names.
func TestOneOfSeveralAddresses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	addrs, err := b.cfg.Resolve(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	good := addrs[0]
	next := good.As4()
	next[2] ^= 0x80 // no test has a computer there
	for name, all := range map[string][]netip.Addr{
		"IPv6 first":        {netip.IPv6Loopback(), good},
		"another net first": {netip.AddrFrom4(next), good},
		"the good one":      {good, netip.AddrFrom4(next)},
		"as IPv4 in IPv6":   {netip.AddrFrom4(next), netip.AddrFrom16(good.As16())},
	} {
		b.cfg.Resolve = func(context.Context, string) ([]netip.Addr, error) { return all, nil }
		b.timeout(5 * time.Second)
		m := b.open()
		res, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepInspect, Brief: true})
		if err != nil || res.Seen.Via != rollout.HTTP || res.Seen.HTTP.Address != net.JoinHostPort(good.String(), "5985") {
			t.Errorf("%s: %+v %v", name, res.Seen, err)
		}
		m.Close()
	}
}

// A KDC that is silent, or does not know the host, is not a host that refuses us: it says nothing about the credentials.
func TestNoTicketIsNoRefusal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	k, err := logon.Kerberos(logon.KerberosConfig{User: "admin", Realm: "CORP.EXAMPLE", Password: "Passw0rd.1", KDCs: []string{silent.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.Login = func(rollout.Host) logon.Login { return k }
	b.timeout(200 * time.Millisecond)
	m := b.open()
	defer m.Close()
	_, err = m.Do(t.Context(), rollout.Step{Kind: rollout.StepInspect, Brief: true})
	var f *rollout.Failure
	var auth *wsman.AuthError
	if !errors.As(err, &f) || f.Reason != rollout.ReasonNoTicket || !f.Transient || !errors.As(err, &auth) || auth.Refused() {
		t.Errorf("%v", err)
	}
}
