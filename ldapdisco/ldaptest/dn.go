package ldaptest

import (
	"encoding/hex"
	"strings"
)

// normal writes a distinguished name so that equal names are equal strings: lower case, no space between parts, one way
// of escaping (RFC 4514).
func normal(dn string) string {
	if !strings.ContainsAny(dn, "\\ ") {
		return strings.ToLower(dn)
	}
	parts := splitDN(dn)
	for i, p := range parts {
		attr, value, _ := strings.Cut(p, "=")
		parts[i] = strings.TrimSpace(attr) + "=" + escapeValue(unescapeValue(trimValue(value)))
	}
	return strings.ToLower(strings.Join(parts, ","))
}

// splitDN cuts at the commas that are not escaped.
func splitDN(dn string) []string {
	var parts []string
	start := 0
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			parts = append(parts, dn[start:i])
			start = i + 1
		}
	}
	return append(parts, dn[start:])
}

// trimValue removes spaces around a value, but not one that is escaped.
func trimValue(v string) string {
	v = strings.TrimLeft(v, " ")
	t := strings.TrimRight(v, " ")
	if strings.HasSuffix(t, `\`) && len(t) < len(v) {
		t += " "
	}
	return t
}

func unescapeValue(v string) string {
	if !strings.Contains(v, `\`) {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] != '\\' || i+1 == len(v) {
			b.WriteByte(v[i])
			continue
		}
		if i+2 < len(v) {
			if raw, err := hex.DecodeString(v[i+1 : i+3]); err == nil {
				b.Write(raw)
				i += 2
				continue
			}
		}
		i++
		b.WriteByte(v[i])
	}
	return b.String()
}

func escapeValue(v string) string {
	var b strings.Builder
	for i := range len(v) {
		c := v[i]
		edge := c == ' ' && (i == 0 || i == len(v)-1) || c == '#' && i == 0
		if edge || strings.IndexByte(`,+"\<>;=`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// parent is the name without its first part.
func parent(dn string) string {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			return dn[i+1:]
		}
	}
	return ""
}

// rdn is attribute and value of the first part.
func rdn(dn string) (attr, value string) {
	attr, value, _ = strings.Cut(splitDN(dn)[0], "=")
	return strings.TrimSpace(attr), unescapeValue(trimValue(value))
}

// below tells if a name lies under a base or is it, both normal.
func below(dn, base string) bool {
	if len(dn) == len(base) {
		return dn == base
	}
	return base == "" || len(dn) > len(base) && dn[len(dn)-len(base)-1] == ',' && strings.HasSuffix(dn, base)
}

// canonicalName is corp.example/Servers/Web, [MS-ADTS] 3.1.1.4.5.10.
func canonicalName(dn string) string {
	var domain, path []string
	for _, p := range splitDN(dn) {
		attr, value := rdn(p)
		if strings.EqualFold(attr, "DC") {
			domain = append(domain, value)
		} else {
			path = append([]string{strings.ReplaceAll(value, "/", `\/`)}, path...)
		}
	}
	return strings.Join(domain, ".") + "/" + strings.Join(path, "/")
}
