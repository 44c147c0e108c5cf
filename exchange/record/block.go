package record

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Carried says how far a feed's intake has been carried into a collection: all
// records before Sequence, and of that one the first Groups groups of the
// collection's share.
type Carried struct {
	Feed     string
	Sequence uint64
	Groups   int
}

// Block is what a collection gained in one append: one STIX bundle, compressed,
// with its facts.
type Block struct {
	Collection string
	// Feeds are those that objects of this block come from, sorted.
	Feeds []string
	// Number counts the collection's blocks from 1; Previous is the Hash of the
	// block before, "" for the first.
	Number   uint64
	Previous string
	// Count objects have the date_added AddedFirst, AddedFirst + 1 µs, …
	Count      int
	AddedFirst time.Time
	// Label is the highest of its objects.
	Label tlp.Level
	// Carried is where every feed stands that ever entered the collection,
	// sorted by feed.
	Carried []Carried
	// Starts says, a bit an object from the lowest of the first byte on, where
	// a group starts: objects that belong together, such as a host's.
	Starts []byte
	// New says, in the same way, which objects no feed can have given the
	// collection in any version; members may have.
	New []byte
	// By is the member that added the objects, and which of them stand apart, as a Seal writes it; "" where feeds did. Labels says, a byte an
	// object, what is known of its label since: 0 where nothing is, as of what has no
	// versions; Relayed is added where it was said by somebody whose word does not count.
	By     string
	Labels []byte
	// Control is set on a control block: it adds nothing and changes what is
	// there. Its Count is 0 and its payload the JSON of what the kind needs.
	Control ControlKind
	// Payload is the bundle, compressed with zstd.
	Payload []byte
	// Sequence is the block's position in the journal; 0 before it is appended.
	// It is no part of the block.
	Sequence uint64
}

// Added returns the date_added of the block's i-th object.
func (b *Block) Added(i int) time.Time { return b.AddedFirst.Add(time.Duration(i) * time.Microsecond) }

// Hash returns the block's commitment in hexadecimal: the SHA-256 of the
// SHA-256 of its facts and the SHA-256 of its payload. The payload can be
// erased later without breaking the chain.
func (b *Block) Hash() string {
	var facts strings.Builder
	fmt.Fprintf(&facts, "tocsin block 1\n%s\n%s\n%d\n%s\n%d\n%d\n%s\n%s\n", b.Collection, strings.Join(b.Feeds, ","),
		b.Number, b.Previous, b.Count, b.AddedFirst.UnixMicro(), b.Label, FormatCarried(b.Carried))
	if len(b.Starts) > 0 || b.Control != "" { // blocks of before have neither
		fmt.Fprintf(&facts, "starts %x\nnew %x\ncontrol %s\n", b.Starts, b.New, b.Control)
	}
	if b.By != "" {
		fmt.Fprintf(&facts, "by %s\nlabels %x\n", b.By, b.Labels)
	}
	head, body := sha256.Sum256([]byte(facts.String())), sha256.Sum256(b.Payload)
	sum := sha256.Sum256(append(head[:], body[:]...))
	return hex.EncodeToString(sum[:])
}

// ControlKind says what a control block does.
type ControlKind string

// ControlDelete takes versions of objects out of the collection; its payload is
// a Removal with Versions. ControlWithdraw takes objects out, in all versions, because
// their label was raised above the collection's ceiling; its payload is one with Objects.
const (
	ControlDelete   ControlKind = "delete"
	ControlWithdraw ControlKind = "withdraw"
)

// Relayed is a bit of Block.Labels: the object was added by one whose word says nothing about
// its label.
const Relayed = 0x80

// Removal lists what leaves a collection, and in Raised what may stay there, under the label
// that it has from then on.
type Removal struct {
	Versions []Version   `json:"versions,omitempty"`
	Objects  []Withdrawn `json:"withdrawn,omitempty"`
	Raised   []Withdrawn `json:"raised,omitempty"`
}

// Withdrawn is an object that leaves a collection in all its versions, and the label that it
// has as of a version, as a number, since tlp.Unknown is no text that is read; 0 where that is
// not kept, as of what comes from feeds.
type Withdrawn struct {
	ID      string    `json:"id"`
	Label   uint8     `json:"label,omitempty"`
	Version time.Time `json:"version,omitzero"`
}

// Removal reads a control block's payload, decompressed.
func (b *Block) Removal(text []byte) (*Removal, error) {
	if b.Control != ControlDelete && b.Control != ControlWithdraw {
		return nil, fmt.Errorf("%w: block %d is of the unknown kind %.40q: this version of Tocsin is too old for it", exchange.ErrRecord, b.Number, b.Control)
	}
	var d struct {
		Removal
		Deleted []Version `json:"objects"` // as it was written at first
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%w: block %d: %w", exchange.ErrRecord, b.Number, err)
	}
	d.Versions = append(d.Versions, d.Deleted...)
	return &d.Removal, nil
}

// Version names one version of one object in one version of STIX.
type Version struct {
	ID          string    `json:"id"`
	SpecVersion string    `json:"spec_version"`
	Version     time.Time `json:"version"`
}

// FormatCarried writes positions as feed=sequence:groups, separated by commas.
func FormatCarried(list []Carried) string {
	var b []byte
	for i, c := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, c.Feed...), '=')
		b = append(strconv.AppendUint(b, c.Sequence, 10), ':')
		b = strconv.AppendInt(b, int64(c.Groups), 10)
	}
	return string(b)
}

// ParseCarried reads what FormatCarried wrote.
func ParseCarried(s string) ([]Carried, error) {
	if s == "" {
		return nil, nil
	}
	var list []Carried
	for part := range strings.SplitSeq(s, ",") {
		feed, rest, ok := strings.Cut(part, "=")
		seq, groups, ok2 := strings.Cut(rest, ":")
		n, err := strconv.ParseUint(seq, 10, 64)
		g, err2 := strconv.Atoi(groups)
		if !ok || !ok2 || err != nil || err2 != nil || g < 0 {
			return nil, fmt.Errorf("position %.80q is not feed=sequence:groups", part)
		}
		list = append(list, Carried{Feed: feed, Sequence: n, Groups: g})
	}
	return list, nil
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
