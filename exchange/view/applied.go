package view

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// How far the view has come, in both streams.

// Applied is the sequence of the last intake record that is in.
func (v *View) Applied() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.intake
}

// AppliedBlocks is the sequence of the last block that is in.
func (v *View) AppliedBlocks() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.blocks
}

// Wait returns once the view holds both streams up to the sequences.
func (v *View) Wait(ctx context.Context, intake, blocks uint64) error {
	for {
		moved := v.moved.Next()
		v.mu.Lock()
		ok := v.intake >= intake && v.blocks >= blocks
		v.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// advance publishes that a stream is in up to a sequence.
func (v *View) advance(stream string, sequence uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	*v.stream(stream) = sequence
	v.moved.Wake()
}

// stream is how far one is.
func (v *View) stream(name string) *uint64 {
	if name == "blocks" {
		return &v.blocks
	}
	return &v.intake
}

func metaKey(name string) []byte { return append([]byte{'m'}, name...) }

// Ends returns the last sequences of intake and blocks that the view in a directory has applied, of any format; 0
// where none can be read. It changes nothing; no View is open there.
func Ends(dir string) (intake, blocks uint64, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	for _, e := range entries {
		if !e.IsDir() || !formats.MatchString(e.Name()) {
			continue
		}
		db, e := store.Open(filepath.Join(dir, e.Name()), store.Options{Prefixes: prefixes, ReadOnly: true})
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		v := &View{db: db}
		err = errors.Join(err, v.applied(), db.Close())
		intake, blocks = max(intake, v.intake), max(blocks, v.blocks)
	}
	return intake, blocks, err
}

// applied reads the sequences that are applied.
func (v *View) applied() error {
	for _, name := range []string{"blocks", "intake"} {
		value, found, err := store.Get(v.db, metaKey(name))
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if len(value) != 8 {
			return fmt.Errorf("how far the view is: %w", ErrDamaged)
		}
		*v.stream(name) = binary.BigEndian.Uint64(value)
	}
	return nil
}
