package filestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
)

// Message is a message of a stream.
type Message struct {
	Sequence uint64
	Subject  string
	// Header is in the form in which NATS has it on the wire, empty for none.
	Header, Data []byte
	// Time is in nanoseconds since 1970.
	Time int64
}

// fileSize is about how large a new file becomes.
const fileSize = 8 << 20

// Put puts messages, in the order of their sequences, into the files of a stream in a directory, where it does not have these
// sequences, and has the server read the stream anew. No server has it open.
func Put(dir, stream string, messages []Message) error {
	dir = filepath.Join(dir, stream, "msgs")
	files, err := blockFiles(dir)
	if err != nil {
		return fmt.Errorf("put messages back: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put messages back: %w", err)
	}
	again := make(map[uint64]bool, len(messages))
	for i := range messages {
		again[messages[i].Sequence] = true
	}
	last := 0
	for _, n := range files {
		last = n
		f := file{path: filepath.Join(dir, strconv.Itoa(n)+".blk"), sum: sumOf(stream, n)}
		if f.text, err = os.ReadFile(f.path); err != nil {
			return fmt.Errorf("put messages back: %w", err)
		}
		var text []byte
		changed := false
		f.each(func(at, size int, sequence uint64) {
			sequence &^= erasedBit
			if sequence == 0 || again[sequence&^deletedBit] { // where something was mended, or missed
				changed = true
				return
			}
			for sequence&deletedBit == 0 && len(messages) > 0 && messages[0].Sequence < sequence {
				text, messages, changed = append(text, f.encode(&messages[0])...), messages[1:], true
			}
			text = append(text, f.text[at:at+size]...)
		}, func(int, int) {})
		switch {
		case changed && len(text) == 0:
			err = os.Remove(f.path)
		case changed:
			err = Replace(f.path, text)
		}
		if err != nil {
			return fmt.Errorf("put messages back: %w", err)
		}
	}
	w := &Writer{dir: dir, stream: stream, number: last}
	for i := range messages {
		if err := w.Add(&messages[i]); err != nil {
			return err
		}
	}
	return w.flush()
}

// Writer writes files of a stream behind those that it has. No server has it open.
type Writer struct {
	dir, stream string
	number      int    // of the last file
	last        uint64 // sequence
	f           file   // that is being written
}

// NewWriter begins the files of a stream in a directory that has no messages yet.
func NewWriter(dir, stream string) (*Writer, error) {
	dir = filepath.Join(dir, stream, "msgs")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("write stream %s: %w", stream, err)
	}
	for _, e := range entries { // an empty stream's
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("write stream %s: %w", stream, err)
		}
	}
	return &Writer{dir: dir, stream: stream}, nil
}

// Add writes a message. Sequences rise.
func (w *Writer) Add(m *Message) error {
	if m.Sequence <= w.last || m.Sequence >= maxSequence {
		return fmt.Errorf("write stream %s: message %d behind message %d", w.stream, m.Sequence, w.last)
	}
	if len(m.Subject) > math.MaxUint16 || headSize+len(m.Subject)+4+len(m.Header)+len(m.Data)+sumSize > maxRecord {
		return fmt.Errorf("write stream %s: message %d is too large", w.stream, m.Sequence)
	}
	w.begin()
	w.f.text = append(w.f.text, w.f.encode(m)...)
	w.last = m.Sequence
	if len(w.f.text) < fileSize {
		return nil
	}
	return w.flush()
}

// End has the stream end at a sequence, where its last message was deleted, and writes what is left to write.
func (w *Writer) End(last uint64) error {
	if last > w.last {
		w.begin()
		w.f.text = append(w.f.text, erasedRecord(w.f.sum, headSize+sumSize, last)...)
		w.last = last
	}
	return w.flush()
}

func (w *Writer) begin() {
	if w.f.sum == nil {
		w.number++
		w.f.sum = sumOf(w.stream, w.number)
	}
}

func (w *Writer) flush() error {
	if w.f.sum == nil {
		return nil
	}
	if err := Replace(filepath.Join(w.dir, strconv.Itoa(w.number)+".blk"), w.f.text); err != nil {
		return fmt.Errorf("write stream %s: %w", w.stream, err)
	}
	w.f = file{text: w.f.text[:0]}
	return nil
}

// encode writes a message's record.
func (f *file) encode(m *Message) []byte {
	size := headSize + len(m.Subject) + len(m.Header) + len(m.Data) + sumSize
	word := uint32(0)
	if len(m.Header) > 0 {
		size += 4
		word = headersBit
	}
	r := make([]byte, headSize, size)
	binary.LittleEndian.PutUint32(r, uint32(size)|word)
	binary.LittleEndian.PutUint64(r[4:], m.Sequence)
	binary.LittleEndian.PutUint64(r[12:], uint64(m.Time))
	binary.LittleEndian.PutUint16(r[20:], uint16(len(m.Subject)))
	r = append(r, m.Subject...)
	if len(m.Header) > 0 {
		r = binary.LittleEndian.AppendUint32(r, uint32(len(m.Header)))
	}
	r = append(append(r, m.Header...), m.Data...)
	f.sum.Reset()
	_, _ = f.sum.Write(r[4:20])
	_, _ = f.sum.Write([]byte(m.Subject))
	_, _ = f.sum.Write(m.Header)
	_, _ = f.sum.Write(m.Data)
	return f.sum.Sum(r)
}
