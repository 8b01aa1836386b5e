package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"wavelock/rollout/journal"
)

func newService(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "service", GroupID: "look", Args: knownCommand,
		Short: "Run the dashboard as a systemd or Windows service",
		Long: `Install, start, stop and remove the service that does what wavelock serve does,
from the configuration given with --config. On Windows the account may be a
group managed service account, written CORP\svc-wavelock$; it has no password.`,
		Example: "  wavelock service install --config C:\\wavelock.yaml --user 'CORP\\svc$'",
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newServiceInstall(a), newServiceRun(a))
	for _, s := range []struct{ verb, short string }{
		{"start", "Start the service"}, {"stop", "Stop the service"}, {"uninstall", "Remove the service; the configuration and the database stay"}, {"status", "Tell whether the service runs"},
	} {
		c.AddCommand(newServiceVerb(a, s.verb, s.short))
	}
	return c
}

const serviceName = "wavelock"

// definition is the service as the system is told of it.
func (a *app) definition(user string) (*service.Config, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	file, err := filepath.Abs(a.config)
	if err != nil {
		return nil, err
	}
	return &service.Config{Name: serviceName, DisplayName: "wavelock", Description: "wavelock: compliance dashboard of WinRM over HTTPS",
		UserName: user, Executable: exe, Arguments: []string{"service", "run", "--quiet", "--config", file}, WorkingDirectory: filepath.Dir(file),
		Option: service.KeyValue{"DelayedAutoStart": true, "OnFailure": "restart", "OnFailureDelayDuration": "60s"}}, nil
}

// hardening is what systemd keeps the service from. Programs of hooks run inside of it, too: memory that is written and
// then executed is left to them, since the runtimes of some are made of it.
const hardening = `UMask=0077
LimitCORE=0
NoNewPrivileges=yes
CapabilityBoundingSet=
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
`

// unit is the systemd unit. It may write in the folder, if there is one, and nowhere else.
func unit(d *service.Config, folder string) string {
	var words []string
	for _, word := range append([]string{d.Executable}, d.Arguments...) {
		words = append(words, unitWord(word))
	}
	user, write := "", ""
	if d.UserName != "" {
		user = "User=" + d.UserName + "\n"
	}
	if folder != "" {
		write = "ReadWritePaths=" + unitWord(folder) + "\n"
	}
	return `[Unit]
Description=` + d.Description + `
Documentation=man:wavelock(1)
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
` + user + `ExecStart=` + strings.Join(words, " ") + `
Restart=on-failure
RestartSec=60
` + hardening + write + `
[Install]
WantedBy=multi-user.target
`
}

// unitWord is a word as systemd.syntax(7) wants it; a percent sign would name something.
func unitWord(s string) string { return strconv.Quote(strings.ReplaceAll(s, "%", "%%")) }

// writes is the folder that the service writes to: that of the database, if it is a file.
func (c Config) writes() string {
	if journal.Shared(c.Database) {
		return ""
	}
	return filepath.Dir(c.database())
}

func newServiceInstall(a *app) *cobra.Command {
	var user string
	show := false
	c := &cobra.Command{
		Use: "install", Args: exactly(),
		Short:   "Install the service; it starts with the system",
		Example: "  wavelock service install --user wavelock\n  wavelock service install --print > wavelock.service",
		RunE: func(*cobra.Command, []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			d, err := a.definition(user)
			if err != nil {
				return err
			}
			text := unit(d, cfg.writes())
			if show {
				_, err := fmt.Fprint(a.out, text)
				return err
			}
			d.Option["SystemdScript"] = text
			return a.manage(d, "install")
		},
	}
	c.Flags().StringVar(&user, "user", "", "`ACCOUNT` that it runs as (default: the system's, which has more rights than needed)")
	c.Flags().BoolVar(&show, "print", false, "print the systemd unit, install nothing")
	completes(c, map[string]completion{"user": completeNothing})
	return c
}

func newServiceVerb(a *app, verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb, Args: exactly(), Short: short, Example: "  wavelock service " + verb,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.definition("")
			if err != nil {
				return err
			}
			return a.manage(d, verb)
		},
	}
}

func (a *app) manage(d *service.Config, verb string) error {
	s, err := service.New(nil, d)
	if err != nil {
		return failWith(exitError, "print the unit with wavelock service install --print and install it by hand", "this system's services are not known: %w", err)
	}
	if verb == "status" {
		return a.serviceStatus(s)
	}
	if err := service.Control(s, verb); err != nil {
		return failWith(exitError, serviceHint(runtime.GOOS, os.Geteuid(), verb), "%s the service %s: %w", verb, d.Name, err)
	}
	a.progress("%s: done", verb)
	return nil
}

// serviceHint is what to do when the service manager refused. The first thing it refuses is who asks.
func serviceHint(system string, user int, verb string) string {
	switch {
	case system == "windows":
		return "an administrator may do this, in an elevated window; the event log tells why it does not start"
	case user != 0:
		return "root may do this"
	case verb == "install":
		return "where it is installed already, wavelock service uninstall removes it first"
	case verb == "start":
		return "wavelock service status tells whether it is installed, journalctl -u " + serviceName + " why it does not start"
	}
	return "wavelock service status tells whether it is installed"
}

func (a *app) serviceStatus(s service.Service) error {
	state, err := s.Status()
	word := map[service.Status]string{service.StatusRunning: "running", service.StatusStopped: "stopped"}[state]
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		word = "not installed"
	case err != nil:
		return failWith(exitError, "journalctl -u "+serviceName+" tells more", "ask for the service's state: %w", err)
	case word == "running" && s.Platform() == "linux-systemd" && isStarting():
		word = "starting; if it stays so, journalctl -u " + serviceName + " tells why"
	}
	_, err = fmt.Fprintln(a.out, word)
	return err
}

// isStarting asks systemd about what the library calls running: a service that failed is started again and again, and is
// "activating" in between.
func isStarting() bool {
	out, _ := exec.Command("systemctl", "is-active", serviceName).Output() // its exit code says the same
	return strings.TrimSpace(string(out)) == "activating"
}

// newServiceRun is what the system starts.
func newServiceRun(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "run", Args: exactly(), Hidden: true,
		Short: "Serve, as the system's service manager wants it", Example: "  wavelock service run --config /etc/wavelock/wavelock.yaml",
		RunE: func(c *cobra.Command, _ []string) error {
			serve := func(ctx context.Context) error {
				cfg, err := loadConfig(a.config)
				if err != nil {
					return err
				}
				return a.serve(ctx, cfg)
			}
			if runtime.GOOS != "windows" || service.Interactive() {
				return serve(c.Context()) // systemd speaks in signals, which main hears
			}
			d, err := a.definition("")
			if err != nil {
				return err
			}
			p := &daemon{serve: serve, die: os.Exit}
			s, err := service.New(p, d)
			if err != nil {
				return fmt.Errorf("meet the service manager: %w", err)
			}
			if log, err := s.SystemLogger(nil); err == nil { // else nobody could be told
				a.err = eventLog{log}
				p.log = a.err
			}
			return s.Run()
		},
	}
}

// eventLog takes what a service says to the event log of Windows, where nobody sees its standard error.
type eventLog struct{ to service.Logger }

func (l eventLog) Write(b []byte) (int, error) {
	line, say := strings.TrimSpace(string(b)), l.to.Info
	switch {
	case strings.Contains(line, "level=ERROR"), strings.HasPrefix(line, "wavelock: error:"):
		say = l.to.Error
	case strings.Contains(line, "level=WARN"), strings.HasPrefix(line, "wavelock: warning:"):
		say = l.to.Warning
	}
	if err := say(line); err != nil {
		return 0, err
	}
	return len(b), nil
}

// daemon is the service to kardianos/service: Start must not block, Stop waits.
type daemon struct {
	serve func(context.Context) error
	die   func(code int)
	log   io.Writer // nil: nobody reads
	stop  context.CancelFunc
	done  chan struct{}
}

var _ service.Interface = (*daemon)(nil)

func (p *daemon) Start(service.Service) error {
	ctx, cancel := context.WithCancel(context.Background()) // a service has no caller
	p.stop, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		if err := p.serve(ctx); err != nil && ctx.Err() == nil {
			if p.log != nil {
				tell(p.log, err)
			}
			// The manager starts again what ended unasked, and not what said that it has stopped; an account without
			// rights over services could not ask to be stopped anyway.
			p.die(exitCode(err))
		}
	}()
	return nil
}

func (p *daemon) Stop(service.Service) error {
	p.stop()
	<-p.done
	return nil
}
