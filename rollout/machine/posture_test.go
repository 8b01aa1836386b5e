package machine

import (
	"slices"
	"testing"

	"wavelock/rollout"
)

func TestPostureFromTheRegistry(t *testing.T) {
	t.Parallel()
	const shell = `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\PowerShell`
	texts := []string{
		shell + "\r\n\r\n" + shell + "\\ScriptBlockLogging\r\n    EnableScriptBlockLogging    REG_DWORD    0x1\r\n\r\n" + shell + "\\ModuleLogging\r\n    EnableModuleLogging    REG_DWORD    0x0\r\n\r\n" +
			shell + "\\ModuleLogging\\ModuleNames\r\n    Microsoft.*    REG_SZ    Microsoft.*\r\n\r\n" +
			shell + "\\Transcription\r\n    EnableTranscripting    REG_DWORD    0x1\r\n    OutputDirectory    REG_SZ    \\\\logs\\t$\r\n",
		"HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\PowerShell\\3\\PowerShellEngine\r\n    PowerShellVersion    REG_SZ    5.1.14393.0\r\n",
		"",
		"HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\WSMAN\\Client\r\n    trusted_hosts    REG_SZ    *\r\n",
		"HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Microsoft\\Windows\\WinRM\\Client\r\n    TrustedHosts    REG_DWORD    0x1\r\n    TrustedHostsList    REG_SZ    a.corp.example\r\n",
		"HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Ole\r\n    EnableDCOM    REG_SZ    Y\r\n\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Ole\\AppCompat\r\n",
		"",
	}
	parts := make([][]regKey, len(texts))
	for i, s := range texts {
		parts[i] = parseRegQuery(s)
	}
	p := posture(parts)
	if p.ScriptBlocks == nil || !*p.ScriptBlocks || p.Modules == nil || *p.Modules || p.Transcripts == nil || !*p.Transcripts || p.TranscriptFolder != `\\logs\t$` {
		t.Errorf("policies %+v", p)
	}
	if p.PowerShell != "5.1.14393.0" || p.OldPowerShell != "" || p.TrustedHosts != "a.corp.example" || p.DCOM != "Y" || len(p.ModuleNames) != 1 {
		t.Errorf("%+v", p)
	}
	empty := posture(make([][]regKey, len(postureKeys)))
	if empty.ScriptBlocks != nil || empty.PowerShell != "" || empty.TrustedHosts != "" {
		t.Errorf("of nothing %+v", empty)
	}
}

// The descriptors are written out byte for byte after [MS-DTYP] 2.4.6: an owner is not needed.
func TestSharesFromTheRegistry(t *testing.T) {
	t.Parallel()
	const key = `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\LanmanServer\Shares\Security`
	const none = "01000480" + "00000000" + "00000000" + "00000000"
	allow := func(mask, sid string) string { return "00001400" + mask + sid }
	const everyone, users = "010100000000000100000000", "01010000000000050B000000"
	text := key + "\r\n" +
		"    my logs$    REG_BINARY    " + none + "14000000" + "0200" + "3000" + "0200" + "0000" + "01001400" + "00000100" + everyone + allow("BF011300", users) + "\r\n" +
		"    open    REG_BINARY    " + none + "00000000" + "\r\n" +
		"    short    REG_BINARY    010004\r\n    odd    REG_BINARY    XY\r\n"
	got := sharesOf(parseRegQuery(text))
	if len(got) != 4 {
		t.Fatalf("%+v", got)
	}
	want := []rollout.Grant{{SID: "S-1-1-0", Mask: 0x10000, Deny: true}, {SID: "S-1-5-11", Mask: 0x1301BF}}
	if s := got[0]; s.Name != "my logs$" || s.Open || s.Why != "" || !slices.Equal(s.Grants, want) {
		t.Errorf("%+v", s)
	}
	if s := got[1]; !s.Open || s.Why != "" {
		t.Errorf("without a list: %+v", s)
	}
	for _, s := range got[2:] {
		if s.Why == "" || s.Open || len(s.Grants) > 0 {
			t.Errorf("not to be read: %+v", s)
		}
	}
}
