package main

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"wavelock/ldapdisco/logon"
)

func TestKindsOfCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		Credential
		wrong string
	}{
		"NTLM":                       {Credential{Kind: "ntlm", User: `CORP\a`}, ""},
		"NTLM of nobody":             {Credential{Kind: "ntlm"}, "user"},
		"NTLM with a keytab":         {Credential{Kind: "ntlm", User: "a", Keytab: "k"}, "kerberos"},
		"Kerberos":                   {Credential{Kind: "kerberos", CCache: "c"}, ""},
		"two secrets":                {Credential{Kind: "kerberos", User: "a", CCache: "c", Keytab: "k"}, "one of"},
		"the account we run as":      {Credential{Kind: "windows"}, ""},
		"that, with a name":          {Credential{Kind: "windows", User: `CORP\a`}, "takes no user"},
		"that, with a secret":        {Credential{Kind: "windows", PasswordEnv: "X"}, "takes no user"},
		"what there is not":          {Credential{Kind: "credssp", User: "a"}, "ntlm, kerberos, windows"},
		"simple, for the directory":  {Credential{Kind: "simple", User: "a"}, ""},
		"a certificate":              {Credential{Kind: "certificate", Certificate: "c", Key: "k"}, ""},
		"a certificate without key":  {Credential{Kind: "certificate", Certificate: "c"}, "both files"},
		"a certificate of a user":    {Credential{Kind: "certificate", Certificate: "c", Key: "k", User: "a"}, "takes no user"},
		"a key for NTLM":             {Credential{Kind: "ntlm", User: "a", Key: "k"}, "kind: certificate"},
		"Kerberos with nobody in it": {Credential{Kind: "kerberos"}, "ccache"},
	} {
		err := c.validate()
		if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if runtime.GOOS != "windows" {
		_, err := new(app).login(Config{Credentials: map[string]Credential{"hosts": {Kind: "windows"}}}, "hosts")
		var e *logon.Error
		if !errors.As(err, &e) || e.Hint() == "" || !strings.Contains(err.Error(), `"hosts"`) {
			t.Error(err)
		}
	}
}
