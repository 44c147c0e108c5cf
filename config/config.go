// Package config is the static file of an exchange: where it listens, where it
// keeps its data. Who takes part is not here but in the register.
//
// Reading is strict: an unknown key or a bad value is an error with its file and
// line, and all of them are reported at once. The comments on the fields below
// are the file's reference; Describe prints them.
package config

import (
	_ "embed"
	"log/slog"
	"time"
)

// Config is the file. Its zero value is not useful; Default is.
type Config struct {
	// Directory that holds everything: journal, register, view, admin.token.
	Data string `yaml:"data"`
	// HTTP: TAXII, publishing, administration.
	HTTP HTTP `yaml:"http"`
	// NATS: live push to members.
	NATS NATS `yaml:"nats"`
	// TLS for HTTP and NATS. Without it neither listens beyond loopback.
	TLS TLS `yaml:"tls"`
	// Prometheus metrics. They are also at /metrics, for the operator's token.
	Metrics Metrics `yaml:"metrics"`
	// What is kept in memory.
	Memory Memory `yaml:"memory"`
	// What one member is given, and all together on this node.
	Limits Limits `yaml:"limits"`
	// Who did what, and who was given what.
	Audit Audit `yaml:"audit"`
	// What everything is made from, in the data directory.
	Journal Journal `yaml:"journal"`
	// A copy of it elsewhere, from which tocsin restore makes the exchange again.
	Archive Archive `yaml:"archive"`
	// Messages on standard error.
	Log Log `yaml:"log"`
}

// HTTP is the section http.
type HTTP struct {
	// Address to listen on; port 0 picks a free one.
	Listen string `yaml:"listen"`
	// Proxies in front that speak TLS, as prefixes, such as [192.0.2.10/32]: plain HTTP beyond
	// loopback is meant. What they say in X-Forwarded-For is believed, and nobody else.
	BehindProxy Proxies `yaml:"behind_proxy"`
	// Where callers reach the exchange, if not where it listens:
	// https://exchange.example.org
	PublicURL string `yaml:"public_url"`
}

// NATS is the section nats.
type NATS struct {
	// Address to listen on; port 0 picks a free one, "none" opens no port.
	Listen string `yaml:"listen"`
	// Servers of their own, such as tls://nats.example.org:4222, in place of the embedded
	// one. They run with what `tocsin config nats` prints.
	URLs []string `yaml:"urls"`
	// File with the keys for them, which `tocsin config nats` makes.
	Keys string `yaml:"keys"`
}

// TLS is the section tls.
type TLS struct {
	// File with the certificate chain, PEM.
	Cert string `yaml:"cert"`
	// File with the private key, PEM.
	Key string `yaml:"key"`
	// File with the authorities whose client certificates are taken, PEM; a
	// member's certificates are in the register. Empty asks for none.
	ClientCA string `yaml:"client_ca"`
}

// Metrics is the section metrics.
type Metrics struct {
	// Address for /metrics alone, without credentials; empty for none.
	Listen string `yaml:"listen"`
}

// Memory is the section memory.
type Memory struct {
	// What the exchange aims to stay within, from 192MiB on: bytes, or with KiB,
	// MiB, GiB. More makes a large exchange faster. A third is for indexes; the
	// limit of the runtime's heap follows from it, unless GOMEMLIMIT says another.
	Budget Size `yaml:"budget"`
	// Blocks that are kept for reading, compressed: bytes, or with KiB, MiB, GiB.
	Cache Size `yaml:"cache"`
}

// Limits is the section limits; 0 leaves each as it is by default.
type Limits struct {
	// Requests a second of one member, or of one address without credentials.
	Requests uint `yaml:"requests"`
	// Bytes a second of one member, both ways: bytes, or with KiB, MiB, GiB.
	Bytes Size `yaml:"bytes"`
	// Requests of one member that are answered at a time, and of all.
	Concurrent    uint `yaml:"concurrent"`
	AllConcurrent uint `yaml:"all_concurrent"`
	// Event streams of one member, and of all.
	Streams    uint `yaml:"streams"`
	AllStreams uint `yaml:"all_streams"`
	// Failed log-ins a second from one address.
	Logins uint `yaml:"logins"`
	// What one member may send in a UTC day, as rows or objects, and what may stand of the objects that it
	// has posted: bytes, or with KiB, MiB, GiB.
	DayBytes      Size `yaml:"day_bytes"`
	StandingBytes Size `yaml:"standing_bytes"`
}

// Audit is the section audit.
type Audit struct {
	// How many days the audit is kept, apart from the data; 0 for ever.
	KeepDays uint `yaml:"keep_days"`
}

// Journal is the section journal.
type Journal struct {
	// How often all its files are read, to see whether they are whole: 6h0m0s, 30m.
	Scrub Interval `yaml:"scrub"`
	// When its files are written anew, where something was erased or is older than the register keeps it: a time of
	// the day, in UTC. The exchange starts anew then, and does not answer for some ten seconds for each 100,000 hosts.
	Maintenance Clock `yaml:"maintenance"`
}

// Archive is the section archive.
type Archive struct {
	// Directory, or bucket as s3://bucket or s3://bucket/prefix; empty for none. One exchange alone writes there.
	To string `yaml:"to"`
	// Of a bucket: the store's URL, such as https://s3.example.org, its region where it has some, and a file with one
	// line, the access key, a colon, and the secret.
	Endpoint    string `yaml:"endpoint"`
	Region      string `yaml:"region"`
	Credentials string `yaml:"credentials"`
	// Who can read it: age recipients (age1…), better two, so that one lost key loses nothing. Their keys are not to be
	// on this machine.
	Recipients []string `yaml:"recipients"`
	// Whether it is meant that there are no recipients, and everybody who gets at the archive reads it.
	Unencrypted bool `yaml:"unencrypted"`
	// How often what is new goes there: 1m0s.
	Every Interval `yaml:"every"`
	// For how many days archives and backups are kept, by you: so long what was ordered to be erased is erased again
	// after a restore. Then the order's key is destroyed.
	RestoreDays uint `yaml:"restore_days"`
}

// Log is the section log.
type Log struct {
	// debug, info, warn or error.
	Level slog.Level `yaml:"level"`
	// text or json.
	Format string `yaml:"format"`
}

// Default is what holds where the file says nothing.
func Default() Config {
	return Config{
		Data:    "./tocsin-data",
		HTTP:    HTTP{Listen: "127.0.0.1:6120", BehindProxy: Proxies{}},
		NATS:    NATS{Listen: "127.0.0.1:6122", URLs: []string{}},
		Memory:  Memory{Budget: 768 << 20, Cache: 64 << 20},
		Limits:  Limits{Requests: 5000, Bytes: 2 << 30, Concurrent: 64, AllConcurrent: 1024, Streams: 64, AllStreams: 10_000, Logins: 1, DayBytes: 32 << 30, StandingBytes: 8 << 30},
		Audit:   Audit{KeepDays: 400},
		Journal: Journal{Scrub: Interval(6 * time.Hour), Maintenance: Clock(3 * time.Hour)},
		Archive: Archive{Recipients: []string{}, Every: Interval(time.Minute), RestoreDays: 400},
		Log:     Log{Level: slog.LevelInfo, Format: "text"},
	}
}

//go:embed config.go
var source string
