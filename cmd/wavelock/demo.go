package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wavelock/rollout"
	"wavelock/rollout/lab"
)

func newDemo(a *app) *cobra.Command {
	o := demoOptions{Hosts: 40, Seed: 1}
	c := &cobra.Command{
		Use: "demo", GroupID: "begin", Args: exactly(),
		Short: "Do the whole job on a simulated domain: no server, no root",
		Long: `Move a simulated domain on loopback to HTTPS, with the commands that a real one
gets. One wave meets a fault, is halted and put back; on one host 5986 is cut
and the controller killed, and 5985 comes back by itself; others wait or are
refused.

What is said is checked against the simulated computers. Exit code 0 says that
all of it is true.`,
		Example: "  wavelock demo\n  wavelock demo --hosts 200 --serve",
		RunE:    func(c *cobra.Command, _ []string) error { return a.demo(c.Context(), o) },
	}
	f := c.Flags()
	f.IntVar(&o.Hosts, "hosts", o.Hosts, "`NUMBER` of simulated computers, 20 at least")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "`NUMBER` that decides who is a canary and who meets a fault")
	f.DurationVar(&o.Latency, "latency", 0, "delay every answer of a computer by that `TIME`")
	f.BoolVar(&o.Serve, "serve", false, "keep the lab and the dashboard up until Ctrl-C")
	f.StringVar(&o.Dir, "dir", "", "`FOLDER` for the files (default: one that is removed)")
	completes(c, map[string]completion{"dir": completeFolders, "hosts": completeNothing, "seed": completeNothing, "latency": completeNothing})
	return c
}

type demoOptions struct {
	Hosts   int
	Seed    uint64
	Latency time.Duration
	Serve   bool
	Dir     string
}

// demo is one telling of the story. Every claim is checked as it is made.
type demo struct {
	a     *app
	o     demoOptions
	lab   *lab.Lab
	dir   string
	wrong []string // claims that were not true
}

func (a *app) demo(ctx context.Context, o demoOptions) error {
	if o.Hosts < 20 {
		return failWith(exitUsage, "use --hosts 20 or more", "a story with %d hosts cannot be told", o.Hosts)
	}
	began := time.Now()
	d := &demo{a: a, o: o, dir: o.Dir}
	if d.dir == "" {
		dir, err := os.MkdirTemp("", "wavelock-demo-")
		if err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer os.RemoveAll(dir)
		d.dir = dir
	}
	var err error
	if d.lab, err = lab.Start(ctx, lab.Config{Hosts: o.Hosts, Seed: o.Seed, Latency: o.Latency, Troubles: true, Log: a.logger()}); err != nil {
		return fmt.Errorf("start the lab: %w", err)
	}
	defer d.lab.Close()
	if err := d.lab.WriteFiles(d.dir); err != nil {
		return failWith(exitError, "name another folder with --dir", "%w", err)
	}
	for _, chapter := range []func(context.Context) error{d.prologue, d.look, d.rollOut, d.goOn, d.cutOff, d.epilogue} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	d.say("\n%d simulated computers in %s.", o.Hosts, time.Since(began).Round(time.Second))
	if len(d.wrong) > 0 {
		return failWith(exitError, "this is a defect: please report the seed and the output", "%d claims of the demo were not true: %s", len(d.wrong), strings.Join(d.wrong, "; "))
	}
	if o.Serve {
		return d.serve(ctx)
	}
	d.say("The dashboard of a campaign: wavelock demo --serve")
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.a.out, format+"\n", args...) }

func (d *demo) chapter(title string) { d.say("\n== %s", title) }

// claim says a sentence and remembers it if it is not true.
func (d *demo) claim(ok bool, format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	mark := "ok   "
	if !ok {
		mark = "WRONG"
		d.wrong = append(d.wrong, s)
	}
	d.say("  %s %s", mark, s)
}

// command runs one of the program's own commands, as a user would type it.
// Exit codes that the story expects are no error.
func (d *demo) command(ctx context.Context, expect []int, args ...string) error {
	d.say("\n$ wavelock %s", shellLine(args))
	args = append(args, "--config", filepath.Join(d.dir, "wavelock.yaml"))
	if d.a.quiet {
		args = append(args, "--quiet")
	}
	code := run(ctx, args, strings.NewReader(""), d.a.out, d.a.err)
	switch {
	case ctx.Err() != nil:
		return context.Canceled
	case !slices.Contains(expect, code):
		return fmt.Errorf("wavelock %s ended with %d", args[0], code)
	}
	return nil
}

// shellLine is a command as it can be pasted into a shell.
func shellLine(args []string) string {
	words := make([]string, len(args))
	for i, s := range args {
		if words[i] = s; s == "" || strings.ContainsAny(s, " \t\"'$&|;<>()*?`\\") {
			words[i] = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

func (d *demo) file(name string) string { return filepath.Join(d.dir, name) }

// prologue gives five computers the troubles that every domain has.
func (d *demo) prologue(context.Context) error {
	d.chapter("A domain with the troubles of every domain")
	for _, t := range d.lab.Troubles() {
		d.say("  %-28s %s", t.Host, t.Story)
	}
	config := d.file("wavelock.yaml")
	text, err := os.ReadFile(config)
	if err == nil { // else, where the canary is one of them, a person is asked, and nobody is there
		err = os.WriteFile(config, bytes.Replace(text, []byte("\npolicy:\n"), []byte("\npolicy:\n  pass_unproven: true\n"), 1), 0o600)
	}
	return err
}

func (d *demo) look(ctx context.Context) error {
	d.chapter("Look: nothing on a host is changed")
	before := d.lab.Writes()
	if err := d.command(ctx, []int{exitOK}, "discover"); err != nil {
		return err
	}
	if err := d.command(ctx, []int{exitOK}, "assess"); err != nil {
		return err
	}
	d.claim(d.lab.Writes() == before, "discover and assess wrote nothing on any computer")
	return d.command(ctx, []int{exitOK}, "plan", "--out", d.file("spring.json"), "--seed", fmt.Sprint(d.o.Seed))
}

// rollOut runs the plan until a wave is halted by its error budget.
func (d *demo) rollOut(ctx context.Context) error {
	d.chapter("Roll out, in waves: one of them meets a fault")
	plan, err := readPlan(d.file("spring.json"))
	if err != nil {
		return err
	}
	sick := plan.Waves[1].Hosts
	sick = sick[:min(plan.Waves[1].Limit, len(sick))]
	for _, id := range sick {
		if err := d.lab.Break(string(id), "wrong-certificate"); err != nil {
			return err
		}
	}
	d.say("  %s of wave 2 now present another certificate than the one they are configured with.", plural(len(sick), "computer"))
	if err := d.command(ctx, []int{exitHalted}, "run", d.file("spring.json"), "--yes"); err != nil {
		return err
	}
	for _, id := range sick {
		d.claim(d.answers(string(id), 5985) && !d.answers(string(id), 5986), "%s is back at its before-image: 5985 answers, 5986 is closed", id)
	}
	touched := slices.DeleteFunc(slices.Clone(plan.Waves[2].Hosts), func(id rollout.HostID) bool { return !d.answers(string(id), 5986) })
	d.claim(len(touched) == 0, "no computer of the later waves was touched")
	for _, id := range sick {
		if err := d.lab.Mend(string(id), "wrong-certificate"); err != nil {
			return err
		}
	}
	return nil
}

// goOn resumes: the later waves, and those who wait, are deferred or refused.
func (d *demo) goOn(ctx context.Context) error {
	d.chapter("A person has looked, and goes on")
	if err := d.command(ctx, []int{exitOK}, "resume", "spring", "--why", "certificates mended"); err != nil {
		return err
	}
	if err := d.command(ctx, []int{exitOK, exitWaiting}, "run", d.file("spring.json")); err != nil {
		return err
	}
	for _, t := range d.lab.Troubles() {
		d.claim(d.answers(t.Host, 5985) == t.KeepsHTTP, "%s: %s", t.Host, t.Ending)
	}
	return d.command(ctx, []int{exitOK}, "verify", "spring")
}

// cutOff moves the computers of the halted wave after all; on one of them the
// network cuts 5986 as soon as HTTP is gone, and the controller is killed.
func (d *demo) cutOff(ctx context.Context) error {
	d.chapter("The worst case: 5986 is cut and the controller is killed")
	if err := d.command(ctx, []int{exitOK}, "assess"); err != nil {
		return err
	}
	if err := d.command(ctx, []int{exitOK}, "plan", "--out", d.file("summer.json"), "--seed", fmt.Sprint(d.o.Seed+1)); err != nil {
		return err
	}
	plan, err := readPlan(d.file("summer.json"))
	if err != nil {
		return err
	}
	victim, ok := d.victim(plan)
	if !ok {
		return errors.New("no computer is left for the worst case")
	}
	if err := d.lab.Break(victim, "cut-https"); err != nil {
		return err
	}
	if err := d.kill(ctx, victim); err != nil {
		return err
	}
	if err := d.lab.Mend(victim, "cut-https"); err != nil {
		return err
	}
	d.say("  The network is mended, and the same command goes on where the killed one was.")
	return d.command(ctx, []int{exitOK, exitWaiting, exitHalted}, "run", d.file("summer.json"))
}

// victim is the first computer of the plan that still has HTTP and nothing in its way.
func (d *demo) victim(plan rollout.Plan) (string, bool) {
	for _, ph := range plan.Hosts {
		if ph.Class == rollout.ClassHTTPOnly && !d.lab.Troubled(string(ph.Host.ID)) {
			return string(ph.Host.ID), true
		}
	}
	return "", false
}

// kill runs the plan in a process of its own, kills that process when the
// victim's HTTP is gone, and waits for HTTP to come back without anybody.
func (d *demo) kill(ctx context.Context, victim string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	d.say("\n$ wavelock run %s --yes &", d.file("summer.json"))
	c := exec.CommandContext(ctx, exe, "run", d.file("summer.json"), "--yes", "--config", d.file("wavelock.yaml"))
	c.Stdout, c.Stderr = io.Discard, io.Discard
	if err := c.Start(); err != nil {
		return fmt.Errorf("start the controller: %w", err)
	}
	// The computer is watched from within: who calls 5985 now is a client that blocks its closing.
	gone := d.wait(ctx, 40*time.Second, func() bool { return !d.lab.Open(victim, 5985) })
	killed := time.Now()
	if err := c.Process.Kill(); err != nil {
		return fmt.Errorf("kill the controller: %w", err)
	}
	_ = c.Wait() // it was killed
	d.claim(gone && !d.answers(victim, 5985), "%s: HTTP was removed, 5986 is cut, and the controller (pid %d) was killed at %s", victim, c.Process.Pid, killed.Format("15:04:05.0"))
	d.claim(!d.answers(victim, 5986), "%s answers on neither port now", victim)
	back := d.wait(ctx, 90*time.Second, func() bool { return d.lab.Open(victim, 5985) })
	d.claim(back && d.answers(victim, 5985), "%s: 5985 answers again at %s, %s after the kill, by the task on the computer alone",
		victim, time.Now().Format("15:04:05.0"), time.Since(killed).Round(100*time.Millisecond))
	return ctx.Err()
}

func (d *demo) wait(ctx context.Context, limit time.Duration, cond func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(limit)
	for {
		if cond() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-timeout:
			return false
		case <-tick.C:
		}
	}
}

// answers asks the computer itself, on the wire.
func (d *demo) answers(host string, port int) bool {
	c, err := net.DialTimeout("tcp", d.lab.Address(host, port), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	if port == 5986 { // a port that lets nobody in may still be listened on
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		return t.Handshake() == nil
	}
	return true
}

func (d *demo) epilogue(ctx context.Context) error {
	d.chapter("How far the domain is")
	if err := d.command(ctx, []int{exitOK}, "report"); err != nil {
		return err
	}
	d.claim(d.lab.LockedOut() == "", "no computer is shut on both doors%s", d.lab.LockedOut())
	return nil
}

func (d *demo) serve(ctx context.Context) error {
	cfg, err := loadConfig(d.file("wavelock.yaml"))
	if err != nil {
		return err
	}
	if l, err := net.Listen("tcp", cfg.Listen); err != nil {
		cfg.Listen = "127.0.0.1:0" // another dashboard is there: a demo needs no certain port
	} else {
		_ = l.Close() // it was tried, and is listened on again below
	}
	return d.a.serve(ctx, cfg)
}
