package wsman_test

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wavelock/ldapdisco/logon/logontest"
)

// TestTheLoggedOnAccountInWine runs the Windows build: Wine's SSPI has Kerberos, which is MIT's with its credential
// cache. Wine 8 knows no channel binding and seals in another format than Windows, so the way over HTTPS is proved, and of
// the other that nothing goes in clear when sealing fails.
func TestTheLoggedOnAccountInWine(t *testing.T) {
	t.Parallel()
	env := winePrefix(t)
	program := filepath.Join(t.TempDir(), "wsman.test.exe")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	run := func(l *listener, more ...string) (string, error) {
		c := exec.CommandContext(t.Context(), "wine", program, "-test.run=^TestLoggedOn$", "-test.v")
		c.Env = slices.Concat(mit(t, l, "HTTP/other.corp.example"), env, []string{"WAVELOCK_TEST_HOST=" + hostName, "WAVELOCK_TEST_ADDRESS=" + l.Listener.Addr().String()}, more)
		out, err := c.Output()
		return string(out), err
	}
	secure := newListener(t, true)
	secure.level = logontest.None
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(secure, "WAVELOCK_TEST_CA_FILE=Z:"+strings.ReplaceAll(roots, "/", `\`), "WAVELOCK_TEST_TLS_NAME=example.com")
	if err != nil || !strings.Contains(out, `Microsoft Corporation says "hello\r\n" to`) || secure.handshakes.Load() != 1 {
		t.Errorf("over HTTPS: %v %s", err, out)
	}
	plain := newListener(t, false)
	if out, err = run(plain); err == nil || !strings.Contains(out, "identify on host1") || plain.clear.Load() != 0 || plain.handshakes.Load() == 0 {
		t.Errorf("over HTTP: %v %s, %d in clear", err, out, plain.clear.Load())
	}
	if plain.wire.contains("Envelope") {
		t.Error("SOAP crossed the wire in clear")
	}
}

// winePrefix makes a computer in Wine that can run programs in Go.
func winePrefix(t *testing.T) []string {
	t.Helper()
	const compiler = "x86_64-w64-mingw32-gcc"
	for _, program := range []string{"wine", "wineboot", "wineserver", compiler} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, "%v", err)
		}
	}
	dir := filepath.Join(t.TempDir(), "prefix")
	env := []string{"WINEPREFIX=" + dir, "WINEDEBUG=-all", "WINEARCH=win64", "WINEDLLOVERRIDES=bcryptprimitives=n;mscoree=;mshtml=", "DISPLAY="}
	run := func(args ...string) error {
		c := exec.Command(args[0], args[1:]...) // its output goes nowhere: services that Wine starts would keep a pipe open
		c.Env = append(os.Environ(), env...)
		return c.Run()
	}
	t.Cleanup(func() {
		run("wineserver", "-k") // what runs in this prefix
		run("wineserver", "-w")
	})
	if err := run("wineboot", "-i"); err != nil {
		t.Fatal(err)
	}
	if err := run(compiler, "-shared", "-o", filepath.Join(dir, "drive_c", "windows", "system32", "bcryptprimitives.dll"), filepath.FromSlash("../../testdata/peer/bcryptprimitives.c"), "-ladvapi32"); err != nil {
		t.Fatal(err)
	}
	return env
}
