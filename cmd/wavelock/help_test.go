package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// commands are all that a user can type.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	root := newRoot(newApp(strings.NewReader(""), io.Discard, io.Discard))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd("")
	var all []*cobra.Command
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	if len(all) < 25 {
		t.Fatalf("only %d commands were found", len(all))
	}
	return all
}

// theirs are commands that cobra brings.
func theirs(c *cobra.Command) bool {
	path := c.CommandPath()
	return strings.HasPrefix(path, "wavelock completion") || strings.HasPrefix(path, "wavelock help")
}

func TestEveryCommandHelps(t *testing.T) {
	t.Parallel()
	for _, c := range commands(t) {
		if theirs(c) {
			continue
		}
		path := c.CommandPath()
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has short %q and example %q", path, c.Short, c.Example)
		}
		if strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the short help ends with a full stop", path)
		}
		if c.Parent() != nil && c.Parent().Parent() == nil && c.GroupID == "" {
			t.Errorf("%s is in no group", path)
		}
		for _, line := range strings.Split(c.Long+"\n"+c.Example, "\n") {
			if n := utf8.RuneCountInString(line); n > 90 {
				t.Errorf("%s: a line of the help has %d columns: %s", path, n, line)
			}
		}
		for _, line := range strings.Split(c.Example, "\n") {
			if s := strings.TrimSpace(line); !strings.HasPrefix(line, "  ") || !strings.Contains(s, "wavelock ") {
				t.Errorf("%s: %q is no example", path, line)
			}
		}
	}
}

// TestExamplesAreCommands takes the flags of every example for granted only if
// the command knows them.
func TestExamplesAreCommands(t *testing.T) {
	t.Parallel()
	for _, c := range commands(t) {
		if theirs(c) {
			continue
		}
		for _, line := range strings.Split(strings.ReplaceAll(c.Example, " | wavelock ", "\n  wavelock "), "\n") {
			_, rest, _ := strings.Cut(line, "wavelock ")
			rest, _, _ = strings.Cut(rest, " && ")
			rest, _, _ = strings.Cut(rest, " | ")
			rest, _, _ = strings.Cut(rest, "  ")
			words := strings.Fields(rest)
			sub, _, err := c.Root().Find(words)
			if err != nil || sub == c.Root() {
				t.Errorf("%s: the example %q is no command: %v", c.CommandPath(), line, err)
				continue
			}
			for _, w := range words {
				if name, ok := strings.CutPrefix(w, "--"); ok && name != "" && sub.Flag(name) == nil {
					t.Errorf("%s: the example %q has an unknown flag %s", c.CommandPath(), line, w)
				}
			}
		}
	}
}

func TestManualPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, _, errs := wavelock(t, "man", dir); code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	page, err := os.ReadFile(filepath.Join(dir, "wavelock-run.1"))
	if err != nil || !strings.Contains(string(page), `.SH EXAMPLE`) {
		t.Errorf("%v\n%s", err, page)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "wavelock*.1"))
	if want := len(commands(t)) - 6; err != nil || len(pages) < want { // completion and help have none of their own
		t.Errorf("%d pages, want %d at least, %v", len(pages), want, err)
	}
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for shell, want := range map[string]string{"bash": "complete -o default", "zsh": "#compdef wavelock", "fish": "complete -c wavelock", "powershell": "Register-ArgumentCompleter"} {
		code, out, errs := wavelock(t, "completion", shell)
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, no %q; %s", shell, code, want, errs)
		}
	}
}

func TestShellLine(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"run plan.json --yes":                       {"run", "plan.json", "--yes"},
		"resume spring --why 'certificates mended'": {"resume", "spring", "--why", "certificates mended"},
		`pause spring --why 'it'\''s late'`:         {"pause", "spring", "--why", "it's late"},
		"plan --name ''":                            {"plan", "--name", ""},
	} {
		if got := shellLine(args); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
