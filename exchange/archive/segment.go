package archive

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// A segment is a run of parts, compressed with zstd, and encrypted with age where there are recipients:
//
//	kind 'h': the Header as JSON
//	kind 's': the name of the stream that the messages behind it are of
//	kind 'm': a message: sequence, time, subject, header, data
//	kind 'e': the end as JSON: how many messages there are of each stream, and the SHA-256 of all before
//
// A part is its kind, its length, and so many bytes; a number is a varint, a text its length and its bytes.

// format is that of segments.
const format = 1

// maxPart bounds a part, in bytes.
const maxPart = 64 << 20

// Header says what a segment has.
type Header struct {
	Format int `json:"format"`
	// Exchange tells one exchange from others.
	Exchange string    `json:"exchange"`
	Written  time.Time `json:"written"`
	// Before is the ID of the checkpoint before the first, "" for none. The segment's messages are those behind Begins and up
	// to the last checkpoint's ends.
	Before      string              `json:"before,omitempty"`
	Begins      map[string]uint64   `json:"begins"`
	Checkpoints []record.Checkpoint `json:"checkpoints"`
	// Streams are the streams' settings.
	Streams map[string]json.RawMessage `json:"streams"`
}

// Last is the segment's last checkpoint.
func (h *Header) Last() *record.Checkpoint { return &h.Checkpoints[len(h.Checkpoints)-1] }

// end is the last part.
type end struct {
	Messages map[string]int `json:"messages"`
	SHA256   string         `json:"sha256"`
}

// writer writes a segment.
type writer struct {
	z      *zstd.Encoder
	sealed io.WriteCloser // what age encrypts, nil where it does not
	sum    hash.Hash
	counts map[string]int
	stream string
	buf    []byte
	err    error
}

func newWriter(to io.Writer, recipients []age.Recipient, h *Header) (*writer, error) {
	w := &writer{sum: sha256.New(), counts: make(map[string]int)}
	var err error
	if len(recipients) > 0 {
		if w.sealed, err = age.Encrypt(to, recipients...); err != nil {
			return nil, fmt.Errorf("encrypt: %w", err)
		}
		to = w.sealed
	}
	if w.z, err = zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20)); err != nil {
		return nil, err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	w.part('h', text)
	return w, w.err
}

// part writes a part.
func (w *writer) part(kind byte, text []byte) {
	head := binary.AppendUvarint([]byte{kind}, uint64(len(text)))
	for _, b := range [][]byte{head, text} {
		if w.err == nil {
			_, _ = w.sum.Write(b)
			_, w.err = w.z.Write(b)
		}
	}
}

// add writes a message.
func (w *writer) add(stream string, m *record.Message) error {
	if stream != w.stream {
		w.part('s', []byte(stream))
		w.stream = stream
	}
	w.buf = binary.AppendVarint(binary.AppendUvarint(w.buf[:0], m.Sequence), m.Time)
	for _, text := range [][]byte{[]byte(m.Subject), m.Header, m.Data} {
		w.buf = append(binary.AppendUvarint(w.buf, uint64(len(text))), text...)
	}
	w.part('m', w.buf)
	w.counts[stream]++
	return w.err
}

// close ends the segment.
func (w *writer) close() error {
	text, err := json.Marshal(end{w.counts, hex.EncodeToString(w.sum.Sum(nil))})
	if err == nil {
		w.part('e', text)
		err = errors.Join(w.err, w.z.Close())
	}
	if w.sealed != nil {
		err = errors.Join(err, w.sealed.Close())
	}
	return err
}

// reader reads a segment.
type reader struct {
	h      *Header
	r      *bufio.Reader
	z      *zstd.Decoder
	sum    hash.Hash
	counts map[string]int
	stream string
}

var errSealed = errors.New("it is encrypted: name a file with the identity (the secret key) of one of its recipients")

// sealed begins what is encrypted with age.
const sealed = "age-encryption.org/"

// newReader reads a segment's header.
func newReader(from io.Reader, identities []age.Identity) (r *reader, err error) {
	in := bufio.NewReaderSize(from, 64<<10)
	from = in
	if begins, _ := in.Peek(len(sealed)); string(begins) == sealed {
		if len(identities) == 0 {
			return nil, errSealed
		}
		if from, err = age.Decrypt(from, identities...); err != nil {
			return nil, fmt.Errorf("decrypt: %w", err)
		}
	}
	r = &reader{sum: sha256.New(), counts: make(map[string]int), h: new(Header)}
	if r.z, err = zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)); err != nil {
		return nil, err
	}
	r.r = bufio.NewReaderSize(r.z, 64<<10)
	kind, text, err := r.part()
	if err == nil && kind != 'h' {
		err = errors.New("it does not begin as a segment does")
	}
	if err == nil {
		err = json.Unmarshal(text, r.h)
	}
	switch {
	case err != nil:
	case r.h.Format != format:
		err = fmt.Errorf("it has format %d, and this version of Tocsin knows %d", r.h.Format, format)
	case len(r.h.Checkpoints) == 0:
		err = errors.New("it has no checkpoint")
	}
	if err != nil {
		r.z.Close()
		return nil, err
	}
	return r, nil
}

// part reads the next part.
func (r *reader) part() (kind byte, text []byte, err error) {
	if kind, err = r.r.ReadByte(); err != nil {
		return 0, nil, short(err)
	}
	n, err := binary.ReadUvarint(r.r)
	if err == nil && n > maxPart {
		err = fmt.Errorf("a part of %d bytes", n)
	}
	if err == nil {
		text = make([]byte, n)
		_, err = io.ReadFull(r.r, text)
	}
	if err != nil {
		return 0, nil, short(err)
	}
	if kind != 'e' {
		_, _ = r.sum.Write(binary.AppendUvarint([]byte{kind}, n))
		_, _ = r.sum.Write(text)
	}
	return kind, text, nil
}

// short says that an end came too early.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// each reads the messages, to the end.
func (r *reader) each(f func(stream string, m *record.Message) error) error {
	for {
		kind, text, err := r.part()
		if err != nil {
			return err
		}
		switch kind {
		case 's':
			r.stream = string(text)
		case 'm':
			m, err := decodeMessage(text)
			if err == nil && r.stream == "" {
				err = errors.New("a message of no stream")
			}
			if err != nil {
				return err
			}
			r.counts[r.stream]++
			if err := f(r.stream, m); err != nil {
				return &stopped{err}
			}
		case 'e':
			return r.end(text)
		default:
			return fmt.Errorf("a part of the unknown kind %q", kind)
		}
	}
}

// end holds what was read to what was written.
func (r *reader) end(text []byte) error {
	var e end
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	if e.SHA256 != hex.EncodeToString(r.sum.Sum(nil)) {
		return errors.New("its bytes are not those that were written")
	}
	for stream, n := range e.Messages {
		if r.counts[stream] != n {
			return fmt.Errorf("it has %d messages of stream %s, and had %d", r.counts[stream], stream, n)
		}
	}
	if _, err := r.r.ReadByte(); !errors.Is(err, io.EOF) { // which makes age look at the end, too
		return errors.Join(err, errors.New("something follows its end"))
	}
	return nil
}

// stopped is the error of who was given messages, and not of the segment.
type stopped struct{ error }

func (s *stopped) Unwrap() error { return s.error }

// decodeMessage reads a message.
func decodeMessage(b []byte) (*record.Message, error) {
	bad := errors.New("a message is not whole")
	m := new(record.Message)
	var n int
	if m.Sequence, n = binary.Uvarint(b); n <= 0 {
		return nil, bad
	}
	b = b[n:]
	if m.Time, n = binary.Varint(b); n <= 0 {
		return nil, bad
	}
	b = b[n:]
	var texts [3][]byte
	for i := range texts {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, bad
		}
		texts[i], b = b[n:n+int(size)], b[n+int(size):]
	}
	if len(b) > 0 || m.Sequence == 0 {
		return nil, bad
	}
	m.Subject, m.Header, m.Data = string(texts[0]), texts[1], texts[2]
	return m, nil
}
