package ldapdisco_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"wavelock/ldapdisco"
)

// TestEveryProblemIsExplained reads the codes from the source, so that nobody has to remember to list a new one.
func TestEveryProblemIsExplained(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		g, ok := n.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			return true
		}
		for _, s := range g.Specs {
			for _, v := range s.(*ast.ValueSpec).Values {
				code, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				declared[code] = true
			}
		}
		return true
	})
	if len(declared) < 10 {
		t.Fatalf("only %d codes were found", len(declared))
	}
	for _, p := range ldapdisco.ProblemTexts() {
		if !declared[p.Code] {
			t.Errorf("%s is explained twice, or is no code", p.Code)
		}
		delete(declared, p.Code)
		if p.Title == "" || p.Hint == "" || strings.HasSuffix(p.Title, ".") || strings.HasSuffix(p.Hint, ".") {
			t.Errorf("%s: title %q, hint %q", p.Code, p.Title, p.Hint)
		}
	}
	for code := range declared {
		t.Errorf("%s is not explained", code)
	}
}
