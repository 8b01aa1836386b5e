package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSearchedDomain(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                      "",
		"nameserver 10.0.0.1\n": "",
		"# search no.example\nsearch CORP.example. other.example\n": "corp.example",
		"domain corp.example\n": "corp.example",
		"search local\n":        "",
		"search\n":              "",
	} {
		file := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := searchedDomain(file); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := searchedDomain("no such file"); got != "" {
		t.Errorf("%q", got)
	}
}
