package machine

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
	"wavelock/rollout/machinetest"
	"wavelock/rollout/wsman"
)

// simulated runs lines in Wine and on the simulated computer: what both can do comes out the same.
func (w *wine) simulated(t *testing.T) {
	dir := logontest.NewDirectory("CORP", "corp.example")
	dir.Add("admin", "Passw0rd.1")
	h := machinetest.New(machinetest.Config{FQDN: "sim01.corp.example", Address: fmt.Sprintf("127.199.%d.%d", os.Getpid()>>8&255, os.Getpid()&255), Directory: dir, Admins: []string{"admin"}})
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	s, err := wsman.Open(t.Context(), wsman.Target{Host: "sim01.corp.example", Address: h.Address(5985), Login: logon.NTLM("CORP", "admin", "Passw0rd.1"), Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sh, err := s.Shell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const key = `"HKLM\SOFTWARE\wavelock-test"`
	for _, line := range []string{
		`echo a   b`, `echo "a & b"`, `echo a^&b`, `echo a^^b`, `echo a& echo b`, `echo a & echo b`, `echo a&&echo b`, `echo %nosuch%`, `echo (a)`, `echo.`,
		`echo a >nul`, `echo a 2>nul`, `echo a>f1& type f1`, `echo a>f2& echo b>>f2& type f2`, `echo "a" >"f 3"& type "f 3"`, `exit 5`, `echo a& exit 4`, `cmd /c "echo a& exit 6"`, `cmd /d /c "echo "x y""`,
		`reg query "HKLM\SOFTWARE\none" >nul 2>nul`, `reg add ` + key + ` /v "a name" /t REG_SZ /d "a value" /f >nul`, `reg add ` + key + ` /v bytes /t REG_BINARY /d 00ff10 /f >nul`,
		`reg add ` + key + ` /v Port /t REG_DWORD /d 5985 /f >nul`, `reg query ` + key, `reg query ` + key + ` /s`, `reg query ` + key + ` /v Port`,
		`reg copy ` + key + ` "HKLM\SOFTWARE\wavelock-test\*+HTTP" /f >nul`, `reg query "HKLM\SOFTWARE\wavelock-test" /s`, `reg export ` + key + ` out.reg /y >nul`,
		`reg delete ` + key + ` /f >nul`, `reg query ` + key + ` >nul 2>nul`, `reg import out.reg >nul 2>nul`, `reg query ` + key + ` /s`,
	} {
		theirs, code, _ := w.run(t, line)
		ours, err := sh.Run(t.Context(), line, nil)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if out := strings.ReplaceAll(string(ours.Stdout), "\r\n", "\n"); out != theirs || ours.ExitCode != code {
			t.Errorf("%s\nin Wine    %d %q\nsimulated  %d %q", line, code, theirs, ours.ExitCode, out)
		}
	}
}
