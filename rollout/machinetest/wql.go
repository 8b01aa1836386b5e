package machinetest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// query is a WQL SELECT, [MS-WMI] 2.2.1.1 as far as one class goes.
type query struct {
	class   string
	columns []string
	where   condition // nil: every instance
}

type condition func(instance) bool

var (
	selectForm = regexp.MustCompile(`(?is)^\s*select\s+(.+?)\s+from\s+(\w+)(?:\s+where\s+(.+?))?\s*$`)
	columnForm = regexp.MustCompile(`^\w+$`)
	wqlToken   = regexp.MustCompile(`^\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|<>|!=|<=|>=|[()=<>]|[\w.:+-]+)`)
)

func parseWQL(s string) (query, bool) {
	m := selectForm.FindStringSubmatch(s)
	if m == nil {
		return query{}, false
	}
	q := query{class: m[2]}
	if strings.TrimSpace(m[1]) != "*" {
		for _, col := range strings.Split(m[1], ",") {
			col = strings.TrimSpace(col)
			if !columnForm.MatchString(col) {
				return query{}, false
			}
			q.columns = append(q.columns, col)
		}
	}
	if m[3] == "" {
		return q, true
	}
	p := wqlParser{}
	for rest := m[3]; strings.TrimSpace(rest) != ""; {
		t := wqlToken.FindStringSubmatch(rest)
		if t == nil {
			return query{}, false
		}
		p.tokens = append(p.tokens, t[1])
		rest = rest[len(t[0]):]
	}
	q.where = p.or()
	return q, !p.bad && len(p.tokens) == 0
}

func (q query) accepts(in instance) bool { return q.where == nil || q.where(in) }

// wqlParser goes down from OR over AND and NOT to comparisons.
type wqlParser struct {
	tokens []string
	bad    bool
}

func (p *wqlParser) next() string {
	if len(p.tokens) == 0 {
		p.bad = true
		return ""
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

// word takes the token if it comes next.
func (p *wqlParser) word(w string) bool {
	if len(p.tokens) == 0 || !strings.EqualFold(p.tokens[0], w) {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

func (p *wqlParser) or() condition {
	c := p.and()
	for p.word("or") {
		a, b := c, p.and()
		c = func(i instance) bool { return a(i) || b(i) }
	}
	return c
}

func (p *wqlParser) and() condition {
	c := p.one()
	for p.word("and") {
		a, b := c, p.one()
		c = func(i instance) bool { return a(i) && b(i) }
	}
	return c
}

func (p *wqlParser) one() condition {
	switch {
	case p.bad:
		return func(instance) bool { return false }
	case p.word("not"):
		c := p.one()
		return func(i instance) bool { return !c(i) }
	case p.word("("):
		c := p.or()
		p.bad = p.bad || !p.word(")")
		return c
	}
	name, op := p.next(), strings.ToLower(p.next())
	if p.bad = p.bad || !columnForm.MatchString(name) || !slices.Contains([]string{"=", "<>", "!=", "<", ">", "<=", ">=", "like"}, op); p.bad {
		return func(instance) bool { return false }
	}
	value := literal(p.next())
	return func(i instance) bool { return holds(strings.TrimPrefix(i.get(name), referenceMark), op, value) }
}

func literal(t string) string {
	if len(t) >= 2 && (t[0] == '\'' || t[0] == '"') {
		return regexp.MustCompile(`\\(.)`).ReplaceAllString(t[1:len(t)-1], "$1")
	}
	return t
}

// holds compares numbers as numbers, and texts without regard to case.
func holds(have, op, want string) bool {
	order := strings.Compare(strings.ToLower(have), strings.ToLower(want))
	a, err1 := strconv.ParseInt(have, 10, 64)
	b, err2 := strconv.ParseInt(want, 10, 64)
	if err1 == nil && err2 == nil {
		order = int(max(-1, min(1, a-b)))
	}
	switch op {
	case "=":
		return order == 0
	case "<>", "!=":
		return order != 0
	case "<":
		return order < 0
	case ">":
		return order > 0
	case "<=":
		return order <= 0
	case ">=":
		return order >= 0
	}
	p := "(?is)^" + strings.NewReplacer("%", ".*", "_", ".").Replace(regexp.QuoteMeta(want)) + "$"
	ok, err := regexp.MatchString(p, have)
	return err == nil && ok
}
