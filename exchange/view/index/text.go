package index

import (
	"io"
	"sync"
)

// part is what a page has of one block.
type part struct {
	*block
	first   int64   // its date_added
	objects *stored // nil where they are not wanted
	names   []byte  // of all its objects; nil where they are not wanted
	set     bits
	size    int // of the objects in the set, in bytes
}

// ends are the date_added of its first and its last object.
func (p *part) ends() (first, last int64) {
	from, to := p.set.ends(p.count)
	return p.first + int64(from), p.first + int64(to-1)
}

// Len is how many bytes WriteTo writes.
func (p *Page) Len() int { return p.size + max(p.Count-1, 0) }

// texts are what pages are looked at and written through.
var texts = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// maxWritten is how many bytes are written at a time, but for a block that is larger: about one usual page, since each write
// wakes up who reads.
const maxWritten = 1 << 20

// borrow lends an empty text.
func borrow() *[]byte {
	text := texts.Get().(*[]byte)
	*text = (*text)[:0]
	return text
}

func giveBack(text *[]byte) {
	if cap(*text) <= 2*maxWritten {
		texts.Put(text)
	}
}

// WriteTo writes the objects' JSON texts with commas between them.
func (p *Page) WriteTo(w io.Writer) (n int64, err error) {
	text := borrow()
	defer giveBack(text)
	b := *text
	for i := range p.parts {
		x := &p.parts[i]
		if len(b) > 0 && len(b)+x.size > maxWritten {
			k, err := w.Write(b)
			if n += int64(k); err != nil {
				return n, err
			}
			b = b[:0]
		}
		if b, err = x.objects.appendTo(b, x.set); err != nil {
			return n, err
		}
	}
	*text = b
	if len(b) == 0 {
		return n, nil
	}
	k, err := w.Write(b[:len(b)-1]) // behind the last one is no comma
	return n + int64(k), err
}

// Objects returns the objects' JSON texts.
func (p *Page) Objects() (list [][]byte, err error) {
	text := make([]byte, 0, p.size+p.Count)
	for _, x := range p.parts {
		if text, err = x.objects.appendTo(text, x.set); err != nil {
			return nil, err
		}
	}
	list = make([][]byte, 0, p.Count)
	for _, x := range p.parts {
		for i := range x.set.all(x.count) {
			n := int(x.pieces[i].size)
			list, text = append(list, text[:n:n]), text[n+1:]
		}
	}
	return list, nil
}

// Feeds returns the feed that each object comes from, "" for what members added.
func (p *Page) Feeds() []string {
	list := make([]string, 0, p.Count)
	for _, x := range p.parts {
		for range x.set.all(x.count) {
			list = append(list, x.feed)
		}
	}
	return list
}
