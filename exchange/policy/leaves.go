package policy

import (
	"maps"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Leaves decides whether what is labelled so may leave by a way to a recipient. It is the only
// such decision, and every way out asks it.
//
// Source: FIRST TLP 2.0. RED is for individuals, so it goes only where each is known by name;
// AMBER+STRICT stays with the organisation, so it goes by no way that others look into; a peer
// is another community, so it gets what the community may have; a log is for whoever reads it.
func Leaves(label tlp.Level, way exchange.Way, to Recipient) bool {
	if !label.Valid() {
		return false
	}
	most, known := ways[way]
	if way == exchange.WayPeer && to.Concerned {
		most = tlp.Amber // the peer is the member that it is for
	}
	if !known || label > most || label > to.Clearance {
		return false
	}
	return label != tlp.Red || to.Named || way == exchange.WayBackup
}

// ways has the highest label that leaves by each way.
var ways = map[exchange.Way]tlp.Level{
	exchange.WayTAXII:   tlp.Red,
	exchange.WayWeb:     tlp.Red,
	exchange.WayNATS:    tlp.AmberStrict,
	exchange.WayEvents:  tlp.AmberStrict,
	exchange.WayExplain: tlp.AmberStrict,
	exchange.WayMISP:    tlp.Amber,
	exchange.WayWebhook: tlp.Amber,
	exchange.WayPeer:    tlp.Green,
	exchange.WayExport:  tlp.Clear, // the register's file holds no objects
	exchange.WayBackup:  tlp.Red,   // the operator's, of everything
	exchange.WayLog:     tlp.Clear,
}

// Ways lists the ways out.
func Ways() []exchange.Way { return slices.Sorted(maps.Keys(ways)) }

// Recipient is who something would leave to.
type Recipient struct {
	Clearance tlp.Level
	// Named says that it is a person who is named for it.
	Named bool
	// Concerned says that it is the member that it is for.
	Concerned bool
}
