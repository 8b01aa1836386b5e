package machinetest

import (
	"slices"
	"strings"
)

// spoken are the texts of the system's programs in other languages: who reads one of them, instead of an exit code,
// names or numbers, does not find it there.
var spoken = map[Fault]*strings.Replacer{
	Localised: strings.NewReplacer(
		"The operation completed successfully.", "Der Vorgang wurde erfolgreich beendet.",
		"The system was unable to find the specified registry key or value.", "Der angegebene Registrierungsschl\u00fcssel bzw. Wert wurde nicht gefunden.",
		"No rules match the specified criteria.", "Es wurden keine Regeln gefunden, die mit den angegebenen Kriterien \u00fcbereinstimmen.",
		"ERROR:", "FEHLER:", "SUCCESS:", "ERFOLGREICH:", "(Default)", "(Standard)", "LISTENING", "ABH\u00d6REN", "Ok.\r\n", "OK.\r\n",
		"SHA256 hash of", "SHA256-Hash von", "command completed successfully", "-Befehl wurde erfolgreich ausgef\u00fchrt"),
	Japanese: strings.NewReplacer(
		"The operation completed successfully.", "\u3053\u306e\u64cd\u4f5c\u3092\u6b63\u3057\u304f\u7d42\u4e86\u3057\u307e\u3057\u305f\u3002",
		"The system was unable to find the specified registry key or value.", "\u6307\u5b9a\u3055\u308c\u305f\u30ec\u30b8\u30b9\u30c8\u30ea \u30ad\u30fc\u307e\u305f\u306f\u5024\u304c\u898b\u3064\u304b\u308a\u307e\u305b\u3093\u3067\u3057\u305f",
		"No rules match the specified criteria.", "\u6307\u5b9a\u3055\u308c\u305f\u6761\u4ef6\u306b\u4e00\u81f4\u3059\u308b\u898f\u5247\u306f\u3042\u308a\u307e\u305b\u3093\u3002",
		"ERROR:", "\u30a8\u30e9\u30fc:", "SUCCESS:", "\u6210\u529f:", "(Default)", "(\u65e2\u5b9a)", "Ok.\r\n", "OK\r\n",
		"SHA256 hash of", "SHA256 \u30cf\u30c3\u30b7\u30e5 (\u5bfe\u8c61)", "command completed successfully", "\u30b3\u30de\u30f3\u30c9\u306f\u6b63\u5e38\u306b\u5b8c\u4e86\u3057\u307e\u3057\u305f"),
}

// translated begins to listen to a program; what is answered puts what the program said since into the host's language.
func (x *execution) translated(program string) func() {
	if !slices.Contains([]string{"reg", "netsh", "netstat", "schtasks", "certutil", "certreq", "sc", "net"}, program) {
		return func() {}
	}
	out, err := x.out.Len(), x.err.Len()
	return func() {
		for fault, words := range spoken {
			if !x.h.has(fault) {
				continue
			}
			said, failed := words.Replace(x.out.String()[out:]), words.Replace(x.err.String()[err:])
			x.out.Truncate(out)
			x.out.WriteString(said)
			x.err.Truncate(err)
			x.err.WriteString(failed)
		}
	}
}
