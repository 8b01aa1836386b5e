package machine

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// regValue is a value as reg query prints it. Its parts are pieces of the whole
// answer: whoever keeps one makes a copy, or it holds the answer in memory.
type regValue struct{ name, kind, data string }

func (v regValue) number() (uint64, bool) {
	n, err := strconv.ParseUint(v.data, 0, 64)
	return n, err == nil
}

func (v regValue) binary() ([]byte, error) {
	b, err := hex.DecodeString(v.data)
	if err != nil {
		return nil, fmt.Errorf("the value %s is not hexadecimal: %w", v.name, err)
	}
	return b, nil
}

// regKey is a key with its values.
type regKey struct {
	path   string // below HKEY_LOCAL_MACHINE
	values []regValue
}

// value finds a value by its name, which is not case-sensitive.
func (k regKey) value(name string) (regValue, bool) {
	for _, v := range k.values {
		if strings.EqualFold(v.name, name) {
			return v, true
		}
	}
	return regValue{}, false
}

// text is a copy of a value's data.
func (k regKey) text(name string) string {
	v, _ := k.value(name)
	return strings.Clone(v.data)
}

// last is the key's own name.
func (k regKey) last() string { return k.path[strings.LastIndexByte(k.path, '\\')+1:] }

const hive = `HKEY_LOCAL_MACHINE\`

// parseRegQuery reads what reg query prints: a line with the key's path, then a
// line for each value, four blanks before and between its parts. The types'
// names are not localised; the text for a default value is, and is not looked at.
func parseRegQuery(text string) []regKey {
	var keys []regKey
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, hive):
			keys = append(keys, regKey{path: line[len(hive):]})
		case strings.HasPrefix(line, "    ") && len(keys) > 0:
			if v, ok := parseRegValue(line[4:]); ok {
				k := &keys[len(keys)-1]
				k.values = append(k.values, v)
			}
		}
	}
	return keys
}

func parseRegValue(line string) (regValue, bool) {
	i := strings.Index(line, "    REG_")
	if i < 0 {
		return regValue{}, false
	}
	v := regValue{name: line[:i]}
	rest := line[i+4:]
	kind, data, _ := strings.Cut(rest, "    ")
	v.kind, v.data = strings.TrimSpace(kind), data
	return v, true
}

// section is the mark between the answers of the bulk read.
const section = "#wavelock-section"

// nthSection is where the section after n others begins; the end of the text when there is none.
func nthSection(text string, n int) int {
	at := 0
	for ; ; n-- {
		i := strings.Index(text[at:], section)
		if i < 0 {
			return len(text)
		}
		if at += i; n == 0 {
			return at
		}
		at += len(section)
	}
}

// parseBulk takes the answer apart again: as many sections as keys were asked for.
func parseBulk(text string, n int) ([][]regKey, error) {
	parts := strings.Split(text, section)
	if len(parts) != n+1 {
		return nil, fmt.Errorf("the host answered %d of %d parts of the registry", len(parts)-1, n)
	}
	out := make([][]regKey, n)
	for i, p := range parts[1:] {
		out[i] = parseRegQuery(p)
	}
	return out, nil
}
