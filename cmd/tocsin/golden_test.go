package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/node"
)

// A data directory of each format that is opened has what it had, also once it is made anew. testdata/data/make makes one with a
// program of then.
func TestDataDirectoriesOfEachFormat(t *testing.T) {
	all, err := filepath.Glob("testdata/data/*.tar.gz")
	if err != nil || len(all) < 2 {
		t.Fatal(all, err)
	}
	for _, file := range all {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(unpacked(t, file), "data")
			for range 2 { // opened, and made anew from the journal
				n, err := node.Open(t.Context(), node.Options{Dir: dir, TrustClock: true})
				if err != nil {
					t.Fatal(err)
				}
				for collection, blocks := range map[string]uint64{"cert-at": 2, "cert-pl": 2, "board": 3} {
					if got := n.View.Stats(collection); got.Blocks != blocks || got.Objects < int64(blocks) {
						t.Errorf("%s: %+v", collection, got)
					}
				}
				chains, err := n.Journal.Verify(t.Context())
				for _, c := range chains {
					if c.Problem != "" {
						t.Error(c.Collection, c.Problem)
					}
				}
				if records, wrong := n.Journal.VerifyAudit(t.Context()); records == 0 || errors.Join(err, wrong) != nil {
					t.Error(records, err, wrong)
				}
				if err := n.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if err := node.Rebuild(t.Context(), dir); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// unpacked unpacks a file into a directory.
func unpacked(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return to
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(to, filepath.Clean("/"+h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else if h.Typeflag == tar.TypeReg {
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, text, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
