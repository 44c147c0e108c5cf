package filestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Each calls f with every message that the files of a stream in a directory have, in their order, until f returns an error. live is
// false for one that its subject's last has taken the place of, where the stream keeps that alone. No server has it open.
func Each(dir, stream string, f func(m *Message, live bool) error) error {
	return walk(dir, stream, true, false, func(m *Message, live bool) (*Message, error) { return m, f(m, live) })
}

// Rewrite gives every message to f, as Each does, and puts what f returns in its place: the same message, another with its sequence,
// or nil for none. Nothing is left in the files of those that were. perSubject says that the stream keeps the last of each subject
// alone; else all are live.
func Rewrite(dir, stream string, perSubject bool, f func(m *Message, live bool) (*Message, error)) error {
	return walk(dir, stream, perSubject, true, f)
}

func walk(dir, stream string, perSubject, write bool, f func(m *Message, live bool) (*Message, error)) error {
	dir = filepath.Join(dir, stream, "msgs")
	numbers, err := blockFiles(dir)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", stream, err)
	}
	last := make(map[string]uint64)
	if perSubject {
		for _, n := range numbers {
			one, err := readFile(dir, stream, n)
			if err != nil {
				return err
			}
			one.each(func(at, size int, sequence uint64) {
				if sequence > 0 && sequence&(erasedBit|deletedBit) == 0 {
					m := one.message(at, size, sequence)
					last[m.Subject] = sequence
				}
			}, func(int, int) {})
		}
	}
	if write {
		if err := os.Remove(filepath.Join(dir, "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("write stream %s: %w", stream, err)
		}
	}
	for _, n := range numbers {
		one, err := readFile(dir, stream, n)
		if err != nil {
			return err
		}
		var text []byte
		one.each(func(at, size int, sequence uint64) {
			record := one.text[at : at+size]
			if err != nil || sequence == 0 || sequence&(erasedBit|deletedBit) != 0 {
				text = append(text, record...)
				return
			}
			m := one.message(at, size, sequence)
			var stays *Message
			switch stays, err = f(m, !perSubject || last[m.Subject] == sequence); {
			case err != nil || stays == m:
				text = append(text, record...)
			case stays == nil:
				text = append(text, erasedRecord(one.sum, headSize+sumSize, sequence)...)
			default:
				text = append(text, one.encode(stays)...)
			}
		}, func(at, size int) { text = append(text, one.text[at:at+size]...) })
		if err == nil && write && !bytes.Equal(text, one.text) {
			err = Replace(one.path, text)
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", stream, err)
		}
	}
	return nil
}

func readFile(dir, stream string, n int) (*file, error) {
	f := &file{path: filepath.Join(dir, strconv.Itoa(n)+".blk"), sum: sumOf(stream, n)}
	var err error
	if f.text, err = os.ReadFile(f.path); err != nil {
		return nil, fmt.Errorf("read stream %s: %w", stream, err)
	}
	return f, nil
}

// message reads a record.
func (f *file) message(at, size int, sequence uint64) *Message {
	r := f.text[at : at+size]
	body := headSize + int(binary.LittleEndian.Uint16(r[20:]))
	m := &Message{Sequence: sequence, Subject: string(r[headSize:body]), Time: int64(binary.LittleEndian.Uint64(r[12:]))}
	rest := r[body : size-sumSize]
	if binary.LittleEndian.Uint32(r)&headersBit != 0 {
		n := int(binary.LittleEndian.Uint32(rest))
		rest = rest[4:]
		n = min(n, len(rest))
		m.Header, rest = rest[:n:n], rest[n:]
	}
	m.Data = rest
	return m
}
