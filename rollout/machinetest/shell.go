package machinetest

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// shell is one remote shell with the commands that were run in it.
type shell struct {
	commands map[string]*command
}

type command struct {
	stdout, stderr []byte
	code           int
	stdin          []byte
	line           string
	started        bool
	wantsInput     bool
	done           chan struct{} // closed with its end
}

const (
	stateDone    = nsShell + "/CommandState/Done"
	stateRunning = nsShell + "/CommandState/Running"
)

// shellCall is [MS-WSMV] 3.1.4.5.
func (h *Host) shellCall(c *call) answer {
	verb := c.action[strings.LastIndexByte(c.action, '/')+1:]
	if verb == "Create" {
		return h.createShell(c)
	}
	id := strings.ToUpper(c.selectors["shellid"])
	s := h.shells[id]
	if s == nil {
		return answer{fault: faultNoShell}
	}
	switch verb {
	case "Command":
		return h.startCommand(s, c)
	case "Receive":
		return h.receive(s, c)
	case "Send":
		return h.send(s, c)
	case "Signal":
		if sig := c.body.child("Signal"); sig != nil {
			delete(s.commands, strings.ToUpper(sig.attr("CommandId")))
		}
		return answer{body: "<rsp:SignalResponse/>"}
	case "Delete":
		delete(h.shells, id)
		return answer{}
	}
	return answer{fault: faultUnknownAction}
}

func (h *Host) createShell(c *call) answer {
	if h.has(Quota) {
		h.faults = without(h.faults, Quota)
		return answer{fault: faultQuota}
	}
	if n, ok := h.reg.Num(policyKey+`\WinRS`, "AllowRemoteShellAccess"); ok && n == 0 {
		return answer{fault: faultAccessDenied}
	}
	if len(h.shells) >= 30 {
		return answer{fault: faultQuota}
	}
	id := strings.ToUpper(uuid.NewString())
	h.shells[id] = &shell{commands: map[string]*command{}}
	uri := nsShell + "/cmd"
	return answer{body: `<x:ResourceCreated><a:Address>http://` + h.cfg.FQDN + `/wsman</a:Address><a:ReferenceParameters><w:ResourceURI>` + uri +
		`</w:ResourceURI><w:SelectorSet><w:Selector Name="ShellId">` + id + `</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated><rsp:Shell xmlns:rsp="` + nsShell + `"><rsp:ShellId>` + id +
		`</rsp:ShellId><rsp:ResourceUri>` + uri + `</rsp:ResourceUri><rsp:Owner>` + esc(c.session.user()) + `</rsp:Owner><rsp:ClientIP>127.0.0.1</rsp:ClientIP><rsp:IdleTimeOut>PT7200.000S</rsp:IdleTimeOut><rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams><rsp:ShellRunTime>P0DT0H0M0S</rsp:ShellRunTime><rsp:ShellInactivity>P0DT0H0M0S</rsp:ShellInactivity></rsp:Shell>`}
}

func without(list []Fault, f Fault) []Fault {
	var out []Fault
	for _, o := range list {
		if o != f {
			out = append(out, o)
		}
	}
	return out
}

// startCommand joins command and arguments with blanks and adds no quotes, as
// the host does.
func (h *Host) startCommand(s *shell, c *call) answer {
	in := c.body.child("CommandLine")
	if in == nil {
		return answer{fault: faultNoBody}
	}
	parts := []string{in.text("Command")}
	for i := range in.Nodes {
		if in.Nodes[i].XMLName.Local == "Arguments" {
			parts = append(parts, strings.TrimSpace(in.Nodes[i].Text))
		}
	}
	id := strings.ToUpper(uuid.NewString())
	cmd := &command{line: strings.Join(parts, " "), done: make(chan struct{})}
	h.cfg.Log.Debug("command", "host", h.cfg.FQDN, "line", cmd.line)
	cmd.wantsInput = strings.HasPrefix(strings.ToLower(cmd.line), "findstr ") && !strings.Contains(cmd.line, "|")
	if !cmd.wantsInput {
		h.runCommand(cmd)
	}
	s.commands[id] = cmd
	return answer{body: "<rsp:CommandResponse><rsp:CommandId>" + id + "</rsp:CommandId></rsp:CommandResponse>"}
}

func (h *Host) runCommand(cmd *command) {
	x := &execution{h: h, stdin: cmd.stdin, env: h.environment()}
	cmd.code = x.line(cmd.line)
	cmd.stdout, cmd.stderr = x.out.Bytes(), x.err.Bytes()
	cmd.started = true
	close(cmd.done)
}

func (h *Host) send(s *shell, c *call) answer {
	in := c.body.child("Send").child("Stream")
	if in == nil {
		return answer{fault: faultNoBody}
	}
	cmd := s.commands[strings.ToUpper(in.attr("CommandId"))]
	if cmd == nil {
		return answer{fault: faultNoShell}
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(in.Text))
	if err != nil {
		return answer{fault: faultBadXML}
	}
	cmd.stdin = append(cmd.stdin, data...)
	if in.attr("End") == "true" && !cmd.started {
		h.runCommand(cmd)
	}
	return answer{body: "<rsp:SendResponse/>"}
}

// receive answers what fits into the envelope, and Done with the last of it.
func (h *Host) receive(s *shell, c *call) answer {
	in := c.body.child("Receive").child("DesiredStream")
	if in == nil {
		return answer{fault: faultNoBody}
	}
	id := strings.ToUpper(in.attr("CommandId"))
	cmd := s.commands[id]
	if cmd == nil {
		return answer{fault: faultNoShell}
	}
	if !cmd.started {
		return answer{fault: faultTimedOut, wait: cmd.done}
	}
	room := (c.envelope - 8192) / 4 * 3
	var b strings.Builder
	b.WriteString("<rsp:ReceiveResponse>")
	take := func(name string, buf *[]byte) {
		n := min(room, len(*buf))
		if n > 0 {
			fmt.Fprintf(&b, `<rsp:Stream Name="%s" CommandId="%s">%s</rsp:Stream>`, name, id, base64.StdEncoding.EncodeToString((*buf)[:n]))
		}
		*buf = (*buf)[n:]
		room -= n
	}
	take("stdout", &cmd.stdout)
	take("stderr", &cmd.stderr)
	if len(cmd.stdout)+len(cmd.stderr) > 0 {
		fmt.Fprintf(&b, `<rsp:CommandState CommandId="%s" State="%s"/></rsp:ReceiveResponse>`, id, stateRunning)
		return answer{body: b.String()}
	}
	for _, name := range []string{"stdout", "stderr"} {
		fmt.Fprintf(&b, `<rsp:Stream Name="%s" CommandId="%s" End="true"></rsp:Stream>`, name, id)
	}
	fmt.Fprintf(&b, `<rsp:CommandState CommandId="%s" State="%s"><rsp:ExitCode>%d</rsp:ExitCode></rsp:CommandState></rsp:ReceiveResponse>`, id, stateDone, cmd.code)
	return answer{body: b.String()}
}
