package main

import (
	"regexp"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// visit DIR HOST FROM PORT has another computer, or an address, connected to the host.
func cmdVisit(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 4, "visit DIR HOST FROM PORT")
	port, err := strconv.Atoi(args[3])
	ts.Check(err)
	ts.Check(labOf(ts, args[0]).Visit(args[1], args[2], port))
}

// leave DIR HOST FROM ends it.
func cmdLeave(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "leave DIR HOST FROM")
	ts.Check(labOf(ts, args[0]).Leave(args[1], args[2]))
}

// meddle DIR HOST WHAT does something to a lab's computer that nobody asked for.
func cmdMeddle(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "meddle DIR HOST WHAT")
	ts.Check(labOf(ts, args[0]).Meddle(args[1], args[2]))
}

// await-text TEXT PROGRAM [ARG...] runs the program until its output has the text.
func cmdAwaitText(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 1, "await-text PATTERN PROGRAM [ARG...]")
	pattern, err := regexp.Compile(`(?m)` + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err := ts.Exec(args[1], args[2:]...); err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("%q did not come", args[0])
}
