package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Delivered says how far a feed's intake was delivered into a collection: all records before Sequence, and of
// that one the groups whose Index is below Groups.
type Delivered struct {
	Feed     string
	Sequence uint64
	Groups   int
}

// Head is the end of a log, as somebody knew it: a record's sequence in its stream, and its hash in hexadecimal.
// It is zero where nothing is known.
type Head struct {
	Sequence uint64
	Hash     string
}

// Block is what a collection gained in one append: one STIX bundle, compressed,
// with its facts.
type Block struct {
	Collection string
	// Feed is what the objects of this block come from; "" where a member added them. Packaging is that of their
	// intake records: back-fill gives what was packaged before that in the version that it has.
	Feed      string
	Packaging uint8
	// Number counts the collection's blocks from 1; Previous is the Hash of the
	// block before, "" for the first.
	Number   uint64
	Previous string
	// Count objects have the date_added AddedFirst, AddedFirst + 1 µs, …
	Count      int
	AddedFirst time.Time
	// Label is the highest of its objects.
	Label tlp.Level
	// Delivered is how far every feed was that ever entered the collection, sorted by feed. Intake and Audit are the
	// ends of intake and of the audit, and Register the version and the hash of the register, as the writer knew them; the
	// last two are zero where it was older than version 8 of the encoding. Readers of blocks do not see them: Sealed is all
	// of them, as Seal.Close writes it.
	Delivered               []Delivered
	Intake, Audit, Register Head
	Sealed                  string
	// Starts says, a bit an object from the lowest of the first byte on, where
	// a group starts: objects that belong together, such as a host's.
	Starts []byte
	// New says, in the same way, of which objects the collection has no version yet.
	New []byte
	// By is a pseudonym of the member that posted the objects (Seal.Pseudonym), "" where a feed made them. Labels
	// has a byte for each: see PackLabels.
	By     string
	Labels []byte
	// Control is set on a control block: it adds nothing and changes what is
	// there. Its Count is 0 and its payload the JSON of what the kind needs.
	Control ControlKind
	// Seed and Root commit to the objects, or to a control block's payload as one: see Leaves.
	Seed []byte
	Root string
	// Removed are the positions whose objects a replacement of the block has no more, a bit an object as in Starts;
	// empty for a block as it was appended. Proofs stand in for the seed then: see Leaves.
	Removed, Proofs []byte
	// Trimmed says that the block's objects are older than they are kept: nothing but its facts is left of it.
	Trimmed bool
	// Payload is the bundle, compressed with zstd.
	Payload []byte
	// Sequence is the block's position in the journal; 0 before it is appended. Of a replacement it is that of
	// the block. It is no part of the block.
	Sequence uint64
	// Packed says that this process has packed it, and that no byte is another since: it holds what it commits to. It is no
	// part of the block.
	Packed bool
}

// Has tells whether the object at a position is in the payload.
func (b *Block) Has(i int) bool {
	return !b.Trimmed && (i/8 >= len(b.Removed) || b.Removed[i/8]&(1<<(i%8)) == 0)
}

// Added returns the date_added of the block's i-th object.
func (b *Block) Added(i int) time.Time { return b.AddedFirst.Add(time.Duration(i) * time.Microsecond) }

// Hash returns the block's commitment in hexadecimal: the SHA-256 of its facts, a line each, Root among
// them. Payload, seed and proofs are not: a block that replaces it has the same hash, and keeps the chain.
func (b *Block) Hash() string {
	var facts []byte
	facts = fmt.Appendf(facts, "tocsin block 2\ncollection %s\nfeed %s\npackaging %d\nnumber %d\nprevious %s\ncount %d\nadded %d\nlabel %s\n",
		b.Collection, b.Feed, b.Packaging, b.Number, b.Previous, b.Count, b.AddedFirst.UnixMicro(), b.Label)
	facts = fmt.Appendf(facts, "sealed %s\nstarts %x\nnew %x\nby %s\nlabels %x\ncontrol %s\nroot %s\n",
		b.Sealed, b.Starts, b.New, b.By, b.Labels, b.Control, b.Root)
	sum := sha256.Sum256(facts)
	return hex.EncodeToString(sum[:])
}

// ControlKind says what a control block does.
type ControlKind string

// ControlDelete takes out what somebody has deleted; ControlWithdraw takes out what has got a higher label. The payload
// of both is a Removal under Seal: what left can be told by nobody else from it. Readers learn where something is gone
// from the block's replacement.
//
// ControlRestart takes out nothing: the exchange was restored, and goes on from the block before it. What the collection had
// behind that once is taken back.
const (
	ControlDelete   ControlKind = "delete"
	ControlWithdraw ControlKind = "withdraw"
	ControlRestart  ControlKind = "restart"
)

// PackLabels packs what is known of the label of an object that a member has posted: the one that it has in the
// collection, and the highest that its own markings mean, tlp.None for none. No label packs as 0: the object was put there
// by the exchange.
func PackLabels(label, own tlp.Level) byte { return byte(label)&7 | byte(own)<<4 }

// Marked is added to packed labels where the exchange has written the label's marking into the object.
const Marked = 1 << 3

// UnpackLabels undoes PackLabels.
func UnpackLabels(b byte) (label, own tlp.Level) { return tlp.Level(b & 7), tlp.Level(b >> 4) }

// Removal lists what leaves a collection.
type Removal struct {
	// Versions were deleted.
	Versions []Version `json:"versions,omitempty"`
	// Objects are hosts' objects that leave in all their versions, Withdrawn versions that members have posted:
	// their label is above the collection's ceiling now.
	Objects   []Withdrawn `json:"objects,omitempty"`
	Withdrawn []Version   `json:"withdrawn,omitempty"`
	// Raised are added again right behind the block, with a higher label.
	Raised []Version `json:"raised,omitempty"`
	// Remembered are labels that versions of an object have at least, of the member that the block is By.
	Remembered []Remembered `json:"remembered,omitempty"`
}

// Withdrawn is a host's object that leaves a collection in all its versions.
type Withdrawn struct {
	ID string `json:"id"`
}

// Remembered is the label that an object has as of a version, and at least in older ones.
type Remembered struct {
	Version
	Label tlp.Level `json:"label"`
}

// Holes are positions of a block whose objects were removed. Sequence is the block's in the journal.
type Holes struct {
	Block     uint64 `json:"block"`
	Sequence  uint64 `json:"sequence,omitempty"`
	Positions []int  `json:"positions"`
}

// Replacing is how far it is that what a collection has lost leaves the journal: all that its control blocks took out up
// to an instant has, and the Holes are being made.
type Replacing struct {
	To    time.Time `json:"to,omitzero"`
	Holes []Holes   `json:"holes,omitempty"`
}

// Version names one version of one object in one version of STIX.
type Version struct {
	ID          string    `json:"id"`
	SpecVersion string    `json:"spec_version"`
	Version     time.Time `json:"version"`
}

// Chain is what walking over a journal found of one collection.
type Chain struct {
	Collection string    `json:"collection"`
	Blocks     uint64    `json:"blocks"`
	Objects    int64     `json:"objects"`
	First      time.Time `json:"first,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	Head       string    `json:"head,omitempty"`
	// Problem is the first thing wrong with the chain, "" where it is whole.
	Problem string `json:"problem,omitempty"`
}
