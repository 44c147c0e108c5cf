package report

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that a zstd source may ask of its reader.
const maxWindow = 32 << 20

// Decompress returns what a gzip or zstd stream holds, recognised by its first
// bytes, and anything else as it is.
func Decompress(r io.Reader) (io.Reader, error) {
	in := bufio.NewReader(r)
	head, _ := in.Peek(4)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fileError(1, "damaged gzip: %v", err)
		}
		return &damaged{z, "gzip"}, nil
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fileError(1, "damaged zstd: %v", err)
		}
		return &damaged{z.IOReadCloser(), "zstd"}, nil
	}
	return in, nil
}

// damaged names the compression in the errors of a decompressor.
type damaged struct {
	r    io.Reader
	name string
}

func (d *damaged) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fileError(1, "damaged %s: %v", d.name, err)
	}
	return n, err
}
