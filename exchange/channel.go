package exchange

// Channel is a way by which objects leave the exchange.
type Channel string

// The ways out. Peer, export, backup and log are reserved: nothing is sent by them yet.
const (
	ChannelTAXII   Channel = "taxii"
	ChannelNATS    Channel = "nats"
	ChannelEvents  Channel = "events"
	ChannelWeb     Channel = "web"
	ChannelExplain Channel = "explain"
	ChannelMISP    Channel = "misp"
	ChannelWebhook Channel = "webhook"
	ChannelPeer    Channel = "peer"
	ChannelExport  Channel = "export"
	ChannelBackup  Channel = "backup"
	ChannelLog     Channel = "log"
)
