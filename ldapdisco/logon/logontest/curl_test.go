package logontest

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

type connKey struct{}

// curl speaks NTLMv2 with OEM strings, without MIC and without Version: clients that the usual acceptors send away.
func TestAnOldFashionedClient(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip("curl is not here")
	}
	h := corp()
	h.Directory.Add("old", "plain-ascii")
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		token, _ := base64.StdEncoding.DecodeString(value)
		out, done, err := r.Context().Value(connKey{}).(*Conn).Step(token)
		if done && err == nil {
			io.WriteString(w, r.Context().Value(connKey{}).(*Conn).User())
			return
		}
		w.Header().Set("WWW-Authenticate", strings.TrimSpace("NTLM "+base64.StdEncoding.EncodeToString(out)))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	srv.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, h.Accept(nil, Strict))
	}
	srv.Start()
	defer srv.Close()
	for password, want := range map[string]string{"plain-ascii": `CORP\old`, "wrong": ""} {
		cmd := exec.Command(curl, "-s", "--noproxy", "*", "--ntlm", "-u", `CORP\old:`+password, srv.URL)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%s: %s %v", password, out, err)
		}
	}
}
