package machinetest

import (
	"strings"
	"testing"
)

func mappingBody(fields ...string) string {
	body := ""
	for i := 0; i+1 < len(fields); i += 2 {
		body += "<cfg:" + fields[i] + ">" + esc(fields[i+1]) + "</cfg:" + fields[i] + ">"
	}
	return `<cfg:CertMapping xmlns:cfg="` + nsConfig + mappingResource + `">` + body + `</cfg:CertMapping>`
}

func TestMappingsOfCertificates(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := client{t: t, h: h}
	const uri = nsConfig + mappingResource
	issuer := strings.Repeat("AB", 20)
	one := map[string]string{"URI": "*", "Subject": "alice@corp.example", "Issuer": issuer}
	account := mappingBody("UserName", "admin", "Password", testPassword)
	if n := len(c.list(uri, "")); n != 0 {
		t.Errorf("a fresh computer has %d mappings", n)
	}
	c.fails(0x80338000, "transfer/Get", uri, one, "")
	for name, bad := range map[string]map[string]string{
		"no issuer":                     {"URI": "*", "Subject": "a"},
		"an issuer that is none":        {"URI": "*", "Subject": "a", "Issuer": "AB"},
		"a subject with two asterisks":  {"URI": "*", "Subject": "*a*", "Issuer": issuer},
		"a subject with one in between": {"URI": "*", "Subject": "a*b", "Issuer": issuer},
		"an empty subject":              {"URI": "*", "Subject": "", "Issuer": issuer},
		"a URI that asks":               {"URI": "a?b", "Subject": "a", "Issuer": issuer},
		"a URI with one before the end": {"URI": "*/a", "Subject": "a", "Issuer": issuer},
	} {
		t.Log(name)
		c.fails(0x8033805B, "transfer/Create", uri, bad, account)
	}
	c.must("transfer/Create", uri, one, account)
	c.fails(0x80338033, "transfer/Create", uri, one, account)
	got := c.must("transfer/Get", uri, one, "").child("CertMapping")
	if got.text("UserName") != "admin" || got.text("Enabled") != "true" || got.text("Password") != "" || got.text("Issuer") != issuer {
		t.Errorf("%+v", got)
	}
	c.fails(0x803380ED, "transfer/Put", uri, one, mappingBody("Subject", "bob@corp.example"))
	if got := c.must("transfer/Put", uri, one, mappingBody("Enabled", "false")).child("CertMapping"); got.text("Enabled") != "false" || got.text("UserName") != "admin" {
		t.Errorf("%+v", got)
	}
	if n := len(c.list(uri, "")); n != 1 {
		t.Errorf("%d mappings", n)
	}
	c.must("transfer/Delete", uri, one, "")
	c.fails(0x80338000, "transfer/Get", uri, one, "")
}

func TestSubjectsOfMappings(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		subject, name string
		want          bool
	}{
		{"alice@corp.example", "Alice@CORP.example", true},
		{"alice@corp.example", "malice@corp.example", false},
		{"*@corp.example", "alice@corp.example", true},
		{"*@corp.example", "alice@corp.example.test", false},
		{"alice@*", "alice@corp.example", true},
		{"alice@*", "malice@corp.example", false},
		{"*", "anybody@anywhere", true},
		{"*", "", false},
	} {
		if got := (mapping{subject: x.subject}).matches(x.name); got != x.want {
			t.Errorf("%q for %q: %v", x.subject, x.name, got)
		}
	}
}
