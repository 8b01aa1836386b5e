package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

// command runs a program for each message. Exit 0 is a yes, any other a no; what it says first is the reason.
type command struct{ Config }

func (c command) name() string { return filepath.Base(c.Command[0]) }

// kept are the variables that a program cannot do without. The others stay here: one may hold a password.
var kept = []string{"PATH", "HOME", "LANG", "TZ", "TMPDIR", "SYSTEMROOT", "TEMP", "TMP", "USERPROFILE", "PATHEXT", "COMSPEC"}

func (c command) send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, c.Command[0], c.Command[1:]...)
	cmd.Stdin = bytes.NewReader(body)
	for _, k := range kept {
		if v, ok := os.LookupEnv(k); ok {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	cmd.Env = append(cmd.Env, "WAVELOCK_ON="+m.On, "WAVELOCK_CAMPAIGN="+string(m.Campaign), "WAVELOCK_PLAN="+m.Plan, fmt.Sprintf("WAVELOCK_WAVE=%d", m.Wave))
	cmd.WaitDelay = time.Second // for a child of its own that keeps its output open
	var said limited
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("no answer within %v", c.Timeout)
	case errors.As(err, &exit):
		why := fmt.Sprintf("it said no (%s)", exit)
		if first := said.first(); first != "" {
			why += ": " + first
		}
		return &RefusedError{Hook: c.name(), On: m.On, Why: why}
	}
	return err
}

// limited keeps the beginning of what a program says.
type limited struct{ b []byte }

func (l *limited) Write(p []byte) (int, error) {
	if room := 4096 - len(l.b); room > 0 {
		l.b = append(l.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// first is the first line that says something, in characters that a terminal shows as they are.
func (l *limited) first() string { return firstLine(string(l.b)) }

func firstLine(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) { // U+009B, U+202E and the like, too
				return ' '
			}
			return r
		}, strings.ToValidUTF8(line, "?")))
		if line == "" {
			continue
		}
		if r := []rune(line); len(r) > 200 {
			line = string(r[:200])
		}
		return line
	}
	return ""
}
