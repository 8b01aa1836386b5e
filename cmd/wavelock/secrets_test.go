package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"
	"golang.org/x/crypto/md4" //nolint:staticcheck // the NT hash is MD4

	"wavelock/rollout/journal/postgrestest"
)

// secretless SECRETFILE DIR [BUT...]: no file of DIR or among the temporary ones but those named, nor the last output,
// nor any process's command line contains the secret.
func cmdSecretless(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "secretless SECRETFILE DIR [BUT...]")
	secret := strings.TrimSpace(ts.ReadFile(args[0]))
	if len(secret) < 8 {
		ts.Fatalf("%q is too short to be looked for", secret)
	}
	forms, looked := formsOf(secret), 0
	look := func(where string, b []byte) {
		if how, found := contains(b, forms); found {
			ts.Fatalf("%s contains the secret of %s (%s)", where, args[0], how)
		}
		looked++
	}
	for _, dir := range []string{ts.MkAbs(args[1]), ts.Getenv("TMPDIR")} {
		if _, err := os.Stat(dir); err != nil {
			continue // there is no temporary file
		}
		ts.Check(filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) || err == nil && (d.IsDir() || slices.Contains(args[2:], d.Name())) {
				return nil // a program beside us may have taken it away
			} else if err != nil {
				return err
			}
			b, err := os.ReadFile(name)
			if errors.Is(err, os.ErrNotExist) || err == nil && strings.TrimSpace(string(b)) == secret {
				return nil // the script's own copy
			}
			look(name, b)
			return err
		}))
	}
	if looked == 0 {
		ts.Fatalf("there is nothing in %s to look at", args[1])
	}
	for _, stream := range []string{"stdout", "stderr"} {
		look(stream, []byte(ts.ReadFile(stream)))
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline") // there is none but on Linux
	ts.Check(err)
	for _, name := range lines {
		if b, err := os.ReadFile(name); err == nil { // else it has ended
			look(name, b)
		}
	}
}

// postgres NAME SECRETFILE starts a PostgreSQL server that lets nobody in without the secret, for as long as the script
// runs. NAME is set to the address of its database, NAME_DATA to the folder of its files.
func cmdPostgres(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "postgres NAME SECRETFILE")
	server, err := postgrestest.New(context.Background())
	ts.Check(err)
	ts.Defer(func() { ts.Check(server.Close()) })
	ts.Check(server.DemandPassword(context.Background(), strings.TrimSpace(ts.ReadFile(args[1]))))
	ts.Setenv(args[0], server.Address("postgres"))
	ts.Setenv(args[0]+"_DATA", server.Data())
}

// browse BASE NAME PASSWORDFILE PAGE... logs in, the first time with a wrong password, and keeps the pages as pages.html.
func cmdBrowse(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 3, "browse BASE NAME PASSWORDFILE PAGE...")
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	c := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	var pages bytes.Buffer
	ask := func(want int, r *http.Response, err error) {
		ts.Check(err)
		defer r.Body.Close()
		if r.StatusCode != want {
			ts.Fatalf("%s answers %s, want %d", r.Request.URL, r.Status, want)
		}
		fmt.Fprintln(&pages, r.Header)
		_, err = pages.ReadFrom(r.Body)
		ts.Check(err)
	}
	password := strings.TrimSpace(ts.ReadFile(args[2]))
	login := func(want int, password string) {
		r, err := c.PostForm(args[0]+"/login", url.Values{"name": {args[1]}, "password": {password}})
		ask(want, r, err)
	}
	login(http.StatusUnauthorized, password+"?")
	login(http.StatusOK, password)
	for _, page := range args[3:] {
		r, err := c.Get(args[0] + page)
		ask(http.StatusOK, r, err)
	}
	ts.Check(os.WriteFile(ts.MkAbs("pages.html"), pages.Bytes(), 0o600))
}

// formsOf are the ways in which a password gives itself away: as it is, as
// Windows writes it, encoded, and as the hash that is as good as the password.
func formsOf(secret string) map[string][]byte {
	var wide []byte
	for _, u := range utf16.Encode([]rune(secret)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	h := md4.New()
	h.Write(wide)
	forms := map[string][]byte{"as it is": []byte(secret), "UTF-16": wide, "NT hash": h.Sum(nil)}
	for name, b := range maps.Clone(forms) {
		forms[name+" in hexadecimal"] = []byte(hex.EncodeToString(b))
		for before, spoilt := range []int{0, 2, 3} { // that many bytes of something else, such as a name, stand before it
			padded := append(make([]byte, before), b...)
			text := base64.StdEncoding.EncodeToString(padded[:len(padded)-len(padded)%3])[spoilt:]
			forms[fmt.Sprintf("%s in base64, %d", name, before)] = []byte(text)
			forms[fmt.Sprintf("%s in the base64 of addresses, %d", name, before)] = []byte(strings.NewReplacer("+", "-", "/", "_").Replace(text))
		}
	}
	forms["in an address"] = []byte(url.QueryEscape(secret))
	return forms
}

func contains(b []byte, forms map[string][]byte) (how string, found bool) {
	lower := bytes.ToLower(b)
	for name, form := range forms {
		if bytes.Contains(b, form) || strings.Contains(name, "hexadecimal") && bytes.Contains(lower, form) {
			return name, true
		}
	}
	return "", false
}

// TestFormsAreFound keeps the search for secrets from searching nothing.
func TestFormsAreFound(t *testing.T) {
	t.Parallel()
	forms := formsOf("Passw0rd!")
	for _, leak := range []string{"x Passw0rd! y", "P\x00a\x00s\x00s\x00w\x000\x00r\x00d\x00!\x00", "UGFzc3cwcmQh", "Basic Q09SUFxhOlBhc3N3MHJkIQ==", "Basic YTpQYXNzdzByZCE=", "?p=Passw0rd%21&", "FC525C9683E8FE067095BA2DDC971889"} {
		if _, found := contains([]byte("log: "+leak+"."), forms); !found {
			t.Errorf("%q is not found", leak)
		}
	}
	if how, found := contains([]byte("password of CORP\\wavelock: (secret)"), forms); found {
		t.Errorf("found %s where there is none", how)
	}
}

// TestNoSecretOnTheCommandLine: where there is no flag for one, nobody types one.
func TestNoSecretOnTheCommandLine(t *testing.T) {
	t.Parallel()
	for _, c := range commands(t) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			name := strings.ToLower(f.Name)
			harmless := strings.HasSuffix(name, "-file") || strings.HasSuffix(name, "-env") || f.Value.Type() == "bool"
			if !harmless && (strings.Contains(name, "pass") || strings.Contains(name, "secret") || strings.Contains(name, "token")) {
				t.Errorf("%s has the flag --%s", c.CommandPath(), f.Name)
			}
		})
	}
}
