package machinetest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	ifExist  = regexp.MustCompile(`(?i)^\s*@?if\s+exist\s+("[^"]*"|\S+)\s+(.*)$`)
	ifLess   = regexp.MustCompile(`(?i)^\s*@?if\s+(\S*)\s+lss\s+(\S+)\s+(.*)$`)
	isElse   = regexp.MustCompile(`(?i)^\s*else\s`)
	forHead  = regexp.MustCompile(`(?i)^\s*@?for\s+(/d\s+)?%([a-z])\s+in\s*$`)
	setItems = regexp.MustCompile(`"[^"]*"|[^ \t,;=]+`)
	forDo    = regexp.MustCompile(`(?i)^\s*do\s+(.*)$`)
)

// condition reads an if: whether it holds, and what of the text comes after it.
func (x *execution) condition(text string) (holds bool, then string, is bool) {
	if m := ifExist.FindStringSubmatch(text); m != nil {
		_, there := x.h.files[strings.ToLower(strings.Trim(m[1], `"`))]
		return there, m[2], true
	}
	if m := ifLess.FindStringSubmatch(text); m != nil {
		a, errA := strconv.Atoi(m[1])
		b, errB := strconv.Atoi(m[2])
		if errA != nil || errB != nil { // then they are compared as texts
			return strings.ToLower(m[1]) < strings.ToLower(m[2]), m[3], true
		}
		return a < b, m[3], true
	}
	return false, "", false
}

// branches executes what an if has to: all that is left of the line, or of the group, belongs to it, but for an else.
func (p *parser) branches(run, holds bool) int {
	code := p.sequence(run && holds)
	if len(p.toks) == 0 || p.peek() != "" || !isElse.MatchString(p.toks[0].text) {
		return code
	}
	p.toks[0].text = strings.TrimLeft(p.toks[0].text, " \t")[len("else"):]
	if c := p.sequence(run && !holds); !holds {
		code = c
	}
	return code
}

// loop executes a for over a set: with /d over the folders that match, otherwise over what stands there. All that is left
// of the line, or of the group, is its body.
func (p *parser) loop(run, folders bool, name string) int {
	p.toks = p.toks[1:]
	var set strings.Builder
	if p.peek() == "(" {
		for p.toks = p.toks[1:]; len(p.toks) > 0 && p.peek() != ")"; p.toks = p.toks[1:] {
			set.WriteString(p.toks[0].op + p.toks[0].text)
		}
	}
	if len(p.toks) < 2 || forDo.FindStringSubmatch(p.toks[1].text) == nil {
		p.toks = nil
		p.x.err.WriteString("The syntax of the command is incorrect.\r\n")
		return 1
	}
	body := slices.Clone(p.toks[1:])
	body[0].text = forDo.FindStringSubmatch(body[0].text)[1]
	items := setItems.FindAllString(set.String(), -1)
	if folders {
		items = p.x.h.folders(items)
	}
	code := 0
	for _, item := range items {
		inner := &parser{x: p.x, toks: p.x.h.substituted(body, name, item), depth: p.depth}
		if c := inner.sequence(run); run {
			code = c
		}
	}
	skip := &parser{x: p.x, toks: body, depth: p.depth}
	skip.sequence(false)
	p.toks = skip.toks
	return code
}

// substituted puts the value of a loop's variable into its body: %x, %~x without quotes, %~zx for a file's size.
func (h *Host) substituted(body []token, name, item string) []token {
	plain, size := strings.Trim(item, `"`), ""
	if b, ok := h.files[strings.ToLower(plain)]; ok {
		size = strconv.Itoa(len(b))
	}
	values := strings.NewReplacer("%~z"+name, size, "%~"+name, plain, "%"+name, item)
	out := slices.Clone(body)
	for i := range out {
		out[i].text = values.Replace(out[i].text)
	}
	return out
}

// folders are those in which files are and that match a pattern whose last part is *; they are in small letters, as files are.
func (h *Host) folders(patterns []string) []string {
	var out []string
	for _, p := range patterns {
		parent, all := strings.CutSuffix(strings.ToLower(strings.Trim(p, `"`)), "*")
		for name := range h.files {
			if rest, below := strings.CutPrefix(name, parent); all && below && strings.Contains(rest, `\`) {
				out = append(out, parent+rest[:strings.IndexByte(rest, '\\')])
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
