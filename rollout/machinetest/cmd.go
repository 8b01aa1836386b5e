package machinetest

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// execution is one cmd /c: its streams and its environment.
type execution struct {
	h     *Host
	stdin []byte
	out   bytes.Buffer
	err   bytes.Buffer
	env   map[string]string
	level int  // the last exit code
	quit  bool // exit was called: nothing of the line is left
	// delayed says that !name! is expanded when a command runs, cmd /v:on.
	delayed bool
}

func (h *Host) environment() map[string]string {
	return map[string]string{"SYSTEMROOT": `C:\Windows`, "WINDIR": `C:\Windows`, "TEMP": `C:\Windows\Temp`, "COMPUTERNAME": h.netBIOS(),
		"PROGRAMDATA": `C:\ProgramData`, "COMSPEC": `C:\Windows\System32\cmd.exe`, "SYSTEMDRIVE": "C:"}
}

var variable = regexp.MustCompile(`%([A-Za-z_][A-Za-z0-9_()]*)%`)

// expand replaces what is a variable; what is none stays as it is, as on a command line.
func (x *execution) expand(s string) string { return variable.ReplaceAllStringFunc(s, x.lookUp) }

// lookUp is a variable's value; it is given with its marks.
func (x *execution) lookUp(m string) string {
	name := strings.ToUpper(m[1 : len(m)-1])
	if name == "ERRORLEVEL" {
		return strconv.Itoa(x.level)
	}
	if v, ok := x.env[name]; ok {
		return v
	}
	return m
}

var delayedVariable = regexp.MustCompile(`!([A-Za-z_][A-Za-z0-9_()]*)!`)

// token is an operator, or a piece of a simple command with its quotes.
type token struct {
	op   string // one of & && || | ( ) > >> 2> 2>> 2>&1, or empty
	text string
}

// lex takes a line apart as cmd.exe does: quotes protect operators, a caret
// outside of quotes protects the next character.
func lex(s string) []token {
	var out []token
	var b strings.Builder
	quoted := false
	flush := func() {
		if b.Len() > 0 {
			out = append(out, token{text: b.String()})
			b.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		rest := s[i:]
		switch {
		case c == '"':
			quoted = !quoted
			b.WriteByte(c)
		case quoted:
			b.WriteByte(c)
		case c == '^' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case strings.HasPrefix(rest, "2>&1"):
			flush()
			out = append(out, token{op: "2>&1"})
			i += 3
		case strings.HasPrefix(rest, "2>>") && atWordStart(s, i), strings.HasPrefix(rest, "2>") && atWordStart(s, i):
			flush()
			op := "2>"
			if strings.HasPrefix(rest, "2>>") {
				op = "2>>"
			}
			out = append(out, token{op: op})
			i += len(op) - 1
		case strings.HasPrefix(rest, "&&"), strings.HasPrefix(rest, "||"), strings.HasPrefix(rest, ">>"):
			flush()
			out = append(out, token{op: rest[:2]})
			i++
		case strings.IndexByte("&|()>", c) >= 0:
			flush()
			out = append(out, token{op: string(c)})
		default:
			b.WriteByte(c)
		}
	}
	flush()
	return out
}

func atWordStart(s string, i int) bool { return i == 0 || s[i-1] == ' ' || s[i-1] == ')' }

// line executes a whole line and answers its exit code.
func (x *execution) line(s string) int {
	p := &parser{x: x, toks: lex(x.expand(strings.TrimLeft(s, " \t")))}
	code := p.sequence(true)
	if code == notRecognized { // the interpreter's own code, when that was all there was
		return 1
	}
	return code
}

// notRecognized is the code of a command that does not exist.
const notRecognized = 9009

type parser struct {
	x     *execution
	toks  []token
	depth int // of groups: outside of them ) is text
}

func (p *parser) peek() string {
	if len(p.toks) == 0 {
		return ")"
	}
	return p.toks[0].op
}

// sequence executes commands joined by & || &&, of which the last binds most. With run false they are skipped.
func (p *parser) sequence(run bool) int { return p.joined(run, "&", "||", "&&") }

// joined executes what the first operator joins; the others bind more than it.
func (p *parser) joined(run bool, op string, tighter ...string) int {
	operand := p.pipe
	if len(tighter) > 0 {
		operand = func(run bool) int { return p.joined(run, tighter[0], tighter[1:]...) }
	}
	code := operand(run)
	for len(p.toks) > 0 && p.peek() == op {
		p.toks = p.toks[1:]
		goes := run && !p.x.quit && (op == "&" || (op == "&&") == (code == 0))
		if c := operand(goes); goes {
			code = c
		}
	}
	return code
}

// pipe executes commands of which each reads what the one before wrote.
func (p *parser) pipe(run bool) int {
	outer := p.x.stdin
	defer func() { p.x.stdin = outer }()
	for {
		mark := p.x.out.Len()
		code := p.command(run)
		if len(p.toks) == 0 || p.peek() != "|" {
			return code
		}
		p.toks = p.toks[1:]
		p.x.stdin = bytes.Clone(p.x.out.Bytes()[mark:])
		p.x.out.Truncate(mark)
	}
}

// command executes a group or a simple command, with its redirections. Where run is false its tokens are only passed over.
func (p *parser) command(run bool) int {
	markOut, markErr := p.x.out.Len(), p.x.err.Len()
	var text strings.Builder
	code := 0
	executed := false // a group was, or the command before its redirection
	execute := func() {
		if run && !executed {
			code, executed = p.x.simple(text.String()), true
		}
	}
	for len(p.toks) > 0 {
		t := p.toks[0]
		begun := strings.TrimSpace(text.String()) != ""
		switch {
		case t.op == "":
			switch holds, then, is := p.x.condition(t.text); {
			case !begun && is:
				p.toks[0].text = then
				return p.branches(run, holds)
			case !begun && executed && isElse.MatchString(t.text):
				return code
			}
			if m := forHead.FindStringSubmatch(t.text); !begun && m != nil {
				return p.loop(run, m[1] != "", m[2])
			}
			text.WriteString(t.text)
			p.toks = p.toks[1:]
		case t.op == "(" && begun, t.op == ")" && p.depth == 0 && !executed: // part of an argument
			text.WriteString(t.op)
			p.toks = p.toks[1:]
		case t.op == "(":
			code, executed = p.group(run), true
		case strings.Contains(t.op, ">"):
			execute()
			p.redirect(run, markOut, markErr)
		default: // it ends here
			execute()
			return code
		}
	}
	execute()
	return code
}

// group executes what is in brackets.
func (p *parser) group(run bool) int {
	p.toks = p.toks[1:]
	p.depth++
	code := p.sequence(run)
	p.depth--
	if len(p.toks) > 0 && p.peek() == ")" {
		p.toks = p.toks[1:]
	}
	return code
}

// redirect sends what the command wrote where the operator says.
func (p *parser) redirect(run bool, markOut, markErr int) {
	op := p.toks[0].op
	p.toks = p.toks[1:]
	if op == "2>&1" {
		if run {
			p.x.out.Write(bytes.Clone(p.x.err.Bytes()[markErr:]))
			p.x.err.Truncate(markErr)
		}
		return
	}
	target := ""
	if len(p.toks) > 0 && p.toks[0].op == "" {
		words := split(p.toks[0].text)
		if len(words) > 0 {
			target = words[0]
		}
		p.toks = p.toks[1:]
	}
	if !run {
		return
	}
	buf, mark := &p.x.out, markOut
	if op[0] == '2' {
		buf, mark = &p.x.err, markErr
	}
	data := bytes.Clone(buf.Bytes()[mark:])
	buf.Truncate(mark)
	if strings.EqualFold(target, "nul") {
		return
	}
	key := strings.ToLower(target)
	if p.x.h.has(DiskFull) { // the file is made, nothing comes into it, and the program that wrote does not hear of it
		p.x.err.WriteString(noSpace)
		data = nil
	}
	if strings.HasSuffix(op, ">>") {
		data = append(bytes.Clone(p.x.h.files[key]), data...)
	}
	p.x.h.files[key] = data
	p.x.h.writes.Add(1)
}

// split takes arguments apart as CommandLineToArgvW does, as far as it matters here.
func split(s string) []string {
	var out []string
	var b strings.Builder
	quoted, any := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
			b.WriteByte('"')
			any = true
		case c == '"':
			quoted, any = !quoted, true
		case c == ' ' && !quoted:
			if any {
				out = append(out, b.String())
				b.Reset()
				any = false
			}
		default:
			b.WriteByte(c)
			any = true
		}
	}
	if any {
		out = append(out, b.String())
	}
	return out
}

// simple executes one command without operators.
func (x *execution) simple(s string) int {
	s = strings.TrimLeft(strings.TrimLeft(s, " \t"), "@")
	if strings.TrimSpace(s) == "" {
		return 0
	}
	if x.delayed {
		s = delayedVariable.ReplaceAllStringFunc(s, x.lookUp)
	}
	name, rest := s, ""
	if s[0] == '"' {
		if end := strings.IndexByte(s[1:], '"'); end >= 0 {
			name, rest = s[1:1+end], s[2+end:]
		}
	} else if i := strings.IndexAny(s, " \t"); i >= 0 {
		name, rest = s[:i], s[i:]
	}
	if len(name) > 4 && strings.EqualFold(name[:4], "echo") && strings.IndexByte(".:,;/([+\\", name[4]) >= 0 { // echo. is echo
		name, rest = name[:4], " "+name[5:]+rest
	}
	x.level = x.start(name, rest)
	return x.level
}

// start runs a built-in or an executable; rest is the command line after its name.
func (x *execution) start(name, rest string) int {
	base := strings.ToLower(name[strings.LastIndexAny(name, `\/`)+1:])
	base = strings.TrimSuffix(base, ".exe")
	if p, ok := programs[base]; ok && (base != "powershell" || x.h.cfg.Release.Shell != "") {
		defer x.translated(base)()
		return p(x, rest)
	}
	x.err.WriteString("'" + name + "' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n")
	return notRecognized
}

// system starts an executable as SYSTEM, as the task scheduler does: no shell,
// variables expanded.
func (h *Host) system(command, arguments string) int {
	x := &execution{h: h, env: h.environment()}
	if code := x.start(x.expand(command), " "+x.expand(arguments)); code != notRecognized {
		return code
	}
	return hresult(errNoFile)
}
