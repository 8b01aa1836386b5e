package main

import (
	"reflect"
	"slices"
	"strings"
)

// near are the words that a mistyped one may stand for, the nearest first, three at most: an error or two of typing away,
// or beginning alike.
func near(typed string, words []string) []string {
	typed = strings.ToLower(typed)
	if typed == "" {
		return nil
	}
	allowed := 1 + min(len(typed)/4, 2)
	type hit struct {
		word string
		far  int
	}
	var hits []hit
	for _, w := range words {
		lower := strings.ToLower(w)
		far := distance(typed, lower)
		if begins := len(typed) > 2 && strings.HasPrefix(lower, typed); begins && far > allowed {
			far = allowed
		}
		if far <= allowed && far < len(lower) {
			hits = append(hits, hit{w, far})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return a.far - b.far })
	var best []string
	for _, h := range hits {
		if len(best) < 3 && !slices.Contains(best, h.word) {
			best = append(best, h.word)
		}
	}
	return best
}

// didYouMean is a hint: the words that may be meant, else what else can be done.
func didYouMean(typed string, words []string, otherwise string) string {
	if best := near(typed, words); len(best) > 0 {
		return "did you mean " + strings.Join(best, " or ") + "?"
	}
	return otherwise
}

// distance counts the letters to be put in, left out, changed, or swapped with their neighbour.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// keysOf are the names of all keys of a type's YAML, at any depth.
func keysOf(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keysOf(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("yaml")
		if !ok {
			tag = f.Tag.Get("json") // which the decoder takes, too
		}
		if name, _, _ := strings.Cut(tag, ","); name != "" && name != "-" {
			keys = append(append(keys, name), keysOf(f.Type)...)
		}
	}
	return keys
}
