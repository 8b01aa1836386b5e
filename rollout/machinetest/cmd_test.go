package machinetest

import (
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf16"
)

// What cmd.exe makes of a line. The expectations are those of Windows; the same
// lines are executed in Wine's cmd by the tests of machine.
func TestCommandLines(t *testing.T) {
	t.Parallel()
	c := client{t: t, h: newHost(t)}
	for line, want := range map[string]ran{
		`echo hello`:                                {0, "hello\r\n", ""},
		`echo a & echo b`:                           {0, "a \r\nb\r\n", ""},
		`echo a& echo b`:                            {0, "a\r\nb\r\n", ""},
		`echo a^&b`:                                 {0, "a&b\r\n", ""},
		`echo "a & b"`:                              {0, "\"a & b\"\r\n", ""},
		`echo "a ^& b"`:                             {0, "\"a ^& b\"\r\n", ""},
		`echo %windir%`:                             {0, "C:\\Windows\r\n", ""},
		`echo %no_such_variable%`:                   {0, "%no_such_variable%\r\n", ""},
		`exit /b 3 & echo not me`:                   {3, "", ""},
		`(exit /b 3) & echo not me`:                 {3, "", ""},
		`cmd /c exit 3 & echo still`:                {0, "still\r\n", ""},
		`cmd /c exit 3 && echo no`:                  {3, "", ""},
		`cmd /c exit 3 || echo yes`:                 {0, "yes\r\n", ""},
		`cmd /c exit 0 || echo a && echo b`:         {0, "", ""},
		`cmd /c exit 3 && echo a || echo b& echo c`: {0, "b\r\nc\r\n", ""},
		`ver >nul && echo ok`:                       {0, "ok\r\n", ""},
		`(echo a& echo b) | findstr b`:              {0, "b\r\n", ""},
		`echo a | findstr b`:                        {1, "", ""},
		`echo.`:                                     {0, "\r\n", ""},
		`echo x>%TEMP%\f.txt & type %TEMP%\f.txt`:   {0, "x\r\n", ""},
		`del %TEMP%\nothing.txt`:                    {0, "", "Could Not Find C:\\Windows\\Temp\\nothing.txt\r\n"},
		`type %TEMP%\nothing.txt`:                   {1, "", "The system cannot find the file specified.\r\n"},
		`hostname`:                                  {0, "web01\r\n", ""},
		`"hostname"`:                                {0, "web01\r\n", ""},
		`C:\Windows\System32\hostname.exe`:          {0, "web01\r\n", ""},
		`cmd.exe /d /c "echo "a" & echo b"`:         {0, "\"a\" \r\nb\r\n", ""},
		`if exist C:\no.txt echo a & echo b`:        {0, "", ""}, // both belong to the if
		`(if exist C:\no.txt echo a)& echo b`:       {0, "b\r\n", ""},
		`echo x>%TEMP%\g.txt & (if exist "%TEMP%\g.txt" echo yes)`: {0, "yes\r\n", ""},
		`if 2 lss 10 (echo a) else (echo b)`:                       {0, "a\r\n", ""},
		`if 10 lss 2 (echo a& echo b) else (echo c)`:               {0, "c\r\n", ""},
		`if exist C:\no.txt (echo a) else echo b& echo c`:          {0, "b\r\nc\r\n", ""},
		`for %l in (a "b c") do @echo %l`:                          {0, "a\r\n\"b c\"\r\n", ""},
		`for %l in (a) do @echo %~l& echo x`:                       {0, "a\r\nx\r\n", ""},
		`(for %l in (a b) do @echo %l)& echo x`:                    {0, "a\r\nb\r\nx\r\n", ""},
		`for /d %u in ("%TEMP%\none\*") do @echo %u`:               {0, "", ""},
		`rem nothing`: {0, "", ""},
	} {
		if got := c.cmd(line); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
	}
}

// The loop over profiles that machine runs: nested, over files that may be there and large.
func TestLoops(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for name, text := range map[string]string{`c:\users\ann bee\list.xml`: "of ann & bee", `c:\users\big\list.xml`: strings.Repeat("x", 100), `c:\users\zed\other.xml`: "z", `c:\users\desktop.ini`: "d"} {
		h.files[name] = []byte(text)
	}
	c := client{t: t, h: h}
	line := `echo begin& for /d %u in ("%SystemDrive%\Users\*") do @for %l in ("%~u\list.xml") do @if exist "%~l" (echo %u& if %~zl lss 100 (type "%~l" 2>nul) else (echo large))`
	if got := c.cmd(line); got != (ran{0, "begin\r\nc:\\users\\ann bee\r\nof ann & beec:\\users\\big\r\nlarge\r\n", ""}) {
		t.Errorf("%+v", got)
	}
}

func TestAnUnknownCommand(t *testing.T) {
	t.Parallel()
	c := client{t: t, h: newHost(t)}
	r := c.cmd("no-such-program /x")
	if r.code != 1 || !strings.Contains(r.stderr, "'no-such-program' is not recognized as an internal or external command") {
		t.Errorf("%+v", r)
	}
	// The code is 9009 where the shell goes on, and 1 where the line was all there was.
	if r := c.cmd("no-such-program & echo %errorlevel%"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if r := c.cmd(`cmd /v:on /c "no-such-program & echo !errorlevel!"`); r.code != 0 || !strings.Contains(r.stdout, "9009") {
		t.Errorf("%+v", r)
	}
}

func TestEncodedCommand(t *testing.T) {
	t.Parallel()
	c := client{t: t, h: newHost(t)}
	encode := func(s string) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return "PowerShell -NoProfile -NonInteractive -ExecutionPolicy Unrestricted -EncodedCommand " + base64.StdEncoding.EncodeToString(b)
	}
	if r := c.cmd(encode("hostname")); r != (ran{0, "web01\r\n", ""}) {
		t.Errorf("%+v", r)
	}
	if r := c.cmd(encode(`reg query HKLM\none`)); r.code != 1 || r.stderr == "" {
		t.Errorf("%+v", r)
	}
	for _, script := range []string{"Get-Service WinRM", "$x = 1; hostname", "hostname | Out-Null", "& { hostname }"} {
		if r := c.cmd(encode(script)); r.code == 0 {
			t.Errorf("%s, which is PowerShell, was taken for a native command: %+v", script, r)
		}
	}
}

func TestReg(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := client{t: t, h: h}
	const ok, notFound = "The operation completed successfully.\r\n\r\n", "ERROR: The system was unable to find the specified registry key or value.\r\n"
	for _, x := range []struct {
		line string
		want ran
	}{
		{`reg query HKLM\SOFTWARE\t`, ran{1, "", notFound}},
		{`reg add HKLM\SOFTWARE\t /f`, ran{0, ok, ""}},
		{`reg add "HKLM\SOFTWARE\t" /v text /t REG_SZ /d "two words" /f`, ran{0, ok, ""}},
		{`reg add "HKLM\SOFTWARE\t" /v num /t REG_DWORD /d 0x1761 /f`, ran{0, ok, ""}},
		{`reg add "HKLM\SOFTWARE\t" /ve /d def /f`, ran{0, ok, ""}},
		{`reg add "HKLM\SOFTWARE\t" /v bin /t REG_BINARY /d 0aFF /f`, ran{0, ok, ""}},
		{`reg add "HKLM\SOFTWARE\t\*+sub" /v list /t REG_MULTI_SZ /d a\0b /f`, ran{0, ok, ""}},
		{`reg query HKLM\SOFTWARE\t`, ran{0, "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\t\r\n    text    REG_SZ    two words\r\n    num    REG_DWORD    0x1761\r\n    (Default)    REG_SZ    def\r\n    bin    REG_BINARY    0AFF\r\n\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\t\\*+sub\r\n", ""}},
		{`reg query HKLM\SOFTWARE\T /v NUM`, ran{0, "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\T\r\n    num    REG_DWORD    0x1761\r\n\r\n", ""}},
		{`reg query HKLM\SOFTWARE\t /v nothing`, ran{1, "", notFound}},
		{`reg query HKLM\SOFTWARE\t /s`, ran{0, "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\t\r\n    text    REG_SZ    two words\r\n    num    REG_DWORD    0x1761\r\n    (Default)    REG_SZ    def\r\n    bin    REG_BINARY    0AFF\r\n\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\t\\*+sub\r\n    list    REG_MULTI_SZ    a\\0b\r\n\r\n", ""}},
		{`reg copy HKLM\SOFTWARE\t HKLM\SOFTWARE\u /f`, ran{0, ok, ""}},
		{`reg query HKLM\SOFTWARE\u\*+sub`, ran{1, "", notFound}},
		{`reg copy HKLM\SOFTWARE\t HKLM\SOFTWARE\u /s /f`, ran{0, ok, ""}},
		{`reg query HKLM\SOFTWARE\u\*+sub /v list`, ran{0, "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\u\\*+sub\r\n    list    REG_MULTI_SZ    a\\0b\r\n\r\n", ""}},
		{`reg copy HKLM\SOFTWARE\none HKLM\SOFTWARE\u /s /f`, ran{1, "", notFound}},
		{`reg delete HKLM\SOFTWARE\u /v text /f`, ran{0, ok, ""}},
		{`reg delete HKLM\SOFTWARE\u /v text /f`, ran{1, "", notFound}},
		{`reg delete HKLM\SOFTWARE\u /va /f`, ran{0, ok, ""}},
		{`reg query HKLM\SOFTWARE\u\*+sub /v list`, ran{0, "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\u\\*+sub\r\n    list    REG_MULTI_SZ    a\\0b\r\n\r\n", ""}},
		{`reg export HKLM\SOFTWARE\t %TEMP%\t.reg /y`, ran{0, ok, ""}},
		{`reg delete HKLM\SOFTWARE\t /f`, ran{0, ok, ""}},
		{`reg query HKLM\SOFTWARE\t`, ran{1, "", notFound}},
		{`reg import %TEMP%\t.reg`, ran{0, "", ok}}, // the word goes to stderr, indeed
		{`reg query HKLM\SOFTWARE\t\*+sub`, ran{0, "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\t\\*+sub\r\n    list    REG_MULTI_SZ    a\\0b\r\n\r\n", ""}},
		{`reg query HKLM\SOFTWARE\t /v text`, ran{0, "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\t\r\n    text    REG_SZ    two words\r\n\r\n", ""}},
		{`reg query HKLM\SOFTWARE\t /ve`, ran{0, "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\t\r\n    (Default)    REG_SZ    def\r\n\r\n", ""}},
		{`reg delete HKLM\SOFTWARE\u /f`, ran{0, ok, ""}},
		{`reg delete HKLM\SOFTWARE\u /f`, ran{1, "", notFound}},
	} {
		got := c.cmd(x.line)
		got.stdout, x.want.stdout = strings.TrimRight(got.stdout, "\r\n"), strings.TrimRight(x.want.stdout, "\r\n") // its blank lines differ between versions
		if got != x.want {
			t.Errorf("%s:\n got %+v\nwant %+v", x.line, got, x.want)
		}
	}
	for _, bad := range []string{`reg`, `reg query`, `reg frobnicate HKLM\SOFTWARE`, `reg add HKLM\SOFTWARE\t /v x /t REG_DWORD /d many /f`, `reg add HKLM\SOFTWARE\t /v x /t REG_NONE /d x /f`, `reg query HKCC\x`, `reg query HKLM\SOFTWARE\t /nonsense`} {
		if r := c.cmd(bad); r.code != 1 || !strings.HasPrefix(r.stderr, "ERROR: ") {
			t.Errorf("%s: %+v", bad, r)
		}
	}
	// Without /f, reg asks, and nobody answers: nothing is done.
	before := h.Writes()
	if r := c.cmd(`reg delete HKLM\SOFTWARE\t`); r.code == 0 || h.Writes() != before {
		t.Errorf("deleted without being asked: %+v", r)
	}
}

func TestNetsh(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := client{t: t, h: h}
	named := func(name string) (list []rule) {
		h.Registry(func(r *Registry) {
			for _, v := range r.Values(firewallKey + `\FirewallRules`) {
				if x := parseRule(v.Text); x.name == name {
					list = append(list, x)
				}
			}
		})
		return list
	}
	add := `netsh advfirewall firewall add rule name="own rule" dir=in action=allow protocol=TCP localport=5986 profile=domain,private remoteip=10.0.0.0/24,10.1.0.5,192.168.1.1-192.168.1.9,localsubnet`
	for i := range 2 { // a second one makes a twin
		if r := c.cmd(add); r.code != 0 || len(named("own rule")) != i+1 {
			t.Fatalf("%+v, %d rules", r, len(named("own rule")))
		}
	}
	got := named("own rule")[0]
	if !got.allow || !got.active || !got.in || got.protocol != "6" || strings.Join(got.ports, ",") != "5986" || strings.Join(got.profiles, ",") != "Domain,Private" {
		t.Errorf("%+v", got)
	}
	if r := c.cmd(`netsh advfirewall firewall set rule name="own rule" new enable=no`); r.code != 0 || named("own rule")[0].active || named("own rule")[1].active {
		t.Errorf("set changes every match: %+v", r)
	}
	if r := c.cmd(`netsh advfirewall firewall delete rule name="own rule" protocol=UDP`); r.code != 1 {
		t.Errorf("another protocol matches nothing: %+v", r)
	}
	if r := c.cmd(`netsh advfirewall firewall delete rule name="own rule"`); r.code != 0 || len(named("own rule")) != 0 {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{
		`netsh advfirewall firewall delete rule name="own rule"`,
		`netsh advfirewall firewall set rule name="own rule" new enable=no`,
		`netsh advfirewall firewall add rule name="x" dir=sideways action=allow`,
		`netsh advfirewall firewall add rule name="x" dir=in action=maybe`,
		`netsh advfirewall firewall add rule name="x" dir=in action=allow protocol=TCP localport=many`,
		`netsh advfirewall firewall add rule name="x" dir=in action=allow protocol=TCP localport=70000`,
		`netsh advfirewall firewall add rule name="x" dir=in action=allow localport=5986`,
		`netsh advfirewall firewall add rule name="x" dir=in action=allow protocol=TCP localport=5986 remoteip=300.1.1.1`,
		`netsh advfirewall firewall add rule name="x" dir=in action=allow protocol=TCP localport=5986 remoteip=10.0.0.0/24, 10.1.0.5`,
		`netsh advfirewall firewall add rule name="x" dir=in action=allow protocol=TCP localport=5986 profile=home`,
		`netsh advfirewall firewall add rule name="all" dir=in action=allow`,
		`netsh advfirewall firewall add rule name="x" dir=in action=allow nonsense=1`,
		`netsh advfirewall firewall add rule dir=in action=allow`,
		`netsh interface nonsense`,
	} {
		if r := c.cmd(bad); r.code != 1 || r.stdout == "" || len(named("x")) > 0 {
			t.Errorf("%s: %+v", bad, r)
		}
	}
}

// The firewall decides about real connections: block beats allow.
func TestTheFirewallRefuses(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := client{t: t, h: h}
	on := func(port int, from string) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.firewallAllows(port, from)
	}
	http, https := h.cfg.HTTPPort, h.cfg.HTTPSPort
	if !on(http, "10.0.0.1") || on(https, "10.0.0.1") {
		t.Fatal("a fresh server admits 5985 and not 5986")
	}
	c.cmd(`netsh advfirewall firewall add rule name="a" dir=in action=allow protocol=TCP localport=5986 remoteip=10.0.0.0/24,fd00::/8`)
	c.cmd(`netsh advfirewall firewall add rule name="b" dir=in action=block protocol=TCP localport=5985 remoteip=10.0.1.0-10.0.1.255,10.0.2.1`)
	for _, x := range []struct {
		port int
		from string
		want bool
	}{
		{https, "10.0.0.9", true}, {https, "10.0.1.9", false}, {https, "fd00::1", true}, {https, "fe80::1", false},
		{http, "10.0.0.9", true}, {http, "10.0.1.9", false}, {http, "10.0.2.1", false}, {http, "10.0.2.2", true}, {http, "fd00::1", true},
	} {
		if got := on(x.port, x.from); got != x.want {
			t.Errorf("%d from %s: %v", x.port, x.from, got)
		}
	}
	// What merges is the domain profile's matter.
	h.Registry(func(r *Registry) {
		r.SetNum(`SOFTWARE\Policies\Microsoft\WindowsFirewall\DomainProfile`, "AllowLocalPolicyMerge", 0)
	})
	if on(http, "10.0.0.9") || on(https, "10.0.0.9") {
		t.Error("local rules count although the policy says no")
	}
	h.Registry(func(r *Registry) {
		r.SetText(`SOFTWARE\Policies\Microsoft\WindowsFirewall\FirewallRules`, "p", "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=5986|Name=p|")
	})
	if on(http, "10.0.0.9") || !on(https, "10.0.0.9") {
		t.Error("the policy's rule does not count")
	}
	h.Registry(func(r *Registry) {
		r.SetNum(`SOFTWARE\Policies\Microsoft\WindowsFirewall\DomainProfile`, "EnableFirewall", 0)
	})
	if !on(http, "10.9.9.9") {
		t.Error("a firewall that a policy switched off refuses")
	}
}

func TestSchtasks(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := client{t: t, h: h}
	xml := `<Task xmlns=^"http://schemas.microsoft.com/windows/2004/02/mit/task^"^>^<Actions^>^<Exec^>^<Command^>hostname.exe^</Command^>^</Exec^>^</Actions^>^</Task^>`
	c.cmd("echo ^" + xml + `>%TEMP%\t.xml`)
	for _, x := range []struct {
		line string
		code int
	}{
		{`schtasks /query /tn \t\one`, 1}, {`schtasks /create /tn \t\one /xml %TEMP%\none.xml /f`, 1}, {`schtasks /create /tn \t\one /xml %TEMP%\t.xml`, 0},
		{`schtasks /create /tn \t\one /xml %TEMP%\t.xml`, 1}, {`schtasks /create /tn \t\one /xml %TEMP%\t.xml /f`, 0}, {`schtasks /query /tn \T\ONE`, 0},
		{`schtasks /run /tn \t\one`, 0}, {`schtasks /run /tn \t\two`, 1}, {`schtasks /delete /tn \t\one`, 1}, {`schtasks /delete /tn \t\one /f`, 0}, {`schtasks /delete /tn \t\one /f`, 1},
		{`schtasks /frobnicate`, 1},
	} {
		if r := c.cmd(x.line); r.code != x.code {
			t.Errorf("%s: %+v, want %d", x.line, r, x.code)
		}
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := client{t: t, h: h}
	for line, code := range map[string]int{`sc query WinRM`: 0, `sc query nothing`: 1060, `net stop nothing`: 2, `sc.exe query "WinRM"`: 0, `net start WinRM`: 2} {
		if r := c.cmd(line); r.code != code {
			t.Errorf("%s: %+v, want %d", line, r, code)
		}
	}
}
