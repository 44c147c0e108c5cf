package record

import (
	"net/netip"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Snapshot is one state of what the history knows of a feed's hosts. It is for one
// goroutine.
type Snapshot interface {
	// Host returns what is known of a host's day.
	Host(of exchange.HostDay) (HostSnapshot, error)
	// Histories tells whether the feed has a history of any address;
	// History returns what is.
	Histories() bool
	History(a netip.Addr) (AddressHistory, error)
	// Seen returns the observations of an address on the last day that has one that began by then.
	Seen(a netip.Addr, by time.Time) ([]Observation, error)
	// Event tells whether an event is known that Host does not name, and whether
	// any collection took it.
	Event(id exchange.EventID) (known, delivered bool, err error)
	// Delivered tells whether a collection has an object, in any version.
	Delivered(collection, id string) (bool, error)
	Close() error
}

// HostSnapshot is what is known of a host's day.
type HostSnapshot struct {
	// Observations are what collections took of it, one for each location; Events are some of it.
	Observations []Observation
	Events       []exchange.EventID
	// Address says that a collection took something of the address, on any day, or
	// of a host that called it.
	Address bool
}

// BackfillPosition says up to which version of the register members were given what was
// there already, and up to which they are being given it.
type BackfillPosition struct{ Done, Target uint64 }

// Post is what one append gives a collection on a member's behalf: the objects
// of Share, or a control block.
type Post struct {
	Share Share
	// Control and Removal make it a control block.
	Control ControlKind
	Removal *Removal
	// By and Labels are the block's.
	By     string
	Labels []byte
	// Added is the date_added that the first object is to have; zero for now.
	Added time.Time
}

// Posted is a version of an object that a member has posted to a collection: what the rules of labels and owners look
// at (policy.Admit).
type Posted struct {
	Collection string
	Version
	// By is who posted it, as Seal writes it.
	By string
	// Creator is its created_by_ref, in lower case.
	Creator string
	// Size is that of its text there, in bytes.
	Size int
	// Label is the one that it has there; Own the highest that its own markings meant when it was posted.
	Label, Own tlp.Level
	// Marked says that the exchange has written the label's marking into it.
	Marked bool
	// Refers says that it refers to observables.
	Refers bool
	// Remembered says that the version does not stand there: Label is what By's versions up to this one have at least.
	Remembered bool
}
