// Package packaging turns an intake record into STIX 2.1 objects: for each
// collection its share, in dependency order.
//
// It is a function of the record and of the version of the register that the
// record names: no clock, no state. The same record gives the same bytes, on
// any node and at any time, so a crash between two collections is finished by
// packaging the record again. A host's objects are made once, whatever the number of
// collections they enter.
package packaging

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Version is the version in which new events are packaged.
//
// What was packaged is never packaged otherwise: the feed's own collection is packaged anew whenever it is read,
// and a record that a stop has cut short is finished by the program that comes after. So a form is not changed once it was
// released, nor what it calls, of hosts (host.go) and of reference objects (reference.go). A change is a new form
// beside it, and Version is its number: it is in every intake record, observation and block, and in the identifiers of
// a host's objects. Where a reference object changes, its new form has a later modified.
const Version = 2

// form is how a version packages: an observation, which names its version, and what is introduced, by the record's.
type form struct {
	host  func(*hostDay)
	topic func(*Packager, record.Introduction) ([]record.Object, error)
}

var forms = map[uint8]form{1: {(*hostDay).form1, (*Packager).topic1}, 2: {(*hostDay).form2, (*Packager).topic2}}

// formOf returns the form of a version.
func formOf(version uint8) (form, error) {
	f, known := forms[version]
	if !known {
		return f, fmt.Errorf("%w: something was packaged in version %d, and this Tocsin knows those up to %d: use the newer one", exchange.ErrRecord, version, Version)
	}
	return f, nil
}

// Validity is how long after the last sighting an indicator is valid: addresses
// are handed on, and an old one is another customer's.
const Validity = 7 * 24 * time.Hour

// Packager packages the records of one feed that were decided under one version
// of the register. It is safe for concurrent use.
type Packager struct {
	feed      *exchange.Feed
	ids       *exchange.IDs
	publisher string // identity id
	malware   string // id
	advice    string // what an indicator says to do
	reference []record.Object
	register  *exchange.Register
	owners    map[string]string // collection to the member it is derived from
	ceilings  map[string]tlp.Level
}

// New prepares packaging for a feed of the register.
func New(reg *exchange.Register, feed string) (*Packager, error) {
	f := reg.Feed(feed)
	if f == nil {
		return nil, fmt.Errorf("version %d of the register has no feed %q", reg.Version, feed)
	}
	p := &Packager{feed: f, ids: reg.IDs, register: reg, owners: make(map[string]string), ceilings: make(map[string]tlp.Level)}
	for _, c := range reg.Collections() {
		p.ceilings[c.ID] = c.Ceiling
		if c.Feed == "" {
			p.owners[c.ID] = c.Owner
		}
	}
	m := reg.Member(f.Publisher)
	if m == nil {
		return nil, fmt.Errorf("version %d of the register has no member %q, the publisher of feed %q", reg.Version, f.Publisher, feed)
	}
	return p, p.buildReference(m)
}

// Shares packages the record for all of its collections, sorted by collection.
// The feed's own is one of them: it takes every observation up to its ceiling.
func (p *Packager) Shares(in *record.Intake) ([]record.Share, error) {
	return p.shares(in, false)
}

// HostObjects lists the ids of what an observation is packaged as, in any form that it ever had, with its address's.
func (p *Packager) HostObjects(o *record.Observation) []string {
	b := builder{Packager: p}
	h := b.hostDay(o)
	return append(b.hostObjects(o), h.host().ID)
}

// Outlines is Shares for those who want to know which objects there are: of a host's objects there
// is no more than stix.AppendOutline writes, which takes three quarters of the time.
func (p *Packager) Outlines(in *record.Intake) ([]record.Share, error) {
	return p.shares(in, true)
}

func (p *Packager) shares(in *record.Intake, outlines bool) ([]record.Share, error) {
	b := builder{Packager: p, outlines: outlines, packaging: in.Packaging, shares: make(map[string]*record.Share)}
	for _, x := range in.Introductions {
		if err := b.introduce(x); err != nil {
			return nil, err
		}
	}
	for i := range in.Observations {
		if err := b.host(i, &in.Observations[i], &in.Decisions[in.Observations[i].Decision], in.Backfill); err != nil {
			return nil, err
		}
	}
	for i, x := range in.Withdrawals {
		s := b.share(x.Collection)
		s.Groups = append(s.Groups, &record.Group{Index: 1 + len(in.Observations) + i, Withdraw: b.hostObjects(&in.Observations[x.Observation])})
	}
	list := make([]record.Share, 0, len(b.shares))
	for _, s := range b.shares {
		// What only takes out may be for a collection that its member has no more.
		takesOut := !slices.ContainsFunc(s.Groups, func(g *record.Group) bool { return len(g.Withdraw) == 0 })
		if ceiling := p.ceilings[s.Collection]; s.Label > ceiling && !takesOut {
			return nil, fmt.Errorf("a record of feed %s gives collection %s TLP:%s, above its ceiling %s", p.feed.ID, s.Collection, s.Label, ceiling)
		}
		list = append(list, *s)
	}
	slices.SortFunc(list, func(x, y record.Share) int { return cmp.Compare(x.Collection, y.Collection) })
	return list, nil
}

// builder is one run of Shares or Outlines.
type builder struct {
	*Packager
	outlines  bool
	packaging uint8
	shares    map[string]*record.Share
	intros    map[string]*record.Group
	buf       []byte
	dsts      map[netip.Addr]record.Object
	countries map[string]string // their identifiers
}

func (b *builder) share(collection string) *record.Share {
	s := b.shares[collection]
	if s == nil {
		s = &record.Share{Collection: collection, Packaging: b.packaging, Label: tlp.Clear}
		b.shares[collection] = s
	}
	return s
}

// introduce adds a topic's reference objects to the collection's first group.
func (b *builder) introduce(x record.Introduction) error {
	if b.intros == nil {
		b.intros = make(map[string]*record.Group)
	}
	g := b.intros[x.Collection]
	if g == nil {
		g = new(record.Group)
		b.intros[x.Collection] = g
		s := b.share(x.Collection)
		s.Groups = append(s.Groups, g)
	}
	form, err := formOf(b.packaging)
	if err != nil {
		return err
	}
	objects, err := form.topic(b.Packager, x)
	g.Objects = append(g.Objects, objects...)
	return err
}

// host packages an observation, the record's i-th, and adds it to every collection that takes it. The
// feed's own has it already where it is back-filled, and is left out.
func (b *builder) host(i int, o *record.Observation, d *exchange.Decision, backfill bool) error {
	if o.Count == 0 { // all of it was recalled
		return nil
	}
	var to []string
	for _, grant := range d.Grants {
		if grant.Allow && !o.Erased() {
			to = append(to, grant.Collection)
		}
	}
	if own := exchange.FeedCollection(b.feed.ID); !backfill && o.Label <= b.ceilings[own] {
		to = append(to, own)
	}
	if len(to) == 0 {
		return nil
	}
	g, err := b.group(o)
	if err != nil {
		return err
	}
	g.Index = 1 + i
	if o.Erased() { // the feed's own collection keeps their places
		for _, list := range [][]record.Object{g.Needs, g.Objects} {
			for k := range list {
				list[k].Erased = list[k].Erased || list[k].ID != tlp.AmberStrict.MarkingID() && !b.called(list[k].ID)
			}
		}
	}
	for _, collection := range to {
		s := b.share(collection)
		s.Label = max(s.Label, o.Label)
		s.Groups = append(s.Groups, g)
	}
	return nil
}

// object makes an object of what text appends. modified is zero where it has no such property.
func (b *builder) object(id string, modified time.Time, text func([]byte) []byte) record.Object {
	start := len(b.buf)
	if b.outlines {
		b.buf = stix.AppendOutline(b.buf, id, modified)
	} else {
		b.buf = text(b.buf)
	}
	return record.Object{ID: id, Raw: b.buf[start:len(b.buf):len(b.buf)]}
}

// address makes an address object.
func (b *builder) address(a netip.Addr) record.Object {
	id := stix.AddressID(a)
	return b.object(id, time.Time{}, func(buf []byte) []byte { return stix.AppendAddress(buf, a, id) })
}

// sinkhole returns the object of an address that hosts called: a few, again and
// again.
func (b *builder) sinkhole(a netip.Addr) record.Object {
	o, ok := b.dsts[a]
	if !ok {
		if b.dsts == nil {
			b.dsts = make(map[netip.Addr]record.Object)
		}
		o = b.address(a)
		b.dsts[a] = o
	}
	return o
}

// called tells whether an object is of an address that hosts called.
func (b *builder) called(id string) bool {
	for a, o := range b.dsts {
		if o.ID == id && !record.IsErased(a) {
			return true
		}
	}
	return false
}

// country returns the identifier of a country's object: a few, again and again.
func (b *builder) country(country string) string {
	id, ok := b.countries[country]
	if !ok {
		if b.countries == nil {
			b.countries = make(map[string]string)
		}
		id = b.locationID(country)
		b.countries[country] = id
	}
	return id
}
