// Package things makes random objects that members post: of a pool of few, so that they meet again, under random markings
// of all families.
package things

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/stix"
)

// Identities are those that things may be of, each of a member or of nobody.
const Identities = 8

// None is the version of what has no versions.
const None = "1970-01-01T00:00:00Z"

// Version is when all were made, and the first version.
const Version = "2026-01-01T00:00:00.000Z"

// Unknown is a marking that the exchange does not know by itself; a register may say what it means.
const Unknown = "marking-definition--11111111-0000-4000-8000-00000000acac"

// Thing is an object that a member posts.
type Thing struct {
	ID, Type, Version, Creator string
	Marks                      []string // labels in words; "?" is one that nobody knows
	Refs                       []string
	Address                    string
	Name                       string
}

// Maker makes things.
type Maker struct{ R *rand.Rand }

func (m *Maker) pick(list []string) string { return list[m.R.IntN(len(list))] }

// Identity is the n-th identity.
func Identity(n int) string { return fmt.Sprintf("identity--00000000-0000-4000-8000-00000000000%d", n) }

// Text is what a member posts: an object of the pool's, or, now and then, one of those that stand somewhere, which x
// becomes then.
func (m *Maker) Text(x *Thing, there func() [][]byte) string {
	if m.R.IntN(5) == 0 {
		if list := there(); len(list) > 0 {
			raw := list[m.R.IntN(len(list))]
			h, err := stix.ParseHead(raw)
			if err != nil {
				panic(err)
			}
			x.ID, x.Type, x.Version = h.ID, h.Type, h.Modified
			return string(raw)
		}
	}
	return m.Marked(x)
}

// Thing makes one.
func (m *Maker) Thing() *Thing {
	n := m.R.IntN(5)
	x := &Thing{
		Type:    m.pick([]string{"indicator", "indicator", "report", "report", "relationship", "note", "observed-data", "ipv4-addr", "ipv4-addr", "identity"}),
		Version: fmt.Sprintf("2026-01-0%dT00:00:00.000Z", 1+m.R.IntN(4)), Name: m.pick([]string{"A", "A", "A", "B"}),
	}
	id := func(typ string, n int) string { return fmt.Sprintf("%s--%08d-0000-4000-8000-000000000000", typ, n) }
	address := func(n int) string { return netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}).String() }
	some := func() string {
		switch k := m.R.IntN(5); m.R.IntN(5) {
		case 0:
			return stix.AddressID(netip.MustParseAddr(address(k)))
		case 1:
			return id(m.pick([]string{"relationship", "report", "note"}), k)
		case 2:
			return Identity(k)
		default:
			return id("indicator", k)
		}
	}
	x.ID = id(x.Type, n)
	switch x.Type {
	case "report", "note":
		for range 1 + m.R.IntN(3) {
			x.Refs = append(x.Refs, some())
		}
	case "relationship":
		for range 2 { // a relationship joins no relationships
			x.Refs = append(x.Refs, strings.Replace(some(), "relationship--", "report--", 1))
		}
	case "observed-data":
		x.Refs = []string{stix.AddressID(netip.MustParseAddr(address(m.R.IntN(5))))}
	case "ipv4-addr":
		x.Address = address(n)
		x.ID, x.Version = stix.AddressID(netip.MustParseAddr(x.Address)), None
	case "identity":
		x.ID = Identity(n)
	}
	if m.R.IntN(2) == 0 && x.Type != "ipv4-addr" {
		x.Creator = Identity(m.R.IntN(Identities))
	}
	for range m.R.IntN(3) {
		x.Marks = append(x.Marks, m.pick([]string{"clear", "white", "green", "green", "amber", "amber", "amber+strict", "red", "?"}))
	}
	return x
}

// Marked writes an object with its markings: as objects', granular ones or labels, of all families.
func (m *Maker) Marked(x *Thing) string {
	ids := map[string][]string{
		"clear": {"613f2e26-407d-48c7-9eca-b8e91df99dc9", "94868c89-83c2-464b-929b-a1a8aa3c8487"}, "white": {"613f2e26-407d-48c7-9eca-b8e91df99dc9"},
		"green": {"34098fce-860f-48ae-8e50-ebd3cc5e41da", "bab4a63c-aed9-4cf5-a766-dfca5abac2bb"}, "amber": {"f88d31f6-486f-44da-b317-01333bde0b82", "55d920b0-5e8b-4f79-9ee9-91f868d9b421"},
		"amber+strict": {"939a9414-2ddd-4d32-a0cd-375ea402b003", "826578e1-40ad-459f-bc73-ede076f81f37"}, "red": {"5e57c739-391a-4eb3-b6be-7d15ca92d5ed", "e828b379-4e03-4974-9ac4-e53a884c97c1"},
		"?": {"00000000-0000-4000-8000-00000000acac", strings.TrimPrefix(Unknown, "marking-definition--")},
	}
	object := map[string]any{"type": x.Type, "spec_version": "2.1", "id": x.ID}
	var marks, labels []string
	var granular []any
	for _, mark := range x.Marks {
		id := "marking-definition--" + m.pick(ids[mark])
		switch k := m.R.IntN(4); {
		case k == 0 && mark != "?" && x.Type != "ipv4-addr":
			labels = append(labels, m.pick([]string{"tlp:" + mark, "TLP:" + strings.ToUpper(mark), "misp:tlp:" + mark}))
		case k == 1:
			granular = append(granular, map[string]any{"marking_ref": id, "selectors": []string{"type"}})
		default:
			marks = append(marks, id)
		}
	}
	slices.Sort(marks)
	marks = slices.Compact(marks)
	for name, list := range map[string]any{"object_marking_refs": marks, "labels": labels, "granular_markings": granular} {
		if text, _ := json.Marshal(list); string(text) != "null" {
			object[name] = list
		}
	}
	if x.Type != "ipv4-addr" {
		object["created"], object["modified"] = Version, x.Version
	}
	if x.Creator != "" {
		object["created_by_ref"] = x.Creator
	}
	switch x.Type {
	case "indicator":
		object["pattern"], object["pattern_type"], object["valid_from"] = "[ipv4-addr:value = '198.51.100.1']", "stix", "2026-01-01T00:00:00Z"
		object["name"] = x.Name
	case "report":
		object["name"], object["published"], object["object_refs"] = x.Name, "2026-01-01T00:00:00Z", x.Refs
	case "note":
		object["content"], object["object_refs"] = x.Name, x.Refs
	case "observed-data":
		object["first_observed"], object["last_observed"], object["number_observed"], object["object_refs"] = Version, Version, 1, x.Refs
	case "identity":
		object["name"], object["identity_class"] = x.Name, "organization"
	case "relationship":
		object["relationship_type"], object["source_ref"], object["target_ref"] = "related-to", x.Refs[0], x.Refs[1]
	case "ipv4-addr":
		object["value"] = x.Address
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return string(text)
}
