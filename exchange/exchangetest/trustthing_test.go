package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tocsin-exchange/tocsin/stix"
)

// thing makes a random object of a pool of few, so that they meet again.
func (w *world) thing() *thing {
	n := w.r.IntN(6)
	x := &thing{typ: w.pick([]string{"indicator", "indicator", "report", "relationship", "ipv4-addr"}), version: fmt.Sprintf("2026-01-0%dT00:00:00.000Z", 1+w.r.IntN(4))}
	x.id = fmt.Sprintf("%s--%08d-0000-4000-8000-000000000000", x.typ, n)
	indicator := func() string { return fmt.Sprintf("indicator--%08d-0000-4000-8000-000000000000", w.r.IntN(6)) }
	switch x.typ {
	case "report":
		x.refs = []string{indicator()}
	case "relationship":
		x.refs = []string{indicator(), indicator()}
	case "ipv4-addr":
		address := netip.AddrFrom4([4]byte{198, 51, 100, byte(n)})
		x.id, x.version = stix.AddressID(address), "1970-01-01T00:00:00Z"
	}
	if w.r.IntN(3) == 0 && x.typ != "ipv4-addr" {
		x.creator = spoken(w.r.IntN(len(members)))
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
	case "report":
		object["name"], object["published"], object["object_refs"] = "R", "2026-01-01T00:00:00Z", x.refs
	case "relationship":
		object["relationship_type"], object["source_ref"], object["target_ref"] = "related-to", x.refs[0], x.refs[1]
	case "ipv4-addr":
		a := "198.51.100." + strconv.Itoa(int(x.n()))
		object["value"] = a
	}
	text, err := json.Marshal(object)
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

// n is the number of an address of the pool.
func (x *thing) n() byte {
	for i := range byte(6) {
		if stix.AddressID(netip.AddrFrom4([4]byte{198, 51, 100, i})) == x.id {
			return i
		}
	}
	return 0
}
