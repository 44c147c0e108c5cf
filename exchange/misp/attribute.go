package misp

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/pattern"
)

// object is what attributes are made of: an observation, an indicator, or an address that one of
// them is about.
type object struct {
	Type       string                    `json:"type"`
	ID         string                    `json:"id"`
	CreatedBy  string                    `json:"created_by_ref"`
	Created    string                    `json:"created"`
	First      string                    `json:"first_observed"`
	Last       string                    `json:"last_observed"`
	Number     int64                     `json:"number_observed"`
	Refs       []string                  `json:"object_refs"`
	Labels     []string                  `json:"labels"`
	Extensions map[string]jsontext.Value `json:"extensions"`
	Pattern    string                    `json:"pattern"`
	Language   string                    `json:"pattern_type"`
	Types      []string                  `json:"indicator_types"`
	Name       string                    `json:"name"`
	From       string                    `json:"valid_from"`
	Until      string                    `json:"valid_until"`
	Revoked    bool                      `json:"revoked"`
	// Value is that of an address; run.resolve gives it to what is about it.
	Value string `json:"value"`

	raw     []byte
	feed    string // that it is from, "" where a member added it
	added   time.Time
	address netip.Addr // of the host, as keys have it
}

func parse(raw []byte) (*object, error) {
	o := &object{raw: raw}
	if err := jsonv2.Unmarshal(raw, o); err != nil {
		return nil, fmt.Errorf("%w: %w", stix.ErrObject, err)
	}
	return o, nil
}

// about is the address that an observation is of.
func (o *object) about() string {
	if o.Type == "observed-data" && len(o.Refs) > 0 {
		return o.Refs[0]
	}
	return ""
}

// evidence is what the extension of an observation tells of a host.
type evidence struct {
	Country  string `json:"country"`
	ASN      uint32 `json:"asn"`
	Malware  string `json:"malware"`
	Provider string `json:"provider"`
	Exposed  string `json:"exposed"`
	Contacts []struct {
		Time    string     `json:"time"`
		SrcPort uint16     `json:"src_port"`
		Dst     netip.Addr `json:"dst_ip"`
		DstPort uint16     `json:"dst_port"`
	} `json:"contacts"`
}

// attribute is one of MISP's core format, but for its timestamp, which the slot has.
type attribute struct {
	UUID      string     `json:"uuid"`
	Type      string     `json:"type"`
	Category  string     `json:"category"`
	Value     string     `json:"value"`
	ToIDs     bool       `json:"to_ids"`
	Comment   string     `json:"comment,omitempty"`
	First     string     `json:"first_seen,omitempty"`
	Last      string     `json:"last_seen,omitempty"`
	Tags      []tag      `json:"Tag,omitempty"`
	Sightings []sighting `json:"Sighting,omitempty"`
}

type tag struct {
	Name   string `json:"name"`
	Colour string `json:"colour,omitempty"`
	// Deleted takes a tag off that was there before.
	Deleted bool `json:"deleted,omitempty"`
}

// sighting says when something was seen, type 0, or was there no longer, type 2.
type sighting struct {
	UUID   string `json:"uuid"`
	Type   string `json:"type"`
	Date   string `json:"date_sighting"`
	Source string `json:"source,omitempty"`
}

// maker makes attributes of a collection's objects, under one version of the register.
type maker struct {
	register   *exchange.Register
	collection *exchange.Collection
}

// attributes makes an object's slot, and says which feed's event of which day it belongs to: nil
// where there is nothing to make, or nothing that may leave.
func (x *run) attributes(o *object) (s *slot, feed, day string, err error) {
	created, err := time.Parse(time.RFC3339Nano, o.Created)
	if err != nil || o.Revoked {
		return nil, "", "", nil //nolint:nilerr // it is of a member, and has no day
	}
	day = created.UTC().Format(time.DateOnly)
	var list []attribute
	if x.collection.OfMembers() {
		list = x.indicator(o)
	} else if feed = x.hostOn(o); feed != "" {
		a, exposed := x.host(o)
		if exposed {
			feed += exposedSuffix
		} else {
			since, err := x.View.CleanSince(feed, o.address)
			if err != nil {
				return nil, "", "", err
			}
			x.markClean(&a, o, since)
		}
		list = []attribute{a}
	}
	if len(list) == 0 {
		return nil, feed, day, nil
	}
	label := policy.LabelOf(x.collection, o.raw)
	if !policy.Permits(label, exchange.ChannelMISP, policy.Recipient{Clearance: x.collection.Ceiling}) {
		return &slot{Withheld: true}, feed, day, nil
	}
	s = &slot{Label: uint8(label)}
	for i := range list {
		a := &list[i]
		a.Tags = append([]tag{tlpTag(label)}, a.Tags...)
		text, err := json.Marshal(a)
		if err != nil {
			return nil, feed, day, err
		}
		s.Attributes = append(s.Attributes, text)
		if s.Values = append(s.Values, a.Value); strings.Contains(a.Type, "|") {
			s.Values = append(s.Values[:len(s.Values)-1], strings.Split(a.Value, "|")...)
		}
	}
	return s, feed, day, nil
}

// hostOn returns the feed that an object is from, where an attribute is to be made of it, and finds its host.
func (m *maker) hostOn(o *object) (feed string) {
	if o.Type == "indicator" {
		p, err := pattern.Parse(o.Pattern)
		if err != nil {
			return ""
		}
		if list := append(p.Addresses(), p.Emails()...); len(list) == 1 {
			o.Value = list[0]
		}
		f := m.register.Feed(o.feed)
		if f == nil { // it is no more; most had observations
			f = new(exchange.Feed)
		}
		if f.HostObject("") != o.Type { // there is an observation as well, and its indicator says nothing more
			return ""
		}
	}
	var err error
	if o.address, err = netip.ParseAddr(o.Value); err != nil {
		account, _, err := exchange.ParseAccount(o.Value)
		if err != nil {
			return ""
		}
		o.address = exchange.AccountKey(account)
	}
	return o.feed
}

// exposedSuffix follows a feed's name in events of what is exposed and not infected, which stand beside those of infections.
const exposedSuffix = "+exposed"

// host makes the attribute of a host: a victim, which nobody is to block. exposed says that it is not known to be infected.
func (m *maker) host(o *object) (a attribute, exposed bool) {
	a = attribute{
		UUID: m.derived("misp-attribute", o.ID), Type: "ip-src", Category: "Network activity", Value: o.Value,
		First: instant(cmp.Or(o.First, o.From)), Last: instant(o.Last),
	}
	if strings.Contains(o.Value, "@") {
		a.Type = "email"
	}
	var e evidence
	_ = jsonv2.Unmarshal(o.Extensions[exchange.HostEvidenceID], &e) // ours; without it there is less to say
	var said []string
	if e.Exposed != "" {
		said = append(said, "exposed: "+e.Exposed+" (not known to be infected)")
		a.Tags = append(a.Tags, tag{Name: `tocsin:exposed="` + e.Exposed + `"`})
	}
	if e.ASN != 0 {
		said = append(said, "AS"+strconv.FormatUint(uint64(e.ASN), 10))
	}
	if e.Country != "" {
		said = append(said, e.Country)
	}
	if e.Malware != "" {
		said = append(said, e.Malware)
	}
	if o.Number > 1 {
		said = append(said, fmt.Sprintf("seen %d times", o.Number))
	}
	if len(e.Contacts) > 0 {
		c := &e.Contacts[0]
		if c.SrcPort != 0 && a.Type == "ip-src" {
			a.Type, a.Value = "ip-src|port", fmt.Sprintf("%s|%d", o.Value, c.SrcPort)
		}
		if c.Dst.IsValid() {
			said = append(said, "called "+netip.AddrPortFrom(c.Dst, c.DstPort).String()+" at "+c.Time)
		} else if c.DstPort != 0 {
			said = append(said, fmt.Sprintf("called port %d at %s", c.DstPort, c.Time))
		}
	}
	a.Comment = strings.Join(said, ", ")
	if slices.Contains(o.Labels, "relapse") {
		a.Tags = append(a.Tags, tag{Name: relapseTag})
	}
	if at, err := time.Parse(time.RFC3339Nano, cmp.Or(o.Last, o.From)); err == nil {
		a.Sightings = []sighting{{UUID: m.derived("misp-sighting", o.ID), Type: "0", Date: strconv.FormatInt(at.Unix(), 10), Source: e.Provider}}
	}
	return a, e.Exposed != ""
}

// derived is a UUID that is the same whenever the same is made.
func (m *maker) derived(kind, of string) string {
	return strings.TrimPrefix(stix.DerivedID(kind, "collection", m.collection.UUID, "object", of), kind+"--")
}

// instant writes a time as MISP has it.
func instant(text string) string {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000000+00:00")
}
