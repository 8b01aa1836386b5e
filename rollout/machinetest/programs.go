package machinetest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"
)

// programs are the executables and built-ins that remote management uses. Their
// exit codes are Windows'; their texts are English, which nobody may rely on.
var programs map[string]func(x *execution, rest string) int

func init() { // a literal would refer to itself: cmd starts programs
	programs = map[string]func(*execution, string) int{
		"cmd": progCmd, "echo": progEcho, "type": progType, "del": progDel, "ver": progVer, "hostname": progHostname, "whoami": progWhoami,
		"mkdir": progMkdir, "rd": progRd, "reg": progReg, "netsh": progNetsh, "net": progNet, "sc": progSC, "netstat": progNetstat, "findstr": progFindstr,
		"schtasks": progSchtasks, "certreq": progCertreq, "certutil": progCertutil, "powershell": progPowerShell,
		"exit": progExit, "rem": func(*execution, string) int { return 0 },
	}
}

// progExit ends the interpreter: with /b too, outside of a batch file.
func progExit(x *execution, rest string) int {
	n := x.level
	rest = strings.TrimSpace(rest)
	if len(rest) >= 2 && strings.EqualFold(rest[:2], "/b") {
		rest = rest[2:]
	}
	if _, err := fmt.Sscanf(rest, "%d", &n); err != nil {
		n = x.level
	}
	x.quit = true
	return n
}

// progCmd is an interpreter inside the interpreter.
func progCmd(x *execution, rest string) int {
	inner := &execution{h: x.h, stdin: x.stdin, env: x.env}
	rest = strings.TrimSpace(rest)
	for {
		lower := strings.ToLower(rest)
		switch {
		case strings.HasPrefix(lower, "/d"), strings.HasPrefix(lower, "/s"), strings.HasPrefix(lower, "/q"):
			rest = strings.TrimSpace(rest[2:])
			continue
		case strings.HasPrefix(lower, "/v:on"):
			inner.delayed = true
			rest = strings.TrimSpace(rest[5:])
			continue
		case strings.HasPrefix(lower, "/c"):
			rest = strings.TrimSpace(rest[2:])
		}
		break
	}
	// The outer quotes go when they are the first and the last character.
	if len(rest) > 1 && rest[0] == '"' && rest[len(rest)-1] == '"' {
		rest = rest[1 : len(rest)-1]
	}
	code := inner.line(rest)
	x.out.Write(inner.out.Bytes())
	x.err.Write(inner.err.Bytes())
	return code
}

func progEcho(x *execution, rest string) int {
	x.out.WriteString(strings.TrimPrefix(rest, " ") + "\r\n")
	return 0
}

func progType(x *execution, rest string) int {
	level := 0
	for _, f := range split(rest) {
		b, ok := x.h.files[strings.ToLower(f)]
		if !ok {
			x.err.WriteString("The system cannot find the file specified.\r\n")
			level = 1
			continue // with the next one
		}
		x.out.Write(b)
	}
	return level
}

func progDel(x *execution, rest string) int {
	for _, f := range split(rest) {
		if _, ok := x.h.files[strings.ToLower(f)]; ok {
			x.h.writes.Add(1)
			delete(x.h.files, strings.ToLower(f))
		} else if !strings.HasPrefix(f, "/") {
			x.err.WriteString("Could Not Find " + f + "\r\n")
		}
	}
	return 0 // for a file that is not there, too
}

func progVer(x *execution, _ string) int {
	x.out.WriteString("\r\nMicrosoft Windows [Version " + x.h.cfg.Release.Version + ".2227]\r\n")
	return 0
}

func progHostname(x *execution, _ string) int {
	name, _ := x.h.identity()
	x.out.WriteString(name + "\r\n")
	return 0
}

func progWhoami(x *execution, _ string) int {
	x.out.WriteString("corp\\admin\r\n")
	return 0
}

// progNet is net start winrm and net stop winrm.
func progNet(x *execution, rest string) int {
	args := split(strings.ToLower(rest))
	if len(args) < 2 || args[1] != "winrm" {
		x.err.WriteString("The service name is invalid.\r\n")
		return 2
	}
	var complaint string
	switch {
	case x.h.services["winrm"] == stopPending:
		complaint = "The service is starting or stopping.  Please try again later."
	case args[0] == "stop":
		complaint = x.h.stopWinRM()
	case args[0] == "start":
		complaint = x.h.startWinRM()
	default:
		x.err.WriteString("The syntax of this command is:\r\n")
		return 1
	}
	if complaint != "" {
		x.err.WriteString(complaint + "\r\n")
		return 2
	}
	x.out.WriteString("The Windows Remote Management (WS-Management) service was changed successfully.\r\n")
	return 0
}

// stopWinRM ends the service, and with it every connection. It answers what net says where that did not succeed in time.
func (h *Host) stopWinRM() (complaint string) {
	if !h.running() {
		return "The Windows Remote Management (WS-Management) service is not started."
	}
	h.writes.Add(1)
	h.services["winrm"] = "Stopped"
	h.shells = map[string]*shell{} // with the connections, the one that asks for this included
	h.shut()
	if h.stopTime == 0 {
		return ""
	}
	h.services["winrm"] = stopPending
	h.after(h.stopTime, func() { h.services["winrm"] = "Stopped" })
	return "The Windows Remote Management (WS-Management) service could not be stopped."
}

// startWinRM opens the doors that the registry has. It answers what net says where that did not succeed.
func (h *Host) startWinRM() (complaint string) {
	switch {
	case h.running():
		return "The requested service has already been started."
	case h.disabled:
		return "The service cannot be started, either because it is disabled or because it has no enabled devices associated with it."
	}
	h.writes.Add(1)
	h.services["winrm"] = "Running"
	if err := h.reload(); err != nil {
		return "The service could not be started."
	}
	return ""
}

func progSC(x *execution, rest string) int {
	args := split(rest)
	if len(args) == 2 && (strings.EqualFold(args[0], "query") || strings.EqualFold(args[0], "qc")) {
		for _, s := range x.h.allServices() {
			if strings.EqualFold(s.name, args[1]) && strings.EqualFold(args[0], "qc") {
				start := map[string]string{"Auto": "2   AUTO_START", "Manual": "3   DEMAND_START", "Disabled": "4   DISABLED"}[s.start]
				fmt.Fprintf(&x.out, "[SC] QueryServiceConfig SUCCESS\r\n\r\nSERVICE_NAME: %s\r\n        TYPE               : 20  WIN32_SHARE_PROCESS \r\n        START_TYPE         : %s\r\n        ERROR_CONTROL      : 1   NORMAL\r\n", s.name, start)
				return 0
			}
			if strings.EqualFold(s.name, args[1]) {
				state := map[string]string{"Running": "4  RUNNING", "Stopped": "1  STOPPED", stopPending: "3  STOP_PENDING"}[s.state]
				fmt.Fprintf(&x.out, "\r\nSERVICE_NAME: %s\r\n        STATE              : %s\r\n", s.name, state)
				return 0
			}
		}
	}
	x.out.WriteString("[SC] EnumQueryServicesStatus:OpenService FAILED 1060:\r\n")
	return 1060
}

// progNetstat is netstat -an; with -p TCP it lists nothing of IPv6.
func progNetstat(x *execution, rest string) int {
	x.out.WriteString("\r\nActive Connections\r\n\r\n  Proto  Local Address          Foreign Address        State\r\n")
	ports, v6 := []string{"135", "445", "47001"}, []string{}
	for _, d := range x.h.doors {
		ports = append(ports, fmt.Sprint(d.port))
	}
	if x.h.has(PortShared) && x.h.doors["HTTP"] == nil {
		ports = append(ports, "5985")
	}
	for _, p := range ports {
		switch p {
		case fmt.Sprint(x.h.cfg.HTTPPort):
			p = "5985"
		case fmt.Sprint(x.h.cfg.HTTPSPort):
			p = "5986"
		}
		if !x.h.onlyIPv6 {
			fmt.Fprintf(&x.out, "  TCP    %-22s %-22s LISTENING\r\n", "0.0.0.0:"+p, "0.0.0.0:0")
		}
		if !strings.Contains(strings.ToLower(rest), "-p tcp") {
			v6 = append(v6, fmt.Sprintf("  TCP    %-22s %-22s LISTENING\r\n", "[::]:"+p, "[::]:0"))
		}
	}
	x.out.WriteString(strings.Join(v6, ""))
	return 0
}

func progFindstr(x *execution, rest string) int {
	args, pattern, literal, others, flags := split(rest), "", false, false, ""
	for _, a := range args {
		switch {
		case strings.HasPrefix(strings.ToLower(a), "/c:"):
			pattern = a[3:]
		case strings.EqualFold(a, "/l"):
			literal = true
		case strings.EqualFold(a, "/i"):
			flags = "(?i)"
		case strings.EqualFold(a, "/v"):
			others = true
		case !strings.HasPrefix(a, "/") && pattern == "":
			pattern = a
		}
	}
	if literal {
		pattern = regexp.QuoteMeta(pattern)
	}
	re, err := regexp.Compile(flags + pattern)
	if err != nil {
		return 2
	}
	code := 1
	for l := range strings.Lines(string(x.stdin)) {
		l = strings.TrimSuffix(l, "\n")
		if re.MatchString(strings.TrimSuffix(l, "\r")+" ") != others {
			x.out.WriteString(strings.TrimSuffix(l, "\r") + "\r\n")
			code = 0
		}
	}
	return code
}

func progSchtasks(x *execution, rest string) int {
	_, o := options(split(rest), "create delete query run f v hresult")
	name := o["tn"]
	if !strings.HasPrefix(name, `\`) {
		name = `\` + name
	}
	fails := func() int {
		x.err.WriteString("ERROR: The system cannot find the file specified.\r\n")
		return 1
	}
	has := func(k string) bool { _, ok := o[k]; return ok }
	switch {
	case has("create"):
		text, ok := x.h.files[strings.ToLower(o["xml"])]
		if !ok || x.h.registerTask(name, string(text), has("f")) != 0 {
			return fails()
		}
		x.h.writes.Add(1)
	case has("delete"):
		if !has("f") || !x.h.removeTask(name) { // it asks, and nobody answers
			return fails()
		}
	case has("run"):
		x.h.writes.Add(1)
		if !x.h.startTask(name) {
			return fails()
		}
	case has("query"):
		t := x.h.tasks[strings.ToLower(name)]
		if t == nil {
			return fails()
		}
		if has("xml") {
			x.out.WriteString(t.text + "\r\n")
			return 0
		}
	default:
		x.err.WriteString("ERROR: Invalid syntax.\r\n")
		return 1
	}
	x.out.WriteString("SUCCESS: done.\r\n")
	return 0
}

// progPowerShell executes one native command given with -EncodedCommand, which
// is as much PowerShell as there is here.
func progPowerShell(x *execution, rest string) int {
	args := split(rest)
	for i, a := range args {
		if !strings.EqualFold(a, "-EncodedCommand") || i+1 == len(args) {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(args[i+1])
		if err != nil || len(raw)%2 != 0 {
			return 1
		}
		u := make([]uint16, len(raw)/2)
		for k := range u {
			u[k] = binary.LittleEndian.Uint16(raw[2*k:])
		}
		return x.native(string(utf16.Decode(u)))
	}
	x.err.WriteString("powershell is not simulated\r\n")
	return 1
}

var (
	cmdlet = regexp.MustCompile(`(?i)^\s*[a-z]+-[a-z]+(\s|$)`)
	syntax = "$|;{}()&`@\n"
)

// native executes a script that is one native command; anything else is PowerShell,
// of which there is none here.
func (x *execution) native(script string) int {
	if strings.ContainsAny(script, syntax) || cmdlet.MatchString(script) {
		x.err.WriteString("#< CLIXML\r\nPowerShell is not simulated\r\n")
		return 1
	}
	if code := x.simple(script); code != notRecognized {
		return code
	}
	return 1
}
