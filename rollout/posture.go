package rollout

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Posture is what a host's registry and groups tell of its remoting beyond the
// listeners: a nil flag means that no policy sets it.
type Posture struct {
	At               time.Time `json:"at"`                       // may be older than the observation it is part of
	PowerShell       string    `json:"powershell,omitempty"`     // version of the engine: 5.1.20348.1
	OldPowerShell    string    `json:"old_powershell,omitempty"` // version that the record of the first engine names
	ScriptBlocks     *bool     `json:"script_blocks,omitempty"`  // event 4104
	Modules          *bool     `json:"modules,omitempty"`        // event 4103
	ModuleNames      []string  `json:"module_names,omitempty"`
	Transcripts      *bool     `json:"transcripts,omitempty"`
	TranscriptFolder string    `json:"transcript_folder,omitempty"`
	TrustedHosts     string    `json:"trusted_hosts,omitempty"` // of the host as a client
	DCOM             string    `json:"dcom,omitempty"`          // Y or N

	RemoteUsers Seen[[]Administrator] `json:"remote_users"`     // Remote Management Users, S-1-5-32-580
	Shares      []Share               `json:"shares,omitempty"` // of the host as a file server, as its registry has them
}

// PostureRules are what a domain expects of its hosts.
type PostureRules struct {
	// Administrators are patterns of who may be a local administrator: CORP\Domain Admins.
	// The host's own Administrator is always expected. Empty: only the number is judged.
	Administrators []string `json:"administrators,omitempty" yaml:"administrators"`
	MaxAdmins      int      `json:"max_admins,omitempty" yaml:"max_admins"`     // direct members; 5 when 0
	RemoteUsers    []string `json:"remote_users,omitempty" yaml:"remote_users"` // patterns of who may be in Remote Management Users
}

// PostureState is how a check came out.
type PostureState string

// The states. What was not read is not fulfilled: it is not known to be right.
const (
	PostureOK      PostureState = "ok"
	PostureBad     PostureState = "bad"
	PostureUnknown PostureState = "unknown"
)

// PostureCheck is one thing that remoting should be, with how to make it so.
type PostureCheck struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Severity Severity `json:"severity"`
	Weight   int      `json:"weight"` // in the score
	Hint     string   `json:"hint"`
	Setting  string   `json:"setting"` // the policy that sets it

	judge func(Observation, PostureRules) (PostureState, string)
}

// PostureResult is a check's word on one host.
type PostureResult struct {
	Check  string       `json:"check"`
	State  PostureState `json:"state"`
	Detail string       `json:"detail,omitempty"`
}

// PostureVerdict is all of them, with the score.
type PostureVerdict struct {
	At      time.Time       `json:"at"`
	Results []PostureResult `json:"results"`
	Score   int             `json:"score"` // of 100; see PostureFormula
	// Transcripts is the share that they go to, and Shares are those of the host itself: see WithShares.
	Transcripts string         `json:"transcripts,omitempty"`
	Shares      []ShareVerdict `json:"shares,omitempty"`
}

// PostureFormula says how the score is made.
const PostureFormula = "score = 100 × (weights of the checks that are fulfilled) ÷ (weights of all checks); what was not read counts as not fulfilled"

const (
	gpoWinRM      = `Computer Configuration\Policies\Administrative Templates\Windows Components\Windows Remote Management (WinRM)\WinRM Service\`
	gpoClient     = `Computer Configuration\Policies\Administrative Templates\Windows Components\Windows Remote Management (WinRM)\WinRM Client\`
	gpoPowerShell = `Computer Configuration\Policies\Administrative Templates\Windows Components\Windows PowerShell\`
	gpoFirewall   = `Computer Configuration\Policies\Windows Settings\Security Settings\Windows Defender Firewall with Advanced Security\Inbound Rules`
	gpoGroups     = `Computer Configuration\Preferences\Control Panel Settings\Local Users and Groups`
)

// PostureChecks lists the checks in the order of every table.
func PostureChecks() []PostureCheck { return postureChecks }

var postureChecks = []PostureCheck{
	{"https-only", "WinRM answers over HTTPS only", Blocker, 3, "run a campaign: HTTPS proves who the host is under NTLM, too, and has modern ciphers", gpoWinRM + `Allow remote server management through WinRM: not configured`, judgeHTTPSOnly},
	{"no-basic", "Basic authentication is off", Blocker, 3, "Basic gives the password itself to whoever answers", gpoWinRM + `Allow Basic authentication: disabled`, judgeBasic},
	{"no-unencrypted", "unencrypted messages are refused", Blocker, 3, "switch AllowUnencrypted off", gpoWinRM + `Allow unencrypted traffic: disabled`, judgeUnencrypted},
	{"channel-binding", "channel binding is strict", Warning, 2, "CbtHardeningLevel Strict alone closes NTLM relay to the HTTPS listener; look for old clients first", gpoWinRM + `Specify channel binding token hardening level: Strict`, judgeBinding},
	{"no-credssp", "CredSSP is off", Warning, 2, "CredSSP leaves the caller's credentials in the host's memory", gpoWinRM + `Allow CredSSP authentication: disabled`, judgeCredSSP},
	{"trusted-hosts", "no host is trusted without proof", Warning, 2, "TrustedHosts with * lets NTLM talk to any computer; name hosts, or use HTTPS and Kerberos", gpoClient + `Trusted Hosts: named hosts, or not configured`, judgeTrusted},
	{"root-sddl", "only administrators and Remote Management Users may connect", Blocker, 3, "take the wide entries out of RootSDDL", `winrm configSDDL default, or the value rootSDDL in winrm/config/service`, judgeSDDL},
	{"remote-users", "Remote Management Users has only expected members", Warning, 2, "take out who does not need it", gpoGroups + `: Remote Management Users (built-in)`, judgeRemoteUsers},
	{"few-admins", "few and expected local administrators", Blocker, 3, "every administrator may connect; use groups that are reviewed, and LAPS for the built-in account", gpoGroups + `: Administrators (built-in)`, judgeAdmins},
	{"firewall-scope", "the firewall says who may connect", Warning, 2, "of 500 computers perhaps 30 need to start a remote connection: name them as the rule's remote addresses", gpoFirewall, judgeScope},
	{"powershell-5", "Windows PowerShell 5.1 or later", Warning, 2, "install the Windows Management Framework 5.1; older versions cannot log script blocks well", `Windows Management Framework 5.1 (KB3191564, KB3191565, KB3191566)`, judgeVersion},
	{"no-powershell-2", "no record of the engine of PowerShell 2", Info, 1, "that engine logs nothing: remove the feature MicrosoftWindowsPowerShellV2; the record alone does not prove that it can start", `Disable-WindowsOptionalFeature MicrosoftWindowsPowerShellV2Root; on servers the feature PowerShell-V2`, judgeOld},
	{"script-blocks", "script blocks are logged (event 4104)", Warning, 2, "switch it on, and make the log large enough", gpoPowerShell + `Turn on PowerShell Script Block Logging: enabled`, judgeScriptBlocks},
	{"modules", "modules are logged (event 4103)", Info, 1, "switch it on where the volume is affordable", gpoPowerShell + `Turn on Module Logging: enabled, with *`, judgeModules},
	{"transcripts", "transcripts go to a central share", Warning, 2, "switch it on with a share that computers may add to, and few may delete from", gpoPowerShell + `Turn on PowerShell Transcription: enabled, with an output directory \\server\share`, judgeTranscripts},
	{transcriptRightsID, "the share keeps all but administrators from deleting transcripts", Warning, 0, "look at the share's own list and at the folder's on the file server: users add, a reviewed group reads, nobody but it deletes, and nobody but administrators has Full Control of the share; without weight, as the folder's list is not read", `on the file server: Get-SmbShareAccess, and icacls on the folder`, judgeTranscriptRights},
	{"no-dcom", "DCOM is off", Info, 1, "WMI over DCOM (port 135 and dynamic ports) is the older, wider door; many products need it, so look first", `HKLM\SOFTWARE\Microsoft\Ole, EnableDCOM = N`, judgeDCOM},
}

// JudgePosture looks at an observation with every check.
func JudgePosture(o Observation, rules PostureRules) PostureVerdict {
	v := PostureVerdict{At: o.At}
	if o.Posture.Known {
		v.At, v.Shares = o.Posture.Value.At, judgeShares(o.Posture.Value.Shares)
		if strings.HasPrefix(o.Posture.Value.TranscriptFolder, `\\`) {
			v.Transcripts = o.Posture.Value.TranscriptFolder
		}
	}
	got, all := 0, 0
	for _, c := range postureChecks {
		state, detail := c.judge(o, rules)
		v.Results = append(v.Results, PostureResult{c.ID, state, detail})
		all += c.Weight
		if state == PostureOK {
			got += c.Weight
		}
	}
	v.Score = got * 100 / all
	return v
}

// Remember takes from an older observation what a brief one was not asked for, so
// that a campaign's look at a host does not make the report forget.
func (o Observation) Remember(older Observation) Observation {
	if !o.Admins.Known && o.Admins.Why == NotAsked {
		o.Admins = older.Admins
	}
	if !o.Posture.Known && o.Posture.Why == NotAsked {
		o.Posture = older.Posture
	}
	if !o.ServerLists.Known && o.ServerLists.Why == NotAsked {
		o.ServerLists = older.ServerLists
	}
	if !o.ClientKeys.Known && o.ClientKeys.Why == NotAsked {
		o.ClientKeys = older.ClientKeys
	}
	values := slices.Clone(o.PolicyValues.Value)
	for i, v := range values { // what the directory has of the objects is not on the host
		if old, ok := older.WinnerOf(v.Name); ok && v.Object == nil && old.ID != "" && old.ID == v.ID {
			values[i].Object = old.Object
		}
	}
	o.PolicyValues.Value = values
	return o
}

// NotAsked is why a brief inspection does not know a part.
const NotAsked = "not asked for"

func verdictOf(ok bool, format string, args ...any) (PostureState, string) {
	if ok {
		return PostureOK, fmt.Sprintf(format, args...)
	}
	return PostureBad, fmt.Sprintf(format, args...)
}

func unreadPosture[T any](part Seen[T]) (PostureState, string) {
	if part.Why == "" {
		return PostureUnknown, "not read"
	}
	return PostureUnknown, "not read: " + part.Why
}

func judgeHTTPSOnly(o Observation, _ PostureRules) (PostureState, string) {
	switch c := ClassOf(o); c {
	case ClassHTTPSOnly:
		return PostureOK, string(c)
	case ClassUnknown:
		return PostureUnknown, "not seen"
	default:
		return PostureBad, string(c)
	}
}

// ofService is a check of winrm/config/service.
func ofService(bad func(Service) (bool, string)) func(Observation, PostureRules) (PostureState, string) {
	return func(o Observation, _ PostureRules) (PostureState, string) {
		if !o.Service.Known {
			return unreadPosture(o.Service)
		}
		wrong, detail := bad(o.Service.Value)
		return verdictOf(!wrong, "%s", detail)
	}
}

var (
	judgeBasic       = ofService(func(s Service) (bool, string) { return s.Basic, fmt.Sprintf("Basic = %t", s.Basic) })
	judgeUnencrypted = ofService(func(s Service) (bool, string) {
		return s.AllowUnencrypted, fmt.Sprintf("AllowUnencrypted = %t", s.AllowUnencrypted)
	})
	judgeCredSSP = ofService(func(s Service) (bool, string) { return s.CredSSP, fmt.Sprintf("CredSSP = %t", s.CredSSP) })
	judgeBinding = ofService(func(s Service) (bool, string) {
		return !strings.EqualFold(s.CbtHardening, "Strict"), "CbtHardeningLevel = " + s.CbtHardening
	})
)

// wide are the trustees of an SDDL that mean more or less everybody ([MS-DTYP] 2.5.1.1).
var wide = map[string]string{"WD": "Everyone", "AN": "Anonymous", "AU": "Authenticated Users", "BU": "Users", "DU": "Domain Users", "BG": "Guests", "NU": "Network", "DC": "Domain Computers"}

func judgeSDDL(o Observation, _ PostureRules) (PostureState, string) {
	if !o.Service.Known {
		return unreadPosture(o.Service)
	}
	sddl := o.Service.Value.RootSDDL
	if sddl == "" {
		return PostureUnknown, "the host did not tell its RootSDDL"
	}
	_, dacl, found := strings.Cut(sddl, "D:")
	if !found {
		return PostureBad, "RootSDDL has no list of who may connect: " + sddl
	}
	dacl, _, _ = strings.Cut(dacl, "S:")
	var who []string
	for ace := range strings.SplitSeq(dacl, "(") {
		f := strings.Split(strings.TrimRight(ace, ")"), ";")
		if len(f) == 6 && f[0] == "A" && wide[f[5]] != "" {
			who = append(who, wide[f[5]])
		}
	}
	if len(who) > 0 {
		return PostureBad, "let in: " + strings.Join(who, ", ")
	}
	return PostureOK, sddl
}

func judgeAdmins(o Observation, rules PostureRules) (PostureState, string) {
	if !o.Admins.Known {
		return unreadPosture(o.Admins)
	}
	limit := rules.MaxAdmins
	if limit <= 0 {
		limit = 5
	}
	n := len(o.Admins.Value)
	if odd := unexpected(o, o.Admins.Value, rules.Administrators, true); len(rules.Administrators) > 0 && len(odd) > 0 {
		return PostureBad, fmt.Sprintf("%d members, not expected: %s", n, strings.Join(odd, ", "))
	}
	return verdictOf(n <= limit, "%d direct members, %d at most", n, limit)
}

func judgeRemoteUsers(o Observation, rules PostureRules) (PostureState, string) {
	p := o.Posture.Value.RemoteUsers
	switch {
	case !o.Posture.Known:
		return unreadPosture(o.Posture)
	case !p.Known:
		return unreadPosture(p)
	}
	odd := unexpected(o, p.Value, rules.RemoteUsers, false)
	if len(odd) > 0 {
		return PostureBad, "not expected: " + strings.Join(odd, ", ")
	}
	return PostureOK, fmt.Sprintf("%d members", len(p.Value))
}

// unexpected are the members that no pattern names. The host's own built-in
// Administrator may be there.
func unexpected(o Observation, members []Administrator, patterns []string, builtIn bool) []string {
	host, _, _ := strings.Cut(string(o.Host), ".")
	var odd []string
	for _, a := range members {
		name := a.Domain + `\` + a.Name
		if builtIn && strings.EqualFold(a.Domain, host) && strings.EqualFold(a.Name, "Administrator") {
			continue
		}
		if !slices.ContainsFunc(patterns, func(p string) bool { return fits(p, name) }) {
			odd = append(odd, name)
		}
	}
	return odd
}

// fits compares a name with a pattern of * and ?; a backslash is itself.
func fits(pattern, name string) bool {
	slashes := strings.NewReplacer(`\`, "/", "[", "(", "]", ")")
	ok, err := path.Match(strings.ToLower(slashes.Replace(pattern)), strings.ToLower(slashes.Replace(name)))
	return ok && err == nil
}

func judgeScope(o Observation, _ PostureRules) (PostureState, string) {
	if !o.Firewall.Known {
		return unreadPosture(o.Firewall)
	}
	f := o.Firewall.Value
	for _, p := range f.Profiles {
		if !p.Enabled && p.Name != "public" {
			return PostureBad, "the firewall is off in the profile " + p.Name
		}
	}
	var open []string
	for _, r := range f.Rules {
		anybody := len(r.Remote) == 0 || slices.ContainsFunc(r.Remote, func(s string) bool { return s == "*" || s == "0.0.0.0/0" || s == "::/0" })
		if r.Allow && r.Active && anybody && (coversPort(r.Ports, 5985) || coversPort(r.Ports, 5986)) {
			open = append(open, strings.Join(r.Ports, ","))
		}
	}
	if len(open) > 0 {
		return PostureBad, "anybody may try the ports " + strings.Join(open, ", ")
	}
	return PostureOK, "every rule names who may connect"
}
