package ldapdisco

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// entry reads attributes as what they are; what is missing or malformed reads as nothing.
type entry struct{ *ldap.Entry }

// attribute finds by name without regard to case.
func (e entry) attribute(name string) *ldap.EntryAttribute {
	for _, a := range e.Attributes {
		if strings.EqualFold(a.Name, name) {
			return a
		}
	}
	return nil
}

// bytes is the first value.
func (e entry) bytes(name string) []byte {
	if all := e.allBytes(name); len(all) > 0 {
		return all[0]
	}
	return nil
}

func (e entry) allBytes(name string) [][]byte {
	if a := e.attribute(name); a != nil {
		return a.ByteValues
	}
	return nil
}

// text is the first value as a string that may be printed.
func (e entry) text(name string) string {
	if a := e.attribute(name); a != nil && len(a.Values) > 0 {
		return clean(a.Values[0])
	}
	return ""
}

func (e entry) texts(name string) []string {
	a := e.attribute(name)
	if a == nil || len(a.Values) == 0 {
		return nil
	}
	all := make([]string, len(a.Values))
	for i, v := range a.Values {
		all[i] = clean(v)
	}
	return all
}

// clean replaces what is no UTF-8.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (e entry) number(name string) int64 {
	n, err := strconv.ParseInt(e.text(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// flags are unsigned, but the directory writes 32-bit integers with a sign ([MS-ADTS] 3.1.1.2.2.2.4).
func (e entry) flags(name string) uint32 { return uint32(e.number(name)) }

const (
	ticksPerSecond = 10_000_000  // FILETIME counts 100 ns, [MS-DTYP] 2.3.3
	epochOffset    = 11644473600 // seconds from 1601 to 1970
)

// fileTime is zero for never: 0 and the largest number.
func (e entry) fileTime(name string) time.Time {
	n := e.number(name)
	if n <= 0 || n == 1<<63-1 {
		return time.Time{}
	}
	return time.Unix(n/ticksPerSecond-epochOffset, n%ticksPerSecond*100).UTC()
}

// generalizedTime is 20261123020000.0Z.
func (e entry) generalizedTime(name string) time.Time {
	t, err := time.Parse("20060102150405.0Z", e.text(name))
	if err != nil {
		return time.Time{}
	}
	return t
}

const rangeOption = ";range="

// complete fetches the values of multi-valued attributes that the server gives in portions ([MS-ADTS] 3.1.1.3.1.3.3).
func (d *Directory) complete(ctx context.Context, op string, e entry) error {
	for i := range e.Attributes {
		name, span, ok := cutRange(e.Attributes[i].Name)
		if !ok {
			continue
		}
		if err := d.fetchRest(ctx, op, e, e.Attributes[i], name, span); err != nil {
			return err
		}
	}
	return nil
}

// cutRange takes member;range=0-1499 apart.
func cutRange(name string) (attr, span string, ok bool) {
	i := strings.Index(strings.ToLower(name), rangeOption)
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+len(rangeOption):], true
}

// maxValues bounds what one attribute may hold for us.
const maxValues = 5_000_000

func (d *Directory) fetchRest(ctx context.Context, op string, e entry, into *ldap.EntryAttribute, name, span string) error {
	for {
		_, last, _ := strings.Cut(span, "-")
		if last == "*" {
			break
		}
		end, err := strconv.Atoi(last)
		if err != nil || end < 0 || end+1 != len(into.Values) || end > maxValues {
			return d.fail(op, fmt.Errorf("the server numbered the values of %s of %s wrongly: range=%s", name, clean(e.DN), span))
		}
		more, err := d.entry(ctx, op, e.DN, fmt.Sprintf("%s%s%d-*", name, rangeOption, end+1))
		if err != nil {
			return err
		}
		part := more.ranged(name)
		if part == nil || len(part.Values) == 0 {
			return d.fail(op, fmt.Errorf("the server broke off the values of %s of %s after %d", name, clean(e.DN), end+1))
		}
		into.Values = append(into.Values, part.Values...)
		into.ByteValues = append(into.ByteValues, part.ByteValues...)
		_, span, _ = cutRange(part.Name)
	}
	e.dropEmpty(name)
	into.Name = name
	return nil
}

func (e entry) ranged(name string) *ldap.EntryAttribute {
	for _, a := range e.Attributes {
		if n, _, ok := cutRange(a.Name); ok && strings.EqualFold(n, name) {
			return a
		}
	}
	return nil
}

// dropEmpty removes the empty attribute that some servers send along with the ranged one.
func (e entry) dropEmpty(name string) {
	if a := e.attribute(name); a != nil && len(a.Values) == 0 {
		a.Name = ""
	}
}
