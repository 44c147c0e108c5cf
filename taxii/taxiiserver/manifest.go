package taxiiserver

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// manifest answers Get Object Manifests (section 5.3).
func (c *call) manifest() error {
	p, at, err := c.page(true)
	if err != nil || p == nil {
		return err
	}
	text := manifests.Get().(*[]byte)
	defer func() {
		if cap(*text) <= maxManifest {
			manifests.Put(text)
		}
	}()
	b := c.paging((*text)[:0], p, at)
	if p.Count > 0 {
		if b, err = appendRecords(append(b, `"objects":[`...), p.Facts); err != nil {
			return err
		}
		b = append(b, ']')
	}
	*text = append(b, '}')
	return c.text(http.StatusOK, *text)
}

// maxManifest is how much of memory is used again, in bytes: more than a manifest of MaxLimit records usually takes.
const maxManifest = 2 << 20

// manifests are what manifests are written into.
var manifests = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// appendRecords appends the records of a manifest (section 5.3.1).
func appendRecords(b []byte, facts iter.Seq2[*Fact, error]) ([]byte, error) {
	var r records
	start := len(b)
	for o, err := range facts {
		if err != nil {
			return b, err
		}
		b = r.append(b, o)
	}
	return b[:max(len(b)-1, start)], nil // behind the last one is no comma
}

// records writes records, which have much in common with those before.
type records struct {
	typ              string // the last one that stands in a string as it is
	version, written []byte // the last one, and as a string
	second           int64
	date             []byte // the member with the last date_added, of that second, and what follows it
	micros           int    // its microseconds
	at               int    // where they are
}

// append appends a record, with a comma behind it.
func (r *records) append(b []byte, o *Fact) []byte {
	switch {
	case len(o.Text) > 0:
		b = appendText(append(b, `{"id":`...), o.Text)
	case o.ID.Type == r.typ || plain(o.ID.Type):
		r.typ = o.ID.Type
		b = append(o.ID.AppendTo(append(b, `{"id":"`...)), '"')
	default:
		b = appendText(append(b, `{"id":`...), o.ID.AppendTo(nil))
	}
	b = r.added(b, o.Added)
	switch {
	case len(o.Version) == 0:
		b = append(b, `"`+taxii.NoVersion+`"`...)
	case !bytes.Equal(o.Version, r.version):
		r.version = append(r.version[:0], o.Version...)
		r.written = appendText(r.written[:0], o.Version)
		fallthrough
	default:
		b = append(b, r.written...)
	}
	if o.SpecVersion == "2.1" {
		return append(b, `,"media_type":"application/stix+json;version=2.1"},`...)
	}
	return append(appendText(append(b, `,"media_type":`...), "application/stix+json;version="+o.SpecVersion), `},`...)
}

// added appends a date_added and the name of what follows it. Many are of the same second, and a microsecond
// behind the last one.
func (r *records) added(b []byte, added time.Time) []byte {
	micros := added.Nanosecond() / 1000
	switch {
	case r.date == nil || added.Unix() != r.second:
		r.second = added.Unix()
		r.date = taxii.AppendTime(append(r.date[:0], `,"date_added":"`...), added)
		r.at = len(r.date) - len("000000Z")
		r.date = append(r.date, `","version":`...)
	case micros == r.micros+1:
		i := r.at + 5
		for ; r.date[i] == '9'; i-- {
			r.date[i] = '0'
		}
		r.date[i]++
	default:
		for i, n := r.at+5, micros; i >= r.at; i, n = i-1, n/10 {
			r.date[i] = byte('0' + n%10)
		}
	}
	r.micros = micros
	return append(b, r.date...)
}

// versions answers Get Object Versions (section 5.8).
func (c *call) versions() error {
	p, at, err := c.page(true)
	if err != nil || p == nil {
		return err
	}
	v := taxii.Versions{More: p.More, Next: c.next(p, at)}
	if p.Count > 0 {
		for f, err := range p.Facts {
			if err != nil {
				return err
			}
			v.Versions = append(v.Versions, cmp.Or(string(f.Version), taxii.NoVersion))
		}
	}
	return c.json(http.StatusOK, v)
}

// appendText appends a JSON string.
func appendText[T string | []byte](b []byte, s T) []byte {
	if plain(s) { // as nearly all are
		return append(append(append(b, '"'), s...), '"')
	}
	b, _ = jsontext.AppendQuote(b, s) // what is not UTF-8 is replaced
	return b
}

// plain tells whether a text stands in a JSON string as it is: whether it is printable ASCII without
// quotes and backslashes. It looks at eight bytes at a time, whose highest bits say what is wrong.
func plain[T string | []byte](s T) bool {
	const each = 0x0101010101010101
	for ; len(s) > 0; s = s[min(8, len(s)):] {
		var x uint64
		if len(s) >= 8 {
			x = uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		} else {
			last := [8]byte{' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '}
			copy(last[:], s)
			x = binary.LittleEndian.Uint64(last[:])
		}
		quote, backslash := x^each*'"', x^each*'\\'
		wrong := x | (x + each) | (x - each*' ') | (quote-each)&^quote | (backslash-each)&^backslash
		if wrong&(each*0x80) != 0 {
			return false
		}
	}
	return true
}
