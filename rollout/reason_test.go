package rollout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// declared reads the constants of a type from a source file, so that nobody has
// to remember to list a new one here.
func declared(t *testing.T, file, typ string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); !ok || id.Name != typ {
				continue
			}
			for _, x := range v.Values {
				s, err := strconv.Unquote(x.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, s)
			}
		}
	}
	if len(values) == 0 {
		t.Fatalf("%s declares no constant of type %s", file, typ)
	}
	return values
}

func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	codes := declared(t, "reason.go", "Reason")
	for _, code := range codes {
		r := Reason(code)
		switch text, ok := reasons[r]; {
		case !ok || text.title == "" || text.hint == "":
			t.Errorf("%s has title %q and hint %q", r, text.title, text.hint)
		case strings.HasSuffix(text.title, ".") || strings.HasSuffix(text.hint, "."):
			t.Errorf("the texts of %s end with a full stop", r)
		}
		if n := count(Reasons(), r); n != 1 {
			t.Errorf("%s is %d times in the order of the table", r, n)
		}
		if count(codes, code) != 1 {
			t.Errorf("%s is declared twice", r)
		}
	}
	if len(reasons) != len(codes) || len(Reasons()) != len(codes) {
		t.Errorf("%d codes, %d texts, %d in the order", len(codes), len(reasons), len(Reasons()))
	}
	if r := Reason("of a newer version"); r.Title() != "of a newer version" || r.Hint() != "" {
		t.Errorf("an unknown code is titled %q with the hint %q", r.Title(), r.Hint())
	}
}

func count[T comparable](all []T, one T) (n int) {
	for _, x := range all {
		if x == one {
			n++
		}
	}
	return n
}

func TestEveryClassIsListed(t *testing.T) {
	t.Parallel()
	for _, c := range declared(t, "event.go", "Class") {
		if count(Classes(), Class(c)) != 1 {
			t.Errorf("%s is not once in Classes", c)
		}
	}
}

func TestEveryStepThatChangesTheHostWrites(t *testing.T) {
	t.Parallel()
	reading := []StepKind{StepInspect, StepProve, StepProveClosed, StepProveNarrow, StepSubmit, StepFinish}
	for _, s := range declared(t, "step.go", "StepKind") {
		if k := StepKind(s); k.Writes() == slices.Contains(reading, k) {
			t.Errorf("%s writes: %v", k, k.Writes())
		}
	}
}

func TestEveryOutcomeHasItsPlaceInTheView(t *testing.T) {
	t.Parallel()
	for _, s := range declared(t, "outcome.go", "Outcome") {
		if o := Outcome(s); o != Passed && gravity(s) < 0 {
			t.Errorf("%s is sorted nowhere", o)
		}
	}
}

func TestFailureSpeaks(t *testing.T) {
	t.Parallel()
	f := failed(StepEnroll, ReasonEnrollDenied, nil)
	if got, want := f.Error(), "enroll on web1.corp.example: enroll-denied: it says"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if f.Hint() != ReasonEnrollDenied.Hint() || f.Unwrap() == nil {
		t.Errorf("hint %q, cause %v", f.Hint(), f.Unwrap())
	}
}
