package machine

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"wavelock/pki"
	"wavelock/rollout"
)

const issuer = pki.Thumbprint("00112233445566778899AABBCCDDEEFF00112233")

func TestForwarding(t *testing.T) {
	t.Parallel()
	const path = "/wsman/SubscriptionManager/WEC"
	for text, want := range map[string]rollout.Forwarding{
		"Server=http://wec1.corp.example:5985" + path + ",Refresh=60":                                                          {Server: "wec1.corp.example", Port: 5985},
		"Server=HTTPS://WEC1.Corp.Example.:5986" + path + ",Refresh=60,IssuerCA=" + string(issuer):                             {Server: "wec1.corp.example", Port: 5986, HTTPS: true, ByCertificate: true, IssuerCA: issuer},
		"issuerca = 00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff 00 11 22 33 , refresh=5, SERVER = \"https://wec1:5986/x\"": {Server: "wec1", Port: 5986, HTTPS: true, ByCertificate: true, IssuerCA: issuer},
		"Server=https://wec1/wsman,IssuerCA=the one of the root":                                                               {Server: "wec1", HTTPS: true, ByCertificate: true},
		"Server=https://wec1/wsman,IssuerCA=":                                                                                  {Server: "wec1", HTTPS: true},
		"Server=http://wec1" + path:                                                                                            {Server: "wec1"},
		"Server=wec1.corp.example":                                                                                             {Server: "wec1.corp.example"},
		"Server=wec1.corp.example:5985,Refresh=3":                                                                              {Server: "wec1.corp.example", Port: 5985},
		"http://192.0.2.7:5985" + path + ",Refresh=60":                                                                         {Server: "192.0.2.7", Port: 5985},
		"Server=http://[2001:DB8:0::1]:5985/wsman":                                                                             {Server: "2001:db8::1", Port: 5985},
		"Server=http://[2001:db8::1]/wsman":                                                                                    {Server: "2001:db8::1"},
		"Refresh=60":                                                                                                           {Unclear: "Refresh=60"},
		"Server=ftp://wec1":                                                                                                    {Unclear: "Server=ftp://wec1"},
		"Server=http:/wec1":                                                                                                    {Unclear: "Server=http:/wec1"},
		"Server=http://wec1:0/":                                                                                                {Unclear: "Server=http://wec1:0/"},
		"Server=http://wec1:99999/":                                                                                            {Unclear: "Server=http://wec1:99999/"},
		"Server=http://<FQDN of the collector>:5985/":                                                                          {Unclear: "Server=http://<FQDN of the collector>:5985/"},
		"Server=http://[2001:db8::1:5985/":                                                                                     {Unclear: "Server=http://[2001:db8::1:5985/"},
		strings.Repeat("x", 300):                                                                                               {Unclear: strings.Repeat("x", 200)},
	} {
		if got := forwarding(text); got != want {
			t.Errorf("%s\ngot  %+v\nwant %+v", text, got, want)
		}
	}
}

func TestForwardsAreThePolicysOwnValues(t *testing.T) {
	t.Parallel()
	got := forwards(parseRegQuery("\r\n" + hive + forwardingKey + "\r\n    1    REG_SZ    Server=http://a:5985/w,Refresh=60\r\n    2    REG_EXPAND_SZ    Server=https://b/w\r\n" +
		"    3    REG_SZ    \r\n    4    REG_DWORD    0x1\r\n" + hive + forwardingKey + "\\Old\r\n    1    REG_SZ    Server=http://c/w\r\n"))
	if want := []rollout.Forwarding{{Server: "a", Port: 5985}, {Server: "b", HTTPS: true}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// FuzzForwarding: who the collector is can be written down and is read the same again; what is not HTTPS never says so.
func FuzzForwarding(f *testing.F) {
	f.Add("Server=http://wec1.corp.example:5985/wsman/SubscriptionManager/WEC,Refresh=60,IssuerCA=" + string(issuer))
	f.Add("Server=https://[::1]:1,,=,Server==x")
	f.Add("://,https://a")
	f.Fuzz(func(t *testing.T, text string) {
		got := forwarding(text)
		if (got.Server == "") != (got.Unclear != "" || strings.TrimSpace(text) == "") || got.Unclear != "" && got != (rollout.Forwarding{Unclear: got.Unclear}) {
			t.Fatalf("%+v", got)
		}
		if got.HTTPS && !strings.Contains(strings.ToLower(text), "https") {
			t.Fatalf("%q is no HTTPS", text)
		}
		if got.Server == "" {
			return
		}
		scheme, host, port := "http", got.Server, ""
		if got.HTTPS {
			scheme = "https"
		}
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if got.Port != 0 {
			port = fmt.Sprintf(":%d", got.Port)
		}
		again := forwarding("Server=" + scheme + "://" + host + port + "/wsman")
		again.ByCertificate, again.IssuerCA = got.ByCertificate, got.IssuerCA
		if again != got {
			t.Fatalf("%+v became %+v", got, again)
		}
	})
}
