package main

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/width"
)

// columns is how wide a terminal shows a text: East Asian letters and pictures take two columns, marks on the letter
// before them none.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += columnsOf(r)
	}
	return n
}

func columnsOf(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// padded fills a text up with spaces to n columns.
func padded(s string, n int) string { return s + strings.Repeat(" ", max(0, n-columns(s))) }

// cut shortens a line to n columns.
func cut(s string, n int) string {
	s = strings.TrimRight(printable(s), " ")
	if columns(s) <= n {
		return s
	}
	sign := ellipsis()
	room := n - columns(sign)
	for i, r := range s {
		if room -= columnsOf(r); room < 0 {
			if n < columns(sign) {
				return s[:i]
			}
			return s[:i] + sign
		}
	}
	return s
}

// ellipsis says that something was cut off, in the letters that the terminal is said to have.
var ellipsis = sync.OnceValue(func() string {
	if runtime.GOOS == "windows" || utf8Locale(os.Getenv) {
		return "…"
	}
	return "..."
})

func utf8Locale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(env(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
