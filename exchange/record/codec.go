package record

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// recordVersion is the first byte of what Append writes; every version from
// oldestVersion on can be read.
const (
	recordVersion = 5
	oldestVersion = 1
)

// encoder appends numbers as varints, and each string once: the second time it
// is an index into those before.
type encoder struct {
	b       []byte
	strings map[string]uint64
}

func (e *encoder) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) int(n int64)   { e.b = binary.AppendVarint(e.b, n) }

func (e *encoder) text(s string) {
	if i, ok := e.strings[s]; ok {
		e.uint(i + 1)
		return
	}
	e.strings[s] = uint64(len(e.strings))
	e.uint(0)
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) address(a netip.Addr) {
	raw := a.AsSlice()
	e.b = append(append(e.b, byte(len(raw))), raw...)
}

func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) place(p exchange.Place) {
	e.uint(uint64(p.ASN))
	e.text(p.Country)
	e.text(p.Evidence)
}

// decoder reads what encoder wrote; the first error sticks.
type decoder struct {
	b       []byte
	strings []string
	err     error
	version byte
}

// begin reads the version.
func (d *decoder) begin() {
	if d.version = d.byte(); d.version < oldestVersion || d.version > recordVersion {
		d.fail()
	}
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = exchange.ErrRecord
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	got := d.b[:n]
	d.b = d.b[n:]
	return got
}

// count reads the length of a list whose members take at least one byte each.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) byte() byte {
	if raw := d.take(1); len(raw) == 1 {
		return raw[0]
	}
	return 0
}

func (d *decoder) text() string {
	i := d.uint()
	if i == 0 {
		s := string(d.take(d.uint()))
		d.strings = append(d.strings, s)
		return s
	}
	if i > uint64(len(d.strings)) {
		d.fail()
		return ""
	}
	return d.strings[i-1]
}

func (d *decoder) address() netip.Addr {
	raw := d.take(uint64(d.byte()))
	a, ok := netip.AddrFromSlice(raw)
	if !ok && len(raw) != 0 {
		d.fail()
	}
	return a
}

func (d *decoder) level() tlp.Level { return d.levelOf(d.byte()) }

func (d *decoder) levelOf(b byte) tlp.Level {
	l := tlp.Level(b)
	if l > tlp.Red {
		d.fail()
	}
	return l
}

func (d *decoder) place() exchange.Place {
	return exchange.Place{ASN: uint32(d.uint()), Country: d.text(), Evidence: d.text()}
}

func (d *decoder) millis() time.Time { return time.UnixMilli(d.int()).UTC() }

// done reports the error, or that something was left over.
func (d *decoder) done() error {
	if d.err == nil && len(d.b) != 0 {
		d.err = fmt.Errorf("%w: %d bytes too many", exchange.ErrRecord, len(d.b))
	}
	return d.err
}

// What is beside an observation's label: that nothing was known before, of the
// day or of the address; that it is a relapse; that its country, AS number or malware is of an earlier sighting
// than the last, so that their times follow.
const (
	isNew        = 0x80
	isNewAddress = 0x40
	isRelapse    = 0x20
	isEarlier    = 0x10
)

func (e *encoder) observation(o *Observation) {
	e.address(o.Address)
	e.int(int64(o.Day))
	e.int(o.First.UnixMilli())
	e.int(o.Last.UnixMilli())
	e.int(o.Modified.UnixMilli())
	e.int(o.Count)
	label := byte(o.Label)
	if o.New {
		label |= isNew
	}
	if o.NewAddress {
		label |= isNewAddress
	}
	if o.Relapse {
		label |= isRelapse
	}
	country, asn, malware := o.said()
	earlier := !o.CountryAt.Equal(country) || !o.ASNAt.Equal(asn) || !o.MalwareAt.Equal(malware)
	if earlier {
		label |= isEarlier
	}
	e.b = append(e.b, label)
	if earlier {
		e.int(o.CountryAt.UnixMilli())
		e.int(o.ASNAt.UnixMilli())
		e.int(o.MalwareAt.UnixMilli())
	}
	e.place(o.Place)
	e.uint(uint64(len(o.Places)))
	for _, p := range o.Places {
		e.place(p.Place)
		e.text(p.Hostname)
	}
	e.text(o.Malware)
	e.text(o.Provider)
	e.text(o.Protocol)
	e.text(o.Extra)
	e.uint(uint64(len(o.Contacts)))
	for i := range o.Contacts {
		c := &o.Contacts[i]
		e.int(c.Time.UnixMilli())
		e.uint(uint64(c.SrcPort))
		e.address(c.Dst)
		e.uint(uint64(c.DstPort))
	}
	e.text(o.Account)
	e.int(int64(o.Decision))
}

func (d *decoder) observation() (o Observation) {
	o.Address = d.address()
	o.Day = exchange.Day(d.int())
	o.First, o.Last, o.Modified = d.millis(), d.millis(), d.millis()
	o.Count = d.int()
	label := d.byte()
	o.New, o.NewAddress, o.Relapse = label&isNew != 0, label&isNewAddress != 0, label&isRelapse != 0
	o.Label = d.levelOf(label &^ (isNew | isNewAddress | isRelapse | isEarlier))
	if label&isEarlier != 0 {
		o.CountryAt, o.ASNAt, o.MalwareAt = d.millis(), d.millis(), d.millis()
	}
	o.Place = d.place()
	o.Places = make([]Placed, d.count())
	for i := range o.Places {
		o.Places[i] = Placed{Place: d.place(), Hostname: d.text()}
	}
	o.Malware, o.Provider, o.Protocol = d.text(), d.text(), d.text()
	if d.version > 1 {
		o.Extra = d.text()
	}
	o.Contacts = make([]stix.Contact, d.count())
	for i := range o.Contacts {
		o.Contacts[i] = stix.Contact{Time: d.millis(), SrcPort: uint16(d.uint()), Dst: d.address(), DstPort: uint16(d.uint())}
	}
	if d.version > 2 {
		o.Account = d.text()
	}
	o.Decision = int(d.int())
	if label&isEarlier == 0 {
		o.CountryAt, o.ASNAt, o.MalwareAt = o.said()
	}
	return o
}

// said returns when country, AS number and malware were said where it was the last sighting that did.
func (o *Observation) said() (country, asn, malware time.Time) {
	if o.Place.Country != "" {
		country = o.Last
	}
	if o.Place.ASN != 0 {
		asn = o.Last
	}
	if o.Malware != "" {
		malware = o.Last
	}
	return country, asn, malware
}

// Append writes the observation, for a store of its own; its Decision is
// meaningless there.
func (o *Observation) Append(b []byte) []byte {
	e := encoder{b: append(b, recordVersion), strings: make(map[string]uint64, 8)}
	e.observation(o)
	return e.b
}

// DecodeObservation reads what Append wrote.
func DecodeObservation(b []byte) (Observation, error) {
	d := decoder{b: b}
	d.begin()
	o := d.observation()
	return o, d.done()
}
