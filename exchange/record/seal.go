package record

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
)

// Seal hides from the readers of blocks who added the objects, and which of them stand apart: only who
// has the key can tell whether a text stands for a member, and two texts never tell that they stand for
// the same one.
//
// A text is 8 random bytes, 16 of an HMAC-SHA-256 over them and the member's id, and a bit for each
// object of the block, encrypted; all in hexadecimal.
type Seal struct{ Key []byte }

// The sizes of a text's parts.
const (
	sealNonce  = 2 * 8
	sealMember = sealNonce + 2*16
)

// Member writes a member's id, and a set bit for each object of the block that stands apart: the
// lowest of the first byte is the first object's. The text's length depends on the number of bytes.
func (s Seal) Member(id string, apart []byte) string {
	nonce := make([]byte, sealNonce/2)
	_, _ = rand.Read(nonce) // never fails
	return s.text(nonce, id) + hex.EncodeToString(s.crypt(nonce, apart))
}

func (s Seal) text(nonce []byte, id string) string {
	h := hmac.New(sha256.New, s.Key)
	h.Write(nonce)
	h.Write([]byte("member " + id))
	return hex.EncodeToString(nonce) + hex.EncodeToString(h.Sum(nil)[:16])
}

// crypt encrypts and decrypts bits: AES-CTR, under a key of its own that is derived from the seal's, from
// the nonce on.
func (s Seal) crypt(nonce, bits []byte) []byte {
	if len(bits) == 0 {
		return nil
	}
	key, err := hkdf.Key(sha256.New, s.Key, nil, "tocsin apart", 32)
	if err != nil {
		panic(err) // only a longer key could not be derived
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	out := make([]byte, len(bits))
	cipher.NewCTR(block, append(bytes.Clone(nonce), make([]byte, aes.BlockSize-len(nonce))...)).XORKeyStream(out, bits)
	return out
}

// Is tells whether a text that Member wrote stands for the member.
func (s Seal) Is(text, id string) bool {
	if len(text) < sealMember {
		return false
	}
	nonce, err := hex.DecodeString(text[:sealNonce])
	return err == nil && hmac.Equal([]byte(text[:sealMember]), []byte(s.text(nonce, id)))
}

// Apart returns the bits that Member was given; none of a text that has none.
func (s Seal) Apart(text string) []byte {
	if len(text) <= sealMember {
		return nil
	}
	raw, err := hex.DecodeString(text[:sealNonce] + text[sealMember:])
	if err != nil {
		return nil
	}
	return s.crypt(raw[:sealNonce/2], raw[sealNonce/2:])
}

// Sealed is the part of a text that stands for the member, without the bits.
func Sealed(text string) string { return text[:min(len(text), sealMember)] }
