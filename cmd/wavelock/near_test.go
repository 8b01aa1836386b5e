package main

import (
	"slices"
	"testing"
)

func TestNear(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typed string
		words []string
		want  []string
	}{
		{"sprng", []string{"autumn", "spring", "sprint"}, []string{"spring", "sprint"}},
		{"wbe01", []string{"app01", "web01"}, []string{"web01"}},
		{"WEB", []string{"web01.corp.example", "webfarm", "db"}, []string{"web01.corp.example", "webfarm"}},
		{"a", []string{"b", "c", "ab"}, []string{"ab"}},
		{"", []string{"a"}, nil},
		{"zebra", []string{"web01", "app01"}, nil},
		{"été", []string{"ete"}, nil},
		{"ab", []string{"ba"}, []string{"ba"}},
	} {
		if got := near(c.typed, c.words); !slices.Equal(got, c.want) {
			t.Errorf("%q is near %v, want %v", c.typed, got, c.want)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got, back := distance(c.a, c.b), distance(c.b, c.a); got != c.want || back != c.want {
			t.Errorf("%q and %q: %d and %d, want %d", c.a, c.b, got, back, c.want)
		}
	}
}
