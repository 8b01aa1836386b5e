package ldapdisco_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/ldaptest"
)

const people = `
dn: CN=%[1]s,CN=Users,DC=corp,DC=example
objectClass: top
objectClass: person
objectClass: user
cn: %[1]s
sAMAccountName: %[1]s
userPrincipalName: %[1]s@corp.example

`

// TestSelfIsWhoTheServerSays logs a person on and asks for the groups.
func TestSelfIsWhoTheServerSays(t *testing.T) {
	t.Parallel()
	s := domain(t)
	if err := s.LDIF(fmt.Sprintf(people, user)); err != nil {
		t.Fatal(err)
	}
	me := "CN=" + user + ",CN=Users,DC=corp,DC=example"
	inner, err := s.AddGroup("Wavelock Inner", "", me)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := s.AddGroup("Wavelock Operators", "", inner)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddGroup("Wavelock Approvers", ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{`CORP\` + user, user + "@corp.example", me} {
		cfg := simple(s)
		cfg.Simple = &ldapdisco.Simple{User: name, Password: password}
		d := dial(t, cfg)
		a, err := d.Self(t.Context())
		if err != nil || !strings.EqualFold(a.Name, `CORP\`+user) || a.DN != me || len(a.Groups) < 2 {
			t.Fatalf("%s: %+v, %v", name, a, err)
		}
		for _, c := range []struct {
			groups []string
			in     bool
		}{{[]string{"Wavelock Inner"}, true}, {[]string{"Wavelock Approvers", "Wavelock Operators"}, true}, {[]string{outer}, true}, {[]string{"Wavelock Approvers"}, false}, {nil, false}} {
			if in, err := d.In(t.Context(), a, c.groups); err != nil || in != c.in {
				t.Errorf("%s in %v: %v, %v", name, c.groups, in, err)
			}
		}
		if _, err := d.In(t.Context(), a, []string{"Wavelock Nobody"}); err == nil || !strings.Contains(err.Error(), "Wavelock Nobody") {
			t.Errorf("a group that is not there: %v", err)
		}
	}
}

func TestSelfWithoutAnEntryIsAnError(t *testing.T) {
	t.Parallel()
	d := dial(t, simple(emptyDomain(t, func(*ldaptest.Config) {})))
	var e *ldapdisco.Error
	if a, err := d.Self(t.Context()); !errors.As(err, &e) || slices.Contains(a.Groups, "") {
		t.Errorf("%+v, %v", a, err)
	}
}

// A server that does not say who we are is not waited for without end.
func TestAServerThatDoesNotSayWhoWeAre(t *testing.T) {
	t.Parallel()
	s := domain(t)
	cfg := sealed(s)
	cfg.Timeout = 200 * time.Millisecond
	d := dial(t, cfg)
	s.SetFaults(ldaptest.Faults{Hang: true})
	var e *ldapdisco.Error
	if _, err := d.Self(t.Context()); !errors.As(err, &e) || !strings.Contains(err.Error(), "not answered in time") || e.Hint() == "" {
		t.Errorf("%v", err)
	}
	cfg.Timeout = time.Minute
	s.SetFaults(ldaptest.Faults{})
	d = dial(t, cfg)
	s.SetFaults(ldaptest.Faults{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := d.Self(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	s.SetFaults(ldaptest.Faults{})
	if _, err := d.Domain(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
