package journal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/erasure"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Eraser takes what is erased out of the messages of streams, while nobody has these open. Sequences, stamps, and the hashes by
// which records continue each other stay as they are: a block keeps proofs of what it had (record.Leaves), a record of intake the
// hash that it had. It is for one goroutine.
type Eraser struct {
	match *erasure.Matcher
	hosts erasure.Hosts
	// Trim tells whether what was taken in then is older than it is kept, of a feed's rows, or of a collection: of those that a feed
	// has made for it, or members posted. nil keeps all.
	Trim func(collection, feed string, at time.Time) bool
	// TrimAudit tells whether a record of the audit of then is older than these are kept; nil keeps all. What goes are the first
	// ones, and never the last, AuditEnd, which the next one continues.
	TrimAudit func(at time.Time) bool
	AuditEnd  uint64

	auditKept bool // a record of the audit was

	enc *zstd.Encoder
	dec *zstd.Decoder
	// texts are those of buckets that keep texts in parts, by bucket and id.
	texts map[string]map[string]*parts
}

// parts are a text's messages: their data by their number, and how many there are.
type parts struct {
	data map[int][]byte
	n    int
	// stays is what the text is from now on, compressed; nil where it is as it was.
	stays []byte
}

// NewEraser makes one. hosts are the ids of what was made of the hosts that match erases. It is to be closed.
func NewEraser(match *erasure.Matcher, hosts erasure.Hosts) (*Eraser, error) {
	e := &Eraser{match: match, hosts: hosts, texts: make(map[string]map[string]*parts)}
	var err error
	if e.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20)); err != nil {
		return nil, err
	}
	e.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	return e, err
}

// Close ends it.
func (e *Eraser) Close() {
	_ = e.enc.Close()
	e.dec.Close()
}

// KeepsLast tells whether a stream keeps the last message of each subject alone.
func KeepsLast(stream string) bool { return strings.HasPrefix(stream, "KV_") }

// inParts are the buckets that keep texts in parts. Their messages go to Gather before they go to Message.
var inParts = []string{statusBucket, keptBucket, receiptsBucket, quarantined}

// Gather takes in a part of a text, in any order.
func (e *Eraser) Gather(stream string, m *record.Message) {
	bucket, id, part, ok := partOf(stream, m.Subject)
	if !ok {
		return
	}
	all := e.texts[bucket]
	if all == nil {
		all = make(map[string]*parts)
		e.texts[bucket] = all
	}
	p := all[id]
	if p == nil {
		p = &parts{data: make(map[int][]byte)}
		all[id] = p
	}
	if part < 0 {
		p.n, _ = strconv.Atoi(string(m.Data))
	} else {
		p.data[part] = m.Data
	}
}

// partOf reads the subject of a text's part; its number is -1 for the one that says how many there are.
func partOf(stream, subject string) (bucket, id string, part int, ok bool) {
	for _, b := range inParts {
		rest, found := strings.CutPrefix(subject, "$KV."+b+".")
		if !found || stream != "KV_"+b {
			continue
		}
		id, number, more := strings.Cut(rest, ".")
		if !more {
			return b, id, -1, true
		}
		part, err := strconv.Atoi(number)
		return b, id, part, err == nil
	}
	return "", "", 0, false
}

// Gathered works out what stays of the texts, once all their parts are there. It lists those that cannot be read, which are left.
func (e *Eraser) Gathered() (unreadable []string) {
	e.match.Of(time.Time{})
	for bucket, all := range e.texts {
		for id, p := range all {
			var packed []byte
			for i := range p.n {
				packed = append(packed, p.data[i]...)
			}
			if p.n == 0 || len(packed) == 0 {
				continue
			}
			text, err := e.dec.DecodeAll(packed, nil)
			if err != nil {
				unreadable = append(unreadable, bucket+" "+id)
				continue
			}
			if stays, changed := e.match.JSON(text); changed {
				p.stays = e.enc.EncodeAll(stays, nil)
			}
			p.data = nil
		}
	}
	return unreadable
}

// Message returns what a message is from now on: the same, another, or nil for none.
func (e *Eraser) Message(stream string, m *record.Message) (*record.Message, error) {
	e.match.Of(time.Time{}) // a record and a block say of when they are
	var stays *record.Message
	var err error
	switch {
	case stream == IntakeStream:
		stays, err = e.intakeRecord(m)
	case stream == BlocksStream:
		stays, err = e.block(m)
	case stream == AuditStream:
		stays, err = e.auditRecord(m)
	case stream == StateStream:
		if text, changed := e.match.JSON(m.Data); changed {
			return e.with(m, m.Header, text), nil
		}
		return m, nil
	default:
		return e.part(stream, m), nil
	}
	if err != nil {
		return nil, fmt.Errorf("erase from message %d of stream %s: %w", m.Sequence, stream, err)
	}
	return stays, nil
}

// Named tells whether a message that a stream has no more names what is erased, as far as that can be told of a part, or is an order
// as it was, with its key.
func (e *Eraser) Named(stream string, m *record.Message) bool {
	text := m.Data
	e.match.Of(time.Time{})
	_, id, part, ok := partOf(stream, m.Subject)
	if ok && strings.HasPrefix(id, orderPrefix) {
		return true
	}
	if ok && part >= 0 {
		whole, err := e.dec.DecodeAll(m.Data, nil)
		if err != nil {
			return true
		}
		text = whole
	}
	return e.match.Text(text)
}

func (e *Eraser) with(m *record.Message, header, data []byte) *record.Message {
	return &record.Message{Sequence: m.Sequence, Subject: m.Subject, Header: header, Data: data, Time: m.Time}
}

func (e *Eraser) intakeRecord(m *record.Message) (*record.Message, error) {
	had, err := e.dec.DecodeAll(m.Data, nil)
	if err != nil {
		return nil, err
	}
	in, err := record.DecodeIntake(had)
	if err != nil {
		return nil, err
	}
	if e.Trim != nil && e.Trim("", in.Feed, in.At) && in.Holds() {
		in.Trim()
		return e.with(m, m.Header, e.enc.EncodeAll(in.AppendErased(nil, had), nil)), nil
	}
	if !e.match.Intake(in) {
		return m, nil
	}
	return e.with(m, m.Header, e.enc.EncodeAll(in.AppendErased(nil, had), nil)), nil
}

func (e *Eraser) block(m *record.Message) (*record.Message, error) {
	header, err := record.DecodeHeader(m.Header)
	if err != nil {
		return nil, err
	}
	b, err := record.ParseBlock(header, m.Data)
	if err != nil || b.Control != "" || b.Trimmed { // what a control block takes out is sealed, and names ids alone
		return m, err
	}
	if e.Trim != nil && b.Collection != exchange.Quarantine && e.Trim(b.Collection, b.Feed, b.Added(b.Count-1)) {
		b.Trim()
		return e.with(m, record.EncodeHeader(withHeaders(b, m.Sequence, header)), nil), nil
	}
	text, err := e.dec.DecodeAll(m.Data, nil)
	if err != nil {
		return nil, err
	}
	e.match.Of(b.AddedFirst)
	gone, objects, err := e.match.Objects(b, text, e.hosts)
	if err != nil || len(gone) == 0 {
		return m, err
	}
	payload, err := without(b, objects, gone)
	if err != nil {
		return nil, err
	}
	return e.with(m, record.EncodeHeader(withHeaders(b, m.Sequence, header)), e.enc.EncodeAll(payload, nil)), nil
}

// withHeaders are the headers of a block at a sequence that has lost something, with what NATS, or the journal, has added to them.
func withHeaders(b *record.Block, sequence uint64, had map[string][]string) map[string][]string {
	if b.Sequence == 0 { // it is in its own place
		b.Sequence = sequence
	}
	stays := b.Header()
	for name, values := range had {
		if _, is := stays[name]; !is && name != "Tocsin-Seed" && name != "Tocsin-Proofs" {
			stays[name] = values
		}
	}
	return stays
}

// The headers of a record of the audit from which something was erased.
const (
	auditCount   = "Tocsin-Count"
	auditRemoved = "Tocsin-Removed"
	auditProofs  = "Tocsin-Proofs"
)

func (e *Eraser) auditRecord(m *record.Message) (*record.Message, error) {
	if !e.auditKept && e.TrimAudit != nil && m.Sequence < e.AuditEnd && e.TrimAudit(time.Unix(0, m.Time)) {
		return nil, nil
	}
	e.auditKept = true
	text, err := e.dec.DecodeAll(m.Data, nil)
	if err != nil || !e.match.Text(text) {
		return m, err
	}
	decoded, err := record.DecodeHeader(m.Header)
	if err != nil {
		return nil, err
	}
	header := nats.Header(decoded)
	b, err := auditLeaves(header, text)
	if err != nil {
		return nil, err
	}
	entries, objects, gone, i := []byte(nil), make(map[int][]byte), []int(nil), 0
	for line := range bytes.Lines(text) {
		for i < b.Count && !b.Has(i) {
			i++
		}
		objects[i] = bytes.TrimSuffix(line, []byte{'\n'})
		if e.match.Text(line) {
			gone = append(gone, i)
		} else {
			entries = append(entries, line...)
		}
		i++
	}
	b.Without(objects, gone)
	header.Del("Tocsin-Seed")
	header.Set(auditCount, strconv.Itoa(b.Count))
	header.Set(auditRemoved, base64.StdEncoding.EncodeToString(b.Removed))
	header.Set(auditProofs, base64.StdEncoding.EncodeToString(b.Proofs))
	return e.with(m, record.EncodeHeader(header), e.enc.EncodeAll(entries, nil)), nil
}

// auditLeaves is what a record of the audit commits to its entries with, as a block has it.
func auditLeaves(header nats.Header, text []byte) (*record.Block, error) {
	b := new(record.Block)
	var errs [4]error
	if count := header.Get(auditCount); count != "" {
		b.Count, errs[0] = strconv.Atoi(count)
		b.Removed, errs[1] = base64.StdEncoding.DecodeString(header.Get(auditRemoved))
		b.Proofs, errs[2] = base64.StdEncoding.DecodeString(header.Get(auditProofs))
	} else {
		b.Count = bytes.Count(text, []byte{'\n'})
		b.Seed, errs[3] = hex.DecodeString(header.Get("Tocsin-Seed"))
	}
	return b, errors.Join(errs[:]...)
}

// part is what a message of a text in parts is from now on: the first has all of it.
func (e *Eraser) part(stream string, m *record.Message) *record.Message {
	bucket, id, part, ok := partOf(stream, m.Subject)
	if !ok || e.texts[bucket][id] == nil || e.texts[bucket][id].stays == nil {
		return m
	}
	switch {
	case part < 0:
		return e.with(m, m.Header, []byte{'1'})
	case part == 0:
		return e.with(m, m.Header, e.texts[bucket][id].stays)
	}
	return nil
}
