package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/stix"
)

// thing is an object that a member posts.
type thing struct {
	id, typ, version, creator string
	marks                     []string // labels in words; "?" is one that nobody knows
	refs                      []string
	address                   string
	name                      string
}

// text is what a member posts to a collection: an object of the world's, or, now and then, one that stands somewhere.
func (w *world) text(x *thing, c string) string {
	if w.r.IntN(5) == 0 {
		if there := w.posted.Read(w.pick(append(slices.Clone(rooms), c))); len(there) > 0 {
			raw := there[w.r.IntN(len(there))].Text
			h, err := stix.ParseHead(raw)
			if err != nil {
				w.Fatal(err)
			}
			x.id, x.typ, x.version = h.ID, h.Type, h.Modified
			return string(raw)
		}
	}
	return w.marked(x)
}

// thing makes a random object of a pool of few, so that they meet again.
func (w *world) thing() *thing {
	n := w.r.IntN(5)
	x := &thing{
		typ:     w.pick([]string{"indicator", "indicator", "report", "report", "relationship", "note", "observed-data", "ipv4-addr", "ipv4-addr", "identity"}),
		version: fmt.Sprintf("2026-01-0%dT00:00:00.000Z", 1+w.r.IntN(4)), name: w.pick([]string{"A", "A", "A", "B"}),
	}
	id := func(typ string, n int) string { return fmt.Sprintf("%s--%08d-0000-4000-8000-000000000000", typ, n) }
	address := func(n int) string { return netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}).String() }
	some := func() string {
		switch k := w.r.IntN(5); w.r.IntN(5) {
		case 0:
			return stix.AddressID(netip.MustParseAddr(address(k)))
		case 1:
			return id(w.pick([]string{"relationship", "report", "note"}), k)
		case 2:
			return spoken(k)
		default:
			return id("indicator", k)
		}
	}
	x.id = id(x.typ, n)
	switch x.typ {
	case "report", "note":
		for range 1 + w.r.IntN(3) {
			x.refs = append(x.refs, some())
		}
	case "relationship":
		x.refs = []string{some(), some()}
	case "observed-data":
		x.refs = []string{stix.AddressID(netip.MustParseAddr(address(w.r.IntN(5))))}
	case "ipv4-addr":
		x.address = address(n)
		x.id, x.version = stix.AddressID(netip.MustParseAddr(x.address)), none
	case "identity":
		x.id = spoken(n)
	}
	if w.r.IntN(2) == 0 && x.typ != "ipv4-addr" {
		x.creator = spoken(w.r.IntN(len(members) + 2)) // of the last two, nobody here
	}
	for range w.r.IntN(3) {
		x.marks = append(x.marks, w.pick([]string{"clear", "white", "green", "green", "amber", "amber", "amber+strict", "red", "?"}))
	}
	return x
}

// marked writes an object with its markings: as objects', granular ones or labels, of all families.
func (w *world) marked(x *thing) string {
	ids := map[string][]string{
		"clear": {"613f2e26-407d-48c7-9eca-b8e91df99dc9", "94868c89-83c2-464b-929b-a1a8aa3c8487"}, "white": {"613f2e26-407d-48c7-9eca-b8e91df99dc9"},
		"green": {"34098fce-860f-48ae-8e50-ebd3cc5e41da", "bab4a63c-aed9-4cf5-a766-dfca5abac2bb"}, "amber": {"f88d31f6-486f-44da-b317-01333bde0b82", "55d920b0-5e8b-4f79-9ee9-91f868d9b421"},
		"amber+strict": {"939a9414-2ddd-4d32-a0cd-375ea402b003", "826578e1-40ad-459f-bc73-ede076f81f37"}, "red": {"5e57c739-391a-4eb3-b6be-7d15ca92d5ed", "e828b379-4e03-4974-9ac4-e53a884c97c1"},
		"?": {"00000000-0000-4000-8000-00000000acac", "11111111-0000-4000-8000-00000000acac"},
	}
	object := map[string]any{"type": x.typ, "spec_version": "2.1", "id": x.id}
	var marks, labels []string
	var granular []any
	for _, m := range x.marks {
		id := "marking-definition--" + w.pick(ids[m])
		switch k := w.r.IntN(4); {
		case k == 0 && m != "?" && x.typ != "ipv4-addr":
			labels = append(labels, w.pick([]string{"tlp:" + m, "TLP:" + strings.ToUpper(m), "misp:tlp:" + m}))
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
	if x.typ != "ipv4-addr" {
		object["created"], object["modified"] = version1, x.version
	}
	if x.creator != "" {
		object["created_by_ref"] = x.creator
	}
	switch x.typ {
	case "indicator":
		object["pattern"], object["pattern_type"], object["valid_from"] = "[ipv4-addr:value = '198.51.100.1']", "stix", "2026-01-01T00:00:00Z"
		object["name"] = x.name
	case "report":
		object["name"], object["published"], object["object_refs"] = x.name, "2026-01-01T00:00:00Z", x.refs
	case "note":
		object["content"], object["object_refs"] = x.name, x.refs
	case "observed-data":
		object["first_observed"], object["last_observed"], object["number_observed"], object["object_refs"] = version1, version1, 1, x.refs
	case "identity":
		object["name"], object["identity_class"] = x.name, "organization"
	case "relationship":
		object["relationship_type"], object["source_ref"], object["target_ref"] = "related-to", x.refs[0], x.refs[1]
	case "ipv4-addr":
		object["value"] = x.address
	}
	text, err := json.Marshal(object)
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}
