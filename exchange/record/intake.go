// Package record has what the journal holds: intake records, with the events of a
// publisher's chunk and what was decided about each, and blocks, with the objects that
// one collection gained in one append. It has their binary form, and what is kept of a
// host from one record to the next.
//
// Nothing of it may change for what is written already: a record begins with the version
// of its encoding, versions from 6 on are read for ever (those before are of data directories that
// are refused), and a block's hash is over its facts as they are.
package record

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// MaxContacts is how many contacts of a host in one day are kept: the newest.
const MaxContacts = 32

// MaxHostnames is how many names of a host in one day are kept.
const MaxHostnames = 4

// Observation is all that is known of a host on a day at a location once an intake record has
// been merged in. It holds the state after the record, not the change, so that
// packaging it needs nothing but the record.
type Observation struct {
	exchange.ObservationKey
	// Evidence says who said where the host was: the publisher and the networks table, where both did for one of
	// its sightings, else the publisher where it did, else the table.
	Evidence string
	// Packaging is the version in which this state of it is packaged, and FirstPackaging that of its first
	// state: what it was packaged as in between has other identifiers.
	Packaging, FirstPackaging uint8
	// Account is the account that the observation is of, "" for a host.
	Account     string
	First, Last time.Time
	// Modified is the version of the objects made from it: the last sighting's
	// time, or a millisecond after the version before where that is later.
	Modified time.Time
	Count    int64
	// Label is the highest label of the events merged.
	Label    tlp.Level
	Malware  string
	Provider string
	Protocol string
	Extra    string
	// MalwareAt is when the event was observed that the malware is of; zero where no event said.
	MalwareAt time.Time
	// Hostnames are the names that the events gave the host, last arrived first, at most MaxHostnames; ""
	// is one of them where an event gave none. A member that is responsible for one of them gets the host,
	// whichever chunk the event came in.
	Hostnames []string
	// Contacts are the newest MaxContacts, newest first.
	Contacts []stix.Contact
	// Relapse says that the host was seen again after it was reported clean.
	Relapse bool
	// New says that nothing was known of the host's day before this record, so
	// that no collection can have the objects it is packaged as.
	New bool
	// NewAddress says the same of the address on any day, and as one that a host
	// called: it is set on the first observation that the feed has of it.
	NewAddress bool
	// Decision is an index into the record's Decisions.
	Decision int
}

// Location is where the host was.
func (o *Observation) Location() exchange.Location {
	return exchange.Location{ASN: o.ASN, Country: o.Country, Evidence: o.Evidence}
}

// Hostname is the last name that an event gave the host, "" where none did.
func (o *Observation) Hostname() string {
	for _, name := range o.Hostnames {
		if name != "" {
			return name
		}
	}
	return ""
}

// Merge adds an event to the observation. Malware is of the latest event that says it: an event that says less
// takes nothing away. A contact's port and destination are its own.
func (o *Observation) Merge(e *exchange.Event, label tlp.Level, evidence string) {
	o.Account = e.Account
	first := e.First
	if first.IsZero() {
		first = e.Observed
	}
	if o.Count == 0 {
		o.First, o.Last = first, e.Observed
	}
	if first.Before(o.First) {
		o.First = first
	}
	if !e.Observed.Before(o.Last) {
		o.Last = e.Observed
		o.Provider, o.Protocol, o.Extra = e.Provider, e.Protocol, e.Extra
	}
	o.Evidence = max(o.Evidence, evidence) // in the alphabet, too, both stand above the publisher alone, and that above the table
	if e.Malware != "" && !e.Observed.Before(o.MalwareAt) {
		o.Malware, o.MalwareAt = e.Malware, e.Observed
	}
	o.Count += e.Count
	o.Label = max(o.Label, label)
	if i := slices.Index(o.Hostnames, e.Hostname); i != 0 {
		if i > 0 {
			o.Hostnames = slices.Delete(o.Hostnames, i, i+1)
		}
		o.Hostnames = slices.Insert(o.Hostnames, 0, e.Hostname)
		o.Hostnames = o.Hostnames[:min(len(o.Hostnames), MaxHostnames)]
	}
	c := stix.Contact{Time: e.Observed, SrcPort: e.Port, Dst: e.Dst, DstPort: e.DstPort}
	at, _ := slices.BinarySearchFunc(o.Contacts, c, func(have, add stix.Contact) int { return add.Time.Compare(have.Time) })
	if at == MaxContacts || o.HasContact(e) { // somebody else saw the same
		return
	}
	o.Contacts = slices.Insert(o.Contacts, at, c)
	o.Contacts = o.Contacts[:min(len(o.Contacts), MaxContacts)]
}

// HasContact tells whether the event's contact is among those that are kept.
func (o *Observation) HasContact(e *exchange.Event) bool {
	return slices.ContainsFunc(o.Contacts, func(c stix.Contact) bool { return isContact(&c, e) })
}

func isContact(c *stix.Contact, e *exchange.Event) bool {
	return c.Time.Equal(e.Observed) && c.SrcPort == e.Port && c.Dst == e.Dst && c.DstPort == e.DstPort
}

// Subtract takes an event out of the observation. Where nothing is left of it, Count is 0. What only events beyond the contacts
// that are kept have said stays as it was, and so does what is not of one event: the label, names, malware.
func (o *Observation) Subtract(e *exchange.Event) {
	left := make([]stix.Contact, 0, len(o.Contacts))
	for i := range o.Contacts {
		if !isContact(&o.Contacts[i], e) {
			left = append(left, o.Contacts[i])
		}
	}
	if o.Count = max(o.Count-e.Count, 0); o.Count == 0 {
		o.Contacts = nil
		return
	}
	if len(left) == 0 { // others saw the same, or what they saw is not kept
		return
	}
	o.Contacts = left
	first := e.First
	if first.IsZero() {
		first = e.Observed
	}
	if o.Last = left[0].Time; !first.After(o.First) {
		o.First = left[len(left)-1].Time
	}
}

// Accepted is an event of an intake record with what was decided about it.
type Accepted struct {
	exchange.Event
	// Location is where routing found the host.
	Location exchange.Location
	// Decision is an index into the record's Decisions; Observation one into
	// its Observations, or -1 where no collection takes the event.
	Decision, Observation int
}

// Introduction says that this record brings the reference objects of a topic
// into a collection: the identities, malware and the like for the topic "", the
// location of a country for its code. It happens once a day for each, so that
// a follower who started yesterday has them.
type Introduction struct {
	Collection, Topic string
}

// Intake is a publisher's chunk as accepted, with its decisions: one record of
// the journal. It holds the versions it was decided under.
type Intake struct {
	Feed string
	// Key makes the chunk safe to repeat; Hash is the SHA-256 of its rows.
	Key  string
	Hash [32]byte
	// At is the wall clock at admission: UTC, whole microseconds.
	At time.Time
	// Register and Networks are the versions that decided, RegisterHash what the register's snapshot hashes to.
	Register     uint64
	RegisterHash string
	Networks     string
	// Number counts the feed's records from 1, and Previous is the IntakeHash of the one before, "" for the
	// first. Blocks and Audit are the ends of the collections' blocks and of the audit as the writer knew them.
	Number        uint64
	Previous      string
	Blocks, Audit Head
	// Packaging is the version in which what is new in the record is packaged.
	Packaging uint8
	Receipt   exchange.Receipt
	// Backfill says that it repeats what earlier records tell of hosts, for members that
	// are responsible for them since: it has no events, and adds nothing to the feed's own
	// collection.
	Backfill bool
	// Repeats says that the feed held repeats back.
	Repeats bool
	// Cleaned are hosts that members reported clean; such a record has nothing else.
	Cleaned       []Cleaned
	Decisions     []exchange.Decision
	Observations  []Observation
	Events        []Accepted
	Introductions []Introduction
	// Withdrawals are what collections lose because a label was raised, or a publisher has recalled it.
	Withdrawals []Withdrawal
	// Recalled are events that the publisher takes back, for Reason; such a record has no events. An observation in it of which
	// nothing is left has a Count of 0.
	Recalled []exchange.EventID
	Reason   string
	// Nonce is random, so that nobody can guess from the record's hash what was erased from it. It goes with that.
	Nonce [16]byte
}

// Withdrawal takes a host's day out of a collection that had it under a lower label.
type Withdrawal struct {
	Collection string
	// Observation is an index into the record's Observations.
	Observation int
}

// Group is a run of objects that must not be cut apart: what one host is
// packaged as. Needs are objects that the group refers to and that must be in
// the same block, before it, but may be there already.
type Group struct {
	// Index is the group's place in its record, in every collection and version of packaging: 0 for what is
	// introduced, then the observations one after the other, then the withdrawals.
	Index          int
	Needs, Objects []Object
	// Withdraw are the ids of objects that leave the collection in all their versions; such a
	// group has nothing else.
	Withdraw []string
}

// Object is one packaged object.
type Object struct {
	ID  string
	Raw []byte
	// New says that the feed has given no collection any version of it; Shared
	// that another feed can have.
	New, Shared bool
	// Erased says that nothing but its place is left of it.
	Erased bool
}

// Share is what one collection gains from one intake record, in order.
type Share struct {
	Collection string
	// Packaging is the record's.
	Packaging uint8
	Label     tlp.Level
	Groups    []*Group
}

// IntakeHash is the hash of a record as Append wrote it, in hexadecimal. One from which something was erased has the hash that
// it had.
func IntakeHash(text []byte) string {
	if hash, _ := erasedOf(text); hash != nil {
		return hex.EncodeToString(hash)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// erasedMark begins a record from which something was erased. Behind it is the hash that the record had, and then what stays.
const erasedMark = 0xff

// erasedOf cuts such a record; hash is nil for others.
func erasedOf(text []byte) (hash, rest []byte) {
	if len(text) > sha256.Size && text[0] == erasedMark {
		return text[1 : 1+sha256.Size], text[1+sha256.Size:]
	}
	return nil, text
}

// AppendErased writes what stays of a record, which had a text.
func (in *Intake) AppendErased(b, had []byte) []byte {
	hash, _ := erasedOf(had)
	if hash == nil {
		sum := sha256.Sum256(had)
		hash = sum[:]
	}
	in.Nonce = [16]byte{}
	return in.Append(append(append(b, erasedMark), hash...))
}

// Holds tells whether there is more of a record than its place in its feed.
func (in *Intake) Holds() bool {
	r := &in.Receipt
	return len(in.Events)+len(in.Observations)+len(in.Cleaned)+len(in.Recalled)+len(in.Introductions)+len(in.Decisions)+len(in.Withdrawals)+
		len(r.Problems)+len(r.Notes)+len(r.Unread)+len(in.Key)+len(in.Reason) > 0
}

// Trim leaves nothing but its place in its feed of a record that is older than its rows are kept.
func (in *Intake) Trim() {
	*in = Intake{
		Feed: in.Feed, At: in.At, Register: in.Register, RegisterHash: in.RegisterHash, Networks: in.Networks, Number: in.Number, Previous: in.Previous,
		Blocks: in.Blocks, Audit: in.Audit, Packaging: in.Packaging, Backfill: in.Backfill, Repeats: in.Repeats,
	}
}

// Erase makes an observation the n-th of those of a record that are erased: it has as many objects as it had, which nobody sees.
func (o *Observation) Erase(n int) {
	stays := Observation{
		ObservationKey: o.ObservationKey, Packaging: o.Packaging, FirstPackaging: o.FirstPackaging, First: o.Day.Start(), Last: o.Day.Start(), Modified: o.Day.Start(),
		Count: min(o.Count, 1), Label: o.Label, Decision: o.Decision,
	}
	stays.Address = ErasedAddress(n)
	if o.Account != "" {
		stays.Account = "erased@invalid"
	}
	if len(o.Contacts) > 0 { // which is the one that is packaged
		stays.Contacts = []stix.Contact{{Time: o.Day.Start(), SrcPort: min(o.Contacts[0].SrcPort, 1), Dst: o.Contacts[0].Dst}}
	}
	*o = stays
}

// Erased tells whether an observation was erased.
func (o *Observation) Erased() bool { return IsErased(o.Address) }

// ErasedAddress stands for the n-th address that was erased from a record. It is an IPv4 address that is written as IPv6, by which
// no host is known.
func ErasedAddress(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: byte(n >> 24), 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)})
}

// IsErased tells whether an address is one of these.
func IsErased(a netip.Addr) bool { return a.Is4In6() }
