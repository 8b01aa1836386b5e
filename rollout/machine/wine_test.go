package machine

import (
	"bytes"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Wine's cmd.exe and reg.exe share no code with Windows' or ours. They prove what a program of a line gets to see:
// quotes, carets, variables, redirections, and what reg.exe does to the registry. Wine 8, Debian's, goes on after && and
// || whatever the command before ended with, and does not redirect a group: of those it proves nothing.
type wine struct {
	dir string // with the probes in it
	log string
	env []string
}

// newWine makes a computer in Wine. Where Wine is missing the test is skipped, or fails with WAVELOCK_REQUIRE_PEERS.
func newWine(t *testing.T) *wine {
	t.Helper()
	const compiler = "x86_64-w64-mingw32-gcc"
	for _, program := range []string{"wine", "wineboot", "wineserver", compiler} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	w := &wine{dir: t.TempDir()}
	w.log = filepath.Join(w.dir, "log")
	w.env = append(os.Environ(), "WINEPREFIX="+filepath.Join(w.dir, "prefix"), "WINEDEBUG=-all", "WINEARCH=win64", "WINEDLLOVERRIDES=mscoree=;mshtml=", `PROBE_LOG=log`, "DISPLAY=")
	t.Cleanup(func() {
		for _, flag := range []string{"-k", "-w"} { // ends what runs in this prefix, and waits for it
			c := exec.Command("wineserver", flag)
			c.Env = w.env
			c.Run()
		}
	})
	w.must(t, "wineboot", "-i")
	w.must(t, compiler, "-O2", "-o", filepath.Join(w.dir, "run.exe"), filepath.FromSlash("testdata/wine/probe.c"))
	return w
}

func (w *wine) must(t *testing.T, args ...string) {
	t.Helper()
	out, err := os.Create(filepath.Join(w.dir, "out")) // no pipe: services that Wine starts keep it open
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := exec.CommandContext(t.Context(), args[0], args[1:]...)
	c.Env, c.Stdout, c.Stderr = w.env, out, out
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		t.Fatalf("%v: %v %s", args, err, text)
	}
}

// probe puts a program in the place of each name. It is found before Windows' own.
func (w *wine) probe(t *testing.T, names ...string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "run.exe"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(w.dir, n+".exe"), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs a line as WinRM does, and answers what it printed, its exit code, and what the probes were started with. Under
// load Wine fails now and then to start anything: then nothing was done, and it is asked again.
func (w *wine) run(t *testing.T, line string, env ...string) (stdout string, code int, started []string) {
	t.Helper()
	for range 4 {
		if stdout, code, started = w.once(t, line, env...); code == 0 || stdout != "" || len(started) > 0 {
			break
		}
	}
	return stdout, code, started
}

func (w *wine) once(t *testing.T, line string, env ...string) (stdout string, code int, started []string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "line"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "wine", "./run.exe", "line")
	c.Dir, c.Env, c.WaitDelay = w.dir, append(w.env, env...), 10*time.Second
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	if c.ProcessState == nil || c.ProcessState.ExitCode() < 0 {
		t.Fatalf("%s: %v", line, err)
	}
	log, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(log)) {
		started = append(started, strings.TrimRight(l, " \r\n"))
	}
	return strings.ReplaceAll(out.String(), "\r\n", "\n"), c.ProcessState.ExitCode(), started
}

func TestWine(t *testing.T) {
	t.Parallel()
	w := newWine(t)
	t.Run("what the undo does to a registry", w.undo)
	t.Run("what the simulated computer does", w.simulated)
	t.Run("what programs get from every line", w.everyLine)
}

// everyLine runs all lines and the undo's actions with probes in the place of the programs.
func (w *wine) everyLine(t *testing.T) {
	w.probe(t, "reg", "netsh", "certreq", "findstr", "netstat", "schtasks", "net", "sc", "certutil")
	lines := everyLine(t)
	for _, undo := range []struct{ name, text string }{
		{"undo", undoXML(testMark, time.Minute, 5985)},
		{"undo of a renewal", rebindXML(testMark, time.Minute, 5985, 5986, testBack, false)},
		{"undo of a renewal, with HTTP as its last resort", rebindXML(testMark, time.Minute, 5985, 5986, testBack, true)},
	} {
		for _, a := range undoActions(t, undo.text) {
			// The scheduler starts programs itself. A program's name without its folder finds the probe.
			lines = append(lines, namedLine{undo.name, strings.TrimPrefix(a.command, system32) + " " + a.arguments})
		}
	}
	golden, err := os.ReadFile(filepath.FromSlash(golden + "wine.txt"))
	if err != nil && !*update {
		t.Fatal(err)
	}
	known := strings.SplitAfter(string(golden), "\n\n")
	var b strings.Builder
	for i, l := range lines {
		block := w.block(t, l)
		for try := 0; try < 3 && i < len(known) && block != known[i] && !*update; try++ {
			block = w.block(t, l) // under load Wine loses or repeats a line of output now and then
		}
		b.WriteString(block)
	}
	compareGolden(t, "wine.txt", b.String())
	t.Run("exit codes", func(t *testing.T) {
		for _, c := range []struct {
			line string
			want int
		}{{storeLine, 3}, {acceptLine, 0}, {findRule("x"), 5}, {widenLine(5985), 5}} {
			var code int
			for range 4 { // as above: now and then Wine's own code comes in the place of the program's
				if _, code, _ = w.run(t, c.line, "PROBE_reg=3", "PROBE_findstr=5"); code == c.want {
					break
				}
			}
			if code != c.want {
				t.Errorf("%s: %d, want %d", c.line, code, c.want)
			}
		}
	})
}

// block is what one line came to, as the golden file has it.
func (w *wine) block(t *testing.T, l namedLine) string {
	t.Helper()
	stdout, code, started := w.run(t, l.line)
	var b strings.Builder
	b.WriteString("# " + l.name + "\n")
	for _, s := range started {
		b.WriteString("started  " + s + "\n")
	}
	for out := range strings.Lines(stdout) {
		if !strings.HasSuffix(out, " was here\n") {
			b.WriteString("printed  " + out)
		}
	}
	if code != 0 {
		b.WriteString("and failed\n") // with what, depends on Wine
	}
	return b.String() + "\n"
}

func undoActions(t *testing.T, text string) []action {
	t.Helper()
	var def struct {
		Exec []struct{ Command, Arguments string } `xml:"Actions>Exec"`
	}
	if err := xml.Unmarshal([]byte(text), &def); err != nil {
		t.Fatal(err)
	}
	var all []action
	for _, e := range def.Exec {
		all = append(all, action{e.Command, e.Arguments})
	}
	return all
}

// undo arms with Wine's reg.exe, deletes the HTTP listener, and lets the undo's own action bring
// it back: value for value what it was.
func (w *wine) undo(t *testing.T) {
	reg := func(line string) string {
		t.Helper()
		out, code, _ := w.run(t, line)
		if code != 0 {
			t.Fatalf("%s: %d %s", line, code, out)
		}
		return out
	}
	http := `"HKLM\` + listenerKey + `\*+HTTP"`
	for _, v := range []string{"/v Port /t REG_DWORD /d 5985", "/v enabled /t REG_DWORD /d 1", "/v uriprefix /t REG_SZ /d wsman", `/v certThumbprint /t REG_SZ /d ""`, "/v odd /t REG_BINARY /d 00ff10"} {
		reg(`reg add ` + http + ` ` + v + ` /f`)
	}
	reg(`reg add "HKLM\` + listenerKey + `\*+HTTPS" /v Port /t REG_DWORD /d 5986 /f`)
	before := reg(`reg query ` + http + ` /s`)
	if len(parseRegQuery(before)) != 1 || len(parseRegQuery(before)[0].values) != 5 {
		t.Fatalf("%q", before)
	}
	reg(saveLine)
	line, err := armLine(testMark, "", false, "")
	if err != nil {
		t.Fatal(err)
	}
	reg(line)
	reg(`reg delete ` + http + ` /f`)
	if _, code, _ := w.run(t, `reg query `+http); code == 0 {
		t.Fatal("it is still there")
	}
	copyBack := undoActions(t, undoXML(testMark, time.Minute, 5985))[0]
	reg(copyBack.command + " " + copyBack.arguments)
	if after := reg(`reg query ` + http + ` /s`); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	saved := reg(`reg query "HKLM\` + beforeKey + `" /s`)
	if n := len(parseRegQuery(saved)); n < 3 {
		t.Errorf("%d keys were saved:\n%s", n, saved)
	}
	parts, err := parseBulk(reg(bulkQuery(bulkKeys)), len(bulkKeys)+1)
	if err != nil || parts[5][1].path != `SOFTWARE\wavelock\before` && len(parts[5]) < 4 {
		t.Errorf("%v %+v", err, parts)
	}
	w.run(t, restoreLine(5985, 5986, false)) // netsh is Wine's, which does nothing
	if _, code, _ := w.run(t, `reg query "HKLM\`+ownKey+`"`); code == 0 {
		t.Error("our key is left")
	}
}
