package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// recordVersion is the first byte of what Append writes; every version from
// oldestVersion on can be read. Those before it are of data directories of format 1, which are refused.
const (
	recordVersion = 9
	oldestVersion = 6
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

func (e *encoder) location(l exchange.Location) {
	e.uint(uint64(l.ASN))
	e.text(l.Country)
	e.text(l.Evidence)
}

func (e *encoder) head(h Head) {
	e.uint(h.Sequence)
	e.text(h.Hash)
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
	if hash, rest := erasedOf(d.b); hash != nil {
		d.b = rest
	}
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

func (d *decoder) location() exchange.Location {
	return exchange.Location{ASN: uint32(d.uint()), Country: d.text(), Evidence: d.text()}
}

func (d *decoder) head() Head { return Head{d.uint(), d.text()} }

// size reads a number that counts something in memory.
func (d *decoder) size() int {
	n := d.uint()
	if n > math.MaxInt32 {
		d.fail()
		return 0
	}
	return int(n)
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
// observation or of the address; that it is a relapse; that its malware is of an earlier sighting
// than the last, so that its time follows.
const (
	isNew        = 0x80
	isNewAddress = 0x40
	isRelapse    = 0x20
	isEarlier    = 0x10
)

func (e *encoder) observation(o *Observation) {
	e.address(o.Address)
	e.int(int64(o.Day))
	e.uint(uint64(o.ASN))
	e.text(o.Country)
	e.text(o.Evidence)
	e.b = append(e.b, o.Packaging, o.FirstPackaging)
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
	earlier := !o.MalwareAt.Equal(o.saidMalware())
	if earlier {
		label |= isEarlier
	}
	e.b = append(e.b, label)
	if earlier {
		e.int(o.MalwareAt.UnixMilli())
	}
	e.uint(uint64(len(o.Hostnames)))
	for _, name := range o.Hostnames {
		e.text(name)
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
	e.text(o.Exposed)
	e.int(int64(o.Decision))
}

func (d *decoder) observation() (o Observation) {
	o.Address = d.address()
	o.Day = exchange.Day(d.int())
	o.ASN, o.Country, o.Evidence = uint32(d.uint()), d.text(), d.text()
	o.Packaging, o.FirstPackaging = d.byte(), d.byte()
	o.First, o.Last, o.Modified = d.millis(), d.millis(), d.millis()
	o.Count = d.int()
	label := d.byte()
	o.New, o.NewAddress, o.Relapse = label&isNew != 0, label&isNewAddress != 0, label&isRelapse != 0
	o.Label = d.levelOf(label &^ (isNew | isNewAddress | isRelapse | isEarlier))
	if label&isEarlier != 0 {
		o.MalwareAt = d.millis()
	}
	o.Hostnames = make([]string, d.count())
	for i := range o.Hostnames {
		o.Hostnames[i] = d.text()
	}
	o.Malware, o.Provider, o.Protocol, o.Extra = d.text(), d.text(), d.text(), d.text()
	o.Contacts = make([]stix.Contact, d.count())
	for i := range o.Contacts {
		o.Contacts[i] = stix.Contact{Time: d.millis(), SrcPort: uint16(d.uint()), Dst: d.address(), DstPort: uint16(d.uint())}
	}
	o.Account = d.text()
	if d.version >= 7 {
		o.Exposed = d.text()
	}
	o.Decision = int(d.int())
	if label&isEarlier == 0 {
		o.MalwareAt = o.saidMalware()
	}
	return o
}

// saidMalware returns when the malware was said where it was the last sighting that did.
func (o *Observation) saidMalware() time.Time {
	if o.Malware == "" {
		return time.Time{}
	}
	return o.Last
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
