package report

import (
	"bufio"
	"errors"
	"io"
)

// line is one physical line with its number and its end-of-line bytes. raw is
// nil where the line was longer than MaxRow and skipped.
type line struct {
	number int
	raw    []byte
}

// lines reads lines, each at most MaxRow bytes long, and takes some back.
type lines struct {
	in     *bufio.Reader // its buffer is MaxRow bytes
	number int
	back   []line // taken back, first one next
}

// next returns the next line; its bytes are good until the next call.
func (l *lines) next() (line, error) {
	if len(l.back) > 0 {
		first := l.back[0]
		l.back = l.back[1:]
		return first, nil
	}
	raw, err := l.in.ReadSlice('\n')
	long := false
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = l.in.ReadSlice('\n')
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

// unread puts lines back, to be read again in their order. Their bytes must be
// copies.
func (l *lines) unread(list []line) {
	l.back = append(append([]line(nil), list...), l.back...)
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
