package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite what is generated in the guide and the README")

const readme = "../../README.md"

func guideFile(topic string) string { return filepath.Join("guide", topic+".md") }

// readable are the texts that users read: the README and the pages of the guide.
func readable(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{"README.md": readFile(t, readme)}
	pages, err := readGuide()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		texts["guide/"+p.Topic+".md"] = p.Text
	}
	return texts
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// current compares a text with what is generated; -update writes it.
func current(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if readFile(t, file) != want {
		t.Errorf("%s is not current: go test ./cmd/wavelock -run TestGuide -update", file)
	}
}

// between replaces what stands between two markers of a text.
func between(t *testing.T, text, begin, end, middle string) string {
	t.Helper()
	head, rest, ok := strings.Cut(text, begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("the markers %q and %q are missing", begin, end)
	}
	return head + begin + middle + end + tail
}

func TestGuideIsComplete(t *testing.T) {
	files, err := filepath.Glob("guide/*.md")
	if err != nil || len(files) != len(guideTopics) {
		t.Errorf("%d files for %d topics, %v", len(files), len(guideTopics), err)
	}
	front := readFile(t, readme)
	for _, topic := range guideTopics {
		if !strings.Contains(front, "cmd/wavelock/guide/"+topic+".md") {
			t.Errorf("the README has no link to the page %s", topic)
		}
		text := readFile(t, guideFile(topic))
		if !strings.HasPrefix(text, "# ") || !strings.HasSuffix(text, "\n") {
			t.Errorf("%s begins with no title, or its last line has no end", topic)
		}
		code := false
		for i, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(line, "```") {
				code = !code
			}
			if n := utf8.RuneCountInString(line); n > 80 && !code && line[0] != '|' && line[0] != '<' && !strings.Contains(line, "`") {
				t.Errorf("%s, line %d has %d columns", topic, i+1, n)
			}
		}
	}
}

// TestGuideExplainsEveryReason keeps the page of the codes what wavelock explain says.
func TestGuideExplainsEveryReason(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Troubleshooting: every reason code\n\n" +
		fold("The same text as wavelock explain CODE prints, from the same table: go test ./cmd/wavelock -run TestGuide -update writes this page. For one computer: wavelock host NAME.", 78, "") + "\n")
	for _, about := range []struct{ of, title string }{{"host", "Of a computer"}, {"account", "Of an account in the directory"}} {
		b.WriteString("\n## " + about.title + "\n")
		for _, e := range glossary() {
			if e.About == about.of {
				fmt.Fprintf(&b, "\n**`%s`**: %s\n\n%s\n", e.Code, e.Title, fold(e.Hint, 78, "  "))
			}
		}
	}
	current(t, guideFile("troubleshooting"), b.String())
}

// TestGuideArrows keeps the drawn arrows those that TestArrows enforces.
func TestGuideArrows(t *testing.T) {
	var names []string
	for name := range mayImport {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString("\n```\n")
	for _, name := range names {
		fmt.Fprintf(&b, "%-20s ─▶ %s\n", name, strings.Join(mayImport[name], ", "))
	}
	b.WriteString("```\n")
	file := guideFile("architecture")
	current(t, file, between(t, readFile(t, file), "<!-- arrows: go test ./cmd/wavelock -run TestGuide -update -->", "<!-- /arrows -->", b.String()))
}

// TestGuideListsTheCommands keeps the README's list what wavelock --help says.
func TestGuideListsTheCommands(t *testing.T) {
	root := newRoot(newApp(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}))
	var b strings.Builder
	b.WriteString("\n```\n")
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "%s\n", g.Title)
		for _, c := range root.Commands() {
			if c.GroupID == g.ID && !c.Hidden {
				fmt.Fprintf(&b, "  %-10s %s\n", c.Name(), c.Short)
			}
		}
	}
	b.WriteString("```\n")
	current(t, readme, between(t, readFile(t, readme), "<!-- commands: go test ./cmd/wavelock -run TestGuide -update -->", "<!-- /commands -->", b.String()))
}

// TestGuideListsTheExitCodes keeps the page for scripts what the program's own list says.
func TestGuideListsTheExitCodes(t *testing.T) {
	file := guideFile("scripts")
	current(t, file, between(t, readFile(t, file), "<!-- exit codes: go test ./cmd/wavelock -run TestGuide -update -->", "<!-- /exit codes -->", "\n"+exitTable()))
}

// TestGuideLinksLead follows every link of the README to a file of the repository.
func TestGuideLinksLead(t *testing.T) {
	for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(readFile(t, readme), -1) {
		if _, err := os.Stat(filepath.Join("..", "..", m[1])); err != nil && !strings.Contains(m[1], "://") {
			t.Errorf("the README links to %s: %v", m[1], err)
		}
	}
}

var fence = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// TestGuideCommandsAreTrue takes a command of the README or the guide for granted
// only if the program knows it and its flags.
func TestGuideCommandsAreTrue(t *testing.T) {
	seen := 0
	for name, text := range readable(t) {
		var lines []string
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			lines = append(lines, strings.Split(m[2], "\n")...)
		}
		for _, m := range regexp.MustCompile("`(wavelock [^`]*)`").FindAllStringSubmatch(strings.ReplaceAll(text, "\n", " "), -1) {
			lines = append(lines, m[1])
		}
		for _, line := range lines {
			line, _, _ = strings.Cut(strings.TrimPrefix(line, "$ "), " #")
			if !strings.HasPrefix(line, "wavelock ") {
				continue
			}
			seen++
			if err := known(line); err != nil {
				t.Errorf("%s: %s: %v", name, line, err)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d commands were found", seen)
	}
}

// known parses a command line without running it.
func known(line string) error {
	line, _, _ = strings.Cut(strings.TrimPrefix(line, "wavelock "), " | ")
	line = strings.TrimRight(strings.TrimSuffix(strings.TrimSpace(line), " &"), " ")
	line, _, _ = strings.Cut(line, " > ")
	root := newRoot(newApp(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}))
	root.InitDefaultVersionFlag()
	c, rest, err := root.Find(strings.Fields(line))
	if err != nil {
		return err
	}
	if c == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("there is no such command")
	}
	for i := 1; i < len(rest); i++ { // words in quotes are one argument
		rest[i] = strings.Trim(rest[i], `'"`)
	}
	if err := c.ParseFlags(rest); !errors.Is(err, pflag.ErrHelp) {
		return err
	}
	return nil
}

// TestGuideConfigurationIsTrue reads every piece of configuration that the README
// and the guide show.
func TestGuideConfigurationIsTrue(t *testing.T) {
	seen := 0
	for name, text := range readable(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] != "yaml" {
				continue
			}
			seen++
			var cfg Config
			if err := yaml.NewDecoder(strings.NewReader(m[2]), yaml.Strict()).Decode(&cfg); err != nil {
				t.Errorf("%s: %v\n%s", name, err, m[2])
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d pieces of configuration were found", seen)
	}
}

// TestGuideNamesEverythingWritten looks for every name of ours in the source of
// the driver, and wants it in the README and on the page for the security centre.
func TestGuideNamesEverythingWritten(t *testing.T) {
	ours := regexp.MustCompile(`(?i)SOFTWARE\\wavelock(\\\w+)?$|systemprofile\\wavelock$|^\\wavelock\\$`)
	names := map[string]bool{`wavelock-https-5986`: true, `wavelock-block-5985`: true} // made of a prefix and a port
	for _, s := range sources(t) {
		if s.pkg != "rollout/machine" {
			continue
		}
		consts := map[string]string{}
		ast.Inspect(s.file, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != len(v.Names) {
				return true
			}
			for i, e := range v.Values {
				text := constant(e, consts)
				consts[v.Names[i].Name] = text
				if m := ours.FindString(text); m != "" {
					names[m] = true
				}
			}
			return true
		})
	}
	if len(names) < 6 {
		t.Fatalf("only %d names were found: %v", len(names), names)
	}
	for _, file := range []string{readme, guideFile("security")} {
		text := readFile(t, file)
		for name := range names {
			if !strings.Contains(text, name) {
				t.Errorf("%s does not say that %s is written", file, name)
			}
		}
		for _, task := range []string{`\wavelock\undo`, `\wavelock\enroll`} {
			if !strings.Contains(text, task) {
				t.Errorf("%s does not name the task %s", file, task)
			}
		}
	}
}

// constant is a string made of literals and earlier constants.
func constant(e ast.Expr, known map[string]string) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.Ident:
		return known[e.Name]
	case *ast.BinaryExpr:
		return constant(e.X, known) + constant(e.Y, known)
	}
	return ""
}

// TestGuideConformanceIsTrue compares the variables of the suite with those of the page.
func TestGuideConformanceIsTrue(t *testing.T) {
	variable := regexp.MustCompile(`WAVELOCK_TEST_[A-Z_]+`)
	files, err := filepath.Glob("../../rollout/machine/conformance*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("the suite was not found: %v", err)
	}
	inCode := map[string]bool{}
	for _, f := range files {
		for _, v := range variable.FindAllString(readFile(t, f), -1) {
			inCode[v] = true
		}
	}
	inPage := map[string]bool{}
	for _, v := range variable.FindAllString(readFile(t, guideFile("limits")), -1) {
		inPage[v] = true
		if !inCode[v] {
			t.Errorf("the page names %s, the suite does not", v)
		}
	}
	for v := range inCode {
		if !inPage[v] {
			t.Errorf("the suite takes %s, the page does not name it", v)
		}
	}
}
