package policy

import (
	"maps"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Permits decides whether what is labelled so may leave by a channel to a recipient. It is the only
// such decision: every way out that there is asks it, of a whole collection (MayRead) or of each object.
//
// Source: FIRST TLP 2.0. RED is for individuals, so it goes only where each is known by name;
// AMBER+STRICT stays with the organisation, so it goes by no channel that others look into; a peer
// is another community, so it gets what the community may have; a log is read by people who were never cleared.
func Permits(label tlp.Level, channel exchange.Channel, to Recipient) bool {
	if !label.Valid() {
		return false
	}
	most, known := channels[channel]
	if channel == exchange.ChannelPeer && to.Concerned {
		most = tlp.Amber // the peer is the member that it is for
	}
	if !known || label > most || label > to.Clearance {
		return false
	}
	return label != tlp.Red || to.Named || channel == exchange.ChannelBackup
}

// channels has the highest label that leaves by each channel.
var channels = map[exchange.Channel]tlp.Level{
	exchange.ChannelTAXII:   tlp.Red,
	exchange.ChannelWeb:     tlp.Red,
	exchange.ChannelNATS:    tlp.AmberStrict,
	exchange.ChannelEvents:  tlp.AmberStrict,
	exchange.ChannelExplain: tlp.AmberStrict,
	exchange.ChannelMISP:    tlp.Amber,
	exchange.ChannelWebhook: tlp.Amber,
	exchange.ChannelPeer:    tlp.Green,
	exchange.ChannelExport:  tlp.Clear, // the register's file holds no objects
	exchange.ChannelBackup:  tlp.Red,   // the operator's, of everything
	exchange.ChannelLog:     tlp.Clear,
}

// Channels lists the channels out.
func Channels() []exchange.Channel { return slices.Sorted(maps.Keys(channels)) }

// Recipient is who something would leave to.
type Recipient struct {
	Clearance tlp.Level
	// Named says that it is a person who is named for it.
	Named bool
	// Concerned says that it is the member that it is for.
	Concerned bool
}
