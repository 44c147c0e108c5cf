package register

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// put stores data in chunks under a prefix that its hash is part of.
func (s *Store) put(ctx context.Context, kind string, data []byte) (blob, error) {
	sum := sha256.Sum256(data)
	b := blob{SHA256: hex.EncodeToString(sum[:])}
	b.Prefix = kind + "." + b.SHA256
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)) // tens of MB, for as long as it is used
	if err != nil {
		return b, err
	}
	packed := enc.EncodeAll(data, nil)
	for chunk := range slices.Chunk(packed, chunkSize) {
		if _, err := s.kv.Put(ctx, fmt.Sprintf("%s.%d", b.Prefix, b.Chunks), chunk); err != nil {
			return b, err
		}
		b.Chunks++
	}
	return b, nil
}

func (s *Store) get(ctx context.Context, b blob) ([]byte, error) {
	var packed []byte
	for i := range b.Chunks {
		e, err := s.kv.Get(ctx, fmt.Sprintf("%s.%d", b.Prefix, i))
		if err != nil {
			return nil, fmt.Errorf("chunk %d: %w", i, err)
		}
		packed = append(packed, e.Value()...)
	}
	data, err := s.dec.DecodeAll(packed, nil)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != b.SHA256 {
		return nil, errors.New("its hash is another")
	}
	return data, nil
}
