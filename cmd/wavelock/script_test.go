package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"

	"wavelock/pki/adcstest"
	"wavelock/rollout/journal"
	"wavelock/rollout/journal/postgrestest"
	"wavelock/rollout/lab"
)

// TestScripts runs the command-line contract: each file in testdata/script is a
// session of a user with a lab of its own.
func TestScripts(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "script")
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no script in %s, %v", dir, err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Condition: func(name string) (bool, error) {
			if name != "postgres" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return postgrestest.Here() || os.Getenv("WAVELOCK_REQUIRE_PEERS") != "", nil
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			port, err := freePort()
			if err != nil {
				return err
			}
			e.Setenv("PORT", port)
			e.Values[labsKey{}] = map[string]*lab.Lab{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "lab": cmdLab, "break": cmdBreak, "mend": cmdMend, "rewrite": cmdRewrite,
			"visit": cmdVisit, "leave": cmdLeave, "meddle": cmdMeddle, "await-text": cmdAwaitText,
			"ca-manager": cmdCAManager, "ca-fault": cmdCAFault, "ca-revoke": cmdCARevoke, "template": cmdTemplate, "until": cmdUntil, "rebind": cmdRebind,
			"forget-name": cmdForgetName, "newer-database": cmdNewerDatabase, "own": cmdOwn, "await": cmdAwait, "get": cmdGet, "secretless": cmdSecretless, "browse": cmdBrowse, "await-flight": cmdAwaitFlight, "env-from": cmdEnvFrom,
			"flip-event": cmdFlipEvent, "postgres": cmdPostgres,
		},
	})
}

// freePort is a TCP port that nobody listened on a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

type labsKey struct{}

func labs(ts *testscript.TestScript) map[string]*lab.Lab {
	return ts.Value(labsKey{}).(map[string]*lab.Lab)
}

func labOf(ts *testscript.TestScript, dir string) *lab.Lab {
	l := labs(ts)[ts.MkAbs(dir)]
	if l == nil {
		ts.Fatalf("there is no lab in %s", dir)
	}
	return l
}

func need(ts *testscript.TestScript, neg, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// exits CODE PROGRAM [ARG...] runs a program that has to end with that code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 1, "exits CODE PROGRAM [ARG...]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var ended *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("ended with %d, want %d", got, want)
	}
}

// rebind DIR HOST has the host's http.sys present another certificate than the listener has.
func cmdRebind(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "rebind DIR HOST")
	ts.Check(labOf(ts, args[0]).Rebind(args[1]))
}

// until REGEXP PROGRAM [ARG...] runs a program again and again until it says that: hosts that wait are not due at once.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 1, "until REGEXP PROGRAM [ARG...]")
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for range 100 {
		var ended *exec.ExitError
		if err := ts.Exec(args[1], args[2:]...); err != nil && !errors.As(err, &ended) {
			ts.Check(err)
		}
		if re.MatchString(ts.ReadFile("stdout") + ts.ReadFile("stderr")) {
			return
		}
	}
	ts.Fatalf("it never says %q", args[0])
}

var resolverLine = regexp.MustCompile(`(?m)^resolver: (\S+)$`)

// lab HOSTS DIR [LATENCY] starts a domain of its own and writes its files to DIR.
func cmdLab(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "lab HOSTS DIR [LATENCY]")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	cfg := lab.Config{Hosts: n, Seed: 1}
	if len(args) > 2 {
		cfg.Latency, err = time.ParseDuration(args[2])
		ts.Check(err)
	}
	l, err := lab.Start(context.Background(), cfg)
	ts.Check(err)
	ts.Defer(l.Close)
	ts.Check(l.WriteFiles(ts.MkAbs(args[1])))
	if m := resolverLine.FindStringSubmatch(ts.ReadFile(filepath.Join(args[1], "wavelock.yaml"))); m != nil {
		ts.Setenv("RESOLVER", m[1])
	}
	for _, name := range l.Names() { // WEB01 and so on are the computers' addresses
		ip, _, err := net.SplitHostPort(l.Address(name, 5985))
		ts.Check(err)
		short, _, _ := strings.Cut(name, ".")
		ts.Setenv(strings.ToUpper(short), ip)
	}
	labs(ts)[ts.MkAbs(args[1])] = l
}

// break DIR HOST FAULT switches a fault of a lab's computer on.
func cmdBreak(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "break DIR HOST FAULT")
	ts.Check(labOf(ts, args[0]).Break(args[1], args[2]))
}

// mend DIR HOST FAULT switches it off.
func cmdMend(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "mend DIR HOST FAULT")
	ts.Check(labOf(ts, args[0]).Mend(args[1], args[2]))
}

// ca-fault DIR FAULT on|off makes the lab's CA unkind, or kind again.
func cmdCAFault(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3 && (args[2] == "on" || args[2] == "off"), "ca-fault DIR FAULT on|off")
	f, err := adcstest.ParseFault(args[1])
	ts.Check(err)
	labOf(ts, args[0]).CA().Set(f, args[2] == "on")
}

// ca-revoke DIR HOST takes back the certificate that the host presents.
func cmdCARevoke(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "ca-revoke DIR HOST")
	l := labOf(ts, args[0])
	c, err := tls.Dial("tcp", l.Address(args[1], 5986), &tls.Config{InsecureSkipVerify: true})
	ts.Check(err)
	defer c.Close()
	ts.Check(l.CA().Revoke(c.ConnectionState().PeerCertificates[0].Raw, 1))
}

// template DIR NAME [name-flags=N] enroll=RID makes a template that the lab's CA is said to issue, or changes who may enroll.
func cmdTemplate(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 3, "template DIR NAME [name-flags=N] enroll=RID")
	nameFlags, rid := "", uint64(0)
	for _, arg := range args[2:] {
		var err error
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "name-flags":
			nameFlags = value
		case "enroll":
			rid, err = strconv.ParseUint(value, 10, 32)
		default:
			ts.Fatalf("%q is unknown", arg)
		}
		ts.Check(err)
	}
	ts.Check(labOf(ts, args[0]).SetTemplate(args[1], nameFlags, uint32(rid)))
}

// ca-manager DIR issue|refuse decides every request that waits at the lab's CA.
func cmdCAManager(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2 && (args[1] == "issue" || args[1] == "refuse"), "ca-manager DIR issue|refuse")
	ca := labOf(ts, args[0]).CA()
	waiting := ca.Waiting()
	if len(waiting) == 0 {
		ts.Fatalf("no request waits")
	}
	for _, id := range waiting {
		if args[1] == "issue" {
			ts.Check(ca.Approve(id))
		} else {
			ts.Check(ca.Refuse(id))
		}
	}
}

// rewrite FILE REGEXP TEXT changes a file; it is an error if nothing matches.
func cmdRewrite(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "rewrite FILE REGEXP TEXT")
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	before := []byte(ts.ReadFile(args[0]))
	after := re.ReplaceAll(before, []byte(strings.ReplaceAll(args[2], `\n`, "\n")))
	if bytes.Equal(before, after) {
		ts.Fatalf("nothing in %s matches %s", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), after, 0o600))
}

// forget-name DIR HOST puts a DNS server before the lab's that does not know the host.
func cmdForgetName(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "forget-name DIR HOST")
	file := filepath.Join(args[0], "wavelock.yaml")
	m := resolverLine.FindStringSubmatch(ts.ReadFile(file))
	if m == nil {
		ts.Fatalf("%s names no resolver", file)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		if !strings.EqualFold(strings.TrimSuffix(q.Question[0].Name, "."), args[1]) {
			if a, err := dns.Exchange(q, m[1]); err == nil {
				answer = a
			}
		}
		_ = w.WriteMsg(answer)
	})}
	go func() { _ = s.ActivateAndServe() }()
	ts.Defer(func() { _ = s.Shutdown() })
	cmdRewrite(ts, false, []string{file, `^resolver: \S+$`, "resolver: " + pc.LocalAddr().String()})
}

// newer-database FILE makes the database look like one of a later version.
func cmdNewerDatabase(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "newer-database FILE")
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
	ts.Check(err)
}

// flip-event FILE CAMPAIGN SEQ changes one bit of an event's bytes, as a bad disk would.
func cmdFlipEvent(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "flip-event FILE CAMPAIGN SEQ")
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	var body []byte
	ts.Check(db.QueryRow("SELECT body FROM event WHERE campaign = ? AND seq = ?", args[1], args[2]).Scan(&body))
	body[len(body)/2] ^= 1
	_, err = db.Exec("DROP TRIGGER event_is_not_changed; UPDATE event SET body = ? WHERE campaign = ? AND seq = ?", body, args[1], args[2])
	ts.Check(err)
}

// own FILE holds the database as a running campaign does, until the script ends.
func cmdOwn(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "own FILE")
	j, err := journal.Open(context.Background(), journal.Config{Path: ts.MkAbs(args[0]), Now: time.Now})
	ts.Check(err)
	release, err := j.Own(context.Background())
	ts.Check(err)
	ts.Defer(func() { release(); _ = j.Close() })
}

// await FILE|URL waits until the file is there or the page answers.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "await FILE|URL")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if strings.HasPrefix(args[0], "http://") {
			if r, err := http.Get(args[0]); err == nil {
				r.Body.Close()
				return
			}
		} else if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
	}
	ts.Fatalf("%s did not come", args[0])
}

// env-from NAME FILE sets a variable to the first line of a file.
func cmdEnvFrom(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "env-from NAME FILE")
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// await-flight [DATABASE] waits until the campaign of the folder, or of the database, works on a host.
func cmdAwaitFlight(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) <= 1, "await-flight [DATABASE]")
	path := ts.MkAbs("wavelock.db")
	if len(args) == 1 {
		path = args[0]
	}
	j, err := journal.Open(context.Background(), journal.Config{Path: path, Now: time.Now})
	ts.Check(err)
	defer j.Close()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		list, err := j.Campaigns(context.Background())
		ts.Check(err)
		if len(list) > 0 && list[0].Running > 0 {
			return
		}
	}
	ts.Fatalf("nothing came into flight")
}

// get URL TEXT asks for a page, which has to contain the text.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "get URL TEXT")
	r, err := http.Get(args[0])
	ts.Check(err)
	defer r.Body.Close()
	var page bytes.Buffer
	_, err = page.ReadFrom(r.Body)
	ts.Check(err)
	if r.StatusCode != http.StatusOK || !strings.Contains(page.String(), args[1]) {
		ts.Fatalf("%s answers %s without %q", args[0], r.Status, args[1])
	}
}
