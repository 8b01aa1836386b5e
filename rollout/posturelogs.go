package rollout

import (
	"fmt"
	"slices"
	"strings"
)

// ofPosture is a check of what the registry tells.
func ofPosture(judge func(Posture) (PostureState, string)) func(Observation, PostureRules) (PostureState, string) {
	return func(o Observation, _ PostureRules) (PostureState, string) {
		if !o.Posture.Known {
			return unreadPosture(o.Posture)
		}
		return judge(o.Posture.Value)
	}
}

var (
	judgeVersion      = ofPosture(versionPosture)
	judgeScriptBlocks = ofPosture(func(p Posture) (PostureState, string) { return policyPosture(p.ScriptBlocks) })
	judgeModules      = ofPosture(modulesPosture)
	judgeTranscripts  = ofPosture(transcriptsPosture)
	judgeTrusted      = ofPosture(trustedPosture)
	// The file server's part comes with WithShares.
	judgeTranscriptRights = ofPosture(transcriptRights)
	judgeOld              = ofPosture(func(p Posture) (PostureState, string) {
		if p.OldPowerShell == "" {
			return PostureOK, "none"
		}
		return PostureBad, "the registry names the engine " + p.OldPowerShell
	})
	judgeDCOM = ofPosture(func(p Posture) (PostureState, string) {
		if p.DCOM == "" {
			return PostureUnknown, "EnableDCOM is not there"
		}
		return verdictOf(strings.EqualFold(p.DCOM, "N"), "EnableDCOM = %s", p.DCOM)
	})
)

func versionPosture(p Posture) (PostureState, string) {
	var major, minor int
	if n, _ := fmt.Sscanf(p.PowerShell, "%d.%d", &major, &minor); n < 2 {
		return PostureUnknown, fmt.Sprintf("%q is no version", p.PowerShell)
	}
	return verdictOf(major > 5 || major == 5 && minor >= 1, "%s", p.PowerShell)
}

func policyPosture(on *bool) (PostureState, string) {
	switch {
	case on == nil:
		return PostureBad, "no policy sets it"
	case *on:
		return PostureOK, "switched on by policy"
	}
	return PostureBad, "switched off by policy"
}

func modulesPosture(p Posture) (PostureState, string) {
	state, detail := policyPosture(p.Modules)
	if state == PostureOK && len(p.ModuleNames) == 0 {
		return PostureBad, "switched on, but for no module"
	}
	if state == PostureOK && !slices.Contains(p.ModuleNames, "*") {
		return PostureOK, "for " + strings.Join(p.ModuleNames, ", ")
	}
	return state, detail
}

func transcriptsPosture(p Posture) (PostureState, string) {
	state, detail := policyPosture(p.Transcripts)
	switch {
	case state != PostureOK:
		return state, detail
	case p.TranscriptFolder == "":
		return PostureBad, "into each user's documents, where they can be deleted"
	}
	return verdictOf(strings.HasPrefix(p.TranscriptFolder, `\\`), "into %s", p.TranscriptFolder)
}

func trustedPosture(p Posture) (PostureState, string) {
	list := strings.Split(p.TrustedHosts, ",")
	if slices.ContainsFunc(list, func(s string) bool { return strings.TrimSpace(s) == "*" }) {
		return PostureBad, "TrustedHosts = " + p.TrustedHosts
	}
	if strings.TrimSpace(p.TrustedHosts) == "" {
		return PostureOK, "empty"
	}
	return PostureOK, "named: " + p.TrustedHosts
}
