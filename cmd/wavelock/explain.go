package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wavelock/ldapdisco"
	"wavelock/rollout"
)

func newExplain(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "explain [CODE]", GroupID: "help", Args: atMost("a reason code"),
		Short:   "Explain a reason code, and what to do about it",
		Long:    "Explain what a reason code means and what to do about it. Without one, list all.",
		Example: "  wavelock explain gpo-owned-listener\n  wavelock explain -o json",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var codes []string
			for _, e := range glossary() {
				codes = append(codes, e.Code+"\t"+e.Title)
			}
			return only(args, codes)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.explainAll()
			}
			return a.explain(args[0])
		},
	}
}

// explanation is a code that users see, with the text of the table that it comes from.
type explanation struct {
	Code  string `json:"code"`
	Title string `json:"title"`
	Hint  string `json:"hint"`
	About string `json:"about"` // a host, or an account in the directory
}

// glossary is every reason code that a table of this program can show.
func glossary() []explanation {
	var all []explanation
	for _, r := range rollout.Reasons() {
		all = append(all, explanation{string(r), r.Title(), r.Hint(), "host"})
	}
	for _, p := range ldapdisco.ProblemTexts() {
		all = append(all, explanation{p.Code, p.Title, p.Hint, "account"})
	}
	return all
}

// explained finds a code's text.
func explained(code string) (explanation, bool) {
	all := glossary()
	if i := slices.IndexFunc(all, func(e explanation) bool { return e.Code == code }); i >= 0 {
		return all[i], true
	}
	return explanation{Code: code}, false
}

func (a *app) explain(code string) error {
	e, ok := explained(strings.ToLower(code))
	if !ok {
		return failWith(exitUsage, nearCodes(code), "%q is no reason code", code)
	}
	if a.output != "table" {
		t := table{head: []string{"CODE", "ABOUT", "MEANS", "WHAT TO DO"}}
		t.add(e.Code, e.About, e.Title, e.Hint)
		return t.write(a.out, a.output, e)
	}
	fmt.Fprintf(a.out, "%s: %s\n\n", e.Code, e.Title)
	_, err := fmt.Fprintf(a.out, "%s\n", fold(e.Hint, 78, "  "))
	return err
}

// nearCodes is a hint at the codes that may be meant: those that share a word.
func nearCodes(code string) string {
	var sharing, all []string
	words := strings.FieldsFunc(strings.ToLower(code), func(r rune) bool { return r == '-' || r == '_' || r == ' ' })
	for _, e := range glossary() {
		all = append(all, e.Code)
		if slices.ContainsFunc(words, func(w string) bool { return len(w) > 2 && strings.Contains(e.Code, w) }) {
			sharing = append(sharing, e.Code)
		}
	}
	if len(sharing) == 0 {
		return didYouMean(code, all, "wavelock explain lists them all")
	}
	return "did you mean " + listed(sharing, 4) + "?"
}

func (a *app) explainAll() error {
	t := table{head: []string{"CODE", "ABOUT", "MEANS"}}
	if a.output == "csv" {
		t.head = append(t.head, "WHAT TO DO")
	}
	all := glossary()
	for _, e := range all {
		if a.output == "csv" {
			t.add(e.Code, e.About, e.Title, e.Hint)
			continue
		}
		t.add(e.Code, e.About, e.Title)
	}
	return t.write(a.out, a.output, all)
}

// fold breaks a text into lines no wider than width, each after the indent.
func fold(s string, width int, indent string) string {
	var b strings.Builder
	column := 0
	for _, w := range strings.Fields(printable(s)) {
		n := columns(w)
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+n > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(w)
		column += n
	}
	return b.String()
}
