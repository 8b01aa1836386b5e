//go:build unix

package main

import "golang.org/x/sys/unix"

// leaveNoCore keeps the memory, with its passwords, from being written to a file when the program is made to die.
// A collector such as systemd-coredump keeps to the limit, too.
func leaveNoCore() {
	var now unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CORE, &now) == nil {
		now.Cur = 0
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &now) // lower than it was: nobody may refuse
	}
}
