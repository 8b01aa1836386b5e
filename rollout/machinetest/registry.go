package machinetest

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Type is a registry value's type.
type Type int

// The types, with Windows' numbers.
const (
	SZ       Type = 1
	ExpandSZ Type = 2
	Binary   Type = 3
	DWORD    Type = 4
	MultiSZ  Type = 7
	QWORD    Type = 11
)

var typeNames = map[Type]string{SZ: "REG_SZ", ExpandSZ: "REG_EXPAND_SZ", Binary: "REG_BINARY", DWORD: "REG_DWORD", MultiSZ: "REG_MULTI_SZ", QWORD: "REG_QWORD"}

// Value is one value of a key. Which field counts depends on the type.
type Value struct {
	Name string
	Type Type
	Text string   // SZ, ExpandSZ
	Num  uint64   // DWORD, QWORD
	Data []byte   // Binary
	List []string // MultiSZ
}

// String is the value as reg.exe prints it.
func (v Value) String() string {
	switch v.Type {
	case DWORD, QWORD:
		return fmt.Sprintf("0x%x", v.Num)
	case Binary:
		return fmt.Sprintf("%X", v.Data)
	case MultiSZ:
		return strings.Join(v.List, `\0`)
	}
	return v.Text
}

// key is a registry key. A key with a base shows the base's values until it is
// first written to: thousands of computers share the parts that they have in common.
type key struct {
	name   string
	values []Value
	base   []Value
	subs   []*key
}

func (k *key) all() []Value {
	if k.values == nil {
		return k.base
	}
	return k.values
}

func (k *key) own() {
	if k.values == nil {
		k.values = slices.Clone(k.base)
		if k.values == nil {
			k.values = []Value{}
		}
	}
}

func (k *key) sub(name string) *key {
	for _, s := range k.subs {
		if strings.EqualFold(s.name, name) {
			return s
		}
	}
	return nil
}

// Registry is HKEY_LOCAL_MACHINE. Names are not case-sensitive. It is not safe
// for concurrent use: the Host guards it.
type Registry struct{ root key }

// elements of a path below HKLM, whatever way the hive is written.
func elements(path string) []string {
	path = strings.Trim(path, `\`)
	for _, hive := range []string{`HKEY_LOCAL_MACHINE`, `HKLM`} {
		if len(path) >= len(hive) && strings.EqualFold(path[:len(hive)], hive) && (len(path) == len(hive) || path[len(hive)] == '\\') {
			path = strings.Trim(path[len(hive):], `\`)
			break
		}
	}
	if path == "" {
		return nil
	}
	return strings.Split(path, `\`)
}

func (r *Registry) find(path string) *key {
	k := &r.root
	for _, e := range elements(path) {
		if k = k.sub(e); k == nil {
			return nil
		}
	}
	return k
}

// make creates the key and those above it.
func (r *Registry) make(path string) *key {
	k := &r.root
	for _, e := range elements(path) {
		s := k.sub(e)
		if s == nil {
			s = &key{name: e}
			k.subs = append(k.subs, s)
		}
		k = s
	}
	return k
}

// Exists reports whether the key is there.
func (r *Registry) Exists(path string) bool { return r.find(path) != nil }

// Keys are the names of a key's subkeys.
func (r *Registry) Keys(path string) []string {
	k := r.find(path)
	if k == nil {
		return nil
	}
	names := make([]string, len(k.subs))
	for i, s := range k.subs {
		names[i] = s.name
	}
	return names
}

// Values are a key's values.
func (r *Registry) Values(path string) []Value {
	if k := r.find(path); k != nil {
		return k.all()
	}
	return nil
}

// Get is one value.
func (r *Registry) Get(path, name string) (Value, bool) {
	for _, v := range r.Values(path) {
		if strings.EqualFold(v.Name, name) {
			return v, true
		}
	}
	return Value{}, false
}

// Text is a string value, empty when it is not there.
func (r *Registry) Text(path, name string) string {
	v, _ := r.Get(path, name)
	return v.Text
}

// Num is a numeric value and whether it is there.
func (r *Registry) Num(path, name string) (uint64, bool) {
	v, ok := r.Get(path, name)
	return v.Num, ok
}

// Set writes a value, and creates the key if needed.
func (r *Registry) Set(path string, v Value) {
	k := r.make(path)
	k.own()
	for i := range k.values {
		if strings.EqualFold(k.values[i].Name, v.Name) {
			k.values[i] = v
			return
		}
	}
	k.values = append(k.values, v)
}

// SetText writes a REG_SZ.
func (r *Registry) SetText(path, name, text string) {
	r.Set(path, Value{Name: name, Type: SZ, Text: text})
}

// SetNum writes a REG_DWORD.
func (r *Registry) SetNum(path, name string, n uint32) {
	r.Set(path, Value{Name: name, Type: DWORD, Num: uint64(n)})
}

// Unset deletes a value.
func (r *Registry) Unset(path, name string) bool {
	k := r.find(path)
	if k == nil {
		return false
	}
	before := len(k.all())
	k.own()
	k.values = slices.DeleteFunc(k.values, func(v Value) bool { return strings.EqualFold(v.Name, name) })
	return len(k.values) < before
}

// Delete deletes a key with everything below it.
func (r *Registry) Delete(path string) bool {
	e := elements(path)
	if len(e) == 0 {
		return false
	}
	parent := r.find(strings.Join(e[:len(e)-1], `\`))
	if parent == nil || parent.sub(e[len(e)-1]) == nil {
		return false
	}
	parent.subs = slices.DeleteFunc(parent.subs, func(s *key) bool { return strings.EqualFold(s.name, e[len(e)-1]) })
	return true
}

// Copy copies a key's values, and with deep everything below it.
func (r *Registry) Copy(from, to string, deep bool) bool {
	src := r.find(from)
	if src == nil {
		return false
	}
	copyKey(src, r.make(to), deep)
	return true
}

func copyKey(src, dst *key, deep bool) {
	dst.own()
	for _, v := range src.all() {
		dst.values = slices.DeleteFunc(dst.values, func(o Value) bool { return strings.EqualFold(o.Name, v.Name) })
		dst.values = append(dst.values, v)
	}
	if !deep {
		return
	}
	for _, s := range src.subs {
		d := dst.sub(s.name)
		if d == nil {
			d = &key{name: s.name}
			dst.subs = append(dst.subs, d)
		}
		copyKey(s, d, true)
	}
}

// share gives a key the values of a base that other computers show, too.
func (r *Registry) share(path string, base []Value) { r.make(path).base = base }

// query prints a key as reg query does: a blank line, the path, the values.
func (r *Registry) query(path string, deep bool, only string, one bool) (string, bool) {
	k := r.find(path)
	if k == nil {
		return "", false
	}
	var b strings.Builder
	full := `HKEY_LOCAL_MACHINE`
	if e := elements(path); len(e) > 0 {
		full += `\` + strings.Join(e, `\`)
	}
	found := printKey(&b, k, full, deep, only, one)
	if found && (deep || one) { // an empty line ends what was found
		b.WriteString("\r\n")
	}
	return b.String(), found || !one
}

func printKey(b *strings.Builder, k *key, path string, deep bool, only string, one bool) bool {
	found := false
	values := k.all()
	if one {
		values = slices.DeleteFunc(slices.Clone(values), func(v Value) bool { return !strings.EqualFold(v.Name, only) })
	}
	if len(values) > 0 || (!one && !deep) {
		fmt.Fprintf(b, "\r\n%s\r\n", path)
		found = true
	}
	for _, v := range values {
		name := v.Name
		if name == "" {
			name = "(Default)"
		}
		fmt.Fprintf(b, "    %s    %s    %s\r\n", name, typeNames[v.Type], v)
	}
	if !deep && !one {
		b.WriteString("\r\n")
		for _, s := range k.subs {
			fmt.Fprintf(b, "%s\\%s\r\n", path, s.name)
		}
	}
	if deep {
		for _, s := range k.subs {
			found = printKey(b, s, path+`\`+s.name, true, only, one) || found
		}
	}
	return found
}

// parseValue reads what reg add is given.
func parseValue(name, typ, data string) (Value, error) {
	v := Value{Name: name, Type: SZ, Text: data}
	switch strings.ToUpper(cmp.Or(typ, "REG_SZ")) {
	case "REG_SZ":
	case "REG_EXPAND_SZ":
		v.Type = ExpandSZ
	case "REG_DWORD":
		n, err := strconv.ParseUint(data, 0, 32)
		if err != nil {
			return v, fmt.Errorf("bad REG_DWORD %q", data)
		}
		v = Value{Name: name, Type: DWORD, Num: n}
	case "REG_MULTI_SZ":
		v = Value{Name: name, Type: MultiSZ, List: strings.Split(data, `\0`)}
	case "REG_BINARY":
		raw, err := hex.DecodeString(data)
		if err != nil {
			return v, fmt.Errorf("bad REG_BINARY %q", data)
		}
		v = Value{Name: name, Type: Binary, Data: raw}
	case "REG_QWORD":
		n, err := strconv.ParseUint(data, 0, 64)
		if err != nil {
			return v, fmt.Errorf("bad REG_QWORD %q", data)
		}
		v = Value{Name: name, Type: QWORD, Num: n}
	default:
		return v, fmt.Errorf("unknown type %q", typ)
	}
	return v, nil
}
