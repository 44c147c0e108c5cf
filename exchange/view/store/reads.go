package store

import "encoding/binary"

// Reads takes what was appended to bytes; the first failure sticks.
type Reads struct {
	B   []byte
	Bad bool
}

// fail notes that there is too little, or too much.
func (r *Reads) fail() { r.Bad, r.B = true, nil }

// Number takes a number of variable length.
func (r *Reads) Number() uint64 {
	x, n := binary.Uvarint(r.B)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.B = r.B[n:]
	return x
}

// maxInt is more than a size or a position in one block can be.
const maxInt = 1 << 30

// Int takes a size or a position.
func (r *Reads) Int() int {
	if len(r.B) > 0 && r.B[0] < 0x80 { // most are small
		n := int(r.B[0])
		r.B = r.B[1:]
		return n
	}
	n := r.Number()
	if n > maxInt {
		r.fail()
		return 0
	}
	return int(n)
}

// Take takes so many bytes; they are not copied.
func (r *Reads) Take(n int) []byte {
	if n > len(r.B) {
		r.fail()
		return nil
	}
	taken := r.B[:n]
	r.B = r.B[n:]
	return taken
}

// Uint64 takes 8 bytes, big-endian.
func (r *Reads) Uint64() uint64 {
	if b := r.Take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}
