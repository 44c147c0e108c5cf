package exchange

import (
	"cmp"
	"strconv"
	"time"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Malware names the family that a feed's hosts are infected with.
type Malware struct {
	Name    string   `json:"name" yaml:"name"`
	Aliases []string `json:"aliases,omitempty" yaml:"aliases,omitempty"`
	Types   []string `json:"types,omitempty" yaml:"types,omitempty"`
}

// Profile chooses the objects a host is packaged as.
type Profile string

// The profiles: all objects; address, observed-data and sighting; indicator
// and its relationship.
const (
	ProfileInfection   Profile = "infection"
	ProfileObservation Profile = "observation"
	ProfileIndicator   Profile = "indicator"
)

// Evidence is what of a row is kept.
type Evidence string

// What is kept is what we know, or all.
const (
	EvidenceKnown Evidence = "known"
	EvidenceAll   Evidence = "all"
)

// Places is whose word on where an address is wins over the other's.
type Places string

// The networks table's word wins where nothing is said.
const (
	PlacesPublisher Places = "publisher"
	PlacesNetworks  Places = "networks"
)

// Feed is a named source with a publisher, an operation and a default label.
type Feed struct {
	ID            string    `json:"id" yaml:"id"`
	Publisher     string    `json:"publisher" yaml:"publisher"`
	Operation     string    `json:"operation" yaml:"operation"`
	Malware       Malware   `json:"malware" yaml:"malware"`
	DefaultTLP    tlp.Level `json:"default_tlp" yaml:"default_tlp"`
	Profile       Profile   `json:"profile" yaml:"profile"`
	Confidence    uint8     `json:"confidence,omitempty" yaml:"confidence,omitempty"`
	AllowReserved bool      `json:"allow_reserved,omitempty" yaml:"allow_reserved,omitempty"`
	Guidance      string    `json:"guidance,omitempty" yaml:"guidance,omitempty"`
	// Evidence says what of a row is kept and shown beside what we know: the rest of its
	// columns or keys too, with EvidenceAll.
	Evidence Evidence `json:"evidence,omitempty" yaml:"evidence,omitempty"`
	// Keys are the kinds of keys that count for this feed. Where none is named all do, but a
	// domain for accounts alone: who names it says that the feed's host names are verified.
	Keys []KeyKind `json:"keys,omitempty" yaml:"keys,omitempty"`
	// Exclude are members that this feed is not routed to, as if they were not there.
	Exclude []string `json:"exclude,omitempty" yaml:"exclude,omitempty"`
	// Backfill is how far back a member that joins, or is responsible for more, gets what is
	// there; zero for not at all.
	Backfill Window `json:"backfill,omitzero" yaml:"backfill,omitempty"`
	// Repeat is how long a host that a collection was given is not given to it again when it is
	// seen again; zero for not at all.
	Repeat Window `json:"repeat,omitzero" yaml:"repeat,omitempty"`
	// Retention is how long the feed's rows are kept, and what collections were given of them; zero for ever.
	Retention Window `json:"retention,omitzero" yaml:"retention,omitempty"`
	// Places says whose word counts where publisher and networks table differ on
	// where an address is.
	Places Places `json:"places,omitempty" yaml:"places,omitempty"`
	// As stands for a publisher who is hidden, in everything that is made of the feed. The
	// register keeps it.
	As      string    `json:"as,omitempty" yaml:"-"`
	Created time.Time `json:"created" yaml:"created,omitempty"`
	Changed time.Time `json:"changed" yaml:"changed,omitempty"`
}

// By is what the feed's objects say that they are of: its publisher, or what stands for it.
func (f *Feed) By() string { return cmp.Or(f.As, f.Publisher) }

// Recipe is what the identifiers of an observation's objects are made of, in a version of packaging: names and
// values, as IDs.Of takes them. A relationship's kind follows.
func (f *Feed) Recipe(of ObservationKey, packaging uint8) []string {
	recipe := append(make([]string, 0, 18), "publisher", f.By(), "operation", f.Operation, "address", of.Address.String(), "day", of.Day.String(),
		"country", of.Country, "asn", strconv.FormatUint(uint64(of.ASN), 10), "packaging", strconv.Itoa(int(packaging)))
	if of.Exposed != "" {
		recipe = append(recipe, "exposed", of.Exposed)
	}
	return recipe
}

// HostEvidenceID names the property extension of observed-data that holds how a host was placed and
// how it called.
const HostEvidenceID = "extension-definition--c5d9f5a7-0f0c-5a6e-9d42-6f0b6d0f3c11"

// HostObject is the type of an object that each host's day is packaged as, where it tells of an infection or of what is exposed.
func (f *Feed) HostObject(exposed string) string {
	if f.Profile == ProfileIndicator && exposed == "" {
		return "indicator"
	}
	return "observed-data"
}
