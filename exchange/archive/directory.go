package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Directory is an archive in a directory, which is made where it is not there.
type Directory string

// unfinished starts the names of files that are being written.
const unfinished = "unfinished-"

// Put implements Store.
func (d Directory) Put(_ context.Context, name string, from io.Reader, size int64) (err error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("write to the archive: %w", err)
	}
	if left, err := filepath.Glob(filepath.Join(string(d), unfinished+"*")); err == nil { // there is one writer
		for _, path := range left {
			_ = os.Remove(path)
		}
	}
	f, err := os.CreateTemp(string(d), unfinished)
	if err != nil {
		return fmt.Errorf("write to the archive: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	n, err := io.Copy(f, from)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write to the archive: %w", err)
	}
	// A link, unlike a file that is renamed, takes no other's place.
	err = os.Link(f.Name(), filepath.Join(string(d), name))
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", ErrExists, name)
	}
	if err != nil {
		return fmt.Errorf("write to the archive, whose file system has to know hard links: %w", err)
	}
	at, err := os.Open(string(d))
	if err == nil {
		err = errors.Join(at.Sync(), at.Close())
	}
	if err != nil {
		return fmt.Errorf("write to the archive: %w", err)
	}
	return nil
}

// Get implements Store.
func (d Directory) Get(_ context.Context, name string) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	return f, nil
}

// List implements Store.
func (d Directory) List(context.Context) (names []string, err error) {
	entries, err := os.ReadDir(string(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the archive: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), unfinished) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Delete implements Store.
func (d Directory) Delete(_ context.Context, name string) error {
	if err := os.Remove(filepath.Join(string(d), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete from the archive: %w", err)
	}
	return nil
}
