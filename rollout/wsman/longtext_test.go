package wsman

import (
	"reflect"
	"strings"
	"testing"
)

func TestLongTextsAreReadAsAnyOther(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("QUJD", liftAt)
	for name, doc := range map[string]string{
		"one":                       "<a><b>" + long + "</b></a>",
		"two":                       "<a><b>" + long + "</b>x<b>" + long + "=</b><c/></a>",
		"short ones around":         "<a><b>x</b><b>" + long + "</b><b>y</b></a>",
		"the root's own":            "<a>" + long + "</a>",
		"text before children":      "<a>" + long + "<b>x</b></a>",
		"in a comment":              "<a><!-- >" + long + "<  --><b>x</b></a>",
		"in CDATA":                  "<a><![CDATA[>" + long + "<]]></a>",
		"in an attribute":           `<a b=">` + long + `"/>`,
		"around a comment":          "<a>" + long + "<!-- x -->" + long + "</a>",
		"not base64":                "<a>" + long + " &amp;</a>",
		"a mark of the host's own":  "<a><b>" + liftMark + "0</b><c>" + long + "</c></a>",
		"a mark after the real one": "<a><c>" + long + "</c><b>" + liftMark + "0</b></a>",
		"nothing after it":          "<a>" + long,
		"no end":                    "<a>" + long + "</a",
		"wrong end":                 "<a>" + long + "</b>",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, wantErr := parse([]byte(doc))
			got, err := Parse([]byte(doc))
			if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
				t.Errorf("%v, want %v (%v, want %v)", got, want, err, wantErr)
			}
		})
	}
}

func FuzzLongTexts(f *testing.F) {
	long := strings.Repeat("QUJD", liftAt/4)
	f.Add("<a><b>", "</b></a>")
	f.Add("<a><![CDATA[>", "<]]></a>")
	f.Add("<a><b>"+liftMark+"0</b><c>", "</c></a>")
	f.Fuzz(func(t *testing.T, before, after string) {
		doc := []byte(before + long + after)
		want, wantErr := parse(doc)
		got, err := Parse(doc)
		if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: differs from the plain parser: %v, want %v", before+"..."+after, err, wantErr)
		}
	})
}
