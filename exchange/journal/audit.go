package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// The audit is a stream of its own, chained as blocks are: each record has the number and the
// hash of the one before, so that none can be left out or changed, and commits to its entries as a
// block does to its objects (record.Leaves). Its payload is a JSON object a
// line. What happens at one moment becomes one record; what differs in counts alone, one entry.

const (
	auditSubject = "tocsin.a"
	// auditLinger is how long entries are gathered before they are written: a crash can lose those
	// of so long.
	auditLinger = 100 * time.Millisecond
	// auditQueue is how many entries wait at most, one by one: nobody waits for a disk that is full. Those that come then
	// are merged with others of their key. Past as many keys, only their number by action is kept.
	auditQueue = 4096
	// auditBatch is how many entries one record has at most, auditDetail how long what an entry
	// says in words is: a record fits a message, whatever callers send.
	auditBatch  = 500
	auditDetail = 2000
)

// auditHead is the end of the audit's chain.
type auditHead struct {
	sequence, number uint64
	hash             string
}

func (j *Journal) openAudit(ctx context.Context, keep time.Duration) error {
	config := jetstream.StreamConfig{
		Name: AuditStream, Subjects: []string{auditSubject}, Description: "Who did what, and who was given what",
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, AllowDirect: true, DenyPurge: true, DenyDelete: true,
	}
	least := max(keep, 0)
	old, err := j.js.Stream(ctx, AuditStream)
	if err == nil {
		before := old.CachedInfo().Config
		least = shortest(least, before.MaxAge) // by which the broker has deleted records once
		if d, err := time.ParseDuration(before.Metadata[leastKept]); err == nil {
			least = shortest(least, d)
		}
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("open stream %s: %w", AuditStream, err)
	}
	config.Metadata = map[string]string{leastKept: least.String()}
	stream, err := j.js.CreateOrUpdateStream(ctx, config)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", AuditStream, err)
	}
	j.auditLeast = least
	j.audit, j.entries = stream, make(chan exchange.AuditEntry, auditQueue)
	return nil
}

// leastKept is the name under which the stream of the audit has the shortest time that it was ever kept for, 0 where all
// was kept. KeepAsItIs leaves to the stream how long it is kept.
const (
	leastKept  = "tocsin-least-kept"
	KeepAsItIs = time.Duration(-1)
)

// shortest is the shorter of two times that something is kept for, where 0 is for ever.
func shortest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// Audit adds an entry, as of now. It returns before the entry is on disk.
func (j *Journal) Audit(e exchange.AuditEntry) {
	e.At = j.now().UTC().Truncate(time.Millisecond)
	e.Detail = strings.ToValidUTF8(e.Detail[:min(len(e.Detail), auditDetail)], "")
	select {
	case j.entries <- e:
	default:
		j.crowded.add(&e)
	}
}

// crowd are entries for which there was no room in the queue, those that differ in counts alone as one.
type crowd struct {
	mu   sync.Mutex
	list map[exchange.AuditEntry]*exchange.AuditEntry
}

// AuditNow adds an entry, which is on disk when it returns. RunAudit does not run meanwhile.
func (j *Journal) AuditNow(e exchange.AuditEntry) error {
	e.At = j.now().UTC().Truncate(time.Millisecond)
	return j.writeAudit([]*exchange.AuditEntry{&e})
}

func (c *crowd) add(e *exchange.AuditEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := e.Key()
	if c.list[key] == nil && len(c.list) >= auditQueue {
		key = exchange.AuditEntry{Action: e.Action, Detail: "of many, when the audit could not be written"}
		few := key
		few.At, few.Count, few.Times = e.At, e.Count, e.Times
		e = &few
	}
	if have := c.list[key]; have != nil {
		have.Merge(e)
		return
	}
	if c.list == nil {
		c.list = make(map[exchange.AuditEntry]*exchange.AuditEntry)
	}
	c.list[key] = e
}

// size is how many they are.
func (c *crowd) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.list)
}

// take takes some of them, at most a record's.
func (c *crowd) take() (some []*exchange.AuditEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.list {
		if len(some) == auditBatch {
			break
		}
		some = append(some, e)
		delete(c.list, key)
	}
	slices.SortFunc(some, func(a, b *exchange.AuditEntry) int { return a.At.Compare(b.At) })
	return some
}

// RunAudit writes entries until ctx ends, and then those that wait.
func (j *Journal) RunAudit(ctx context.Context) error {
	for {
		select {
		case e := <-j.entries:
			if err := j.keepAudit(ctx, j.gather(ctx, e)); err != nil {
				return err
			}
			if len(j.entries) > 0 {
				continue
			}
			for some := j.crowded.take(); len(some) > 0; some = j.crowded.take() {
				if err := j.keepAudit(ctx, some); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			for len(j.entries) > 0 {
				if err := j.keepAudit(ctx, j.gather(ctx, <-j.entries)); err != nil {
					return err
				}
			}
			for some := j.crowded.take(); len(some) > 0; some = j.crowded.take() {
				if err := j.keepAudit(ctx, some); err != nil {
					return err
				}
			}
			return nil
		}
	}
}

// keepAudit writes entries. On a full disk it waits for room first: a stream that was refused a write takes
// no other until the exchange is started anew. At the end it takes of what is left for that.
func (j *Journal) keepAudit(ctx context.Context, list []*exchange.AuditEntry) error {
	for {
		full := j.auditRoom(false)
		if full == nil {
			return j.writeAudit(list)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			if j.auditRoom(true) == nil {
				return j.writeAudit(list)
			}
			return fmt.Errorf("%d entries of the audit were not written: %w", len(list)+len(j.entries)+j.crowded.size(), full)
		}
	}
}

// auditRoom is room for the audit, which is also written while nothing else is taken in.
func (j *Journal) auditRoom(last bool) error {
	if err := j.room(last); !errors.Is(err, exchange.ErrDamaged) {
		return err
	}
	return nil
}

// gather collects the entries of a moment, and makes one of those that differ in counts alone.
func (j *Journal) gather(ctx context.Context, first exchange.AuditEntry) (list []*exchange.AuditEntry) {
	byKey := make(map[exchange.AuditEntry]*exchange.AuditEntry)
	add := func(e *exchange.AuditEntry) {
		key := e.Key()
		if have := byKey[key]; have != nil {
			have.Merge(e)
			return
		}
		byKey[key] = e
		list = append(list, e)
	}
	add(&first)
	linger := time.NewTimer(auditLinger)
	defer linger.Stop()
	for len(list) < auditBatch {
		select {
		case e := <-j.entries:
			add(&e)
			continue
		default:
		}
		select {
		case e := <-j.entries:
			add(&e)
		case <-linger.C:
			return list
		case <-ctx.Done():
			return list
		}
	}
	return list
}

// writeAudit appends a record. Several nodes write one chain: whoever is second looks where its
// end is now.
func (j *Journal) writeAudit(list []*exchange.AuditEntry) error {
	var text bytes.Buffer
	seed := record.NewSeed()
	leaves := record.NewLeaves(seed)
	for _, e := range list {
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		leaves.Add(line)
		text.Write(append(line, '\n'))
	}
	payload := j.enc.EncodeAll(text.Bytes(), nil)
	var err error
	for try := range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		var end auditHead
		var ends string
		if end, err = j.auditHead(ctx); err == nil {
			ends, err = j.endsOfAll(ctx)
		}
		if err == nil {
			msg := &nats.Msg{Subject: auditSubject, Header: nats.Header{}, Data: payload}
			msg.Header.Set("Content-Encoding", "zstd")
			msg.Header.Set("Tocsin-Record", strconv.FormatUint(end.number+1, 10))
			msg.Header.Set("Tocsin-Previous", end.hash)
			msg.Header.Set("Tocsin-Seed", hex.EncodeToString(seed))
			msg.Header.Set("Tocsin-Root", leaves.Root())
			msg.Header.Set("Tocsin-At", list[0].At.Format(time.RFC3339Nano))
			msg.Header.Set(endsHeader, ends)
			var ack *jetstream.PubAck
			if ack, err = j.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(end.sequence)); err == nil {
				end, err = auditHeadOf(msg.Header, ack.Sequence)
				j.ends.audit.advance(record.Head{Sequence: end.sequence, Hash: end.hash})
			}
		}
		cancel()
		if err == nil {
			return nil
		}
		if j.auditRoom(true) != nil {
			break
		}
		<-time.After(time.Duration(try) * 50 * time.Millisecond)
	}
	return fmt.Errorf("append to the audit: %w", err)
}

// TrimAudit has the broker delete what is older than the audit is kept, where its files are elsewhere; 0 keeps all.
func (j *Journal) TrimAudit(ctx context.Context, keep time.Duration) error {
	config := j.audit.CachedInfo().Config
	config.MaxAge = keep
	if _, err := j.js.UpdateStream(ctx, config); err != nil {
		return fmt.Errorf("set how long the audit is kept: %w", err)
	}
	return nil
}

// AuditSince is when the oldest record of the audit came, zero where there is none.
func (j *Journal) AuditSince(ctx context.Context) (time.Time, error) {
	info, err := j.audit.Info(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("audit: %w", err)
	}
	if info.State.Msgs == 0 {
		return time.Time{}, nil
	}
	return info.State.FirstTime, nil
}

func (j *Journal) auditHead(ctx context.Context) (auditHead, error) {
	msg, err := j.audit.GetLastMsgForSubject(ctx, auditSubject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return auditHead{}, nil
	}
	if err != nil {
		return auditHead{}, err
	}
	return auditHeadOf(msg.Header, msg.Sequence)
}

// auditHeadOf reads a record's place in the chain.
func auditHeadOf(h nats.Header, sequence uint64) (auditHead, error) {
	number, err := strconv.ParseUint(h.Get("Tocsin-Record"), 10, 64)
	if err != nil {
		return auditHead{}, fmt.Errorf("audit record at sequence %d: %w", sequence, ErrDamaged)
	}
	facts := fmt.Appendf(nil, "tocsin audit 2\nnumber %d\nprevious %s\nat %s\nroot %s\n", number, h.Get("Tocsin-Previous"), h.Get("Tocsin-At"), h.Get("Tocsin-Root"))
	if ends := h.Get(endsHeader); ends != "" { // older records have none
		facts = fmt.Appendf(facts, "ends %s\n", ends)
	}
	sum := sha256.Sum256(facts)
	return auditHead{sequence, number, hex.EncodeToString(sum[:])}, nil
}

// EachAudit calls each with the entries from an instant on, in order, up to the last there is
// now, until it returns false.
func (j *Journal) EachAudit(ctx context.Context, since time.Time, each func(e *exchange.AuditEntry) bool) error {
	return j.auditRecords(ctx, since, func(_ auditHead, msg jetstream.Msg) error {
		text, err := j.Decompress(nil, msg.Data())
		if err != nil {
			return err
		}
		for line := range bytes.Lines(text) {
			e := new(exchange.AuditEntry)
			if err := json.Unmarshal(line, e); err != nil {
				return fmt.Errorf("audit: %w: %w", ErrDamaged, err)
			}
			if !e.At.Before(since) && !each(e) {
				return errDone
			}
		}
		return nil
	})
}

// VerifyAudit walks the audit's chain and returns how many records it has; where it does not
// hold, the error says from which one on.
func (j *Journal) VerifyAudit(ctx context.Context) (records int, err error) {
	var last auditHead
	err = j.auditRecords(ctx, time.Time{}, func(h auditHead, msg jetstream.Msg) error {
		// What is kept begins anywhere: older records have gone with their time.
		if records > 0 && (h.number != last.number+1 || msg.Headers().Get("Tocsin-Previous") != last.hash) {
			return fmt.Errorf("audit record %d does not continue record %d: %w", h.number, last.number, ErrDamaged)
		}
		text, err := j.Decompress(nil, msg.Data())
		var of *record.Block
		if err == nil {
			of, err = auditLeaves(msg.Headers(), text)
		}
		if err != nil {
			return fmt.Errorf("audit record %d: %w: %w", h.number, ErrDamaged, err)
		}
		leaves := record.LeavesOf(of)
		for line := range bytes.Lines(text) {
			leaves.Add(bytes.TrimSuffix(line, []byte{'\n'}))
		}
		if leaves.Root() != msg.Headers().Get("Tocsin-Root") {
			return fmt.Errorf("audit record %d does not hold the entries that it commits to: %w", h.number, ErrDamaged)
		}
		last = h
		records++
		return nil
	})
	return records, err
}

func (j *Journal) auditRecords(ctx context.Context, since time.Time, each func(h auditHead, msg jetstream.Msg) error) error {
	info, err := j.audit.Info(ctx)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	last := info.State.LastSeq
	from, err := j.auditFrom(ctx, since, info.State.FirstSeq, last)
	if err != nil || from > last || info.State.Msgs == 0 {
		return err
	}
	err = follow(ctx, j.js, AuditStream, nil, from, false, func(msg jetstream.Msg, seq, _ uint64) error {
		h, err := auditHeadOf(msg.Headers(), seq)
		if err == nil {
			err = each(h, msg)
		}
		if err == nil && seq >= last {
			err = errDone
		}
		return err
	})
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// auditFrom finds the record before the first that can have entries from an instant on.
func (j *Journal) auditFrom(ctx context.Context, since time.Time, first, last uint64) (uint64, error) {
	low, high := first, last
	for !since.IsZero() && low < high {
		middle := low + (high-low+1)/2
		msg, err := j.audit.GetMsg(ctx, middle)
		if err != nil {
			return 0, fmt.Errorf("audit: %w", err)
		}
		if at, err := time.Parse(time.RFC3339Nano, msg.Header.Get("Tocsin-At")); err != nil || at.After(since) {
			high = middle - 1
		} else {
			low = middle
		}
	}
	// Nodes' clocks differ a little.
	if low > first {
		low--
	}
	return low, nil
}
