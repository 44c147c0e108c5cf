package record

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Seal hides from the readers of blocks who posted the objects: only who has the key can tell whether a text stands for
// a member, and two texts never tell that they stand for the same one.
//
// A text is 8 random bytes, and 16 of an HMAC-SHA-256 over them and the member's id, in hexadecimal.
//
// Key is what is written under; what was written under one of Old is read as well.
type Seal struct {
	Key []byte
	Old [][]byte
}

// keys are all that may have been written under.
func (s Seal) keys() [][]byte { return append([][]byte{s.Key}, s.Old...) }

// The sizes of a text's parts.
const (
	sealNonce  = 2 * 8
	sealMember = sealNonce + 2*16
)

// Pseudonym writes a member's id.
func (s Seal) Pseudonym(id string) string {
	nonce := make([]byte, sealNonce/2)
	_, _ = rand.Read(nonce) // never fails
	return pseudonym(s.Key, nonce, id)
}

func pseudonym(key, nonce []byte, id string) string {
	h := hmac.New(sha256.New, key)
	h.Write(nonce)
	h.Write([]byte("member " + id))
	return hex.EncodeToString(nonce) + hex.EncodeToString(h.Sum(nil)[:16])
}

// cipherOf is AES-256 under a key for one purpose.
func cipherOf(secret []byte, purpose string) cipher.Block {
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, 32)
	if err != nil {
		panic(err) // only a longer key could not be derived
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	return block
}

// Is tells whether a text that Pseudonym wrote stands for the member.
func (s Seal) Is(text, id string) bool {
	if len(text) != sealMember {
		return false
	}
	nonce, err := hex.DecodeString(text[:sealNonce])
	return err == nil && slices.ContainsFunc(s.keys(), func(key []byte) bool {
		return hmac.Equal([]byte(text), []byte(pseudonym(key, nonce, id)))
	})
}

// sealedPart is what the length of a sealed text tells: its bytes in such parts.
const sealedPart = 128

// Close writes what readers of a block are not to see of it into its Sealed: Delivered and the ends of logs, encrypted with
// AES-256-GCM under a key for that alone, bound to the block's collection and number.
func (s Seal) Close(b *Block) {
	e := encoder{b: []byte{recordVersion}, strings: make(map[string]uint64)}
	e.head(b.Intake)
	e.uint(uint64(len(b.Delivered)))
	for _, d := range b.Delivered {
		e.text(d.Feed)
		e.uint(d.Sequence)
		e.uint(uint64(d.Groups))
	}
	e.head(b.Audit)
	e.head(b.Register)
	text := append(e.b, make([]byte, sealedPart-len(e.b)%sealedPart)...)
	sealed := gcm(s.Key).Seal(nil, nil, text, b.name()) //nolint:gosec // it makes a random nonce by itself
	b.Sealed = base64.StdEncoding.EncodeToString(sealed)
}

// Open reads what Close wrote. Its error is an exchange.ErrRecord.
func (s Seal) Open(b *Block) error {
	sealed, err := base64.StdEncoding.DecodeString(b.Sealed)
	if err == nil {
		sealed, err = s.open(sealed, b.name())
	}
	if err != nil {
		return fmt.Errorf("%w: block %d of collection %s is sealed under another key, or changed: %w", exchange.ErrRecord, b.Number, b.Collection, err)
	}
	d := decoder{b: sealed}
	d.begin()
	b.Intake = d.head()
	b.Delivered = make([]Delivered, d.count())
	for i := range b.Delivered {
		b.Delivered[i] = Delivered{Feed: d.text(), Sequence: d.uint(), Groups: d.size()}
	}
	if d.version >= 8 {
		b.Audit, b.Register = d.head(), d.head()
	}
	return d.err // the rest is there for the length alone
}

// sealedRemoval is the payload of a control block.
type sealedRemoval struct {
	Sealed []byte `json:"sealed"`
}

// CloseRemoval is a control block's payload: what leaves, encrypted as Close does it.
func (s Seal) CloseRemoval(b *Block, r *Removal) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	text = append(text, bytes.Repeat([]byte{' '}, sealedPart-len(text)%sealedPart)...)
	return json.Marshal(sealedRemoval{gcm(s.Key).Seal(nil, nil, text, append(b.name(), " removal"...))}) //nolint:gosec // as in Close
}

// OpenRemoval reads a control block's payload, decompressed. Its error is an exchange.ErrRecord.
func (s Seal) OpenRemoval(b *Block, payload []byte) (*Removal, error) {
	if b.Control != ControlDelete && b.Control != ControlWithdraw && b.Control != ControlRestart {
		return nil, fmt.Errorf("%w: block %d is of the unknown kind %.40q: this version of Tocsin is too old for it", exchange.ErrRecord, b.Number, b.Control)
	}
	var sealed sealedRemoval
	err := json.Unmarshal(payload, &sealed)
	var text []byte
	if err == nil {
		text, err = s.open(sealed.Sealed, append(b.name(), " removal"...))
	}
	r := new(Removal)
	if err == nil {
		err = json.Unmarshal(text, r)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: what block %d of collection %s takes out: %w", exchange.ErrRecord, b.Number, b.Collection, err)
	}
	return r, nil
}

// open decrypts a text, under the key that it was written with.
func (s Seal) open(sealed, name []byte) (text []byte, err error) {
	for _, key := range s.keys() {
		if text, err = gcm(key).Open(nil, nil, sealed, name); err == nil {
			return text, nil
		}
	}
	return nil, err
}

func gcm(key []byte) cipher.AEAD {
	g, err := cipher.NewGCMWithRandomNonce(cipherOf(key, "tocsin sealed"))
	if err != nil {
		panic(err) // AES has the block size that it wants
	}
	return g
}

// name is what a sealed text is bound to.
func (b *Block) name() []byte { return fmt.Appendf(nil, "%s %d", b.Collection, b.Number) }
