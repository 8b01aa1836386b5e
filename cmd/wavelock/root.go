package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"wavelock/ldapdisco/logon"
)

// app is the program's surroundings and the flags that every command shares.
type app struct {
	in       io.Reader
	out, err io.Writer
	now      func() time.Time

	config  string
	output  string
	noColor bool
	quiet   bool
	verbose bool

	typed  map[string]logon.Secret // passwords that were asked for, by account
	warned map[string]bool         // files that others can read
	log    *slog.Logger            // of a command that works for long; see announced
	news   *announcer              // where its warnings go; nil: into the log
}

func newApp(in io.Reader, out, err io.Writer) *app {
	return &app{in: in, out: out, err: err, now: time.Now}
}

// version is set when a release is built; else the build's own information is used.
var version = ""

func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development"
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "wavelock",
		Short: "Move a Windows domain from WinRM over HTTP to HTTPS, without locking anybody out",
		Long: `wavelock moves a Windows domain's remote management from WinRM over HTTP (5985)
to WinRM over HTTPS (5986): it finds the computers over LDAP, gets each a
machine certificate, creates the HTTPS listener, proves from outside that it
works, and then removes HTTP in waves. The undo of that removal runs on the host
itself.`,
		Example: `  wavelock demo                      the whole job on a simulated domain
  wavelock assess                    look at every host; nothing is changed
  wavelock plan --out plan.json      who, in which order, how much at once
  wavelock run plan.json             do it; again to resume`,
		Args:          knownCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       versionString(),

		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return a.checkOutput(c) },
	}
	a.sharedFlags(root)
	root.AddGroup(&cobra.Group{ID: "begin", Title: "Begin:"},
		&cobra.Group{ID: "look", Title: "Look (no host is changed):"},
		&cobra.Group{ID: "roll", Title: "Roll out:"},
		&cobra.Group{ID: "help", Title: "Understand:"})
	help := newHelp()
	root.SetHelpCommand(help)
	root.AddCommand(
		newDemo(a), newLab(a), newInit(a), newDoctor(a),
		newDiscover(a), newPKI(a), newAssess(a), newCensus(a), newHost(a), newStatus(a), newVerify(a), newProbe(a), newDrift(a),
		newReport(a), newJournal(a), newServe(a), newService(a),
		newPlan(a), newApprove(a), newRun(a), newWorker(a), newPause(a), newResume(a), newAbort(a), newRollback(a), newRestore(a), newRenew(a),
		newExplain(a), newGuide(a), newMan(a), newCompletion(a), help,
	)
	return root
}

// sharedFlags are those that every command has.
func (a *app) sharedFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.config, "config", "wavelock.yaml", "configuration `FILE`")
	f.StringVarP(&a.output, "output", "o", "table", "`FORMAT`: table, json, yaml or csv")
	f.BoolVar(&a.noColor, "no-color", false, "no colours, like NO_COLOR, CLICOLOR=0 and TERM=dumb")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress, only results and errors")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log what is done, to standard error")
	f.BoolP("help", "h", false, "print this help")
	completes(root, map[string]completion{"output": completeOutput, "config": completeFiles("yaml", "yml")})
	root.SetFlagErrorFunc(flagError)
	root.SetUsageTemplate(usageTemplate)
	root.InitDefaultVersionFlag()
	root.Flag("version").Usage = "print the version"
}

// checkOutput settles how the command may print.
func (a *app) checkOutput(c *cobra.Command) error {
	a.noColor = a.noColor || !c.Flag("no-color").Changed && colorless()
	switch a.output {
	case "table", "json", "yaml", "csv":
		return nil
	case "sarif":
		if c.Annotations[sarifAllowed] != "" {
			return nil
		}
		return failWith(exitUsage, "wavelock pki audit writes it", "%s has no SARIF output", c.CommandPath())
	}
	return failWith(exitUsage, "use table, json, yaml or csv", "--output %q is unknown", a.output)
}

// colorless reports whether the surroundings ask for no colours: see no-color.org and bixense.com/clicolors.
func colorless() bool {
	return os.Getenv("NO_COLOR") != "" || os.Getenv("CLICOLOR") == "0" || os.Getenv("TERM") == "dumb"
}

// progress prints a line about what is being done, to standard error.
func (a *app) progress(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

func (a *app) logger() *slog.Logger {
	if a.log != nil {
		return a.log
	}
	level := slog.LevelError
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}

// terminal reports whether the stream is a terminal that may be drawn on.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// size is the terminal's, in columns and lines; a usual one where it cannot be asked.
func size(w any) (width, height int) {
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
	}
	return 80, 24
}
