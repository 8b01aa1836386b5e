package main

import (
	"context"
	"errors"
	"testing"

	"wavelock/ldapdisco"
	"wavelock/pki/adcs"
	"wavelock/rollout"
)

// clerk notes which CA was asked for what.
type clerk struct {
	ca        adcs.CA
	retrieved uint32
	err       error
}

func (c *clerk) Submit(_ context.Context, ca adcs.CA, _ adcs.Request) (adcs.Answer, error) {
	c.ca = ca
	return adcs.Answer{Request: 7, Pending: true}, c.err
}

func (c *clerk) Retrieve(_ context.Context, ca adcs.CA, id uint32) (adcs.Answer, error) {
	c.ca, c.retrieved = ca, id
	return adcs.Answer{Request: id, Certificate: []byte("c")}, c.err
}

func TestWhichCAIsAsked(t *testing.T) {
	cas := []ldapdisco.Authority{{Name: "A", DNSHostName: "CA1.corp.example", Templates: []string{"Web"}}, {Name: "B", DNSHostName: "ca2.corp.example", Templates: []string{"web", "Relay"}}}
	for why, c := range map[string]struct {
		cfg    Relay
		req    rollout.CertRequest
		want   string
		denied bool
	}{
		"the first that issues the template":          {Relay{}, rollout.CertRequest{Template: "Web"}, `ca1.corp.example\A`, false},
		"the only one that issues it":                 {Relay{}, rollout.CertRequest{Template: "relay"}, `ca2.corp.example\B`, false},
		"the one of the configuration":                {Relay{CA: "b"}, rollout.CertRequest{Template: "Web"}, `ca2.corp.example\B`, false},
		"the one that has the request, whatever else": {Relay{CA: "A"}, rollout.CertRequest{Template: "Web", CA: `ca2.corp.example\B`, Number: 9}, `ca2.corp.example\B`, false},
		"none issues it":                              {Relay{}, rollout.CertRequest{Template: "None"}, "", true},
		"the one that had it is gone":                 {Relay{}, rollout.CertRequest{Template: "Web", CA: `ca3.corp.example\C`, Number: 9}, "", true},
	} {
		k := &clerk{}
		got, err := (&relay{client: k, cfg: c.cfg, cas: cas}).Submit(t.Context(), rollout.Host{ID: "web01"}, c.req)
		var f *rollout.Failure
		switch {
		case c.denied:
			if !errors.As(err, &f) || f.Reason != rollout.ReasonEnrollDenied || f.Transient {
				t.Errorf("%s: %v", why, err)
			}
		case err != nil || got.CA != c.want || k.retrieved != c.req.Number || got.Number == 0:
			t.Errorf("%s: %+v %v after %+v", why, got, err, k)
		}
	}
}

func TestWhatANoOfTheCAMeansForTheHost(t *testing.T) {
	for _, c := range []struct {
		err       error
		reason    rollout.Reason
		transient bool
		waits     bool
	}{
		{&adcs.Error{Kind: adcs.Denied, HRESULT: 0x80094012}, rollout.ReasonEnrollDenied, false, false},
		{&adcs.Error{Kind: adcs.Busy}, rollout.ReasonCAUnavailable, true, true},
		{&adcs.Error{Kind: adcs.Unreachable}, rollout.ReasonCAUnavailable, true, false},
		{&adcs.Error{Kind: adcs.Logon}, rollout.ReasonCAUnavailable, true, false},
		{errors.New("something else"), rollout.ReasonCAUnavailable, true, false},
	} {
		r := &relay{client: &clerk{err: c.err}, cas: []ldapdisco.Authority{{Name: "A", Templates: []string{"T"}}}}
		_, err := r.Submit(t.Context(), rollout.Host{ID: "web01"}, rollout.CertRequest{Template: "T"})
		var f *rollout.Failure
		if !errors.As(err, &f) || f.Reason != c.reason || f.Transient != c.transient || (f.RetryAfter > 0) != c.waits || !errors.Is(err, c.err) {
			t.Errorf("%v became %+v", c.err, f)
		}
	}
}
