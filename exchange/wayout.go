package exchange

import (
	"maps"
	"slices"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Way is a way by which objects leave the exchange.
type Way string

// The ways out.
const (
	WayTAXII   Way = "taxii"
	WayNATS    Way = "nats"
	WayEvents  Way = "events"
	WayWeb     Way = "web"
	WayExplain Way = "explain"
	WayMISP    Way = "misp"
	WayWebhook Way = "webhook"
	WayPeer    Way = "peer"
	WayExport  Way = "export"
	WayBackup  Way = "backup"
	WayLog     Way = "log"
)

// Leaves decides whether what is labelled so may leave by a way to a recipient. It is the only
// such decision, and every way out asks it.
//
// Source: FIRST TLP 2.0. RED is for individuals, so it goes only where each is known by name;
// AMBER+STRICT stays with the organisation, so it goes by no way that others look into; a peer
// is another community, so it gets what the community may have; a log is for whoever reads it.
func Leaves(label tlp.Level, way Way, to Recipient) bool {
	if !label.Valid() {
		return false
	}
	most, known := ways[way]
	if way == WayPeer && to.Concerned {
		most = tlp.Amber // the peer is the member that it is for
	}
	if !known || label > most || label > to.Clearance {
		return false
	}
	return label != tlp.Red || to.Named || way == WayBackup
}

// ways has the highest label that leaves by each way.
var ways = map[Way]tlp.Level{
	WayTAXII:   tlp.Red,
	WayWeb:     tlp.Red,
	WayNATS:    tlp.AmberStrict,
	WayEvents:  tlp.AmberStrict,
	WayExplain: tlp.AmberStrict,
	WayMISP:    tlp.Amber,
	WayWebhook: tlp.Amber,
	WayPeer:    tlp.Green,
	WayExport:  tlp.Clear, // the register's file holds no objects
	WayBackup:  tlp.Red,   // the operator's, of everything
	WayLog:     tlp.Clear,
}

// Ways lists the ways out.
func Ways() []Way { return slices.Sorted(maps.Keys(ways)) }

// Recipient is who something would leave to.
type Recipient struct {
	Clearance tlp.Level
	// Named says that it is a person who is named for it.
	Named bool
	// Concerned says that it is the member that it is for.
	Concerned bool
}
