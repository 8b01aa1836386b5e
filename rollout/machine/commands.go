package machine

import (
	"cmp"
	"fmt"
	"strings"

	"wavelock/pki"
	"wavelock/rollout"
)

// Every command line that is run on a host is made in this file. What comes from
// the directory, the configuration or the host is data: what cmd.exe could read as
// anything else is refused, not escaped. The exit code of a line is that of its
// last command.

const (
	// saveLine copies the listeners beside the before-image.
	saveLine = `reg copy "HKLM\` + listenerKey + `" "HKLM\` + beforeKey + `\Listener" /s /f`
	// storeLine prints the certificates of the computer.
	storeLine = `reg query "` + storeKey + `" /s`

	requestLine    = `certreq -new -machine -q "` + requestFolder + `\request.inf" "` + requestFolder + `\request.req" >nul && type "` + requestFolder + `\request.req"`
	acceptLine     = `certreq -accept -machine -q "` + requestFolder + `\answer.cer"`
	dropFolderLine = `rd /s /q "` + requestFolder + `"`
)

// armLine keeps a listener where the undo finds it: HTTP's, or in a renewal the HTTPS one as it is and, where HTTP is
// kept, HTTP's beside it. What an undo of before has left there goes: it would be copied back besides.
//
// Nothing is done where the registry has another mark than was seen: somebody else relies on that undo by now.
func armLine(mark, was string, kept bool, back pki.Thumbprint) (string, error) {
	const none = "#wavelock-none"
	was = cmp.Or(was, none)
	for _, m := range []string{mark, was} {
		if err := plainArgument(m); err != nil {
			return "", fmt.Errorf("name of the campaign: %w", err)
		}
	}
	line := armingLine(mark, kept, back)
	return `(reg query HKLM\` + undoKey + ` /v armed 2>nul || echo ` + none + `) | findstr /l /c:` + was + ` >nul && (` + line + `)`, nil
}

func armingLine(mark string, kept bool, back pki.Thumbprint) string {
	mark = fmt.Sprintf(`reg add "HKLM\%s" /v armed /t REG_SZ /d %s /f`, undoKey, mark)
	if back == "" {
		from := listenerKey
		if kept {
			from = beforeKey + `\Listener`
		}
		return fmt.Sprintf(`reg delete "HKLM\%[2]s\Listener\*+HTTPS" /f >nul 2>nul & reg copy "HKLM\%[1]s\*+HTTP" "HKLM\%[2]s\Listener\*+HTTP" /s /f && %[3]s`, from, undoKey, mark)
	}
	last := ""
	if kept {
		last = fmt.Sprintf(`reg copy "HKLM\%s\Listener\*+HTTP" "HKLM\%s\*+HTTP" /s /f && `, beforeKey, lastResortKey)
	}
	return fmt.Sprintf(`reg delete "HKLM\%[2]s\Listener\*+HTTP" /f >nul 2>nul & reg copy "HKLM\%[1]s\*+HTTPS" "HKLM\%[2]s\Listener\*+HTTPS" /s /f && %[3]s%[4]s`,
		listenerKey, undoKey, last, mark)
}

// restoreLine takes away the rules and keys that are ours; the rule for HTTPS stays where nobody would get in without it.
// That one of them is not there is no error. The before-image goes last, and not before the rules have gone.
func restoreLine(httpPort, httpsPort int, keepRule bool) string {
	line, left := deleteRule(rollout.BlockRule(httpPort)), rollout.BlockRule(httpPort)
	if !keepRule {
		line, left = deleteRule(ruleName(httpsPort))+" & "+line, rollout.RuleNamePrefix
	}
	return line + " & " + ruleStays(left) + ` || reg delete "HKLM\` + ownKey + `" /f`
}

// ruleStays succeeds where the registry has a rule whose name begins so.
func ruleStays(prefix string) string {
	return `reg query HKLM\` + firewallPolicy + `\FirewallRules | findstr /l /c:Name=` + prefix + ` >nul`
}

// fileLines write a file of requestFolder anew. Its lines have to be free of what
// cmd.exe would read as more than text; every caller makes them of constants,
// base64 and a checked name.
func fileLines(name string, lines []string) []string {
	const most = 4000 // characters; cmd.exe takes 8191
	path := `"` + requestFolder + `\` + name + `"`
	begin := `rd /s /q "` + requestFolder + `" 2>nul & mkdir "` + requestFolder + `" && `
	redirect := " >"
	var out []string
	for len(lines) > 0 {
		var b strings.Builder
		n := 0
		for n < len(lines) && (n == 0 || b.Len()+len(lines[n]) < most) {
			if n > 0 {
				b.WriteString("& ")
			}
			b.WriteString("echo " + lines[n])
			n++
		}
		out = append(out, begin+"("+b.String()+")"+redirect+path)
		lines, begin, redirect = lines[n:], "", " >>"
	}
	return out
}

// ruleName is the display name of the rule for the HTTPS port.
func ruleName(port int) string { return fmt.Sprintf("%shttps-%d", rollout.RuleNamePrefix, port) }

// allowLine adds the rule for the HTTPS port, unless it is there: netsh would add a
// twin. It prints the rule.
func allowLine(port int, sources, profiles []string) (string, error) {
	line, err := addRule(port, sources, profiles)
	if err != nil {
		return "", err
	}
	return findRule(ruleName(port)) + " >nul || " + line + " & " + findRule(ruleName(port)), nil
}

// addRule is the netsh line for it. What comes from the configuration is data:
// anything that cmd.exe could read otherwise is refused.
func addRule(port int, sources, profiles []string) (string, error) {
	remote := "any"
	if len(sources) > 0 {
		remote = strings.Join(sources, ",")
	}
	if err := plainArgument(remote); err != nil {
		return "", fmt.Errorf("sources: %w", err)
	}
	where := strings.Join(profiles, ",")
	if where == "" {
		where = "any"
	}
	if err := plainArgument(where); err != nil {
		return "", fmt.Errorf("profiles: %w", err)
	}
	return fmt.Sprintf(`netsh advfirewall firewall add rule name="%s" dir=in action=allow protocol=TCP localport=%d profile=%s remoteip=%s enable=yes`,
		ruleName(port), port, where, remote), nil
}

func deleteRule(name string) string {
	return fmt.Sprintf(`netsh advfirewall firewall delete rule name="%s"`, name)
}

// narrowLine puts the block rule in the place of one that may be there, and prints it.
func narrowLine(port int, keep []string) (string, error) {
	line, err := blockLine(port, keep)
	if err != nil {
		return "", err
	}
	name := rollout.BlockRule(port)
	return deleteRule(name) + " >nul 2>nul & " + line + " & " + findRule(name), nil
}

// widenLine takes the block rule away, and prints what is left of its name.
func widenLine(port int) string {
	name := rollout.BlockRule(port)
	return deleteRule(name) + " >nul 2>nul & " + findRule(name)
}

// blockLine is the netsh line of the brown-out: block beats allow, so the rule
// has to leave out our own addresses. The loopback of Windows is not filtered.
func blockLine(port int, keep []string) (string, error) {
	others, err := rollout.Complement(keep)
	if err != nil {
		return "", err
	}
	remote := strings.Join(others, ",")
	if err := plainArgument(remote); err != nil {
		return "", err
	}
	return fmt.Sprintf(`netsh advfirewall firewall add rule name="%s" dir=in action=block protocol=TCP localport=%d profile=any remoteip=%s enable=yes`,
		rollout.BlockRule(port), port, remote), nil
}

// findRule prints the registry's line of the rule with this name.
func findRule(name string) string {
	return fmt.Sprintf(`reg query "HKLM\%s\FirewallRules" | findstr /l /c:"Name=%s|"`, firewallPolicy, name)
}

// dropsLine prints what the firewall's log and the one before it say of the port. The path has passed checkLogPath.
func dropsLine(path string, port int) string {
	return fmt.Sprintf(`type "%[1]s.old" "%[1]s" 2>nul | findstr /r /c:" DROP TCP [^ ]* [^ ]* [0-9]* %[2]d "`, path, port)
}

// bulkQuery is one command line that reads the keys of an inspection, and what the
// listeners are configured to.
func bulkQuery(keys []string) string { return sectionsLine(keys) + " & " + configuredLine() }

// sectionsLine is one command line that reads many keys. Keys that are not there
// leave an empty section.
func sectionsLine(keys []string) string {
	var b strings.Builder
	for i, k := range keys {
		if i > 0 {
			b.WriteString(" & ")
		}
		fmt.Fprintf(&b, `echo %s& reg query "%s" /s 2>nul`, section, k)
	}
	return b.String()
}

// reportLine reads what only a report and other hosts' findings ask for: keys, and last the lists of Server Manager in all
// profiles. Theirs is the last section, since what is in a profile is its user's: he can write no section after it. Wine's
// cmd.exe does not do this loop; that %~zl is the file's size, and that for /d lists what is not hidden, is help for's word.
func reportLine() string {
	const list = `AppData\Roaming\Microsoft\Windows\ServerManager\ServerList.xml`
	return sectionsLine(postureKeys) + fmt.Sprintf(` & echo %s& for /d %%u in ("%%SystemDrive%%\Users\*") do @for %%l in ("%%~u\%s") do @if exist "%%~l" (echo %s& if %%~zl lss %d (type "%%~l" 2>nul) else (echo %s))`,
		section, list, listMark, maxList, tooLarge)
}

// keysLine reads the certificates of CAs that event forwarding names, from the stores that may have them, and who may use
// the keys of certificates. certutil prints that as SDDL in a line of its own, whatever the language; see clientKeys.
func keysLine(cas, certs []pki.Thumbprint) string {
	var parts []string
	for _, ca := range cas {
		for _, store := range caStores {
			parts = append(parts, fmt.Sprintf(`echo %s& reg query "HKLM\SOFTWARE\Microsoft\%s\Certificates\%s" 2>nul`, section, store, ca))
		}
	}
	for _, c := range certs {
		parts = append(parts, fmt.Sprintf(`echo %s& certutil -v -silent -store My %s 2>nul | findstr /r /c:"^ *[OGD]:"`, section, c))
	}
	return strings.Join(parts, " & ")
}

// plainArgument refuses what is syntax to cmd.exe. Escaping it would be possible
// outside of quotes only, and nothing that is needed contains any of it.
func plainArgument(s string) error {
	if i := strings.IndexAny(s, "%\"^&|<>()!\r\n\t "); i >= 0 || s == "" {
		return fmt.Errorf("%q cannot be part of a command line", s)
	}
	return nil
}
