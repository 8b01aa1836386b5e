package wsman

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/masterzen/winrm"
	"github.com/masterzen/winrm/soap"
)

// Limits of a command. cmd.exe takes lines of 8191 characters, and WinRM puts "cmd.exe /c " before ours.
const (
	maxLine = 8150
	// maxOutput is all the output of a command, in answers of the largest size.
	maxOutput = 4
	// maxIdleReceives is how many answers without news in a row a host may give; an honest one waits before it answers.
	maxIdleReceives = 200
	stdinChunk      = 60_000 // bytes; in base64 they fit an envelope of maxEnvelopeSize
	cleanUpTimeout  = 5 * time.Second
)

const shellNamespace = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"

// Shell is a cmd shell on the host. It is for one command at a time.
type Shell struct {
	session *Session
	id      string
}

// Result is what a command left.
type Result struct {
	Stdout, Stderr []byte // in UTF-8, as far as the program minds the code page
	ExitCode       int
}

// Shell opens a shell. An account may have few at once: Close it.
func (s *Session) Shell(ctx context.Context) (*Shell, error) {
	const op = "open a shell"
	body, err := s.doShell(ctx, op, winrm.NewOpenShellRequest(s.target.url(), s.parameters()))
	if err != nil {
		return nil, err
	}
	id := strings.TrimSpace(body.Child("Shell").Value("ShellId"))
	if id == "" { // Windows Server 2008 has the id in the selectors only
		for _, sel := range reference(body.Child("ResourceCreated")).Selectors {
			if sel.Name == "ShellId" {
				id = strings.TrimSpace(sel.Value)
			}
		}
	}
	if !isGUID(id) {
		return nil, s.malformed(op, "no shell id")
	}
	return &Shell{session: s, id: id}, nil
}

// Close ends the shell and what runs in it.
func (sh *Shell) Close(ctx context.Context) error {
	s := sh.session
	_, err := s.doShell(ctx, "close the shell", winrm.NewDeleteShellRequest(s.target.url(), sh.id, s.parameters()))
	return err
}

// Run runs one line with cmd /c to its end, and feeds it stdin if that is not nil. When ctx ends first the command is
// terminated. An error after the start is a *RunError.
func (sh *Shell) Run(ctx context.Context, line string, stdin []byte) (Result, error) {
	if err := checkLine(line); err != nil {
		return Result{}, err
	}
	s := sh.session
	msg := winrm.NewExecuteCommandRequest(s.target.url(), sh.id, line, nil, s.parameters())
	body, err := s.doShellText(ctx, "run a command", commandText(msg, stdin != nil))
	if err != nil {
		return Result{}, err
	}
	id := strings.TrimSpace(body.Child("CommandResponse").Value("CommandId"))
	if !isGUID(id) {
		return Result{}, &RunError{Host: s.target.Host, Err: s.malformed("run a command", "no command id")}
	}
	c := &command{session: s, shell: sh.id, id: id}
	defer c.terminate(ctx)
	result, err := c.run(ctx, stdin)
	if err != nil {
		return result, &RunError{Host: s.target.Host, Err: err}
	}
	return result, nil
}

// checkLine refuses what cannot go into a message: the library puts the line between <![CDATA[ and ]]> as it is.
func checkLine(line string) error {
	switch {
	case strings.TrimSpace(line) == "":
		return errors.New("the command line is empty")
	case strings.Contains(line, "]]>"):
		return errors.New("a command line with ]]> cannot be sent")
	case strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && r < ' ' || r == '\uFFFD' || !isXMLChar(r) }):
		return errors.New("a command line with control characters or broken UTF-8 cannot be sent")
	case len(utf16.Encode([]rune(line))) > maxLine:
		return fmt.Errorf("a command line of more than %d characters cannot be sent", maxLine)
	}
	return nil
}

// consoleStdin is how the library asks that stdin is a console, which has no end.
const consoleStdin = `Name="WINRS_CONSOLEMODE_STDIN">TRUE<`

// commandText makes stdin a pipe when there is something to feed.
func commandText(msg *soap.SoapMessage, piped bool) string {
	text := msg.String()
	if piped {
		text = strings.Replace(text, consoleStdin, strings.Replace(consoleStdin, "TRUE", "FALSE", 1), 1)
	}
	return text
}

// command is a running command.
type command struct {
	session   *Session
	shell, id string
	out       Result
}

func (c *command) run(ctx context.Context, stdin []byte) (Result, error) {
	if stdin != nil {
		if err := c.feed(ctx, stdin); err != nil {
			return c.out, err
		}
	}
	for idle := 0; idle <= maxIdleReceives; {
		had := len(c.out.Stdout) + len(c.out.Stderr)
		done, err := c.receive(ctx)
		if err != nil || done {
			return c.out, err
		}
		if idle++; len(c.out.Stdout)+len(c.out.Stderr) > had {
			idle = 0
		}
	}
	return c.out, &ProtocolError{Host: c.session.target.Host, Op: "read the output", Err: fmt.Errorf("%d answers without news", maxIdleReceives)}
}

// feed sends stdin in pieces; the last one ends it.
func (c *command) feed(ctx context.Context, stdin []byte) error {
	s := c.session
	for {
		piece := stdin[:min(len(stdin), stdinChunk)]
		stdin = stdin[len(piece):]
		msg := winrm.NewSendInputRequest(s.target.url(), c.shell, c.id, piece, len(stdin) == 0, s.parameters())
		if _, err := s.doShell(ctx, "send input", msg); err != nil || len(stdin) == 0 {
			return err
		}
	}
}

// receive waits for output or the end. The host's own time-out only means that there is nothing yet.
func (c *command) receive(ctx context.Context) (done bool, err error) {
	const op = "read the output"
	s := c.session
	body, err := s.doShell(ctx, op, winrm.NewGetOutputRequest(s.target.url(), c.shell, c.id, "stdout stderr", s.parameters()))
	var fault *Fault
	if errors.As(err, &fault) && fault.IsTimedOut() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := c.take(body.Child("ReceiveResponse")); err != nil {
		return false, s.malformed(op, "unreadable output")
	}
	if int64(len(c.out.Stdout)+len(c.out.Stderr)) > maxOutput*s.target.MaxResponse {
		return false, &ProtocolError{Host: s.target.Host, Op: op, Err: errTooLarge}
	}
	return c.ended(op, body)
}

// take gathers the streams, [MS-WSMV] 2.2.4.36.
func (c *command) take(response *Element) error {
	for _, stream := range response.All("Stream") {
		to := &c.out.Stdout
		if stream.Attr("Name") == "stderr" {
			to = &c.out.Stderr
		}
		var err error
		if *to, err = base64.StdEncoding.AppendDecode(*to, []byte(strings.TrimSpace(stream.Text))); err != nil {
			return err
		}
	}
	return nil
}

// ended reads the state itself: the library takes an end without exit code for success.
func (c *command) ended(op string, body *Element) (bool, error) {
	state := body.At("ReceiveResponse", "CommandState")
	if state.Attr("State") != shellNamespace+"/CommandState/Done" {
		return false, nil
	}
	code, err := strconv.ParseInt(strings.TrimSpace(state.Value("ExitCode")), 10, 64)
	if err != nil {
		return false, c.session.malformed(op, "an end without exit code")
	}
	c.out.ExitCode = int(int32(code)) // Windows' exit codes are unsigned on the wire now and then
	return true, nil
}

// terminate ends the command on the host, also when it has ended by itself: the host keeps its state until then.
func (c *command) terminate(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	s := c.session
	_, _ = s.doShell(ctx, "end the command", winrm.NewSignalRequest(s.target.url(), c.shell, c.id, s.parameters()))
}

func (s *Session) parameters() *winrm.Parameters {
	return winrm.NewParameters(s.target.operationTimeout(), s.target.Locale, maxEnvelopeSize)
}

// doShell sends a message of the winrm library. Its answer is read by our own parser: the library's make a second tree of
// it, which for bulk output was half of all the work.
func (s *Session) doShell(ctx context.Context, op string, msg *soap.SoapMessage) (*Element, error) {
	return s.doShellText(ctx, op, msg.String())
}

func (s *Session) doShellText(ctx context.Context, op, text string) (*Element, error) {
	id := pickedID(text)
	if id == "" {
		return nil, fmt.Errorf("%s on %s: the message has no MessageID", op, s.target.Host)
	}
	return s.do(ctx, request{op: op, id: id, envelope: text})
}

// pickedID finds what the library picked and does not tell. It is an UUID, which XML writes as it is, in the header:
// what callers may choose comes after it.
func pickedID(text string) string {
	_, rest, _ := strings.Cut(text, "MessageID>")
	id, _, ok := strings.Cut(rest, "<")
	if !ok {
		return ""
	}
	return strings.TrimSpace(id)
}
