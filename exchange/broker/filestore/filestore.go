// Package filestore reads the files in which nats-server keeps the messages of streams, before the server opens them, and
// mends what would make it lose more than is lost.
//
// Where a record of a file cannot be read, nats-server cuts the file there, says nothing, and gives the sequences of what it
// has cut to new messages. Mend keeps what comes after the record, and the sequences.
//
// A file N.blk is a run of records, all numbers little-endian:
//
//	4 size of the record, the highest bit for headers
//	8 sequence; bit 63 says that the message is erased, bit 62 that another file's message is deleted
//	8 time
//	2 size of the subject
//	  subject, 4 size of the headers where it has some, headers, payload
//	8 HighwayHash-64 of all that but the sizes, under the SHA-256 of "<stream>-<N>"
//
// This is the format of nats-server 2.10 to 2.15 (server/filestore.go); a test reads what the server that is built in has
// written.
package filestore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
)

const (
	headSize = 22
	sumSize  = 8
	// maxRecord is the size from which on nats-server takes a record's size for damage; what says that it has a sequence from
	// maxSequence on is no record either.
	maxRecord   = 32 << 20
	maxSequence = 1 << 48

	headersBit = 1 << 31
	erasedBit  = 1 << 63
	deletedBit = 1 << 62
)

// Gap is a part of a file that holds no record.
type Gap struct {
	Stream string
	// File is the file's path, At and Size where the gap is in it, in bytes.
	File     string
	At, Size int64
	// After is the last sequence before the gap in the stream, Before the first behind it, 0 where none is.
	After, Before uint64
	// Torn says that it ends the stream's last file: a crash in the middle of a write leaves such an end. nats-server cuts it off.
	Torn bool
}

// Place says where the gap is, and what was there.
func (g Gap) Place() string {
	switch where := fmt.Sprintf("file %s, %d bytes at %d", filepath.Base(g.File), g.Size, g.At); {
	case g.Before == 0:
		return fmt.Sprintf("%s: what was behind message %d", where, g.After)
	case g.Before <= g.After+1:
		return where + ": what tells of deleted messages"
	case g.Before == g.After+2:
		return fmt.Sprintf("%s: message %d", where, g.After+1)
	default:
		return fmt.Sprintf("%s: messages %d to %d", where, g.After+1, g.Before-1)
	}
}

// Stream is what the files of a stream hold.
type Stream struct {
	Name string
	// Last is the highest sequence of a message, erased or not, and Live how many are not erased.
	Last, Live uint64
	Gaps       []Gap
}

// Scan reads all records of the streams in a directory. after is called after each file, and ends the scan where it returns an
// error; nil for nothing. Where a server has the streams open, a file that it is writing has gaps at times that it has not the
// next time.
func Scan(dir string, after func() error) (list []Stream, err error) {
	if after == nil {
		after = func() error { return nil }
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the streams: %w", err)
	}
	for _, e := range entries {
		s, path := Stream{Name: e.Name()}, filepath.Join(dir, e.Name(), "msgs")
		files, err := blockFiles(path)
		if err == nil {
			err = s.scan(path, files, after)
		}
		if err != nil {
			return nil, fmt.Errorf("read stream %s: %w", e.Name(), err)
		}
		list = append(list, s)
	}
	return list, nil
}

// scan reads some of the stream's files, which end with its last.
func (s *Stream) scan(dir string, files []int, after func() error) (err error) {
	waiting := 0 // gaps behind which no record has come yet
	for _, n := range files {
		f := file{path: filepath.Join(dir, strconv.Itoa(n)+".blk"), sum: sumOf(s.Name, n)}
		if f.text, err = os.ReadFile(f.path); errors.Is(err, fs.ErrNotExist) { // the server has removed it
			continue
		} else if err != nil {
			return err
		}
		f.each(func(at, size int, sequence uint64) {
			erased := sequence&erasedBit != 0
			sequence &^= erasedBit
			if sequence == 0 || sequence&deletedBit != 0 || sequence <= s.Last { // the last: a file stands for another
				return
			}
			if !erased {
				s.Live++
			}
			for ; waiting > 0; waiting-- {
				s.Gaps[len(s.Gaps)-waiting].Before = sequence
			}
			s.Last = sequence
		}, func(at, size int) {
			s.Gaps = append(s.Gaps, Gap{Stream: s.Name, File: f.path, At: int64(at), Size: int64(size), After: s.Last, Torn: at+size == len(f.text) && n == files[len(files)-1]})
			waiting++
		})
		if err := after(); err != nil {
			return err
		}
	}
	return nil
}

// Ends reads the last file of each stream in a directory that has a message, and those behind it. indexed says that every stream has its index: where no file has a
// gap either, the server takes them all as they are, and cuts none.
func Ends(dir string) (list []Stream, indexed bool, err error) {
	streams, err := filepath.Glob(filepath.Join(dir, "*", "msgs"))
	if err != nil {
		return nil, false, err
	}
	indexed = true
	for _, path := range streams {
		if _, err := os.Stat(filepath.Join(path, "index.db")); err != nil {
			indexed = false
		}
		files, err := blockFiles(path)
		if err != nil {
			return nil, false, err
		}
		s := Stream{Name: filepath.Base(filepath.Dir(path))}
		for n := len(files) - 1; n >= 0 && s.Last == 0; n-- {
			s = Stream{Name: s.Name}
			if err := s.scan(path, files[n:], func() error { return nil }); err != nil {
				return nil, false, err
			}
		}
		list = append(list, s)
	}
	return list, indexed, nil
}

// DropIndexes has the server read all files of the streams in a directory, which have no gaps.
func DropIndexes(dir string) error {
	all, err := filepath.Glob(filepath.Join(dir, "*", "msgs", "index.db"))
	for _, path := range all {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return fmt.Errorf("drop the indexes of streams: %w", err)
	}
	return nil
}

// BrokenConsumers lists the directories of durable consumers whose description is not what was written: nats-server does not
// look, and would give a consumer what it was not made for, or open none of the stream.
func BrokenConsumers(dir string) (list []string, err error) {
	all, err := filepath.Glob(filepath.Join(dir, "*", "obs", "*"))
	if err != nil {
		return nil, err
	}
	for _, path := range all {
		stream := filepath.Base(filepath.Dir(filepath.Dir(path)))
		text, err := os.ReadFile(filepath.Join(path, "meta.inf")) //nolint:gosec // a file of the data directory
		sum, e := os.ReadFile(filepath.Join(path, "meta.sum"))    //nolint:gosec // as above
		if err = errors.Join(err, e); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look at the consumers: %w", err)
		}
		h := newSum(stream + "/" + filepath.Base(path))
		_, _ = h.Write(text)
		if err != nil || hex.EncodeToString(h.Sum(nil)) != string(sum) {
			list = append(list, path)
		}
	}
	return list, nil
}

// blockFiles lists the numbers of a stream's files.
func blockFiles(dir string) (list []int, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".blk"); ok {
			if n, err := strconv.Atoi(name); err == nil {
				list = append(list, n)
			}
		}
	}
	slices.Sort(list)
	return list, err
}

// file is one file's text.
type file struct {
	path string
	text []byte
	sum  hash.Hash64
}

func sumOf(stream string, n int) hash.Hash64 { return newSum(stream + "-" + strconv.Itoa(n)) }

// newSum is a sum under a key.
func newSum(name string) hash.Hash64 {
	key := sha256.Sum256([]byte(name))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		panic(err) // the key has the size that is wanted
	}
	return h
}

// each calls record with every record, its sequence with its bits, and gap with each part between records that is none.
func (f *file) each(record func(at, size int, sequence uint64), gap func(at, size int)) {
	at, good := 0, 0
	for at < len(f.text) {
		size, sequence := f.record(at)
		if size == 0 {
			at++ // the size may be what is damaged: a record begins where its sum fits
			continue
		}
		if good < at {
			gap(good, at-good)
		}
		record(at, size, sequence)
		at += size
		good = at
	}
	if good < len(f.text) {
		gap(good, len(f.text)-good)
	}
}

// record returns the size of the record at a position, 0 where there is none, and its sequence with its bits.
func (f *file) record(at int) (size int, sequence uint64) {
	rest := f.text[at:]
	if len(rest) < headSize+sumSize {
		return 0, 0
	}
	word, subject := binary.LittleEndian.Uint32(rest), int(binary.LittleEndian.Uint16(rest[20:]))
	size = int(word &^ headersBit)
	body := headSize + subject
	if word&headersBit != 0 {
		body += 4
	}
	sequence = binary.LittleEndian.Uint64(rest[4:])
	if size > len(rest) || size > maxRecord || body > size-sumSize || sequence&^(erasedBit|deletedBit) >= maxSequence {
		return 0, 0
	}
	f.sum.Reset()
	_, _ = f.sum.Write(rest[4:20])
	_, _ = f.sum.Write(rest[headSize : headSize+subject])
	_, _ = f.sum.Write(rest[body : size-sumSize])
	var sum [sumSize]byte
	if !bytes.Equal(f.sum.Sum(sum[:0]), rest[size-sumSize:size]) {
		return 0, 0
	}
	return size, sequence
}

// Mend puts an erased message over a gap that is not Torn, and has the server read the stream anew. A gap that is smaller than a
// record is cut out. Of several gaps of a file the last is mended first.
func Mend(g Gap) error {
	name := strings.TrimSuffix(filepath.Base(g.File), ".blk")
	n, err := strconv.Atoi(name)
	if err != nil {
		return fmt.Errorf("mend %s: %w", g.File, err)
	}
	text, err := os.ReadFile(g.File)
	if err != nil {
		return fmt.Errorf("mend: %w", err)
	}
	if g.At < 0 || g.Size <= 0 || g.At+g.Size > int64(len(text)) {
		return fmt.Errorf("mend %s: it has %d bytes, and %d at %d are to be mended", g.File, len(text), g.Size, g.At)
	}
	var erased []byte
	if g.Size >= headSize+sumSize && g.Size <= maxRecord {
		erased = erasedRecord(sumOf(g.Stream, n), int(g.Size), 0)
	}
	whole := slices.Concat(text[:g.At], erased, text[g.At+g.Size:])
	// The index would tell of messages that are not there.
	if err := os.Remove(filepath.Join(filepath.Dir(g.File), "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mend: %w", err)
	}
	if err := Replace(g.File, whole); err != nil {
		return fmt.Errorf("mend: %w", err)
	}
	return nil
}

// erasedRecord is a record of a message that is erased. Its sequence is 0 between others: those that are missing around it the
// server finds by itself.
func erasedRecord(sum hash.Hash64, size int, sequence uint64) []byte {
	r := make([]byte, size)
	binary.LittleEndian.PutUint32(r, uint32(size))
	binary.LittleEndian.PutUint64(r[4:], erasedBit|sequence)
	sum.Reset()
	_, _ = sum.Write(r[4:20])
	_, _ = sum.Write(r[headSize : size-sumSize])
	return sum.Sum(r[:size-sumSize])
}

// Replace writes a file, which its owner alone may read, durably, and whole or not at all.
func Replace(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
