package machinetest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

const regFileHead = "Windows Registry Editor Version 5.00\r\n"

// export writes a key and all below it as a .reg file: UTF-16 with its mark.
func (r *Registry) export(path string) ([]byte, bool) {
	k := r.find(path)
	if k == nil {
		return nil, false
	}
	var b strings.Builder
	b.WriteString(regFileHead)
	exportKey(&b, k, strings.Join(append([]string{"HKEY_LOCAL_MACHINE"}, elements(path)...), `\`))
	return toUTF16("\ufeff" + b.String()), true
}

func exportKey(b *strings.Builder, k *key, path string) {
	fmt.Fprintf(b, "\r\n[%s]\r\n", path)
	for _, v := range k.all() {
		name := "@"
		if v.Name != "" {
			name = quoted(v.Name)
		}
		b.WriteString(name + "=" + v.file() + "\r\n")
	}
	for _, s := range k.subs {
		exportKey(b, s, path+`\`+s.name)
	}
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// file is a value in a .reg file; lines are not broken.
func (v Value) file() string {
	switch v.Type {
	case SZ:
		return quoted(v.Text)
	case DWORD:
		return fmt.Sprintf("dword:%08x", v.Num)
	case QWORD:
		return "hex(b):" + commas(binary.LittleEndian.AppendUint64(nil, v.Num))
	case Binary:
		return "hex:" + commas(v.Data)
	case MultiSZ:
		return "hex(7):" + commas(toUTF16(strings.Join(append(v.List, ""), "\x00")+"\x00"))
	}
	return "hex(2):" + commas(toUTF16(v.Text+"\x00"))
}

func commas(b []byte) string {
	parts := make([]string, len(b))
	for i, c := range b {
		parts[i] = fmt.Sprintf("%02x", c)
	}
	return strings.Join(parts, ",")
}

func toUTF16(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func fromUTF16(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}

var (
	fileValue = regexp.MustCompile(`^(@|"(?:[^"\\]|\\.)*")=(.*)$`)
	//nolint:staticcheck // reg.exe's own words
	errNotAFile = errors.New("The specified file is not a registry script. You can only import registry files.")
)

// load merges a .reg file.
func (r *Registry) load(file []byte) error {
	text := strings.TrimPrefix(fromUTF16(file), "\ufeff")
	rest, ok := strings.CutPrefix(text, regFileHead)
	if !ok {
		return errNotAFile
	}
	path := ""
	for line := range strings.Lines(rest) {
		line = strings.TrimRight(line, "\r\n")
		switch m := fileValue.FindStringSubmatch(line); {
		case line == "":
		case strings.HasPrefix(line, "[-"):
			r.Delete(strings.Trim(line, "[-]"))
		case strings.HasPrefix(line, "["):
			path = strings.Trim(line, "[]")
			r.make(path)
		case m == nil || path == "":
			return errNotAFile
		default:
			v, err := parseFileValue(m[2])
			if err != nil {
				return err
			}
			if m[1] != "@" {
				v.Name = unquoted(m[1])
			}
			r.Set(path, v)
		}
	}
	return nil
}

func unquoted(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s[1 : len(s)-1])
}

func parseFileValue(s string) (Value, error) {
	if strings.HasPrefix(s, `"`) && len(s) > 1 {
		return Value{Type: SZ, Text: unquoted(s)}, nil
	}
	kind, data, _ := strings.Cut(s, ":")
	if kind == "dword" {
		n, err := strconv.ParseUint(data, 16, 32)
		return Value{Type: DWORD, Num: n}, err
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(data, ",", ""))
	if err != nil {
		return Value{}, err
	}
	switch kind {
	case "hex":
		return Value{Type: Binary, Data: raw}, nil
	case "hex(2)":
		return Value{Type: ExpandSZ, Text: strings.TrimRight(fromUTF16(raw), "\x00")}, nil
	case "hex(7)":
		return Value{Type: MultiSZ, List: strings.Split(strings.TrimRight(fromUTF16(raw), "\x00"), "\x00")}, nil
	case "hex(b)":
		if len(raw) == 8 {
			return Value{Type: QWORD, Num: binary.LittleEndian.Uint64(raw)}, nil
		}
	}
	return Value{}, errNotAFile
}
