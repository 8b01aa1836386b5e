package machine

import (
	"context"
	"errors"
	"strings"

	"wavelock/pki"
	"wavelock/rollout"
)

// The sections of what only a report asks for, one for each registry key.
const (
	inPowerShellPolicy = iota
	inPowerShell
	inOldPowerShell
	inClient
	inClientPolicy
	inDCOM
	inShares
)

// postureKeys are the registry keys of what only a report asks for.
var postureKeys = []string{
	inPowerShellPolicy: `HKLM\SOFTWARE\Policies\Microsoft\Windows\PowerShell`,
	inPowerShell:       `HKLM\SOFTWARE\Microsoft\PowerShell\3\PowerShellEngine`,
	inOldPowerShell:    `HKLM\SOFTWARE\Microsoft\PowerShell\1\PowerShellEngine`,
	inClient:           `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Client`,
	inClientPolicy:     `HKLM\SOFTWARE\Policies\Microsoft\Windows\WinRM\Client`,
	inDCOM:             `HKLM\SOFTWARE\Microsoft\Ole`, // [MS-DCOM] servers read EnableDCOM
	inShares:           `HKLM\SYSTEM\CurrentControlSet\Services\LanmanServer\Shares\Security`,
}

// remoteUsersSID is the local group that may connect besides the administrators.
const remoteUsersSID = "S-1-5-32-580"

// readReport reads what a brief inspection leaves out: one command for two parts.
func (m *Machine) readReport(ctx context.Context, d *door, o *rollout.Observation) {
	res, err := d.run(ctx, reportLine())
	var parts [][]regKey
	var lists string
	if err == nil {
		text := string(res.Stdout)
		at := nthSection(text, len(postureKeys))
		parts, err = parseBulk(text[:at], len(postureKeys))
		lists = text[at:]
	}
	part(&o.Posture, func() (rollout.Posture, error) {
		if err != nil {
			return rollout.Posture{}, err
		}
		return m.readPosture(ctx, d, parts, o.System.Value.Product), nil
	})
	part(&o.ServerLists, func() (rollout.ServerLists, error) {
		if err == nil && lists == "" {
			err = errors.New("the host did not come to them")
		}
		return serverLists(lists), err
	})
}

func (m *Machine) readPosture(ctx context.Context, d *door, parts [][]regKey, product int) rollout.Posture {
	p := posture(parts)
	p.At = m.cfg.Now().UTC()
	part(&p.RemoteUsers, func() ([]rollout.Administrator, error) {
		if product == productDC {
			return nil, errors.New("a domain controller has no local groups")
		}
		return membersOf(ctx, d.session, remoteUsersSID)
	})
	return p
}

func posture(parts [][]regKey) rollout.Posture {
	var p rollout.Posture
	for _, k := range parts[inPowerShellPolicy] {
		switch {
		case strings.EqualFold(k.last(), "ScriptBlockLogging"):
			p.ScriptBlocks = flagOf(k, "EnableScriptBlockLogging")
		case strings.EqualFold(k.last(), "ModuleLogging"):
			p.Modules = flagOf(k, "EnableModuleLogging")
		case strings.EqualFold(k.last(), "ModuleNames"):
			for _, v := range k.values {
				p.ModuleNames = append(p.ModuleNames, strings.Clone(v.data))
			}
		case strings.EqualFold(k.last(), "Transcription"):
			p.Transcripts, p.TranscriptFolder = flagOf(k, "EnableTranscripting"), k.text("OutputDirectory")
		}
	}
	p.PowerShell, p.OldPowerShell = firstText(parts[inPowerShell], "PowerShellVersion"), firstText(parts[inOldPowerShell], "PowerShellVersion")
	p.TrustedHosts = firstText(parts[inClient], "trusted_hosts")
	if list := firstText(parts[inClientPolicy], "TrustedHostsList"); list != "" {
		p.TrustedHosts = list // a policy wins
	}
	p.DCOM = firstText(parts[inDCOM], "EnableDCOM")
	p.Shares = sharesOf(parts[inShares])
	return p
}

// sharesOf reads the lists of a file server's shares: a self-relative security descriptor each. A conditional entry may
// hold, so what it gives counts and what it denies does not.
func sharesOf(keys []regKey) []rollout.Share {
	var all []rollout.Share
	for _, k := range keys {
		for _, v := range k.values {
			s := rollout.Share{Name: strings.Clone(v.name)}
			raw, err := v.binary()
			var sd *pki.SecurityDescriptor
			if err == nil {
				sd, err = pki.ParseSecurityDescriptor(raw)
			}
			if err != nil {
				s.Why = err.Error()
				all = append(all, s)
				continue
			}
			s.Open = sd.Open
			for _, a := range sd.ACEs {
				if a.Type.Allows() || a.Type.Denies() && !a.Type.Conditional() {
					s.Grants = append(s.Grants, rollout.Grant{SID: a.SID, Mask: a.Mask, Deny: a.Type.Denies()})
				}
			}
			all = append(all, s)
		}
	}
	return all
}

func flagOf(k regKey, name string) *bool {
	v, ok := k.value(name)
	n, number := v.number()
	if !ok || !number {
		return nil
	}
	on := n != 0
	return &on
}

func firstText(keys []regKey, name string) string {
	for _, k := range keys {
		if v := k.text(name); v != "" {
			return v
		}
	}
	return ""
}
