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
	// Control and Payload make it a control block.
	Control ControlKind
	Payload []byte
	// By and Labels are the block's.
	By     string
	Labels []byte
	// Added is the date_added that the first object is to have; zero for now.
	Added time.Time
}

// Standing is what the exchange knows of an object that members have added, in all
// collections together; or in one, where the member that added it there may not see the other. Objects without
// versions, such as addresses, have none: their ids are everybody's.
type Standing struct {
	// Apart is the collection that it is of alone, "" for all together.
	Apart string
	// By is who added its first version, as Seal writes it; "" where a feed has made it.
	By string
	// Creator is the created_by_ref of that version.
	Creator string
	// Label is that of the newest version that was added by its creator or first member.
	Label  tlp.Level
	Newest time.Time
	// Collections are those that were ever given it.
	Collections []string
}
