package taxiiserver

import (
	"bytes"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// A text is quoted as the library quotes it, whatever byte it has at whatever place of the eight that are looked
// at together.
func TestTextsAreQuoted(t *testing.T) {
	for n := range 20 {
		for at := range n {
			for c := range 256 {
				for _, around := range []byte{'a', 0, '"', 0xff} {
					s := bytes.Repeat([]byte{'a'}, n)
					s[(at+1)%n] = around
					s[at] = byte(c)
					want, _ := jsontext.AppendQuote([]byte("x"), s)
					if got := appendText([]byte("x"), s); !bytes.Equal(got, want) {
						t.Fatalf("%q is quoted as %s, not %s", s, got, want)
					}
				}
			}
		}
	}
}

// FuzzAppendText quotes any text as the library does.
func FuzzAppendText(f *testing.F) {
	f.Add("indicator--26ffb872-1dd9-446e-b6f5-d58527e5b5d2")
	f.Add("\x7f\xff\" \\é\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		want, _ := jsontext.AppendQuote(nil, s)
		if got := appendText(nil, s); !bytes.Equal(got, want) {
			t.Errorf("%q is quoted as %s, not %s", s, got, want)
		}
	})
}
