package machine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"wavelock/rollout/wsman"
)

const testKey = `SOFTWARE\wavelock-test`

// registryWrites: reg.exe and StdRegProv, below a key of our own.
func (c conformance) registryWrites(t *testing.T) {
	key := `HKLM\` + testKey
	t.Cleanup(func() { c.run(t, `reg delete "`+key+`" /f`) })
	must := func(line string) {
		t.Helper()
		if r := c.run(t, line); r.ExitCode != 0 {
			t.Fatalf("%s: %d %s", line, r.ExitCode, r.Stderr)
		}
	}
	must(`reg add "` + key + `\from\*+HTTP" /v Port /t REG_DWORD /d 5985 /f`)
	must(`reg add "` + key + `\from" /v text /t REG_SZ /d "two words" /f && reg add "` + key + `\from" /v text /t REG_SZ /d again /f`)
	must(`reg copy "` + key + `\from" "` + key + `\to" /s /f`)
	must(`reg copy "` + key + `\from" "` + key + `\to" /s /f`) // again is harmless
	if out := c.wantReg(t, "0", "GetDWORDValue", testKey+`\to\*+HTTP`, "Port"); out.Value("uValue") != "5985" {
		t.Errorf("%+v", out)
	}
	if r := c.run(t, `reg query "`+key+`\to" /s`); r.ExitCode != 0 || !strings.Contains(string(r.Stdout), `to\*+HTTP`) || !strings.Contains(string(r.Stdout), "    Port    REG_DWORD    0x1761\r\n") || !strings.Contains(string(r.Stdout), "    text    REG_SZ    again\r\n") {
		t.Errorf("%s", r.Stdout)
	}
	long := strings.Repeat(`{"a":"<&>\u00e4 %TEMP% ^ ' `, 200)
	c.wantReg(t, "0", "SetStringValue", testKey, "long", wsman.Field{Name: "sValue", Value: long})
	if out := c.wantReg(t, "0", "GetStringValue", testKey, "long"); out.Value("sValue") != long {
		t.Errorf("%d characters came back of %d", len(out.Value("sValue")), len(long))
	}
	if code, _ := c.reg(t, "DeleteKey", testKey+`\to`, ""); code == "0" {
		t.Error("StdRegProv deleted a key with keys below it")
	}
	c.wantReg(t, "0", "DeleteKey", testKey+`\to\*+HTTP`, "")
	c.wantReg(t, "0", "DeleteKey", testKey+`\to`, "")
	c.wantReg(t, "2", "EnumKey", testKey+`\to`, "")
	must(`reg delete "` + key + `" /f`)
	if r := c.run(t, `reg delete "`+key+`" /f`); r.ExitCode != 1 {
		t.Errorf("deleted twice: %d", r.ExitCode)
	}
}

// firewallWrites: netsh, with rules that let nobody in: they are switched off.
func (c conformance) firewallWrites(t *testing.T) {
	name := unique("rule")
	remove := `netsh advfirewall firewall delete rule name="` + name + `"`
	t.Cleanup(func() { c.run(t, remove) })
	rules := func() []string {
		t.Helper()
		r := c.run(t, `reg query "HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules" | findstr /l /c:"Name=`+name+`|"`)
		return strings.FieldsFunc(string(r.Stdout), func(r rune) bool { return r == '\r' || r == '\n' })
	}
	add := `netsh advfirewall firewall add rule name="` + name + `" dir=in action=allow protocol=TCP localport=5986 profile=domain,private remoteip=192.0.2.0/24,192.0.2.9,198.51.100.1-198.51.100.9,2001:db8::1 enable=no`
	if r := c.run(t, add); r.ExitCode != 0 {
		t.Fatalf("%d %s", r.ExitCode, r.Stdout)
	}
	got := rules()
	if len(got) != 1 {
		t.Fatalf("%d rules: %v", len(got), got)
	}
	t.Log(got[0])
	for _, part := range []string{"|Action=Allow|", "|Active=FALSE|", "|Dir=In|", "|Protocol=6|", "|Profile=Domain|", "|Profile=Private|", "|LPort=5986|", "|RA4=192.0.2.9|", "|RA4=198.51.100.1-198.51.100.9|", "|RA6=2001:db8::1|", "REG_SZ"} {
		if !strings.Contains(got[0], part) {
			t.Errorf("no %s in %s", part, got[0])
		}
	}
	if r := c.run(t, add); r.ExitCode != 0 || len(rules()) != 2 {
		t.Errorf("a second add: code %d, %d rules; a twin was expected", r.ExitCode, len(rules()))
	}
	if r := c.run(t, remove); r.ExitCode != 0 || len(rules()) != 0 {
		t.Errorf("delete: code %d, %d rules are left", r.ExitCode, len(rules()))
	}
	if r := c.run(t, remove); r.ExitCode != 1 {
		t.Errorf("a rule that is not there: code %d", r.ExitCode)
	}
	if r := c.run(t, strings.Replace(add, "192.0.2.9", "192.0.2.999", 1)); r.ExitCode == 0 || len(rules()) != 0 {
		t.Errorf("a bad address: code %d, rules %v", r.ExitCode, rules())
	}
}

// scheduledTasks: registered as text over WS-Management, run as SYSTEM, deleted.
func (c conformance) scheduledTasks(t *testing.T) {
	scheduler := wsman.WMI("root/Microsoft/Windows/TaskScheduler", "PS_ScheduledTask")
	name := unique("task")
	fields := func(more ...wsman.Field) []wsman.Field {
		return append(more, wsman.Field{Name: "TaskName", Value: name}, wsman.Field{Name: "TaskPath", Value: `\wavelock-test\`})
	}
	one := wsman.WMI("root/Microsoft/Windows/TaskScheduler", "MSFT_ScheduledTask", wsman.Selector{Name: "TaskName", Value: name}, wsman.Selector{Name: "TaskPath", Value: `\wavelock-test\`})
	t.Cleanup(func() {
		c.s.Delete(context.WithoutCancel(t.Context()), one)
		c.run(t, `reg delete "HKLM\`+testKey+`" /f`)
	})
	var f *wsman.Fault
	if _, err := c.invoke(t, scheduler, "GetInfoByName", fields()...); !errors.As(err, &f) {
		t.Errorf("a task that is not there: %v", err)
	}
	xml := `<?xml version="1.0"?><Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"><Triggers/><Principals><Principal id="S"><UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel></Principal></Principals>` +
		`<Settings><DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries><ExecutionTimeLimit>PT1M</ExecutionTimeLimit></Settings><Actions Context="S"><Exec><Command>%SystemRoot%\System32\reg.exe</Command><Arguments>add "HKLM\` + testKey +
		`" /v ran /t REG_DWORD /d 1 /f</Arguments></Exec></Actions></Task>`
	out, err := c.invoke(t, scheduler, "RegisterByXml", fields(wsman.Field{Name: "Force", Value: "true"}, wsman.Field{Name: "Xml", Value: xml})...)
	if err != nil || out.Value("ReturnValue") != "0" {
		t.Fatalf("%+v %v", out, err)
	}
	tasks := c.query(t, "root/Microsoft/Windows/TaskScheduler", "select * from MSFT_ScheduledTask where TaskName='"+name+"'")
	if len(tasks) != 1 || tasks[0].Value("TaskPath") != `\wavelock-test\` {
		t.Errorf("%+v", tasks)
	}
	if out, err := c.invoke(t, scheduler, "StartByPath", fields()...); err != nil || out.Value("ReturnValue") != "0" {
		t.Fatalf("%+v %v", out, err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		if code, out := c.reg(t, "GetDWORDValue", testKey, "ran"); code == "0" && out.Value("uValue") == "1" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the task did not run")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := c.s.Delete(t.Context(), one); err != nil {
		t.Error(err)
	}
	if err := c.s.Delete(t.Context(), one); !errors.As(err, &f) || !f.IsNotFound() {
		t.Errorf("deleted twice: %v", err)
	}
}
