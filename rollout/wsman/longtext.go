package wsman

import (
	"bytes"
	"strconv"
	"strings"
)

// The output of a command is base64 of up to a hundred thousand characters in one element, and encoding/xml takes text
// byte by byte. Such texts are lifted out before and put back after: a third of the work for a bulk read.

// liftAt is from which length on a text is worth it.
const liftAt = 2048

// liftMark stands in for a lifted text. Where a document has it by itself, or where a text was lifted from something that
// is no element, the marks do not match in the end and the document is parsed as it is.
const liftMark = "wavelock-lifted-"

// liftTexts replaces the long texts between > and < that are of base64's letters alone, none of which means anything to
// XML. It gives nil texts when there are none.
func liftTexts(b []byte) (short []byte, texts []string) {
	for rest := b; ; {
		i := bytes.IndexByte(rest, '>')
		if i < 0 {
			break
		}
		n := bytes.IndexByte(rest[i+1:], '<')
		if n < 0 {
			break
		}
		if text := rest[i+1 : i+1+n]; n >= liftAt && isBase64(text) {
			if texts == nil {
				short = make([]byte, 0, len(b)-n+64)
				short = append(short, b[:len(b)-len(rest)]...)
			}
			short = append(append(short, rest[:i+1]...), liftMark+strconv.Itoa(len(texts))...)
			texts = append(texts, string(text))
		} else if texts != nil {
			short = append(short, rest[:i+1+n]...)
		}
		rest = rest[i+1+n:]
		if len(rest) < liftAt {
			if texts != nil {
				short = append(short, rest...)
			}
			return short, texts
		}
	}
	return nil, nil // cut off in the middle: no document
}

// putBack gives the elements their texts again, each once and in order, and tells how many; -1 where a mark is out of place.
func putBack(root *Element, texts []string) int {
	next := 0
	var walk func(*Element) bool
	walk = func(e *Element) bool {
		if strings.Contains(e.Text, liftMark) {
			if next == len(texts) || e.Text != liftMark+strconv.Itoa(next) || len(e.Children) > 0 {
				return false
			}
			e.Text = texts[next]
			next++
		}
		for _, c := range e.Children {
			if !walk(c) {
				return false
			}
		}
		return true
	}
	if !walk(root) {
		return -1
	}
	return next
}

var base64Letter = func() (is [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") {
		is[c] = true
	}
	return is
}()

func isBase64(b []byte) bool {
	for _, c := range b {
		if !base64Letter[c] {
			return false
		}
	}
	return true
}
