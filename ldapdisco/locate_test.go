package ldapdisco_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/ldaptest"
)

// zone answers for SRV names as a DNS server would.
type zone map[string][]*net.SRV

func (z zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	full := "_" + service + "._" + proto + "." + name
	if full == "_ldap._tcp.broken._sites.dc._msdcs.corp.example" {
		return "", nil, &net.DNSError{Err: "server misbehaving", Name: full, IsTemporary: true}
	}
	if full == "_ldap._tcp.odd._sites.dc._msdcs.corp.example" { // as the library answers where one record of two names no host
		return full, []*net.SRV{{Target: "dc2.corp.example.", Port: 389}}, &net.DNSError{Err: "SRV response contained an invalid name", Name: full}
	}
	records, ok := z[full]
	if !ok {
		return "", nil, &net.DNSError{Err: "no such host", Name: full, IsNotFound: true}
	}
	return full, records, nil
}

var corpZone = zone{
	"_ldap._tcp.dc._msdcs.corp.example": {
		{Target: "dc1.corp.example.", Port: 389}, {Target: "DC2.corp.example.", Port: 389}, {Target: "dc3.corp.example.", Port: 3890}},
	"_ldap._tcp.Paris._sites.dc._msdcs.corp.example": {{Target: "dc2.corp.example.", Port: 389}},
	"_ldap._tcp.dc._msdcs.empty.example":             {{Target: ".", Port: 0}},
}

func TestLocate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		domain, site string
		want         []string
	}{
		"all, in the order of DNS":           {"Corp.Example.", "", []string{"ldap://dc1.corp.example", "ldap://dc2.corp.example", "ldap://dc3.corp.example:3890"}},
		"the site's first, nobody twice":     {"corp.example", "Paris", []string{"ldap://dc2.corp.example site", "ldap://dc1.corp.example", "ldap://dc3.corp.example:3890"}},
		"a site with a record that is none":  {"corp.example", "odd", []string{"ldap://dc2.corp.example site", "ldap://dc1.corp.example", "ldap://dc3.corp.example:3890"}},
		"a site without a controller is all": {"corp.example", "Rome", []string{"ldap://dc1.corp.example", "ldap://dc2.corp.example", "ldap://dc3.corp.example:3890"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, err := ldapdisco.Locate(t.Context(), corpZone, c.domain, c.site)
			var got []string
			for _, l := range found {
				s := l.URL(false)
				if l.InSite {
					s += " site"
				}
				got = append(got, s)
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
	if got := (ldapdisco.Located{Host: "dc1.corp.example", Port: 3890}).URL(true); got != "ldaps://dc1.corp.example" {
		t.Errorf("LDAPS is at %s", got)
	}
}

func TestLocateNobody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ domain, site, want string }{
		{"nowhere.example", "", "nowhere.example"},
		{"empty.example", "", "DNS names none"},
		{"corp.example", "broken", "the site broken"},
	} {
		found, err := ldapdisco.Locate(t.Context(), corpZone, c.domain, c.site)
		var e *ldapdisco.Error
		if found != nil || !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || e.Hint() == "" {
			t.Errorf("%s: %v, %v", c.domain, found, err)
		}
	}
}

// TestNextControllerWhenOneDies has a list as Locate gives it, whose first server is gone.
func TestNextControllerWhenOneDies(t *testing.T) {
	t.Parallel()
	dead, alive := emptyDomain(t), emptyDomain(t)
	cfg := sealed(alive)
	cfg.URLs = []string{dead.URL(), alive.URL()}
	if d := dial(t, cfg); d.Server() != dead.URL() {
		t.Errorf("%s is asked, want the first", d.Server())
	}
	dead.Close()
	if d := dial(t, cfg); d.Server() != alive.URL() {
		t.Errorf("%s is asked, want the one that lives", d.Server())
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	s := emptyDomain(t)
	s.SetFaults(ldaptest.Faults{ClockAhead: time.Hour})
	got, err := dial(t, sealed(s)).Time(t.Context())
	if ahead := time.Until(got); err != nil || ahead < 59*time.Minute || ahead > 61*time.Minute {
		t.Errorf("%v, %v", got, err)
	}
}
