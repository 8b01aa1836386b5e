package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wavelock/pki"
	"wavelock/rollout/lab"
)

// leaks are what a user never has to read: names of Go types and functions, traces, and errors of the system or of a
// decoder without a word of what was being done.
var leaks = regexp.MustCompile(`goroutine \d|panic:|%!|<nil>|\bGo (value|struct)\b|\b(strconv|netip|json|yaml|main|rollout|journal|ldapdisco|engine|machine)\.[A-Za-z]\w*|error: (EOF|unexpected EOF|(open|read|stat|mkdir) [^ ]*: )|: unexpected end of JSON|accepts \d+ arg|requires at least \d`)

// refused checks what every refusal has: the code, one error that says something, a hint, nothing on standard output.
func refused(t *testing.T, args []string, want int, says string) {
	t.Helper()
	code, out, errs := wavelock(t, args...)
	what := "wavelock " + strings.Join(args, " ")
	if code != want {
		t.Errorf("%s: exit %d, want %d\n%s", what, code, want, errs)
	}
	if strings.Count(errs, "wavelock: error: ") != 1 || !strings.Contains(errs, says) {
		t.Errorf("%s: %q is not one error that says %q", what, errs, says)
	}
	if !regexp.MustCompile(`(?m)^wavelock: hint: \S`).MatchString(errs) {
		t.Errorf("%s: %q has no hint", what, errs)
	}
	if m := leaks.FindString(errs); m != "" {
		t.Errorf("%s: %q is nothing for a user: %s", what, m, errs)
	}
	if code == exitUsage && out != "" {
		t.Errorf("%s: %q on standard output", what, out)
	}
}

// TestEveryCommandRefuses gives each command what none of them takes.
func TestEveryCommandRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range commands(t) {
		path := strings.Fields(c.CommandPath())[1:]
		with := func(more ...string) []string { return append(append([]string{}, path...), more...) }
		refused(t, with("--nonsense"), exitUsage, c.CommandPath()+" has no flag --nonsense")
		refused(t, with("-Z"), exitUsage, c.CommandPath()+" has no flag -Z")
		refused(t, with("--output"), exitUsage, "--output needs a value")
		refused(t, with("--quiet=perhaps"), exitUsage, `--quiet "perhaps" is not true or false`)
		use := strings.TrimPrefix(c.Use, c.Name())
		switch {
		case c.HasAvailableSubCommands() || !c.HasParent():
			refused(t, with("nonsense"), exitUsage, `has no command "nonsense"`)
		case c.Name() == "help":
			refused(t, with("nonsense"), exitUsage, `has no command "nonsense"`)
		case strings.Contains(use, "..."): // as many as one likes
		case strings.TrimPrefix(use, " --zone ZONE") == "":
			refused(t, with("surplus"), exitUsage, `got "surplus"`)
		default:
			refused(t, with("one", "surplus"), exitUsage, `does not know what to do with "surplus"`)
		}
		if strings.HasPrefix(use, " ") && use[1] >= 'A' && use[1] <= 'Z' {
			refused(t, with(), exitUsage, c.CommandPath()+" needs ")
		}
	}
}

// aLab is a domain with a configuration, hosts that were looked at, and a plan.
func aLab(t *testing.T) (dir string) {
	t.Helper()
	l, err := lab.Start(t.Context(), lab.Config{Hosts: 6, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	dir = t.TempDir()
	if err := l.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "wavelock.yaml")
	for _, args := range [][]string{{"assess"}, {"plan", "--out", filepath.Join(dir, "spring.json")}} {
		if code, _, errs := wavelock(t, append(args, "--config", config, "--quiet")...); code != exitOK {
			t.Fatalf("%v: exit %d: %s", args, code, errs)
		}
	}
	if code, _, errs := wavelock(t, "run", filepath.Join(dir, "spring.json"), "--config", config); code != exitWaiting {
		t.Fatalf("exit %d: %s", code, errs)
	}
	return dir
}

// TestRefusals walks through what people mistype, and the files that are not what they should be.
func TestRefusals(t *testing.T) {
	dir := aLab(t)
	t.Chdir(dir)
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := readFile(t, "wavelock.yaml")
	for name, text := range map[string]string{
		"empty": "", "text": "hello\n", "list.json": "[1, 2]", "other.json": `{"a": 1}`, "half.json": `{"hash": "1", "plan": {"id"`, "bytes": "\x00\x01\x02\xff",
		"report.json": `{"form": 1}`, "report.html": "<html></html>", "report.csv": "a,b\n", "wrong": "not the password\n",
	} {
		put(name, text)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := closed.Addr().String()
	closed.Close()
	for _, c := range refusals {
		args := c.args
		if c.swap != "" {
			from, to, _ := strings.Cut(c.swap, "=>")
			text := strings.ReplaceAll(good, from, strings.ReplaceAll(to, "DEAD", dead))
			if re := regexp.MustCompile(from); text == good {
				text = re.ReplaceAllString(good, strings.ReplaceAll(to, "DEAD", dead))
			}
			if text == good {
				t.Fatalf("%q changes nothing", c.swap)
			}
			put("changed.yaml", text)
			args = append([]string{"--config", "changed.yaml", "--quiet"}, args...)
		}
		t.Run(fmt.Sprint(c.swap, " ", strings.Join(args, " ")), func(t *testing.T) { refused(t, args, c.code, c.says) })
	}
}

// refusals are command lines in the folder of a lab with the campaign spring, which is not approved; swap changes the
// configuration before.
var refusals = []struct {
	swap string
	args []string
	code int
	says string
}{
	{"", []string{"demo", "--hosts", "x"}, 2, `wavelock demo: --hosts "x" is not a whole number`},
	{"", []string{"demo", "--hosts", "99999999999999999999"}, 2, "is out of range"},
	{"", []string{"demo", "--hosts", "-1"}, 2, "-1 hosts"},
	{"", []string{"demo", "--latency", "soon"}, 2, `"soon" is not a duration such as 90s, 10m or 24h`},
	{"", []string{"demo", "--seed", "-1"}, 2, "a whole number of 0 or more"},
	{"", []string{"demo", "--dir", "text"}, 1, "make the lab's folder"},
	{"", []string{"lab", "up", "--hosts", "0"}, 2, "1 to 20000 computers"},
	{"", []string{"lab", "up", "--fault", "slow"}, 2, "has no count"},
	{"", []string{"lab", "up", "--fault", "slwo:1"}, 2, `"slwo" is no fault`},
	{"", []string{"lab", "up", "--fault", "slow:9", "--hosts", "2"}, 2, "9 faults"},
	{"", []string{"lab", "up", "--network", "10.0.0.0/99"}, 2, `--network "10.0.0.0/99" is no network`},
	{"", []string{"lab", "up", "--dir", "text", "--hosts", "1"}, 1, "make the lab's folder"},
	{"", []string{"init"}, 2, "wavelock.yaml is there already"},
	{"", []string{"init", "--config", "no/such.yaml"}, 2, "there is no folder no"},
	{"", []string{"init", "--config", "new.yaml", "--kind", "kerbreos"}, 2, `--kind "kerbreos"`},
	{"", []string{"init", "--config", "new.yaml", "--domain", "corp.example"}, 2, "account"},
	{"", []string{"init", "--config", "new.yaml", "--domain", "corp.example", "--user", `CORP\a`, "--ca-file", "nowhere"}, 2, "--ca-file nowhere"},
	{"", []string{"init", "--config", "new.yaml", "--domain", "corp.example", "--user", `CORP\a`, "--ca-file", "text"}, 2, "no certificate in text"},
	{"", []string{"init", "--config", "new.yaml", "--domain", "corp.example", "--user", `CORP\a`, "--keytab", "nowhere"}, 2, "--keytab nowhere"},
	{"", []string{"init", "--config", "new.yaml", "--domain", "corp.example", "--user", `CORP\a`, "--resolver", "x"}, 2, `"x" is not like`},
	{"", []string{"doctor", "--host", "nowhere"}, 9, "checks failed"},
	{"", []string{"pki", "audit", "--fail-on", "x"}, 2, `--fail-on "x"`},
	{"", []string{"assess", "-o", "sarif"}, 2, "no SARIF output"},
	{"", []string{"assess", "-o", "xml"}, 2, `--output "xml"`},
	{"", []string{"census", "--every", "-1s"}, 2, "-1s"},
	{"", []string{"host", "wbe01"}, 1, `no host "wbe01" is known`},
	{"", []string{"status", "sprng"}, 1, "did you mean spring?"},
	{"", []string{"status", "--watch"}, 2, "--watch needs"},
	{"", []string{"verify", "sprng"}, 1, "did you mean spring?"},
	{"", []string{"probe"}, 2, "wavelock probe needs the name of a host"},
	{"", []string{"probe", "wbe01.corp.example"}, 9, "1 of 1 host"},
	{"", []string{"probe", "web01"}, 2, `"web01" is no full name`},
	{"", []string{"probe", "127.0.0.1"}, 2, `"127.0.0.1" is no full name`},
	{"", []string{"probe", "web01.corp.example", "--port", "99999"}, 2, "no TCP port"},
	{"", []string{"probe", "web01.corp.example", "--ca-file", "nowhere"}, 2, " nowhere: no such file"},
	{"", []string{"probe", "web01.corp.example", "--ca-file", "text", "--user", `CORP\a`}, 2, "no certificate in text"},
	{"", []string{"probe", "--accept", "other.json", "--why", "x"}, 2, "other.json is no file of proofs"},
	{"", []string{"probe", "--accept", "nowhere", "--why", "x"}, 2, " nowhere: no such file"},
	{"", []string{"drift", "--accept", "wbe01", "--why", "x"}, 1, `no host "wbe01" is known`},
	{"", []string{"drift", "--accept", "web01"}, 2, "why"},
	{"", []string{"report", "--at", "yesterday"}, 2, `--at "yesterday" is no date`},
	{"", []string{"report", "--at", "2999-01-01"}, 2, "in the future"},
	{"", []string{"report", "--out", "x.pdf"}, 2, "x.pdf is no file for a report"},
	{"", []string{"report", "--out", "no/such.html"}, 1, "write no/such.html"},
	{"", []string{"report", "--out", "x.html", "--verify", "y.html"}, 2, "--out and --verify exclude each other"},
	{"", []string{"report", "--verify", "nowhere.html"}, 2, "read the report nowhere.html"},
	{"", []string{"report", "--verify", "report.json"}, 2, "report.json is no report"},
	{"", []string{"report", "--verify", "report.html"}, 2, "report.html is no report"},
	{"", []string{"report", "--verify", "report.csv"}, 2, "report.csv is no report"},
	{"", []string{"journal", "verify", "sprng"}, 1, "did you mean spring?"},
	{"", []string{"journal", "verify", "--head", "12"}, 2, "--head is the head of one campaign"},
	{"", []string{"journal", "verify", "--file", "nowhere"}, 2, "read the journal nowhere"},
	{"", []string{"journal", "verify", "--file", "text"}, 9, "text is no exported journal"},
	{"", []string{"journal", "verify", "--file", "empty"}, 9, "empty is no exported journal"},
	{"", []string{"journal", "verify", "--file", "bytes"}, 9, "bytes is no exported journal"},
	{"", []string{"journal", "export", "sprng"}, 1, "did you mean spring?"},
	{"", []string{"journal", "export", "spring", "--out", "no/such"}, 1, "write no/such"},
	{"", []string{"journal", "show", "wbe01"}, 1, `no host "wbe01" is known`},
	{"", []string{"journal", "show", "web01", "--campaign", "sprng"}, 1, "did you mean spring?"},
	{"", []string{"serve", "--listen", "x"}, 2, `--listen "x"`},
	{"", []string{"serve", "--listen", "127.0.0.1:99999"}, 2, "127.0.0.1:99999"},
	{"", []string{"serve", "--listen", "0.0.0.0:0"}, 2, "no authentication"},
	{"", []string{"plan", "--goal", "clsoe"}, 2, `--goal "clsoe"`},
	{"", []string{"plan", "--name", "a b"}, 2, `"a b" is no name for a campaign`},
	{"", []string{"plan", "--out", "no/such.json"}, 1, "write no/such.json"},
	{"", []string{"plan", "--out", "."}, 2, "no ordinary file"},
	{"", []string{"plan", "--out", "/dev/null"}, 2, "no ordinary file"},
	{"", []string{"approve", "sprng"}, 1, "did you mean spring?"},
	{"", []string{"approve", "spring", "--wave", "99"}, 2, "no wave 99"},
	{"", []string{"run", "nowhere.json"}, 2, "wavelock plan --out nowhere.json"},
	{"", []string{"run", "."}, 2, "is a directory"},
	{"", []string{"run", "empty"}, 8, "it is empty"},
	{"", []string{"run", "text"}, 8, "not JSON at byte 1"},
	{"", []string{"run", "half.json"}, 8, "cut off"},
	{"", []string{"run", "list.json"}, 8, "another content"},
	{"", []string{"run", "other.json"}, 8, "JSON of another kind"},
	{"", []string{"run", "spring.json"}, 3, "is not approved, and there is nobody to ask"},
	{"", []string{"run", "spring.json", "--standby"}, 2, "--standby"},
	{"", []string{"worker", "--zone", "x"}, 2, "workers need a database that processes can share"},
	{"", []string{"pause", "sprng"}, 1, "did you mean spring?"},
	{"", []string{"resume", "sprng"}, 1, "did you mean spring?"},
	{"", []string{"abort", "sprng"}, 1, "did you mean spring?"},
	{"", []string{"rollback", "sprng"}, 1, "did you mean spring?"},
	{"", []string{"rollback", "autumn"}, 1, "wavelock status lists them"},
	{"", []string{"restore", "web01"}, 2, "before-images"},
	{"", []string{"restore", "wbe01", "--from-host", "--yes"}, 2, `"wbe01"`},
	{"", []string{"restore", "127.0.0.1", "--from-host", "--yes"}, 2, `"127.0.0.1" is no full name`},
	{"", []string{"renew", "wbe01"}, 2, `"wbe01"`},
	{"", []string{"explain", "gpo-ownd-listener"}, 2, "did you mean gpo-owned-listener"},
	{"", []string{"guide", "rigths"}, 2, "did you mean rights?"},
	{"", []string{"man", "text"}, 1, "make the folder for the pages"},
	{"", []string{"completion", "csh"}, 2, `"csh"`},
	{"", []string{"statsu"}, 2, "did you mean status?"},
	{"", []string{"report", "--quite"}, 2, "did you mean --quiet?"},

	{"", []string{"status", "--config", "nowhere.yaml"}, 2, "wavelock init"},
	{"", []string{"status", "--config", "."}, 2, "is a directory"},
	{"", []string{"status", "--config", "empty"}, 2, "the file is empty"},
	{"", []string{"status", "--config", "text"}, 2, "configuration text: [1:1]"},
	{"", []string{"status", "--config", "bytes"}, 2, "configuration bytes"},
	{"policy:=>polcy:", []string{"status"}, 2, "did you mean policy?"},
	{"undo_after=>undo_aftr", []string{"status"}, 2, "did you mean undo_after?"},
	{"undo_after: 8s=>undo_after: soon", []string{"status"}, 2, `:15] "soon" is not a duration`},
	{"percent: 40=>percent: 400", []string{"status"}, 2, "400 is not between 0 and 100"},
	{"percent: 40=>percent: many", []string{"status"}, 2, "text stands where there has to be a whole number"},
	{`urls: \[.*\]=>urls: {a: 1}`, []string{"status"}, 2, "mapping was used where sequence is expected"},
	{"policy:=>policy:\n  sources: [10.0.0.0/99]", []string{"status"}, 2, `"10.0.0.0/99" is no address`},
	{"goal: close=>goal: clsoe", []string{"status"}, 2, `"clsoe" is none of`},
	{"kind: ntlm=>kind: nltm", []string{"status"}, 2, `"nltm"`},
	{"credential: directory=>credential: nobody", []string{"status"}, 2, `no credential "nobody"`},
	{"database: wavelock.db=>database: text", []string{"status"}, 1, "text"},
	{"database: wavelock.db=>database: no/such.db", []string{"status"}, 1, "such.db"},
	{"database: wavelock.db=>database: .", []string{"status"}, 1, "open the journal"},
	{"database: wavelock.db=>database: postgres://u:p@h/d", []string{"status"}, 2, "the database on h"},
	{"database: wavelock.db=>database: postgres://u@DEAD/d?sslmode=disable", []string{"status"}, 1, "cannot be reached"},
	{`urls: \[.*\]=>urls: ["ldaps://DEAD"]`, []string{"discover"}, 6, "connection refused"},
	{"ca_file: ca.pem=>ca_file: nowhere", []string{"discover"}, 2, "nowhere"},
	{"ca_file: ca.pem=>ca_file: text", []string{"discover"}, 2, "no certificate"},
	{"ca_file: ca.pem=>ldaps: false", []string{"discover"}, 6, "certificate"},
	{"password_file: password=>password_file: nowhere", []string{"discover"}, 2, `credential "directory"`},
	{"password_file: password=>password_file: wrong", []string{"discover"}, 5, "the password is wrong"},
	{"select:=>select:\n  filter: '(((x'", []string{"discover"}, 2, "the filter (((x is not valid"},
	{"OU=Servers=>OU=Nowhere", []string{"discover"}, 2, "OU=Nowhere,DC=corp,DC=example"},
	{"select:=>select:\n  list: nowhere.csv", []string{"discover"}, 2, "nowhere.csv"},
	{"resolver: .*=>resolver: nonsense", []string{"discover"}, 2, `"nonsense" is not like`},
	{"template: WinRMHTTPS=>template: WinRMHTTP", []string{"plan"}, 9, "WinRMHTTP"},
}

// TestEveryExitCodeIsSeen looks for each code of the list in a session of testdata/script, or above.
func TestEveryExitCodeIsSeen(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		all.WriteString(readFile(t, f))
	}
	for _, e := range exitCodes {
		line := fmt.Sprintf("(?m)^exits %d wavelock ", e.code)
		if e.code == exitOK {
			line = "(?m)^exec wavelock "
		}
		if e.code != exitInterrupted && e.code != exitWarnings && !regexp.MustCompile(line).MatchString(all.String()) {
			t.Errorf("no session ends with %d: %s", e.code, e.meaning)
		}
	}
	weak := []pki.Judgement{{Name: "CA1", Findings: pki.Findings{{Code: "ca-weak-key", Severity: pki.Warning}}}}
	if code := exitCode(auditVerdict(weak, "warning")); code != exitWarnings {
		t.Errorf("a warning ends with %d", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs strings.Builder
	if code := run(ctx, []string{"demo", "--hosts", "20"}, strings.NewReader(""), io.Discard, &errs); code != exitInterrupted || !strings.HasPrefix(errs.String(), "wavelock: interrupted") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}
