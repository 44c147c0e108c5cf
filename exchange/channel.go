package exchange

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
