package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// files are those of the disk, but that a blob file which cannot be opened, or whose footer is not what was written, is
// ErrDamaged at once: Pebble (2.1) panics where it finds that itself.
type files struct{ vfs.FS }

// Unwrap implements vfs.FS.
func (f files) Unwrap() vfs.FS { return f.FS }

// Open implements vfs.FS.
func (f files) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, opts...)
	if !strings.HasSuffix(name, ".blob") {
		return file, err
	}
	if err == nil {
		if err = checkFooter(file); err == nil {
			return file, nil
		}
		_ = file.Close() // what is wrong is known
	}
	return nil, fmt.Errorf("%w: %v", ErrDamaged, err) //nolint:errorlint // Pebble panics over what it knows
}

// footerSize is how long the footer of a blob file is, in bytes. It begins with its CRC, as Pebble masks it.
const footerSize = 38

func checkFooter(f vfs.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < footerSize {
		return io.ErrUnexpectedEOF
	}
	var b [footerSize]byte
	if _, err := f.ReadAt(b[:], info.Size()-footerSize); err != nil {
		return err
	}
	sum := crc32.Checksum(b[4:], crc32.MakeTable(crc32.Castagnoli))
	if sum = (sum>>15 | sum<<17) + 0xa282ead8; sum != binary.LittleEndian.Uint32(b[:]) {
		return errors.New("the footer is not what was written")
	}
	return nil
}
