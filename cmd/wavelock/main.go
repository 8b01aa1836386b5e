package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"wavelock/rollout"
)

func main() {
	leaveNoCore()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200) // a tenth of a campaign's CPU time for some 30 MB
	}
	ctx, cancel := context.WithCancel(context.Background())
	go endBySignal(hearSignals(), cancel)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// hearSignals takes signals from here on, before anything is begun that they should end.
func hearSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	return signals
}

// endBySignal has the first signal end the work, and the second one the program.
func endBySignal(signals <-chan os.Signal, cancel context.CancelFunc) {
	first := <-signals
	if lent.leave() {
		lent.giveBack()
		fmt.Fprintln(os.Stderr, "\nwavelock: interrupted: the question was not answered")
		os.Exit(exitInterrupted)
	}
	cancel()
	at := time.Now()
	for s := range signals {
		said := s == syscall.SIGHUP || s == syscall.SIGTERM && s == first && time.Since(at) < time.Second
		if !said { // programs say it to the process and to its group
			break
		}
	}
	lent.giveBack()
	fmt.Fprintln(os.Stderr, "wavelock: interrupted again: nothing was waited for; what is in flight is inspected by the next run")
	os.Exit(exitInterrupted)
}

// run is the program as a function of its surroundings; only main exits.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := newApp(stdin, stdout, stderr)
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		tellInterrupted(stderr, err)
		return exitInterrupted
	}
	tell(stderr, err)
	return exitCode(err)
}

// coded is an error that knows its exit code.
type coded struct {
	error
	code int
	hint string
}

func (c *coded) Unwrap() error { return c.error }

// Hint is what to do about it.
func (c *coded) Hint() string { return c.hint }

func failWith(code int, hint, format string, args ...any) error {
	return &coded{error: fmt.Errorf(format, args...), code: code, hint: hint}
}

func exitCode(err error) int {
	var c *coded
	if errors.As(err, &c) {
		return c.code
	}
	var e interface{ ExitCode() int }
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	var f *rollout.Failure
	if errors.As(err, &f) && (f.Reason == rollout.ReasonLogonRefused || f.Reason == rollout.ReasonNoTicket || f.Reason == rollout.ReasonAccessDenied) {
		return exitLogon
	}
	return exitError
}

func tellInterrupted(w io.Writer, err error) {
	var i *interruption
	if errors.As(err, &i) && i.state != "" {
		fmt.Fprintf(w, "wavelock: interrupted: %s\n", i.state)
		return
	}
	fmt.Fprintln(w, "wavelock: interrupted")
}

// tell prints the error and, when something in its chain has one, the hint.
func tell(w io.Writer, err error) {
	fmt.Fprintf(w, "wavelock: error: %v\n", err)
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		fmt.Fprintf(w, "wavelock: hint: %s\n", h.Hint())
	}
}
