package filestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
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
	for len(messages) > 0 {
		last++
		f := file{sum: sumOf(stream, last)}
		var text []byte
		for len(messages) > 0 && len(text) < fileSize {
			text, messages = append(text, f.encode(&messages[0])...), messages[1:]
		}
		if err := Replace(filepath.Join(dir, strconv.Itoa(last)+".blk"), text); err != nil {
			return fmt.Errorf("put messages back: %w", err)
		}
	}
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
