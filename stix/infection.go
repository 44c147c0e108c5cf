package stix

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The types below are the objects that one infected host is packaged as. Each
// has an Append method that writes the object as JSON at the end of a buffer
// and returns the buffer; property order is fixed, so equal values give equal
// bytes.

// Common is what every object but a cyber-observable one carries
// (STIX 2.1 section 3.2). All fields are required but Marking and Confidence.
type Common struct {
	ID, CreatedBy     string
	Created, Modified time.Time
	// Marking is the identifier of the one marking definition; "" for none.
	Marking string
	// Confidence is 1 to 100; 0 leaves the property out.
	Confidence uint8
	Labels     []string
}

func (c *Common) append(b []byte, typ string) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, typ...)
	b = append(b, `","spec_version":"2.1"`...)
	b = appendProperty(b, "id", c.ID)
	b = appendProperty(b, "created_by_ref", c.CreatedBy)
	b = appendTimeProperty(b, "created", c.Created)
	b = appendTimeProperty(b, "modified", c.Modified)
	if c.Confidence != 0 {
		b = appendIntProperty(b, "confidence", int64(c.Confidence))
	}
	if len(c.Labels) > 0 {
		b = appendListProperty(b, "labels", c.Labels)
	}
	return appendMarking(b, c.Marking)
}

func appendMarking(b []byte, id string) []byte {
	if id == "" {
		return b
	}
	return appendListProperty(b, "object_marking_refs", []string{id})
}

// EmailObject returns an email-addr object and its identifier (STIX 2.1 section 6.5).
func EmailObject(address string) (id string, raw []byte) {
	value := append(AppendString([]byte(`{"value":`), address), '}')
	id = string(appendID(nil, scoNamespace, "email-addr", value))
	raw = appendProperty([]byte(`{"type":"email-addr","spec_version":"2.1"`), "id", id)
	return id, append(appendProperty(raw, "value", address), '}')
}

// AppendOutline appends what tells an object and its version apart and nothing else: type, id, and modified where it
// is not zero. Scan and ScanBrief read of it what they read of the object.
func AppendOutline(b []byte, id string, modified time.Time) []byte {
	typ, _, _ := strings.Cut(id, "--")
	b = append(append(b, `{"type":"`...), typ...)
	b = append(b, `","spec_version":"2.1","id":"`...)
	b = append(append(b, id...), '"')
	if !modified.IsZero() {
		b = appendTimeProperty(b, "modified", modified)
	}
	return append(b, '}')
}

// AppendAddress appends an ipv4-addr or ipv6-addr object: type, spec_version,
// id, value and nothing else, because its identifier is the same for everybody
// (STIX 2.1 sections 6.4 and 6.5). id is AddressID(a).
func AppendAddress(b []byte, a netip.Addr, id string) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, AddressType(a)...)
	b = append(b, `","spec_version":"2.1"`...)
	b = appendProperty(b, "id", id)
	b = append(b, `,"value":"`...)
	b = a.Unmap().AppendTo(b)
	return append(b, `"}`...)
}

// NetworkTraffic is one contact of a host with its command and control, or with
// the sinkhole in its place (STIX 2.1 section 6.12). DstRef may be "", ports 0,
// Start zero: then the property is left out.
type NetworkTraffic struct {
	SrcRef, DstRef   string
	SrcPort, DstPort uint16
	// Protocols are lower case, outermost first, at least one.
	Protocols []string
	Start     time.Time
	Marking   string
	// Short writes Start without zeros at its end.
	Short bool
}

// start appends the time of the start.
func (n *NetworkTraffic) start(b []byte) []byte {
	b = append(b, `"start":"`...)
	if n.Short {
		b = appendShortTime(b, n.Start)
	} else {
		b = AppendTime(b, n.Start)
	}
	return append(b, '"')
}

// ID returns the deterministic identifier of the traffic.
func (n *NetworkTraffic) ID() string { return n.networkTrafficID() }

// Append appends the object under the identifier that ID returned.
func (n *NetworkTraffic) Append(b []byte, id string) []byte {
	b = append(b, `{"type":"network-traffic","spec_version":"2.1"`...)
	b = appendProperty(b, "id", id)
	b = appendMarking(b, n.Marking)
	if !n.Start.IsZero() {
		b = n.start(append(b, ','))
	}
	b = appendProperty(b, "src_ref", n.SrcRef)
	if n.DstRef != "" {
		b = appendProperty(b, "dst_ref", n.DstRef)
	}
	if n.SrcPort != 0 {
		b = appendIntProperty(b, "src_port", int64(n.SrcPort))
	}
	if n.DstPort != 0 {
		b = appendIntProperty(b, "dst_port", int64(n.DstPort))
	}
	b = appendListProperty(b, "protocols", n.Protocols)
	return append(b, '}')
}

// Contact is one time that an infected host called.
type Contact struct {
	Time             time.Time
	SrcPort, DstPort uint16
	Dst              netip.Addr // the zero Addr where unknown
}

// ObservedData is what was seen of one host in one day (STIX 2.1 section 4.14).
// Host, when HasHost, is written as a property extension under ExtensionID.
type ObservedData struct {
	Common
	First, Last time.Time
	Number      int64
	ObjectRefs  []string
	ExtensionID string
	Host        HostEvidence
}

// HostEvidence says how a host was placed and how it called. It is what our
// property extension of observed-data holds.
type HostEvidence struct {
	Country   string // ISO 3166-1 alpha-2, or ""
	ASN       uint32 // 0 where unknown
	Extra     string // what else the row said: the text of a JSON object of texts, or ""
	Evidence  string // where country and AS number come from
	Malware   string // as the publisher's row named it, or ""
	Provider  string // who saw it, or ""
	Exposed   string // what is open or vulnerable there, or "" for an infection
	Hostname  string // its reverse name, or ""
	Protocol  string // transport and application, separated by a space, or ""
	Operation string // what it is part of, or ""
	Contacts  []Contact
}

// Append appends the object.
func (o *ObservedData) Append(b []byte) []byte {
	b = o.append(b, "observed-data")
	b = appendTimeProperty(b, "first_observed", o.First)
	b = appendTimeProperty(b, "last_observed", o.Last)
	b = appendIntProperty(b, "number_observed", o.Number)
	b = appendListProperty(b, "object_refs", o.ObjectRefs)
	if o.ExtensionID != "" {
		b = append(b, `,"extensions":{`...)
		b = AppendString(b, o.ExtensionID)
		b = append(b, `:{"extension_type":"property-extension"`...)
		b = o.Host.append(b)
		b = append(b, `}}`...)
	}
	return append(b, '}')
}

func (h *HostEvidence) append(b []byte) []byte {
	if h.Country != "" {
		b = appendProperty(b, "country", h.Country)
	}
	if h.ASN != 0 {
		b = appendIntProperty(b, "asn", int64(h.ASN))
	}
	if h.Evidence != "" {
		b = appendProperty(b, "evidence", h.Evidence)
	}
	if h.Malware != "" {
		b = appendProperty(b, "malware", h.Malware)
	}
	if h.Provider != "" {
		b = appendProperty(b, "provider", h.Provider)
	}
	if h.Exposed != "" {
		b = appendProperty(b, "exposed", h.Exposed)
	}
	for _, p := range [...]struct{ name, value string }{{"hostname", h.Hostname}, {"protocol", h.Protocol}, {"operation", h.Operation}} {
		if p.value != "" {
			b = appendProperty(b, p.name, p.value)
		}
	}
	if h.Extra != "" {
		b = append(append(b, `,"extra":`...), h.Extra...)
	}
	if len(h.Contacts) == 0 {
		return b
	}
	b = append(b, `,"contacts":[`...)
	for i := range h.Contacts {
		c := &h.Contacts[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"time":"`...)
		b = append(AppendTime(b, c.Time), '"')
		if c.SrcPort != 0 {
			b = appendIntProperty(b, "src_port", int64(c.SrcPort))
		}
		if c.Dst.IsValid() {
			b = append(b, `,"dst_ip":"`...)
			b = append(c.Dst.Unmap().AppendTo(b), '"')
		}
		if c.DstPort != 0 {
			b = appendIntProperty(b, "dst_port", int64(c.DstPort))
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// Indicator marks a host as compromised, for clients that read nothing else
// (STIX 2.1 section 4.7). Its pattern matches the address.
type Indicator struct {
	Common
	Name, Description string
	Address           netip.Addr
	// Email is the address of an account; "" for a host.
	Email                 string
	ValidFrom, ValidUntil time.Time
}

// patternEscapes are those of a string in a pattern (STIX 2.1 section 9.3).
var patternEscapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// Append appends the object.
func (i *Indicator) Append(b []byte) []byte {
	b = i.append(b, "indicator")
	if i.Name != "" {
		b = appendProperty(b, "name", i.Name)
	}
	if i.Description != "" {
		b = appendProperty(b, "description", i.Description)
	}
	b = append(b, `,"indicator_types":["compromised"],"pattern":`...)
	if i.Email != "" {
		b = AppendString(b, "[email-addr:value = '"+patternEscapes.Replace(i.Email)+"']")
	} else {
		b = append(append(b, `"[`...), AddressType(i.Address)...)
		b = append(b, `:value = '`...)
		b = i.Address.Unmap().AppendTo(b)
		b = append(b, `']"`...)
	}
	b = append(b, `,"pattern_type":"stix"`...)
	b = appendTimeProperty(b, "valid_from", i.ValidFrom)
	b = appendTimeProperty(b, "valid_until", i.ValidUntil)
	return append(b, '}')
}

// Note says something of other objects (STIX 2.1 section 4.13).
type Note struct {
	Common
	Content string
	Refs    []string
}

// Append appends the object.
func (n *Note) Append(b []byte) []byte {
	b = n.append(b, "note")
	b = appendProperty(b, "content", n.Content)
	b = appendListProperty(b, "object_refs", n.Refs)
	return append(b, '}')
}

// Relationship joins two objects (STIX 2.1 section 5.1).
type Relationship struct {
	Common
	Type, Source, Target string
}

// Append appends the object.
func (r *Relationship) Append(b []byte) []byte {
	b = r.append(b, "relationship")
	b = appendProperty(b, "relationship_type", r.Type)
	b = appendProperty(b, "source_ref", r.Source)
	b = appendProperty(b, "target_ref", r.Target)
	return append(b, '}')
}

// Sighting says that malware was seen on a host, by whom and where
// (STIX 2.1 section 5.2).
type Sighting struct {
	Common
	First, Last time.Time
	Count       int64
	Of          string
	Observed    []string
	Where       []string
}

// Append appends the object.
func (s *Sighting) Append(b []byte) []byte {
	b = s.append(b, "sighting")
	b = appendTimeProperty(b, "first_seen", s.First)
	b = appendTimeProperty(b, "last_seen", s.Last)
	b = append(append(b, `,"count":`...), strconv.FormatInt(s.Count, 10)...)
	b = appendProperty(b, "sighting_of_ref", s.Of)
	if len(s.Observed) > 0 {
		b = appendListProperty(b, "observed_data_refs", s.Observed)
	}
	if len(s.Where) > 0 {
		b = appendListProperty(b, "where_sighted_refs", s.Where)
	}
	return append(b, '}')
}
