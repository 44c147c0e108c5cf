package record

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// SeedSize is how long the seed of a commitment is, in bytes.
const SeedSize = 16

// NewSeed makes a seed.
func NewSeed() []byte {
	seed := make([]byte, SeedSize)
	_, _ = rand.Read(seed) // never fails
	return seed
}

// Leaves commits to a list of texts, such as the objects of a block, so that each can be erased later: who has
// the rest can still check it, and can't guess what went.
//
// The leaf of the i-th text, from 0, is SHA-256(HMAC-SHA-256(seed, i as 8 bytes, big-endian) ‖ text); the root is
// the SHA-256 of "tocsin leaves 1\n" and all leaves one after the other. A text is erased by dropping the seed, and
// keeping the HMACs of the texts that stay and the leaves of those that went. Nothing erases yet.
type Leaves struct {
	nonce, root hash.Hash
	n           uint64
	buf         []byte
}

// NewLeaves begins a list under a seed.
func NewLeaves(seed []byte) *Leaves {
	l := &Leaves{nonce: hmac.New(sha256.New, seed), root: sha256.New()}
	l.root.Write([]byte("tocsin leaves 1\n"))
	return l
}

// Add adds the next text.
func (l *Leaves) Add(text []byte) {
	l.nonce.Reset()
	l.buf = binary.BigEndian.AppendUint64(l.buf[:0], l.n)
	l.nonce.Write(l.buf)
	l.buf = append(l.nonce.Sum(l.buf[:0]), text...)
	leaf := sha256.Sum256(l.buf)
	l.buf = append(l.buf[:0], leaf[:]...) // which keeps it off the heap
	l.root.Write(l.buf)
	l.n++
}

// Root returns the root, in hexadecimal, of what was added so far.
func (l *Leaves) Root() string { return hex.EncodeToString(l.root.Sum(l.buf[:0])) }
