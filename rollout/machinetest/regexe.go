package machinetest

import (
	"fmt"
	"slices"
	"strings"
)

const done = "The operation completed successfully.\r\n\r\n"

func (x *execution) regFails(why string) int {
	x.err.WriteString("ERROR: " + why + "\r\n")
	return 1
}

const (
	regNotFound = "The system was unable to find the specified registry key or value."
	regSyntax   = "Invalid syntax."
	regNobody   = "The operation was canceled by the user." // it asks, and nobody answers
)

// options takes /name value pairs apart; flags are options without a value.
func options(args []string, flags string) (rest []string, opts map[string]string) {
	opts = map[string]string{}
	for i := 0; i < len(args); i++ {
		name := strings.ToLower(strings.TrimPrefix(args[i], "/"))
		switch {
		case !strings.HasPrefix(args[i], "/"):
			rest = append(rest, args[i])
		case strings.Contains(" "+flags+" ", " "+name+" ") || i+1 == len(args):
			opts[name] = ""
		default:
			opts[name] = args[i+1]
			i++
		}
	}
	return rest, opts
}

// regVerbs are reg's operations: their keys, the files after those, and their options.
var regVerbs = map[string]struct {
	keys, files int
	options     string
	do          func(x *execution, args []string, o regOptions) int
}{
	"query":  {1, 0, "v ve s reg:64 reg:32", regQuery},
	"add":    {1, 0, "v ve t d f reg:64 reg:32", regAdd},
	"copy":   {2, 0, "s f reg:64 reg:32", regCopy},
	"delete": {1, 0, "v ve va f reg:64 reg:32", regDelete},
	"export": {1, 1, "y reg:64 reg:32", regExport},
	"import": {0, 1, "reg:64 reg:32", regImport},
}

type regOptions map[string]string

func (o regOptions) has(name string) bool { _, ok := o[name]; return ok }

// value is the one value that the options name.
func (o regOptions) value() (name string, one bool) {
	if o.has("ve") {
		return "", true
	}
	name, one = o["v"]
	return name, one
}

func progReg(x *execution, rest string) int {
	args, opts := options(split(rest), "s f ve y va reg:64 reg:32")
	if len(args) == 0 {
		return x.regFails(regSyntax)
	}
	name := strings.ToLower(args[0])
	verb, ok := regVerbs[name]
	args = args[1:]
	if !ok || len(args) != verb.keys+verb.files {
		return x.regFails(regSyntax)
	}
	for name := range opts {
		if !slices.Contains(strings.Fields(verb.options), name) {
			return x.regFails(regSyntax)
		}
	}
	if slices.ContainsFunc(args[:verb.keys], func(a string) bool { return !isHKLM(a) }) {
		return x.regFails("Invalid key name.")
	}
	if x.h.has(DiskFull) && slices.Contains([]string{"add", "copy", "export", "import"}, name) {
		return x.regFails("There is not enough space on the disk.")
	}
	return verb.do(x, args, opts)
}

// isHKLM tells if a key is one of the hive that is simulated.
func isHKLM(path string) bool {
	root, _, _ := strings.Cut(path, `\`)
	return strings.EqualFold(root, "HKLM") || strings.EqualFold(root, "HKEY_LOCAL_MACHINE")
}

// wrote is the end of an operation that changed something.
func (x *execution) wrote() int {
	x.h.writes.Add(1)
	x.out.WriteString(done)
	return 0
}

func regQuery(x *execution, args []string, o regOptions) int {
	only, one := o.value()
	text, ok := x.h.reg.query(args[0], o.has("s"), only, one)
	if !ok {
		return x.regFails(regNotFound)
	}
	x.out.WriteString(text)
	return 0
}

func regAdd(x *execution, args []string, o regOptions) int {
	name, named := o.value()
	v, err := parseValue(name, o["t"], o["d"])
	if err != nil {
		return x.regFails(regSyntax)
	}
	if _, exists := x.h.reg.Get(args[0], name); named && exists && !o.has("f") {
		return x.regFails(regNobody)
	}
	x.h.reg.make(args[0])
	if named {
		x.h.reg.Set(args[0], v)
	}
	return x.wrote()
}

func regCopy(x *execution, args []string, o regOptions) int {
	if x.h.reg.Exists(args[1]) && !o.has("f") {
		return x.regFails(regNobody)
	}
	if !x.h.reg.Copy(args[0], args[1], o.has("s")) {
		return x.regFails(regNotFound)
	}
	return x.wrote()
}

func regDelete(x *execution, args []string, o regOptions) int {
	name, one := o.value()
	switch {
	case !x.h.reg.Exists(args[0]):
		return x.regFails(regNotFound)
	case !o.has("f"):
		return x.regFails(regNobody)
	case o.has("va"):
		for _, v := range slices.Clone(x.h.reg.Values(args[0])) {
			x.h.reg.Unset(args[0], v.Name)
		}
	case one && !x.h.reg.Unset(args[0], name):
		return x.regFails(regNotFound)
	case !one && !x.h.reg.Delete(args[0]):
		return x.regFails("Access is denied.")
	}
	return x.wrote()
}

func regExport(x *execution, args []string, o regOptions) int {
	file := strings.ToLower(args[1])
	if _, exists := x.h.files[file]; exists && !o.has("y") {
		return x.regFails(regNobody)
	}
	text, ok := x.h.reg.export(args[0])
	if !ok {
		return x.regFails(regNotFound)
	}
	x.h.files[file] = text
	return x.wrote()
}

// regImport tells its success where others tell failures.
func regImport(x *execution, args []string, _ regOptions) int {
	text, ok := x.h.files[strings.ToLower(args[0])]
	if !ok {
		return x.regFails(fmt.Sprintf("Error opening the file %s. There may be a disk or file system error.", args[0]))
	}
	if err := x.h.reg.load(text); err != nil {
		return x.regFails(err.Error())
	}
	x.h.writes.Add(1)
	x.err.WriteString(done)
	return 0
}
