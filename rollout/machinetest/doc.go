// Package machinetest is a simulated Windows computer that speaks WS-Management
// over real TCP and TLS, obeys Windows' rules, and misbehaves on request.
//
// Its registry is the truth: listeners, TLS bindings, certificates, firewall
// rules and policies live there as on Windows, and what answers on the wire is
// drawn from it. Above it are the WinRM service with two real listeners, http.sys,
// a command interpreter with the executables that remote management uses, WMI as
// far as it is asked for, and a task scheduler whose timers really fire.
//
// It shares no parser and no sealer with the client that it tests: logon is
// accepted by logontest, everything else is its own. Where Windows' behaviour is
// not known, there is a documented switch; see Faults.
package machinetest
