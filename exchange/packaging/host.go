package packaging

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// bufferSize is how much is made room for at a time; a host of the largest
// profile is some 4 KB.
const bufferSize = 256 << 10

// group packages an observation in the form of its version.
func (b *builder) group(o *record.Observation) (*record.Group, error) {
	form, err := formOf(o.Packaging)
	if err != nil {
		return nil, err
	}
	if cap(b.buf)-len(b.buf) < 16<<10 {
		b.buf = make([]byte, 0, bufferSize)
	}
	h := b.hostDay(o)
	form.host(h)
	return h.g, nil
}

func (b *builder) hostDay(o *record.Observation) *hostDay {
	return &hostDay{builder: b, o: o, g: &record.Group{Needs: make([]record.Object, 0, 2), Objects: make([]record.Object, 0, 6)}, recipe: b.feed.Recipe(o.ObservationKey, o.Packaging)}
}

// form1 packages as the feed's profile says.
func (h *hostDay) form1() {
	switch h.feed.Profile {
	case exchange.ProfileIndicator:
		h.indicator()
	case exchange.ProfileObservation:
		h.observed([]string{h.need(h.host())})
		h.sighting()
	default:
		host := h.need(h.host())
		h.observed(append([]string{host}, h.traffic(host)...))
		h.indicator()
		h.relate("based-on", h.indicatorID, h.observedID)
		h.sighting()
	}
}

// form2 differs from form 1: what is exposed has a note and no indicator, an indicator says what to do, times of traffic
// are as others write them, and the definition of AMBER+STRICT stands where it is referred to.
func (h *hostDay) form2() {
	h.form = 2
	if h.o.Label == tlp.AmberStrict {
		h.need(record.Object{ID: tlp.AmberStrict.MarkingID(), Raw: tlp.AmberStrict.Definition(), Shared: true})
	}
	if h.o.Exposed == "" {
		h.form1()
		return
	}
	host := h.need(h.host())
	h.observed(append([]string{host}, h.traffic(host)...))
	id := h.id("note")
	n := stix.Note{
		Common: h.common(id), Refs: []string{h.observedID},
		Content: "Exposed: " + h.o.Exposed + ". It is open to everybody or vulnerable. Nothing says that it is infected.",
	}
	h.add(id, n.Modified, n.Append)
}

// hostObjects lists the objects that a host's day is packaged as, in any profile and version,
// but for observables: what the withdrawn observations alone refer to of those goes with them.
func (b *builder) hostObjects(o *record.Observation) (ids []string) {
	h := b.hostDay(o)
	for version := int(o.FirstPackaging); version <= int(o.Packaging); version++ {
		h.recipe = b.feed.Recipe(o.ObservationKey, uint8(version))
		ids = append(ids, h.id("observed-data"), h.id("indicator"), h.id("sighting"), h.id("note"),
			h.id("relationship", "relationship", "indicates"), h.id("relationship", "relationship", "based-on"))
	}
	return ids
}

// RelapseLabel marks the objects of a host that was seen again after it was reported clean.
const RelapseLabel = "relapse"

// hostDay packages one host's day.
type hostDay struct {
	*builder
	o                       *record.Observation
	g                       *record.Group
	form                    uint8
	recipe                  []string // of its objects' identifiers
	observedID, indicatorID string
}

func (h *hostDay) id(typ string, more ...string) string {
	return h.ids.Of(typ, append(h.recipe, more...)...)
}

func (h *hostDay) common(id string) stix.Common {
	c := stix.Common{
		ID: id, CreatedBy: h.publisher, Created: h.o.Day.Start(), Modified: h.o.Modified,
		Marking: h.o.Label.MarkingID(), Confidence: h.feed.Confidence,
	}
	if h.o.Relapse {
		c.Labels = []string{RelapseLabel}
	}
	return c
}

// host is the address that is infected, or the account that is compromised.
func (h *hostDay) host() record.Object {
	var o record.Object
	if h.o.Account != "" {
		o.ID, o.Raw = stix.EmailObject(h.o.Account)
	} else {
		o = h.builder.address(h.o.Address)
	}
	o.New, o.Shared = h.o.NewAddress, true
	return o
}

// need adds an object that must be in the same block; it returns its id.
func (h *hostDay) need(o record.Object) string {
	h.g.Needs = append(h.g.Needs, o)
	return o.ID
}

// add adds an object of the host's day: what text appends.
func (h *hostDay) add(id string, modified time.Time, text func([]byte) []byte) {
	o := h.object(id, modified, text)
	o.New = h.o.New
	h.g.Objects = append(h.g.Objects, o)
}

// traffic adds the latest contact, when its source port is known: address, port
// and time together find a customer behind NAT. It returns what it refers to
// besides the host.
func (h *hostDay) traffic(host string) []string {
	if h.o.Account != "" || len(h.o.Contacts) == 0 || h.o.Contacts[0].SrcPort == 0 {
		return nil
	}
	n, called := h.contact(host, &h.o.Contacts[0])
	var refs []string
	if called.ID != "" {
		h.need(called)
	}
	if n.DstRef != "" {
		refs = append(refs, n.DstRef)
	}
	id := n.ID()
	h.add(id, time.Time{}, func(buf []byte) []byte { return n.Append(buf, id) })
	// Another feed may have seen the same contact, or this one with another location: it has the same id there.
	o := &h.g.Objects[len(h.g.Objects)-1]
	o.New, o.Shared = h.o.New && h.o.NewAddress, true
	return append(refs, id)
}

// contact is a contact of the host, and the address that it called.
func (h *hostDay) contact(host string, c *stix.Contact) (n stix.NetworkTraffic, called record.Object) {
	n = stix.NetworkTraffic{
		SrcRef: host, SrcPort: c.SrcPort, DstPort: c.DstPort, Start: c.Time,
		Protocols: strings.Fields(h.o.Protocol), Marking: h.o.Label.MarkingID(), Short: h.form >= 2,
	}
	if len(n.Protocols) == 0 {
		n.Protocols = []string{"tcp"}
	}
	if c.Dst.IsValid() {
		called = h.sinkhole(c.Dst)
		n.DstRef = called.ID
	}
	if record.IsErased(c.Dst) { // its place stays
		called.Erased, n.DstRef = true, ""
	}
	return n, called
}

// contacts are those of the host, without the addresses that were erased.
func (h *hostDay) contacts() []stix.Contact {
	if !slices.ContainsFunc(h.o.Contacts, func(c stix.Contact) bool { return record.IsErased(c.Dst) }) {
		return h.o.Contacts
	}
	list := slices.Clone(h.o.Contacts)
	for i := range list {
		if record.IsErased(list[i].Dst) {
			list[i].Dst, list[i].DstPort = netip.Addr{}, 0
		}
	}
	return list
}

func (h *hostDay) observed(refs []string) {
	h.observedID = h.id("observed-data")
	od := stix.ObservedData{
		Common: h.common(h.observedID), First: h.o.First, Last: h.o.Last, Number: min(h.o.Count, maxNumber),
		ObjectRefs: refs, ExtensionID: exchange.HostEvidenceID,
		Host: stix.HostEvidence{
			Country: h.o.Country, ASN: h.o.ASN, Evidence: h.o.Evidence,
			Malware: h.o.Malware, Provider: h.o.Provider, Exposed: h.o.Exposed, Extra: h.o.Extra, Contacts: h.contacts(),
		},
	}
	if h.form >= 2 {
		od.Host.Hostname, od.Host.Protocol, od.Host.Operation = h.o.Hostname(), h.o.Protocol, h.feed.Operation
	}
	h.add(h.observedID, od.Modified, od.Append)
}

// maxNumber is the largest number_observed and count (STIX 2.1 sections 4.14.1
// and 5.2.1).
const maxNumber = 999_999_999

func (h *hostDay) indicator() {
	h.indicatorID = h.id("indicator")
	in := stix.Indicator{
		Common: h.common(h.indicatorID), Name: h.feed.Malware.Name + " infection", Address: h.o.Address, Email: h.o.Account,
		ValidFrom: h.o.First, ValidUntil: h.o.Last.Add(Validity),
	}
	if h.form >= 2 {
		in.Description = h.advice
	}
	h.add(h.indicatorID, in.Modified, in.Append)
	h.relate("indicates", h.indicatorID, h.malware)
}

func (h *hostDay) relate(typ, source, target string) {
	id := h.id("relationship", "relationship", typ)
	r := stix.Relationship{Common: h.common(id), Type: typ, Source: source, Target: target}
	h.add(id, r.Modified, r.Append)
}

func (h *hostDay) sighting() {
	id := h.id("sighting")
	where := []string{h.publisher}
	if h.o.Country != "" {
		where = append(where, h.country(h.o.Country))
	}
	s := stix.Sighting{
		Common: h.common(id), First: h.o.First, Last: h.o.Last, Count: min(h.o.Count, maxNumber),
		Of: h.malware, Observed: []string{h.observedID}, Where: where,
	}
	h.add(id, s.Modified, s.Append)
}
