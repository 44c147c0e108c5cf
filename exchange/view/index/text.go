package index

import (
	"errors"
	"fmt"
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

// maxWritten is how much is written at a time, in bytes, but for a block that is larger: a usual page,
// since every write wakes up who reads it.
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

// write puts a part's objects into the page's text.
func (r *reader) write(p *part) (err error) {
	if r.text == nil {
		r.text = borrow()
	}
	if err := r.load(p); err != nil {
		return err // which says where
	}
	if *r.text, err = p.objects.appendTo(*r.text, p.set); err != nil {
		return fmt.Errorf("block at %d: %w", p.first, err)
	}
	p.objects, r.ready = nil, r.ready+1
	return nil
}

// errWritten is what a page says that has no text any more.
var errWritten = errors.New("the page is written already")

// WriteTo writes the objects' JSON texts with commas between them. It does so once.
func (p *Page) WriteTo(w io.Writer) (n int64, err error) {
	text := p.text
	if text == nil {
		if p.ready > 0 {
			return 0, errWritten
		}
		text = borrow()
	}
	p.text = nil // the next who borrows it writes into it
	defer giveBack(text)
	write := func(b []byte) error {
		k, err := w.Write(b)
		n += int64(k)
		return err
	}
	b := *text
	for i := range p.parts[p.ready:] {
		x := &p.parts[p.ready+i]
		if len(b) > 0 && len(b)+x.size > maxWritten {
			if err := write(b); err != nil {
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
	return n, write(b[:len(b)-1]) // behind the last one is no comma
}

// Objects returns the objects' JSON texts, unless the page is written already.
func (p *Page) Objects() (list [][]byte, err error) {
	text := make([]byte, 0, p.size+p.Count)
	if p.text != nil {
		text = append(text, *p.text...)
	} else if p.ready > 0 {
		return nil, errWritten
	}
	for i := range p.parts[p.ready:] {
		x := &p.parts[p.ready+i]
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
