package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the architecture: what each package may import of this module.
// A package that is not listed may import nothing of it; cmd may import all.
var mayImport = map[string][]string{
	"ldapdisco":           {"ldapdisco/logon"},
	"ldapdisco/ldaptest":  {"ldapdisco/logon/logontest"},
	"pki/adcs":            {"pki", "ldapdisco/logon"},
	"pki/revocation":      {"pki"},
	"pki/adcstest":        {"pki", "ldapdisco/logon/logontest"},
	"rollout":             {"pki"},
	"rollout/engine":      {"rollout", "pki"},
	"rollout/journal":     {"rollout"},
	"rollout/hook":        {"rollout"},
	"rollout/web":         {"rollout"},
	"rollout/wsman":       {"ldapdisco/logon"},
	"rollout/machine":     {"rollout", "rollout/wsman", "pki", "ldapdisco/logon"},
	"rollout/machinetest": {"ldapdisco/logon/logontest"},
	"rollout/lab":         {"ldapdisco/ldaptest", "ldapdisco/logon/logontest", "pki/adcstest", "rollout/machinetest"},
}

// pure packages decide and never act.
var (
	pure      = []string{"rollout", "pki"}
	forbidden = []string{"net", "net/http", "os", "database/sql", "os/exec", "syscall"}
)

type source struct {
	name, pkg string
	file      *ast.File
}

// sources parses every product file. It reads the files itself, rather than ask
// the go command, so that the test cache sees what the verdict rests on.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		all = append(all, source{rel, path.Dir(rel), file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d files were found: the test looks in the wrong place", len(all))
	}
	return all
}

func TestArrows(t *testing.T) {
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if ours, ok := strings.CutPrefix(imp, "wavelock/"); ok && s.pkg != "cmd/wavelock" && !slices.Contains(mayImport[s.pkg], ours) {
				t.Errorf("%s imports %s, which the architecture does not allow", s.name, ours)
			}
			if slices.Contains(pure, s.pkg) && slices.Contains(forbidden, imp) {
				t.Errorf("%s imports %s, but %s is pure", s.name, imp, s.pkg)
			}
		}
	}
}

func TestPureCoreReadsNoClock(t *testing.T) {
	for _, s := range sources(t) {
		if !slices.Contains(pure, s.pkg) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After"}, sel.Sel.Name) {
				t.Errorf("%s uses time.%s: the time is passed in", s.name, sel.Sel.Name)
			}
			return true
		})
	}
}

func TestOnePackageCommentEach(t *testing.T) {
	docs := map[string]int{}
	for _, s := range sources(t) {
		docs[s.pkg] += 0
		if s.file.Doc != nil {
			docs[s.pkg]++
		}
	}
	for pkg, n := range docs {
		if n != 1 {
			t.Errorf("%s has %d package comments, want 1", pkg, n)
		}
	}
}

// The simulated computers and the client stand on different code, so that an error in one is not made good by the same error in
// the other: none of the client's packages (TestArrows), and none of the libraries that its sealers and parsers stand on.
// gokrb5's ciphers and message types are on both sides; MIT's Kerberos is the judge of those.
func TestFakesStandOnOtherLibraries(t *testing.T) {
	client := []string{"github.com/bodgit/ntlmssp", "github.com/masterzen/", "github.com/jcmturner/gokrb5/v8/gssapi", "github.com/jcmturner/gokrb5/v8/spnego", "github.com/jcmturner/gokrb5/v8/client"}
	fakes := []string{"ldapdisco/logon/logontest", "rollout/machinetest"}
	used := map[string]bool{}
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, lib := range client {
				switch {
				case !strings.HasPrefix(imp, lib):
				case slices.Contains(fakes, s.pkg):
					t.Errorf("%s imports %s, on which the client stands", s.name, imp)
				case s.pkg == "ldapdisco/logon" || s.pkg == "rollout/wsman":
					used[lib] = true
				}
			}
		}
	}
	for _, lib := range client {
		if !used[lib] {
			t.Errorf("the client does not use %s any more: this test looks for the wrong thing", lib)
		}
	}
}
