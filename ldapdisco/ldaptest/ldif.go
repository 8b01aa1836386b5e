package ldaptest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// ParseLDIF reads entries (RFC 2849): comments, folded lines, base64, and changetype add at most.
func ParseLDIF(r io.Reader) ([]Entry, error) {
	p := ldifParser{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSuffix(s.Text(), "\r")
		if strings.HasPrefix(line, " ") && p.pending != "" { // folded, RFC 2849 note 2
			p.pending += line[1:]
			continue
		}
		if err := p.flush(); err != nil {
			return nil, err
		}
		p.pending, p.line = line, n
		if line == "" {
			p.end()
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read LDIF: %w", err)
	}
	if err := p.flush(); err != nil {
		return nil, err
	}
	p.end()
	return p.entries, nil
}

type ldifParser struct {
	entries []Entry
	current *Entry
	pending string // a line that may go on
	line    int
}

func (p *ldifParser) end() {
	if p.current != nil {
		p.entries = append(p.entries, *p.current)
		p.current = nil
	}
}

func (p *ldifParser) flush() error {
	line := p.pending
	p.pending = ""
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	name, value, err := p.split(line)
	if err != nil {
		return err
	}
	switch {
	case p.current == nil && strings.EqualFold(name, "version"):
	case strings.EqualFold(name, "dn"):
		if p.current != nil {
			return fmt.Errorf("LDIF line %d: dn inside an entry; entries are separated by an empty line", p.line)
		}
		p.current = &Entry{DN: value}
	case p.current == nil:
		return fmt.Errorf("LDIF line %d: %s before dn", p.line, name)
	case strings.EqualFold(name, "changetype"):
		if value != "add" {
			return fmt.Errorf("LDIF line %d: changetype %s", p.line, value)
		}
	default:
		p.current.Put(name, append(p.current.Values(name), value)...)
	}
	return nil
}

func (p *ldifParser) split(line string) (name, value string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return "", "", fmt.Errorf("LDIF line %d: not an attribute: %q", p.line, line)
	}
	encoded, is64 := strings.CutPrefix(value, ":")
	if !is64 {
		return name, strings.TrimLeft(value, " "), nil
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", fmt.Errorf("LDIF line %d: %s: %w", p.line, name, err)
	}
	return name, string(b), nil
}
