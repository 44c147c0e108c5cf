package hosts

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

func micros(n int64) time.Time { return time.UnixMicro(n).UTC() }

func intakeKey(sequence uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'e'}, sequence) }

func cleanedKey(sequence uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'j'}, sequence) }

// feedKey starts every key that belongs to a feed.
func feedKey(kind byte, feed string) []byte {
	return append(append(append(make([]byte, 0, 64), kind), feed...), 0)
}

func eventKey(feed string, id exchange.EventID) []byte { return append(feedKey('x', feed), id[:]...) }

// dayKey starts the keys of a host's day.
func dayKey(feed string, of exchange.HostDay) []byte {
	return binary.BigEndian.AppendUint32(addressKey(feed, of.Address), uint32(of.Day))
}

// hostKey is of an observation. A country that is not two bytes, of which there is none but "", is cut or filled. What is
// exposed stands last.
func hostKey(feed string, of exchange.ObservationKey) []byte {
	var country [2]byte
	copy(country[:], of.Country)
	return append(append(binary.BigEndian.AppendUint32(dayKey(feed, of.HostDay), of.ASN), country[:]...), of.Exposed...)
}

// hostSuffix is how long what follows an address in a hostKey is at least.
const hostSuffix = 4 + 4 + 2

// addressKey starts the keys of an address; calledKey is one without a day.
func addressKey(feed string, a netip.Addr) []byte {
	raw := a.AsSlice()
	return append(append(feedKey('a', feed), byte(len(raw))), raw...)
}

func calledKey(feed string, a netip.Addr) []byte { return append(addressKey(feed, a), 0xff) }

// Prefix is how long the start of an 'a' key is that filters ask for: an address, of all days.
func Prefix(k []byte) int {
	// a feed 0 length address
	end := bytes.IndexByte(k, 0) + 1
	if end == 0 || end == len(k) {
		return len(k)
	}
	return end + 1 + int(k[end])
}

func historyKey(feed string, a netip.Addr) []byte {
	return append(feedKey('c', feed), a.AsSlice()...)
}

// goneKey tells that a record had an event of a host's day that was recalled. goneAddress and goneDay start such keys.
func goneKey(feed string, of exchange.HostDay, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(goneDay(feed, of), sequence)
}

func goneDay(feed string, of exchange.HostDay) []byte {
	return binary.BigEndian.AppendUint32(goneAddress(feed, of.Address), uint32(of.Day))
}

func goneAddress(feed string, a netip.Addr) []byte {
	raw := a.AsSlice()
	return append(append(feedKey('s', feed), byte(len(raw))), raw...)
}

// recallKey has the sequence of the feed's last record that takes events back.
func recallKey(feed string) []byte { return feedKey('f', feed) }

func keyKey(feed, key string) []byte { return append(feedKey('k', feed), key...) }

func topicKey(feed string, x record.Introduction) []byte {
	return append(append(append(feedKey('t', feed), x.Collection...), 0), x.Topic...)
}
