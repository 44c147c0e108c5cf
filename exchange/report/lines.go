package report

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// line is one physical line with its number and its end-of-line bytes. raw is
// nil where the line was longer than MaxRow and skipped.
type line struct {
	number int
	raw    []byte
}

// withLines returns what reads lines of a source. One that ends its lines with CR alone, as old Macs did, is read as if
// they ended with LF.
func withLines(r io.Reader) *bufio.Reader {
	in := bufio.NewReaderSize(r, MaxRow)
	head, _ := in.Peek(4096)
	if bytes.IndexByte(head, '\n') < 0 && bytes.IndexByte(head, '\r') >= 0 && bytes.IndexByte(head, '\r') < len(head)-1 {
		return bufio.NewReaderSize(carriage{in}, MaxRow)
	}
	return in
}

// carriage reads CR as LF.
type carriage struct{ r io.Reader }

func (c carriage) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		if b == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// lines reads lines, each at most MaxRow bytes long.
type lines struct {
	in     *bufio.Reader // its buffer is MaxRow bytes
	number int
}

// next returns the next line; its bytes are good until the next call. Those of a line that is too
// long go to skipped, in parts, unless that is nil.
func (l *lines) next(skipped func([]byte)) (line, error) {
	raw, err := l.in.ReadSlice('\n')
	long := errors.Is(err, bufio.ErrBufferFull)
	if long && skipped != nil {
		skipped(raw)
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		raw, err = l.in.ReadSlice('\n')
		if skipped != nil {
			skipped(raw)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return line{}, err
	}
	if len(raw) == 0 && !long {
		return line{}, io.EOF
	}
	l.number++
	if long {
		raw = nil
	}
	return line{number: l.number, raw: raw}, nil
}

// trimEnd drops the end-of-line bytes.
func trimEnd(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b
}
