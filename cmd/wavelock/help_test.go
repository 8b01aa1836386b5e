package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands are all that a user can type.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	root := newRoot(newApp(strings.NewReader(""), io.Discard, io.Discard))
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

func TestEveryCommandHelps(t *testing.T) {
	t.Parallel()
	for _, c := range commands(t) {
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
		code, out, errs := wavelock(t, append(strings.Fields(path)[1:], "--help")...)
		if code != exitOK || errs != "" || !strings.Contains(out, "\nExamples:\n") {
			t.Errorf("%s --help ends with %d: %s%s", path, code, out, errs)
		}
		lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
		if most := 42; len(lines) > most && c.HasParent() || len(lines) > 66 {
			t.Errorf("%s: the help has %d lines", path, len(lines))
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > 80 {
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
	front, err := os.ReadFile(filepath.Join(dir, "wavelock.1"))
	if err != nil || !strings.Contains(string(front), ".SH EXIT STATUS") || !strings.Contains(string(front), "130") {
		t.Errorf("the first page lists no exit status: %v\n%s", err, front)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "wavelock*.1"))
	if want := len(commands(t)) - 2; err != nil || len(pages) < want { // help and the hidden service run have none
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

func TestHelpOfWhatIsNoCommand(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"help", "asess"}, {"help", "run", "away"}, {"completion", "csh"}, {"completion"}} {
		if code, out, errs := wavelock(t, args...); code != exitUsage || out != "" || !strings.Contains(errs, "wavelock: hint: ") {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, errs)
		}
	}
	if code, out, _ := wavelock(t, "help", "journal", "verify"); code != exitOK || !strings.Contains(out, "wavelock journal verify [CAMPAIGN]") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// TestEveryFlagCompletes: a flag completes with its own words, with nothing, or with any file where any will do.
func TestEveryFlagCompletes(t *testing.T) {
	t.Parallel()
	files := []string{"password-file", "keytab", "ccache", "hosts-certificate", "hosts-key"}
	for _, c := range commands(t) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			_, found := c.GetFlagCompletionFunc(f.Name)
			if f.Value.Type() != "bool" && !found && !slices.Contains(files, f.Name) && !(c.Name() == "export" && f.Name == "out") {
				t.Errorf("%s --%s completes with whatever file is there", c.CommandPath(), f.Name)
			}
		})
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
