package machine

import (
	"testing"
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
