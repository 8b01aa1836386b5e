package machinetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/google/uuid"
)

// programs are the executables and built-ins that remote management uses. Their
// exit codes are Windows'; their texts are English, which nobody may rely on.
var programs map[string]func(x *execution, rest string) int

func init() { // a literal would refer to itself: cmd starts programs
	programs = map[string]func(*execution, string) int{
		"cmd": progCmd, "echo": progEcho, "type": progType, "del": progDel, "ver": progVer, "hostname": progHostname, "whoami": progWhoami,
		"mkdir": progMkdir, "rd": progRd, "reg": progReg, "netsh": progNetsh, "net": progNet, "sc": progSC, "netstat": progNetstat, "findstr": progFindstr,
		"schtasks": progSchtasks, "certreq": progCertreq, "certutil": progCertutil, "powershell": progPowerShell,
		"exit": func(_ *execution, rest string) int {
			n := 0
			_, _ = fmt.Sscanf(strings.TrimPrefix(strings.TrimSpace(rest), "/b"), "%d", &n)
			return n
		},
	}
}

func progCmd(x *execution, rest string) int {
	rest = strings.TrimSpace(rest)
	for {
		lower := strings.ToLower(rest)
		switch {
		case strings.HasPrefix(lower, "/d"), strings.HasPrefix(lower, "/s"), strings.HasPrefix(lower, "/q"):
			rest = strings.TrimSpace(rest[2:])
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
	return x.line(rest)
}

func progEcho(x *execution, rest string) int {
	x.out.WriteString(strings.TrimPrefix(rest, " ") + "\r\n")
	return 0
}

func progType(x *execution, rest string) int {
	for _, f := range split(rest) {
		b, ok := x.h.files[strings.ToLower(f)]
		if !ok {
			x.err.WriteString("The system cannot find the file specified.\r\n")
			return 1
		}
		x.out.Write(b)
	}
	return 0
}

func progDel(x *execution, rest string) int {
	for _, f := range split(rest) {
		if _, ok := x.h.files[strings.ToLower(f)]; ok {
			x.h.writes.Add(1)
			delete(x.h.files, strings.ToLower(f))
		}
	}
	return 0 // del answers 0 for a file that is not there, too
}

func progVer(x *execution, _ string) int {
	x.out.WriteString("\r\nMicrosoft Windows [Version 10.0.20348.2227]\r\n")
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

const done = "The operation completed successfully.\r\n\r\n"

func (x *execution) regFails(why string) int {
	x.err.WriteString("ERROR: " + why + "\r\n")
	return 1
}

// options takes /name value pairs apart; flags are options without a value.
func options(args []string, flags string) (rest []string, opts map[string]string) {
	opts = map[string]string{}
	for i := 0; i < len(args); i++ {
		name := strings.ToLower(strings.TrimPrefix(args[i], "/"))
		switch {
		case !strings.HasPrefix(args[i], "/"):
			rest = append(rest, args[i])
		case strings.Contains(" "+flags+" ", " "+name+" ") || i+1 == len(args):
			opts[name] = ""
		default:
			opts[name] = args[i+1]
			i++
		}
	}
	return rest, opts
}

func progReg(x *execution, rest string) int {
	args, o := options(split(rest), "s f ve y va")
	if len(args) < 2 {
		return x.regFails("Invalid syntax.")
	}
	reg := &x.h.reg
	_, deep := o["s"]
	switch strings.ToLower(args[0]) {
	case "query":
		text, ok := reg.query(args[1], deep, o["v"])
		if !ok {
			return x.regFails("The system was unable to find the specified registry key or value.")
		}
		x.out.WriteString(text)
		return 0
	case "add":
		v, err := parseValue(o["v"], o["t"], o["d"])
		if err != nil {
			return x.regFails("Invalid syntax.")
		}
		reg.make(args[1])
		if _, named := o["v"]; named {
			reg.Set(args[1], v)
		}
	case "copy":
		if len(args) < 3 || !reg.Copy(args[1], args[2], deep) {
			return x.regFails("The system was unable to find the specified registry key or value.")
		}
	case "delete":
		v, one := o["v"]
		if (one && !reg.Unset(args[1], v)) || (!one && !reg.Delete(args[1])) {
			return x.regFails("The system was unable to find the specified registry key or value.")
		}
	case "export":
		text, ok := reg.query(args[1], true, "")
		if !ok || len(args) < 3 {
			return x.regFails("The system was unable to find the specified registry key or value.")
		}
		x.h.files[strings.ToLower(args[2])] = []byte("Windows Registry Editor Version 5.00\r\n" + text)
	default:
		return x.regFails("Invalid syntax.")
	}
	x.h.writes.Add(1)
	x.out.WriteString(done)
	return 0
}

func progNetsh(x *execution, rest string) int {
	args := split(rest)
	if len(args) < 4 || !strings.EqualFold(args[0], "advfirewall") || !strings.EqualFold(args[1], "firewall") || !strings.EqualFold(args[3], "rule") {
		x.out.WriteString("The following command was not found: " + strings.TrimSpace(rest) + ".\r\n")
		return 1
	}
	o := map[string]string{}
	for _, a := range args[4:] {
		if k, v, ok := strings.Cut(a, "="); ok {
			o[strings.ToLower(k)] = v
		}
	}
	if o["name"] == "" {
		x.out.WriteString("A specified value is not valid.\r\n")
		return 1
	}
	switch strings.ToLower(args[2]) {
	case "add":
		if !x.h.has(RuleIgnored) {
			x.h.addRule("{"+strings.ToUpper(uuid.NewString())+"}", o)
		}
	case "delete":
		if x.h.deleteRules(o["name"]) == 0 {
			x.out.WriteString("\r\nNo rules match the specified criteria.\r\n")
			return 1
		}
	default:
		return 1
	}
	x.h.writes.Add(1)
	x.out.WriteString("Ok.\r\n\r\n")
	return 0
}

func progNet(x *execution, rest string) int {
	args := split(strings.ToLower(rest))
	if len(args) < 2 || args[1] != "winrm" {
		x.err.WriteString("The service name is invalid.\r\n")
		return 2
	}
	x.h.writes.Add(1)
	switch args[0] {
	case "stop":
		x.h.shells = map[string]*shell{} // with the connections, the one that asks for this included
		x.h.shut()
	case "start":
		if err := x.h.reload(); err != nil {
			x.err.WriteString("The service could not be started.\r\n")
			return 2
		}
	}
	x.out.WriteString("The Windows Remote Management (WS-Management) service was changed successfully.\r\n")
	return 0
}

func progSC(x *execution, rest string) int {
	args := split(rest)
	if len(args) == 2 && strings.EqualFold(args[0], "query") {
		for _, s := range x.h.allServices() {
			if strings.EqualFold(s.name, args[1]) {
				state := map[string]string{"Running": "4  RUNNING", "Stopped": "1  STOPPED"}[s.state]
				fmt.Fprintf(&x.out, "\r\nSERVICE_NAME: %s\r\n        STATE              : %s\r\n", s.name, state)
				return 0
			}
		}
	}
	x.out.WriteString("[SC] EnumQueryServicesStatus:OpenService FAILED 1060:\r\n")
	return 1060
}

func progNetstat(x *execution, _ string) int {
	x.out.WriteString("\r\nActive Connections\r\n\r\n  Proto  Local Address          Foreign Address        State\r\n")
	ports := []string{"135", "445", "47001"}
	for t := range x.h.doors {
		ports = append(ports, fmt.Sprint(x.h.port(t)))
	}
	for _, p := range ports {
		switch p {
		case fmt.Sprint(x.h.cfg.HTTPPort):
			p = "5985"
		case fmt.Sprint(x.h.cfg.HTTPSPort):
			p = "5986"
		}
		fmt.Fprintf(&x.out, "  TCP    %-22s %-22s LISTENING\r\n", "0.0.0.0:"+p, "0.0.0.0:0")
	}
	return 0
}

func progFindstr(x *execution, rest string) int {
	args, pattern, literal := split(rest), "", false
	for _, a := range args {
		switch {
		case strings.HasPrefix(strings.ToLower(a), "/c:"):
			pattern = a[3:]
		case strings.EqualFold(a, "/l"):
			literal = true
		case !strings.HasPrefix(a, "/") && pattern == "":
			pattern = a
		}
	}
	if literal {
		pattern = regexp.QuoteMeta(pattern)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return 2
	}
	code := 1
	for _, l := range strings.Split(strings.TrimSuffix(string(x.stdin), "\n"), "\n") {
		if re.MatchString(strings.TrimSuffix(l, "\r") + " ") {
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
		if !x.h.removeTask(name) {
			return fails()
		}
	case has("run"):
		x.h.writes.Add(1)
		if !x.h.startTask(name) {
			return fails()
		}
	case has("query"):
		if x.h.tasks[strings.ToLower(name)] == nil {
			return fails()
		}
	}
	x.out.WriteString("SUCCESS: done.\r\n")
	return 0
}

// progCertreq enrolls as the computer: key and request are made here.
func progCertreq(x *execution, rest string) int {
	args := split(rest)
	switch {
	case len(args) > 1 && strings.EqualFold(args[0], "-new"):
		return certreqNew(x, args[1:])
	case len(args) > 1 && strings.EqualFold(args[0], "-accept"):
		return certreqAccept(x, args[1:])
	}
	if len(args) < 2 || !strings.EqualFold(args[0], "-enroll") {
		x.err.WriteString("Unexpected argument.\r\n")
		return 1
	}
	template := args[len(args)-1]
	h := x.h
	switch {
	case h.has(EnrollFailed):
		return hresult(0x800706BA)
	case h.has(EnrollDenied):
		return hresult(0x80094012)
	case h.has(EnrollPending):
		x.out.WriteString("Certificate request is pending: Taken Under Submission (0)\r\n")
		return 5
	}
	if err := h.enroll(template); err != nil {
		h.cfg.Log.Debug("enroll", "host", h.cfg.FQDN, "err", err)
		var e *EnrollError
		switch {
		case errors.As(err, &e) && e.Pending:
			return 5
		case errors.As(err, &e):
			return hresult(e.HRESULT)
		}
		return hresult(0x800706BA)
	}
	return 0
}

func hresult(code uint32) int { return int(code) }

func (h *Host) enroll(template string) error {
	if h.cfg.Enroll == nil {
		return errors.New("this computer has no CA")
	}
	key, err := h.cfg.NewKey()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: h.cfg.FQDN}}, key)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	der, err := h.cfg.Enroll(context.Background(), EnrollRequest{Account: h.netBIOS() + "$", FQDN: h.cfg.FQDN, Template: template, CSR: csr})
	if err != nil {
		return err
	}
	h.writes.Add(1)
	h.install(der, key)
	return nil
}

// selfSigned is a certificate that nobody asked for, for the fault of that name.
func (h *Host) selfSigned() (string, error) {
	for thumb := range h.keys {
		if strings.HasPrefix(h.reg.Text(myKey+`\`+thumb, "note"), "self-signed") {
			return thumb, nil
		}
	}
	key, err := h.cfg.NewKey()
	if err != nil {
		return "", err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(666), Subject: pkix.Name{CommonName: h.cfg.FQDN}, DNSNames: []string{h.cfg.FQDN},
		NotBefore: h.now().Add(-time.Hour), NotAfter: h.now().AddDate(1, 0, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return "", err
	}
	thumb := h.install(der, key)
	h.reg.SetText(myKey+`\`+thumb, "note", "self-signed")
	return thumb, nil
}

func progCertutil(x *execution, rest string) int {
	args := split(rest)
	var files []string
	verb := ""
	for _, a := range args {
		switch {
		case strings.EqualFold(a, "-f"):
		case strings.HasPrefix(a, "-"):
			verb = strings.ToLower(a)
		default:
			files = append(files, strings.ToLower(a))
		}
	}
	if len(files) == 0 {
		return 1
	}
	in, ok := x.h.files[files[0]]
	switch {
	case !ok:
		return hresult(0x80070002)
	case verb == "-hashfile":
		fmt.Fprintf(&x.out, "SHA256 hash of %s:\r\n%x\r\nCertUtil: -hashfile command completed successfully.\r\n", files[0], sha256.Sum256(in))
		return 0
	case verb == "-decode" && len(files) == 2:
		out, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(in)), ""))
		if err != nil {
			return hresult(0x8007000D)
		}
		x.h.files[files[1]] = out
		x.h.writes.Add(1)
		return 0
	}
	return 1
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
		return x.line(string(utf16.Decode(u)))
	}
	x.err.WriteString("powershell is not simulated\r\n")
	return 1
}
