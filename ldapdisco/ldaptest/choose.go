package ldaptest

import (
	"fmt"
	"strings"
)

// saclWanted is the part of a descriptor that only those with the right to manage auditing get ([MS-ADTS] 3.1.1.3.4.1.11).
const saclWanted = 8

// choose gives the attributes that a search asked for. Without a list, that is all but the costly and the secret ones.
func (s *Server) choose(v *view, q *search) []Attribute {
	var chosen []Attribute
	add := func(a Attribute) {
		if strings.EqualFold(a.Name, "nTSecurityDescriptor") && (!q.sdAsked || q.sd&saclWanted != 0) {
			return
		}
		if q.typesOnly {
			a.Values = nil
		}
		chosen = append(chosen, a)
	}
	if len(q.attrs) == 0 || contains(q.attrs, "*") {
		for _, a := range v.all() {
			if !strings.EqualFold(a.Name, "nTSecurityDescriptor") {
				add(s.limited(a.Name, a.Values, 0, -1))
			}
		}
	}
	for _, asked := range q.attrs {
		if asked == "*" || asked == "+" || asked == "1.1" {
			continue
		}
		if a, ok := s.attribute(v, q, asked); ok {
			add(a)
		}
	}
	return chosen
}

// attribute finds one that was asked for by name, with a range or without.
func (s *Server) attribute(v *view, q *search, asked string) (Attribute, bool) {
	name, option, _ := strings.Cut(asked, ";")
	key := strings.ToLower(name)
	values := v.values(key)
	if key == "tokengroups" && q.scope == scopeBase { // worked out for a single object only
		values = v.tokenGroups()
	}
	if len(values) == 0 {
		return Attribute{}, false
	}
	for _, a := range v.entry.Attributes { // in the schema's spelling
		if strings.EqualFold(a.Name, name) {
			name = a.Name
		}
	}
	first, last := 0, -1
	if span, ok := strings.CutPrefix(strings.ToLower(option), "range="); ok {
		var err error
		if first, last, err = parseRange(span); err != nil || first >= len(values) {
			return Attribute{}, false
		}
	}
	return s.limited(name, values, first, last), true
}

// limited splits long attributes: member;range=0-1499 ([MS-ADTS] 3.1.1.3.1.3.3).
func (s *Server) limited(name string, values []string, first, last int) Attribute {
	end := len(values)
	if last >= 0 {
		end = min(end, last+1)
	}
	end = min(end, first+s.cfg.MaxValRange)
	switch {
	case first == 0 && end == len(values) && last < 0:
		return Attribute{name, values}
	case end == len(values):
		return Attribute{fmt.Sprintf("%s;range=%d-*", name, first), values[first:]}
	}
	return Attribute{fmt.Sprintf("%s;range=%d-%d", name, first, end-1), values[first:end]}
}

func contains(list []string, want string) bool {
	for _, s := range list {
		if strings.EqualFold(s, want) {
			return true
		}
	}
	return false
}

// wanted tells if a list of attributes asks for one.
func wanted(list []string, name string) bool {
	return len(list) == 0 || contains(list, "*") || contains(list, "+") || contains(list, name)
}
