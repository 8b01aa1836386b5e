package machine

import (
	"slices"
	"testing"
)

// A rule may say more than port, profile and address. One for another program does not let anybody in to http.sys, and what a
// field of a newer schema means nobody knows.
func TestRulesThatAreForOthers(t *testing.T) {
	t.Parallel()
	const all = "v2.33|Action=Allow|Active=TRUE|Dir=In|Protocol=6|Profile=Domain|LPort=5986|"
	for fields, only := range map[string][]string{
		"Name=a|": nil,
		"App=System|Name=a|Desc=b|EmbedCtxt=c|Edge=TRUE|": nil,
		"App=SYSTEM|RA4=10.0.0.0/8|RA6=LocalSubnet|":      nil,
		`App=C:\app.exe|Name=a|`:                          {`App=C:\app.exe`},
		"Svc=w3svc|":                                      {"Svc=w3svc"},
		"LA4=192.0.2.1|Security=Authenticate|":            {"LA4=192.0.2.1", "Security=Authenticate"},
		"IFType=Wireless|":                                {"IFType=Wireless"},
		"Future=yes|":                                     {"Future=yes"},
		"||":                                              nil,
	} {
		if r, relevant := parseRule("x", all+fields); !relevant || !slices.Equal(r.Only, only) {
			t.Errorf("%s: %q, want %q", fields, r.Only, only)
		}
	}
}
