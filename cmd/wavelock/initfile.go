package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"wavelock/ldapdisco"
)

// facts are what init found out about the domain.
type facts struct {
	Domain      ldapdisco.Domain
	Authorities []ldapdisco.Authority
	Templates   []string
	OUs         map[string]int // canonical name, computers
	Hosts       int
}

// yaml is the configuration with its comments.
func (f facts) yaml(cfg Config) ([]byte, error) {
	var b bytes.Buffer
	err := configText.Execute(&b, struct {
		facts
		Config
		Largest []string
	}{f, cfg, f.largest(5)})
	if err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return b.Bytes(), nil
}

// largest are the OUs with the most computers, as distinguished names.
func (f facts) largest(n int) []string {
	var names []string
	for ou := range f.OUs {
		names = append(names, ou)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := f.OUs[b] - f.OUs[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return names[:min(n, len(names))]
}

// quoted is a string as YAML takes it, whatever is in it.
func quoted(s string) string { return "'" + strings.ReplaceAll(printable(s), "'", "''") + "'" }

var configText = template.Must(template.New("wavelock.yaml").Funcs(template.FuncMap{
	"q": quoted, "oneline": printable, "join": func(s []string) string { return listed(s, 12) },
}).Parse(`# wavelock: {{oneline .Domain.DNSName}} ({{oneline .Domain.NetBIOSName}}), {{.Hosts}} computers that can be managed.
# Written by wavelock init. Paths are relative to this file. No secret belongs here.

database: wavelock.db        # the journal: what was seen, planned, approved and done
{{- if .Config.Resolver}}
resolver: {{q .Config.Resolver}}
{{- else}}
# resolver: 192.0.2.53:53    # a DNS server of the domain, if the system's does not know it
{{- end}}

directory:
  domain: {{q .Config.Directory.Domain}}   # its controllers are found by DNS; or: urls: [ldaps://dc1.corp.example]
{{- if .Config.Directory.Site}}
  site: {{q .Config.Directory.Site}}       # its controllers are asked first
{{- end}}
  ldaps: {{.Config.Directory.LDAPS}}       # false: LDAP on 389, sealed by the logon
{{- if .Config.Directory.CAFile}}
  ca_file: {{q .Config.Directory.CAFile}}
{{- else}}
  # ca_file: ca.pem          # root of the controllers' certificates, if the system does not trust it
{{- end}}
  credential: directory

# Who we are. The password comes from password_file, password_env, or the person
# at the terminal. directory needs to read only; hosts needs to be an
# administrator of the computers.
credentials:
{{- range $name, $c := .Config.Credentials}}
  {{$name}}:
    kind: {{$c.Kind}}
    {{- if $c.User}}
    user: {{q $c.User}}
    {{- end}}
    {{- if $c.PasswordFile}}
    password_file: {{q $c.PasswordFile}}
    {{- end}}
    {{- if $c.PasswordEnv}}
    password_env: {{q $c.PasswordEnv}}
    {{- end}}
    {{- if $c.Keytab}}
    keytab: {{q $c.Keytab}}
    {{- end}}
    {{- if $c.CCache}}
    ccache: {{q $c.CCache}}
    {{- end}}
    {{- if $c.Certificate}}
    certificate: {{q $c.Certificate}}
    key: {{q $c.Key}}
    {{- end}}
{{- end}}

# Other credentials for some hosts; the first that fits is taken.
# tiers:
#   - {role: domain-controller, credential: tier0}
#   - {ou: {{oneline .Domain.DNSName}}/Servers, credential: servers}

# Which computers. Empty means all that run Windows. Exclusions win.
# Most computers are in:{{range .Largest}}
#   {{oneline .}} ({{index $.OUs .}}){{end}}
select:
  # ous: ["OU=Servers,{{oneline .Domain.BaseDN}}"]
  # names: ["web*"]
  # groups: ["WinRM pilot"]
  # exclude: ["legacy*"]
  stale_after: 2160h         # no sign of life for 90 days

goal: secure                 # HTTPS beside HTTP; close also removes HTTP, commit-confirmed

policy:
  template: {{q .Config.Policy.Template}}     # issued by the CAs: {{oneline (join .Templates)}}
  undo_after: 10m            # HTTP comes back by itself after this long without a confirmation
  # census_for: 168h         # HTTP goes only where its clients were sampled for so long,
  # census_samples: 100      # and so often: wavelock census, or serve with observe.every
  failure_limit: 5           # failed hosts that stop the whole campaign
  # failure_percent: 2       # the same in percent of its hosts; the smaller one counts
  # second_person: true      # waves that remove HTTP wait for somebody else than who approved the plan
  # approval_for: 72h        # an approval that was not made use of by then has expired
  # maintenance:             # when something may begin; what has begun is ended
  #   time_zone: Europe/Vienna
  #   windows: [{days: [sat, sun], from: "22:00", to: "04:00"}]
  #   blackout: [2026-12-20..2027-01-06]
  # at_once:                 # beside the waves' in_flight
  #   - {each: site, max: 5} # or zone, ou, domain, cluster, ca
  #   - {group: "CN=Web Farm,OU=Groups,DC=corp,DC=example", max: 1}

# Who comes first, how many at once, and how many failures stop a wave.
waves:
  - {name: canary, count: 1, in_flight: 1, limit: 1}
  - {name: early, percent: 10, in_flight: 5, limit: 2, soak: 24h, approval: true}
  - {name: rest, in_flight: 25, limit: 5}

# Only these computers may start remote connections over HTTPS, beside policy.sources.
# source_groups: ["WinRM admin workstations"]
# policy_group: WinRM-HTTPS-only   # named where Group Policy owns HTTP

# What wavelock serve looks at by itself. Campaigns that it opens wait for an approval.
# observe:
#   every: 6h                # a whole look at every selected host, for drift
#   sample: 5m               # who is connected to 5985 and 5986
#   open: [close, secure]    # goals of the campaigns that drift opens

limits:
  parallel: 50               # hosts at once
  timeout: 20s               # of one request to a host
`))
