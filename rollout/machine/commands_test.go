package machine

import (
	"encoding/base64"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wavelock/pki"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const golden = "../../testdata/golden/machine/"

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.FromSlash(golden + name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; make it with -update", err)
	}
	if string(want) != got {
		t.Errorf("differs from %s:\n%s", name, got)
	}
}

const testMark = "c-20260302-1001@20260302T100203.004000000Z"

const testBack = pki.Thumbprint("00112233445566778899AABBCCDDEEFF00112233")

// namedLine is a command line and the step that runs it.
type namedLine struct{ name, line string }

// everyLine is every command line there is, in the default configuration.
func everyLine(t testing.TB) []namedLine {
	t.Helper()
	must := func(line string, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	lines := []namedLine{
		{"inspect", bulkQuery(bulkKeys)},
		{"inspect: posture, and the lists of Server Manager", reportLine()},
		{"inspect: the keys of event forwarding", keysLine([]pki.Thumbprint{issuer}, []pki.Thumbprint{testBack, testBack})},
		{"inspect: the firewall's log", dropsLine(`%systemroot%\system32\LogFiles\Firewall\pfirewall.log`, 5985)},
		{"inspect: a log with blanks in its name", dropsLine(`D:\fire wall\log 1.txt`, 5985)},
		{"save-image", saveLine},
		{"enroll: what is in the store", storeLine},
		{"request", requestLine},
		{"accept", acceptLine},
		{"request, accept: clean up", dropFolderLine},
		{"allow", must(allowLine(5986, nil, nil))},
		{"allow: from a few, on a profile", must(allowLine(5986, []string{"10.0.0.0/8", "2001:db8::/32"}, []string{"domain", "private"}))},
		{"arm", must(armLine(testMark, "", false, ""))},
		{"arm: where HTTP is gone", must(armLine(testMark, "", true, ""))},
		{"arm: a renewal where HTTP never was", must(armLine(testMark, "", false, testBack))},
		{"arm: a renewal where HTTP is gone", must(armLine(testMark, "", true, testBack))},
		{"arm: in the place of one that was seen", must(armLine(testMark, "c-20260302-1001@20260302T095903.004000000Z", false, ""))},
		{"narrow", must(narrowLine(5985, []string{"10.0.0.5", "2001:db8::5"}))},
		{"prove-narrow", findRule("wavelock-block-5985")},
		{"widen", widenLine(5985)},
		{"restore", restoreLine(5985, 5986, false)},
		{"restore: the rule stays", restoreLine(5985, 5986, true)},
	}
	for _, l := range fileLines("request.inf", requestLines("web01.corp.example")) {
		lines = append(lines, namedLine{"request: its policy file", l})
	}
	der, err := base64.StdEncoding.DecodeString(strings.Repeat("MIIBszCCAVmg", 24))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range fileLines("answer.cer", certificateLines(der)) {
		lines = append(lines, namedLine{"accept: the certificate", l})
	}
	return lines
}

// TestGoldenCommandLines compares what is run on hosts with testdata/golden/machine; -update rewrites the files.
func TestGoldenCommandLines(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, l := range everyLine(t) {
		if n := len("cmd.exe /c " + l.line); n > 8191 {
			t.Errorf("%s: a line of %d characters", l.name, n)
		}
		b.WriteString("# " + l.name + "\n" + l.line + "\n\n")
	}
	compareGolden(t, "commands.txt", b.String())
}

func TestGoldenTasks(t *testing.T) {
	t.Parallel()
	enroll, err := enrollXML("WinRMHTTPS")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"undo.xml": undoXML(testMark, 10*time.Minute, 5985), "rebind.xml": rebindXML(testMark, 10*time.Minute, 5985, 5986, testBack, false), "rebind-last-resort.xml": rebindXML(testMark, 10*time.Minute, 5985, 5986, testBack, true), "enroll.xml": enroll, "rehearsal.xml": rehearsalXML()} {
		if err := xml.Unmarshal([]byte(text), new(struct{ XMLName xml.Name })); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		compareGolden(t, name, strings.ReplaceAll(text, "><", ">\n<")+"\n")
	}
}

// TestFilesOfManyLines: each piece fits a command line, the first one makes the file and the others add to it.
func TestFilesOfManyLines(t *testing.T) {
	t.Parallel()
	lines := certificateLines(make([]byte, 9000))
	all := fileLines("answer.cer", lines)
	echoed := 0
	for i, l := range all {
		if len(l) > 4500 || strings.HasPrefix(l, "rd /s /q ") != (i == 0) || strings.Contains(l, `) >>"`) != (i > 0) {
			t.Errorf("line %d of %d characters: %.60s", i, len(l), l)
		}
		echoed += strings.Count(l, "echo ")
	}
	if len(all) != 4 || echoed != len(lines) {
		t.Errorf("%d of %d lines in %d pieces", echoed, len(lines), len(all))
	}
}
