package record

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
)

// SeedSize is how long the seed of a commitment is, in bytes.
const SeedSize = 16

// NewSeed makes a seed.
func NewSeed() []byte {
	seed := make([]byte, SeedSize)
	_, _ = rand.Read(seed) // never fails
	return seed
}

// Leaves commits to a list of texts, such as the objects of a block, so that each can be removed later: who has
// the rest can still check it, and can't guess what went.
//
// The leaf of the i-th text, from 0, is SHA-256(nonce ‖ text), where nonce is HMAC-SHA-256(seed, i as 8 bytes,
// big-endian); the root is the SHA-256 of "tocsin leaves 1\n" and all leaves one after the other. A text is removed by
// dropping the seed and keeping a proof of each, 32 bytes: the nonces of the texts that stay, and the leaves of those
// that went (Without).
type Leaves struct {
	nonce, root hash.Hash
	n           uint64
	buf         []byte
	replacement *Block // whose proofs are in place of nonce; nil where there is a seed
}

// NewLeaves begins a list under a seed.
func NewLeaves(seed []byte) *Leaves {
	l := &Leaves{nonce: hmac.New(sha256.New, seed), root: sha256.New()}
	l.root.Write([]byte("tocsin leaves 1\n"))
	return l
}

// LeavesOf begins the list that a block commits to. Those of its objects that it has are to be added.
func LeavesOf(b *Block) *Leaves {
	l := NewLeaves(b.Seed)
	if len(b.Removed) > 0 {
		l.replacement = b
	}
	return l
}

// Add adds the next text.
func (l *Leaves) Add(text []byte) {
	if l.replacement != nil {
		l.pass()
		l.buf = append(l.buf[:0], l.replacement.proof(int(l.n))...)
	} else {
		l.nonce.Reset()
		l.buf = binary.BigEndian.AppendUint64(l.buf[:0], l.n)
		l.nonce.Write(l.buf)
		l.buf = l.nonce.Sum(l.buf[:0])
	}
	l.buf = append(l.buf, text...)
	leaf := sha256.Sum256(l.buf)
	l.buf = append(l.buf[:0], leaf[:]...) // which keeps it off the heap
	l.root.Write(l.buf)
	l.n++
}

// pass goes over the texts that were removed.
func (l *Leaves) pass() {
	b := l.replacement
	for i := int(l.n); b != nil && i < b.Count && !b.Has(i); i++ {
		l.root.Write(b.proof(i))
		l.n++
	}
}

// Root returns the root, in hexadecimal, of what was added so far.
func (l *Leaves) Root() string {
	l.pass()
	return hex.EncodeToString(l.root.Sum(l.buf[:0]))
}

// proof is that of the i-th object; none where there are too few, and then no root comes of it.
func (b *Block) proof(i int) []byte {
	if i < 0 || (i+1)*sha256.Size > len(b.Proofs) {
		return nil
	}
	return b.Proofs[i*sha256.Size : (i+1)*sha256.Size]
}

// Trim leaves nothing but its facts of a block.
func (b *Block) Trim() { b.Trimmed, b.Seed, b.Proofs, b.Payload = true, nil, nil, nil }

// Without makes a block its replacement that has some of its objects no more. objects are those that it has, by their
// positions. The payload is not changed.
func (b *Block) Without(objects map[int][]byte, gone []int) {
	nonce := hmac.New(sha256.New, b.Seed)
	proofs, removed := make([]byte, 0, b.Count*sha256.Size), slices.Grow(slices.Clone(b.Removed), (b.Count+7)/8)[:(b.Count+7)/8]
	for i := range b.Count {
		proof := b.proof(i)
		if len(b.Removed) == 0 {
			nonce.Reset()
			nonce.Write(binary.BigEndian.AppendUint64(nil, uint64(i)))
			proof = nonce.Sum(nil)
		}
		if b.Has(i) && slices.Contains(gone, i) {
			leaf := sha256.Sum256(append(slices.Clip(proof), objects[i]...))
			proof = leaf[:]
			removed[i/8] |= 1 << (i % 8)
		}
		proofs = append(proofs, proof...)
	}
	b.Seed, b.Removed, b.Proofs = nil, removed, proofs
}
