// Package misp makes MISP feeds of collections: what MISP fetches from a URL, a manifest of events
// and each event as a file (MISP core format).
//
// A collection has one event for each feed and UTC day, and one for each day of indicators that members
// have added; it is cut where it has too many attributes. What has been made is kept in a store of the
// view, in the order in which it was met, so that a change touches the events that it is in and no
// others, and serving one is reading it in order.
package misp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
)

// MaxAttributes is how many attributes an event has at most.
const MaxAttributes = 10_000

// Feeds makes the feeds of all collections of a view. It is safe for concurrent use.
type Feeds struct {
	View  *view.View
	store *view.Derived

	mu    sync.Mutex               // guards what is below
	locks map[string]chan struct{} // each has room for who makes the collection's feed
}

// New makes the feeds of a view.
func New(v *view.View) *Feeds {
	return &Feeds{View: v, store: v.Derived("misp"), locks: make(map[string]chan struct{})}
}

// state is how far a collection has been read: date_added in µs, of objects and of what was taken out.
type state struct {
	Objects int64 `json:"objects"`
	Removed int64 `json:"removed"`
	// Cleaned is the intake record up to which reports of clean hosts have been seen.
	Cleaned uint64 `json:"cleaned,omitempty"`
	// Since is when the first run began, in seconds since 1970. What is made then is newer than what was
	// made before the view was made again.
	Since int64 `json:"since"`
}

// event is what is kept of an event.
type event struct {
	UUID string `json:"uuid"`
	Feed string `json:"feed,omitempty"` // "" for indicators of members
	Day  string `json:"day"`
	Part int    `json:"part"`
	// Timestamp is in seconds since 1970; it grows with every change, and only then.
	Timestamp int64 `json:"timestamp"`
	// Slots counts the objects that ever were in it, Attributes what is in it.
	Slots      int `json:"slots"`
	Attributes int `json:"attributes"`
	// Labels counts attributes by label, Withheld objects that are labelled above what MISP may have.
	Labels   [8]int `json:"labels"`
	Withheld int    `json:"withheld,omitempty"`
	// Had are the labels that the event has had, a bit each; Told says that it has told of what is withheld.
	Had  uint8 `json:"had,omitempty"`
	Told bool  `json:"told,omitempty"`
	// First and Last bound the date_added of its objects, µs.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// slot is what an object is in an event; one that is gone has no attributes.
type slot struct {
	Label      uint8             `json:"label"`
	Timestamp  int64             `json:"timestamp"`        // of the attributes, which lack it
	Values     []string          `json:"values,omitempty"` // those that hashes.csv is of
	Attributes []json.RawMessage `json:"attributes,omitempty"`
	// Withheld says that the object is labelled above what MISP may have.
	Withheld bool `json:"withheld,omitempty"`
	// Tags are those that attributes had before, and Lost the UUIDs of attributes that were there: MISP is told that they are
	// deleted.
	Tags []string `json:"tags,omitempty"`
	Lost []string `json:"lost,omitempty"`
}

// follows notes what a slot has lost against the state before.
func (s *slot) follows(was *slot) error {
	tags, ids, err := was.named()
	if err != nil {
		return err
	}
	now, stays, err := s.named()
	if err != nil {
		return err
	}
	s.Tags, s.Lost = append(tags, was.Tags...), append(ids, was.Lost...)
	slices.Sort(s.Tags)
	s.Tags = slices.DeleteFunc(slices.Compact(s.Tags), func(name string) bool { return slices.Contains(now, name) })
	s.Lost = slices.DeleteFunc(s.Lost, func(id string) bool { return slices.Contains(stays, id) })
	return nil
}

// named lists the names of the tags of a slot's attributes, and their UUIDs.
func (s *slot) named() (tags, ids []string, err error) {
	for _, text := range s.Attributes {
		var a attribute
		if err := json.Unmarshal(text, &a); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", view.ErrDamaged, err)
		}
		ids = append(ids, a.UUID)
		for _, t := range a.Tags {
			tags = append(tags, t.Name)
		}
	}
	return tags, ids, nil
}

// equal tells whether MISP would see no difference.
func (s *slot) equal(o *slot) bool {
	return s.Label == o.Label && s.Withheld == o.Withheld && slices.EqualFunc(s.Attributes, o.Attributes, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
}

// The keys of a collection start with its UUID.
func stateKey(c *exchange.Collection) string { return c.UUID + "/s" }

func uuidKey(c *exchange.Collection, uuid string) string {
	return c.UUID + "/u" + uuid
}
func objectKey(c *exchange.Collection, id string) string { return c.UUID + "/o" + id }

// hostKey starts the keys of the objects that a feed's host has in the collection; their ids follow.
func hostKey(c *exchange.Collection, feed string, a netip.Addr) string {
	return c.UUID + "/h" + feed + "/" + a.String() + "/"
}

// dayKey starts the keys of the events of a feed's day, and partKey is that of one; its slots follow it.
func dayKey(c *exchange.Collection, feed, day string) string {
	return c.UUID + "/e" + feed + "/" + day + "/"
}

func partKey(c *exchange.Collection, e *event) string {
	return fmt.Sprintf("%s%06d", dayKey(c, e.Feed, e.Day), e.Part)
}

func slotKey(part string, n int) string { return fmt.Sprintf("%s/%05d", part, n) }

// partOf is the key of the event that a slot is in.
func partOf(slot string) string { return slot[:strings.LastIndexByte(slot, '/')] }

// newEvent makes an event without anything in it.
func newEvent(c *exchange.Collection, feed, day string, part int) *event {
	id := stix.DerivedID("misp-event", "collection", c.UUID, "day", day, "feed", feed, "part", fmt.Sprint(part))
	return &event{UUID: strings.TrimPrefix(id, "misp-event--"), Feed: feed, Day: day, Part: part}
}

// ErrBusy means that a large collection is asked for the first time: who asks again finds more of it.
var ErrBusy = errors.New("the feed is being made")

// patience is how long a request waits for that.
const patience = 25 * time.Second

// look brings a collection's events up to date and returns the store as it is then. The caller closes it.
func (f *Feeds) look(ctx context.Context, r *exchange.Register, right policy.Read) (*view.DerivedSnapshot, error) {
	c := right.Collection()
	f.mu.Lock()
	lock := f.locks[c.UUID]
	if lock == nil {
		lock = make(chan struct{}, 1)
		f.locks[c.UUID] = lock
	}
	f.mu.Unlock()
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select { // whoever looks sees the changes of a run, all of them or none
	case lock <- struct{}{}:
		defer func() { <-lock }()
	case <-within.Done():
		return nil, cmp.Or(ctx.Err(), ErrBusy)
	}
	if err := f.catchUp(within, r, right); err != nil {
		if ctx.Err() == nil && within.Err() != nil {
			err = ErrBusy
		}
		return nil, err
	}
	return f.store.Snapshot(), nil
}

func get(l *view.DerivedSnapshot, key string, to any) (found bool, err error) {
	value, found, err := l.Get(key)
	if err == nil && found {
		if err = json.Unmarshal(value, to); err != nil {
			err = fmt.Errorf("%w: %w", view.ErrDamaged, err)
		}
	}
	return found, err
}

func micros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
