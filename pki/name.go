package pki

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// attributeNames are the keywords that Windows and RFC 4514 write; pkix.Name knows
// no domain component, which every CA of a domain has.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET",
	"2.5.4.10": "O", "2.5.4.11": "OU", "0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID", "1.2.840.113549.1.9.1": "E",
}

// DistinguishedName writes a name in DER as RFC 4514 does, the most specific part first.
func DistinguishedName(raw []byte) string {
	var rdns pkix.RDNSequence
	if _, err := asn1.Unmarshal(raw, &rdns); err != nil {
		return ""
	}
	parts := make([]string, 0, len(rdns))
	for _, rdn := range slices.Backward(rdns) {
		var attributes []string
		for _, a := range rdn {
			attributes = append(attributes, attribute(a))
		}
		parts = append(parts, strings.Join(attributes, "+"))
	}
	return strings.Join(parts, ",")
}

func attribute(a pkix.AttributeTypeAndValue) string {
	key, known := attributeNames[a.Type.String()]
	value, text := a.Value.(string)
	if known && text {
		return key + "=" + escapeValue(value)
	}
	der, err := asn1.Marshal(a.Value)
	if err != nil { // a value that was parsed into nothing that encodes again
		return a.Type.String() + "=" + escapeValue(fmt.Sprint(a.Value))
	}
	return a.Type.String() + "=#" + hex.EncodeToString(der)
}

// escapeValue follows RFC 4514 2.4.
func escapeValue(s string) string {
	var b strings.Builder
	for i, r := range s {
		last := i+len(string(r)) == len(s)
		switch {
		case strings.ContainsRune(`,+"\<>;`, r), i == 0 && (r == ' ' || r == '#'), last && r == ' ':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\%02X`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// sameName compares distinguished names as people and the directory write them:
// in any case, with or without a blank after the comma.
func sameName(a, b string) bool { return strings.EqualFold(foldName(a), foldName(b)) }

// foldName drops the blanks around the commas that separate the parts.
func foldName(dn string) string {
	var b strings.Builder
	rest := strings.TrimSpace(dn)
	for i := 0; i < len(rest); i++ {
		switch {
		case rest[i] == '\\' && i+1 < len(rest):
			b.WriteString(rest[i : i+2])
			i++
		case rest[i] == ',':
			b.WriteByte(',')
			for i+1 < len(rest) && rest[i+1] == ' ' {
				i++
			}
		default:
			b.WriteByte(rest[i])
		}
	}
	return b.String()
}

// sameHost compares DNS names; a dot at the end makes no other host.
func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}
