package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"wavelock/ldapdisco"
)

func newDoctor(a *app) *cobra.Command {
	var host string
	c := &cobra.Command{
		Use: "doctor", GroupID: "begin", Args: exactly(),
		Short: "Check every prerequisite, and say what to do next",
		Long: `Check what a rollout needs: the database, DNS, LDAP and its TLS, the clocks,
Kerberos, the rights in the directory, the template, the CA, and both ports of
one host. Nothing is changed.

Exit code 9 says that something fails; warnings do not count.`,
		Example: "  wavelock doctor\n  wavelock doctor --host web01.corp.example",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			return a.doctor(c.Context(), cfg, host)
		},
	}
	c.Flags().StringVar(&host, "host", "", "`HOST` to try (default: the first one selected)")
	completes(c, map[string]completion{"host": a.completeHosts()})
	return c
}

// result of one check.
type result string

const (
	good    result = "ok"
	doubt   result = "warn"
	wrong   result = "FAIL"
	skipped result = "skip"
)

// checkup is one prerequisite, whether it holds, and what to do if not.
type checkup struct {
	Check  string `json:"check"`
	Result result `json:"result"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"`
}

// clinic is one examination: later checks build on what earlier ones opened.
type clinic struct {
	a    *app
	cfg  Config
	host string // to try

	urls     []string
	dir      *ldapdisco.Directory
	domain   ldapdisco.Domain
	cas      []ldapdisco.Authority
	roots    [][]byte
	computer found // that is tried
}

// exams are in the order in which they build on one another.
var exams = []struct {
	name string
	of   func(*clinic, context.Context) checkup
}{
	{"database", (*clinic).database},
	{"dns", (*clinic).dns},
	{"ldap", (*clinic).ldap},
	{"clock", (*clinic).clock},
	{"kerberos", (*clinic).kerberos},
	{"certs", (*clinic).certificates},
	{"rights", (*clinic).rights},
	{"roots", (*clinic).enterpriseRoots},
	{"template", (*clinic).template},
	{"ca", (*clinic).authority},
	{"host", (*clinic).oneHost},
}

func (a *app) doctor(ctx context.Context, cfg Config, host string) error {
	c := &clinic{a: a, cfg: cfg, host: strings.ToLower(host)}
	defer func() {
		if c.dir != nil {
			c.dir.Close()
		}
	}()
	t := table{head: []string{"CHECK", "RESULT", "DETAIL", "NEXT"}}
	all := make([]checkup, 0, len(exams))
	failed := 0
	for _, e := range exams {
		if ctx.Err() != nil {
			return context.Canceled
		}
		r := e.of(c, ctx)
		if r.Result == "" {
			continue // it is about something that the configuration does not use
		}
		r.Check = e.name
		if r.Result == wrong {
			failed++
		}
		all = append(all, r)
		t.add(r.Check, r.Result, r.Detail, r.Next)
		if a.output == "table" {
			fmt.Fprint(a.out, r.text())
		}
	}
	if a.output != "table" {
		if err := t.write(a.out, a.output, all); err != nil {
			return err
		}
	}
	if failed > 0 {
		return failWith(exitFindings, "mend the first one and run wavelock doctor again: later ones often follow from it", "%d of %d checks failed", failed, len(all))
	}
	return nil
}

func (r checkup) text() string {
	s := fmt.Sprintf("%-4s  %-9s %s\n", r.Result, r.Check, strings.TrimLeft(fold(r.Detail, 79, strings.Repeat(" ", 16)), " "))
	if r.Next != "" {
		s += fold("do: "+r.Next, 79, strings.Repeat(" ", 16)) + "\n"
	}
	return s
}

func ok(format string, args ...any) checkup {
	return checkup{Result: good, Detail: fmt.Sprintf(format, args...)}
}

func skip(because string) checkup { return checkup{Result: skipped, Detail: because} }

func warn(next, format string, args ...any) checkup {
	return checkup{Result: doubt, Detail: fmt.Sprintf(format, args...), Next: next}
}

func fail(next, format string, args ...any) checkup {
	return checkup{Result: wrong, Detail: fmt.Sprintf(format, args...), Next: next}
}

// failOf is a check that failed with an error; its hint is the next step.
func failOf(err error) checkup {
	r := checkup{Result: wrong, Detail: err.Error()}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		r.Next = h.Hint()
	}
	return r
}
