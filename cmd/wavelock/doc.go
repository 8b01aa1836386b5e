// Command wavelock moves a Windows domain's remote management from WinRM over
// HTTP to WinRM over HTTPS without locking anybody out.
//
// This package wires the others together: flags and configuration, credentials
// per tier, output, exit codes and hints. One file a command.
package main
