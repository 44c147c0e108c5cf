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
