package hook

import (
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzSaid: what another program says becomes a line that steers no terminal and ends.
func FuzzSaid(f *testing.F) {
	for _, text := range []string{"freeze until Monday\n", "\n\n \x1b[2J no", "\xff\xfe", "\u009b2J", "\u202eno", "\u2028no"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l limited
		_, _ = l.Write([]byte(text))
		line := l.first()
		if !utf8.ValidString(line) || utf8.RuneCountInString(line) > 200 {
			t.Errorf("%q becomes %q", text, line)
		}
		for _, r := range line {
			if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
				t.Errorf("%q becomes %q", text, line)
			}
		}
	})
}
