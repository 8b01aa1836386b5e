package main

import (
	"fmt"
	"strings"
)

// The exit codes, as wavelock guide scripts lists them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitWaiting     = 3
	exitHalted      = 4
	exitLogon       = 5
	exitUnreachable = 6
	exitBusy        = 7
	exitPlan        = 8
	exitFindings    = 9
	exitWarnings    = 10
	exitInterrupted = 130
)

// exitCodes say what each of them means, for the guide and the manual page.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitOK, "done"},
	{exitError, "an error that has no code of its own"},
	{exitUsage, "a flag, an argument or the configuration is wrong; nothing was done"},
	{exitWaiting, "not over: hosts wait for something else, or a person has to act"},
	{exitHalted, "an error budget was used up"},
	{exitLogon, "credentials were refused"},
	{exitUnreachable, "the directory could not be reached or not be trusted"},
	{exitBusy, "another process runs the campaign"},
	{exitPlan, "the plan is none, was edited, or is not the one that was approved"},
	{exitFindings, "a look found hosts, templates or records that are not as they should be"},
	{exitWarnings, "pki audit found warnings, and nothing worse"},
	{exitInterrupted, "interrupted by Ctrl-C or a signal; the same command goes on"},
}

// exitTable is the list in Markdown.
func exitTable() string {
	var b strings.Builder
	b.WriteString("| code | means |\n| ---: | --- |\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", e.code, e.meaning)
	}
	return b.String()
}
