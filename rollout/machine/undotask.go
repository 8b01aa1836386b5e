package machine

import (
	"fmt"
	"strconv"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
)

// undoXML is the way back, on the host itself: it fires so long after it was
// registered, by a clock that cannot be set, and at every boot, and again every
// minute until the HTTP listener is there, its port listens, the service WinRM runs (state 4) and the block
// rule is gone: another product that shares the port through http.sys listens there
// while WinRM does not, and when the computer starts netsh may come before the
// firewall. It calls executables of the system only.
func undoXML(mark string, after time.Duration, httpPort int) string {
	return taskXML("Puts WinRM over HTTP back unless HTTPS was confirmed", undoTriggers(after), listenerBack(),
		action{system32 + "netsh.exe", `advfirewall firewall delete rule name="` + rollout.BlockRule(httpPort) + `"`},
		action{system32 + "cmd.exe", `/d /c "` + restartWinRM("") + `"`},
		action{system32 + "cmd.exe", `/d /c "` + `reg query HKLM\` + listenerKey + `\*+HTTP >nul && ` + winrmListens(httpPort) + ` && (` + ruleStays(rollout.BlockRule(httpPort)) + ` || ` + dropUndo(mark) + `)"`})
}

// rebindXML is the way back of a renewal: the HTTPS listener as it was, and its certificate in http.sys, again every minute
// until that is so and WinRM answers with it. The certificate is written out, since the service may leave a binding alone
// that is there; one that is right is not deleted, as where the disk is full no other could take its place. Where it cannot
// be bound any more, as somebody has taken it out of the store, the HTTP listener that was kept is the last resort.
func rebindXML(mark string, after time.Duration, httpPort, port int, back pki.Thumbprint, kept bool) string {
	bind := ""
	for _, ip := range []string{"0.0.0.0", "[::]"} {
		at := fmt.Sprintf("ipport=%s:%d", ip, port)
		bind += "(netsh http show sslcert " + at + " | findstr /i /l /c:" + string(back) + " >nul || (netsh http delete sslcert " + at + " & netsh http add sslcert " + at + " certhash=" + string(back) + " appid=" + rollout.WinRMAppID + " certstorename=MY)) & "
	}
	bound := fmt.Sprintf("netsh http show sslcert ipport=0.0.0.0:%d | findstr /i /l /c:%s", port, back)
	actions := []action{listenerBack(), {system32 + "cmd.exe", `/d /c "` + restartWinRM(bind) + `"`},
		{system32 + "cmd.exe", `/d /c "` + bound + ` && ` + winrmListens(port) + ` && ` + dropUndo(mark) + `"`}}
	if kept {
		actions = append(actions, action{system32 + "cmd.exe", `/d /c "` + bound + ` >nul || (reg copy HKLM\` + lastResortKey + ` HKLM\` + listenerKey + ` /s /f & ` + restartWinRM("") + ` & ` +
			winrmListens(httpPort) + ` && ` + dropUndo(mark) + `)"`})
	}
	return taskXML("Gives the HTTPS listener of WinRM its certificate back unless the next one was confirmed", undoTriggers(after), actions...)
}

// restartWinRM stops WinRM, does what has to be done meanwhile and starts it again. It is one process, so nobody who
// deletes the task in between leaves it stopped. A service that was disabled while it runs is not stopped: nothing could
// start it again, and what it lets in would be shut, too.
func restartWinRM(meanwhile string) string {
	return `sc qc winrm | findstr /l /c:": 4 " >nul || net stop winrm /y & ` + meanwhile + `net start winrm`
}

// dropUndo is the last thing that an undo does: it deletes its task, unless another one was registered under that name
// meanwhile. That is so where the registry has another mark and the task that is there is not this one: who arms writes
// the mark first, and may not come to the task.
func dropUndo(mark string) string {
	const drop = `schtasks /delete /tn ` + taskFolder + undoTask + ` /f`
	return `((reg query HKLM\` + undoKey + ` /v armed | findstr /l /c:REG_SZ | findstr /v /l /c:` + mark + ` >nul || ` + drop + `) & ` +
		`schtasks /query /tn ` + taskFolder + undoTask + ` /xml 2>nul | findstr /l /c:` + mark + ` >nul && ` + drop + `)`
}

// winrmListens succeeds where somebody listens on the port, be it on addresses of IPv6 alone, and the service WinRM runs. net start fails while the service
// is still about to stop.
func winrmListens(port int) string {
	return `netstat -an | findstr /r /c:":` + strconv.Itoa(port) + ` .*:0 " && sc query winrm | findstr /l /c:": 4 "`
}

func undoTriggers(after time.Duration) string {
	seconds := max(1, int(after.Round(time.Second)/time.Second))
	again := `<Repetition><Interval>PT1M</Interval></Repetition>`
	return `<RegistrationTrigger><Enabled>true</Enabled>` + again + `<Delay>PT` + strconv.Itoa(seconds) + `S</Delay></RegistrationTrigger><BootTrigger><Enabled>true</Enabled>` + again + `</BootTrigger>`
}

// listenerBack copies what was kept for the undo over the listeners.
func listenerBack() action {
	return action{system32 + "reg.exe", `copy "HKLM\` + undoKey + `\Listener" "HKLM\` + listenerKey + `" /s /f`}
}
