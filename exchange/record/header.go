package record

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// mediaType is the Content-Type of a block, once decompressed.
const mediaType = "application/stix+json;version=2.1"

// ReplacesHeader is the name of the header that tells a block's replacement from the block: it has its number.
const ReplacesHeader = "Tocsin-Replaces"

// trimmedHeader tells of a block whose objects are older than they are kept.
const trimmedHeader = "Tocsin-Trimmed"

// Header writes the block's facts as the headers of its message.
func (b *Block) Header() map[string][]string {
	h := textproto.MIMEHeader{}
	h.Set("Content-Type", mediaType)
	if b.Control != "" {
		h.Set("Content-Type", "application/json")
		h.Set("Tocsin-Control", string(b.Control))
	}
	for name, bits := range map[string][]byte{
		"Tocsin-Starts": b.Starts, "Tocsin-New": b.New, "Tocsin-Seed": b.Seed, "Tocsin-Removed": b.Removed, "Tocsin-Proofs": b.Proofs,
	} {
		if len(bits) > 0 {
			h.Set(name, base64.StdEncoding.EncodeToString(bits))
		}
	}
	if b.By != "" {
		h.Set("Tocsin-By", b.By)
		h.Set("Tocsin-Labels", base64.StdEncoding.EncodeToString(b.Labels))
	}
	if len(b.Removed) > 0 {
		h.Set(ReplacesHeader, strconv.FormatUint(b.Number, 10))
		h.Set("Tocsin-Sequence", strconv.FormatUint(b.Sequence, 10))
	}
	if b.Trimmed {
		h.Set(trimmedHeader, "1")
	}
	h.Set("Content-Encoding", "zstd")
	h.Set("Tocsin-Collection", b.Collection)
	h.Set("Tocsin-Feeds", b.Feed)
	h.Set("Tocsin-Packaging", strconv.Itoa(int(b.Packaging)))
	h.Set("Tocsin-Block", strconv.FormatUint(b.Number, 10))
	h.Set("Tocsin-Previous", b.Previous)
	h.Set("Tocsin-Count", strconv.Itoa(b.Count))
	h.Set("Tocsin-Added-First", b.AddedFirst.UTC().Format("2006-01-02T15:04:05.000000Z"))
	h.Set("Tocsin-Label", b.Label.String())
	h.Set("Tocsin-Root", b.Root)
	h.Set("Tocsin-Sealed", b.Sealed)
	return h
}

// ParseBlock reads a block, or its replacement, from the headers and the payload of a message, but for what is sealed.
// Its error is an exchange.ErrRecord.
func ParseBlock(header map[string][]string, payload []byte) (*Block, error) {
	h := textproto.MIMEHeader(header)
	b := &Block{
		Collection: h.Get("Tocsin-Collection"), Feed: h.Get("Tocsin-Feeds"), Previous: h.Get("Tocsin-Previous"), Payload: payload,
		By: h.Get("Tocsin-By"), Control: ControlKind(h.Get("Tocsin-Control")), Root: h.Get("Tocsin-Root"), Sealed: h.Get("Tocsin-Sealed"), Trimmed: h.Get(trimmedHeader) != "",
	}
	var errs []error
	number := func(name string, bits int) uint64 {
		n, err := strconv.ParseUint(h.Get(name), 10, bits)
		errs = append(errs, err)
		return n
	}
	bytes := func(name string) []byte {
		v, err := base64.StdEncoding.DecodeString(h.Get(name))
		errs = append(errs, err)
		return v
	}
	var err error
	b.Number, b.Count, b.Packaging = number("Tocsin-Block", 64), int(number("Tocsin-Count", 31)), uint8(number("Tocsin-Packaging", 8))
	b.AddedFirst, err = time.Parse(time.RFC3339Nano, h.Get("Tocsin-Added-First"))
	errs = append(errs, err)
	b.Label, err = tlp.Parse(h.Get("Tocsin-Label"))
	errs = append(errs, err)
	b.Starts, b.New, b.Labels, b.Seed = bytes("Tocsin-Starts"), bytes("Tocsin-New"), bytes("Tocsin-Labels"), bytes("Tocsin-Seed")
	replaces := h.Get(ReplacesHeader)
	if replaces != "" {
		b.Removed, b.Proofs, b.Sequence = bytes("Tocsin-Removed"), bytes("Tocsin-Proofs"), number("Tocsin-Sequence", 64)
	}
	err = errors.Join(errs...)
	switch {
	case err != nil:
	case b.Number == 0, (b.Count == 0) != (b.Control != ""), b.By != "" && len(b.Labels) != b.Count, b.Trimmed && (b.Control != "" || len(payload) > 0), len(b.Root) != 2*sha256.Size,
		replaces != "" && (replaces != h.Get("Tocsin-Block") || b.Control != "" || len(b.Removed) != (b.Count+7)/8 || len(b.Proofs) != b.Count*sha256.Size && !b.Trimmed || b.Sequence == 0):
		err = errors.New("its headers contradict each other")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: block %.20q of collection %.80q: %w", exchange.ErrRecord, h.Get("Tocsin-Block"), b.Collection, err)
	}
	return b, nil
}

// EncodeHeader writes headers as NATS does: "NATS/1.0", and a line for each value.
func EncodeHeader(header map[string][]string) []byte {
	text := []byte("NATS/1.0\r\n")
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			text = append(append(append(append(text, name...), ": "...), value...), "\r\n"...)
		}
	}
	return append(text, "\r\n"...)
}

// DecodeHeader reads what EncodeHeader wrote.
func DecodeHeader(text []byte) (map[string][]string, error) {
	_, lines, _ := bytes.Cut(text, []byte("\r\n"))
	h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(lines))).ReadMIMEHeader()
	if err != nil {
		return nil, fmt.Errorf("%w: headers: %w", exchange.ErrRecord, err)
	}
	return h, nil
}
