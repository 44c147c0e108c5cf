package oracle

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Three members: alice and bob, and carol, who is hidden.
// "open" holds everything and both read it; "tight" ends at AMBER; bob writes to "drop" without reading it, alice to "far".
func world() Config {
	all := []string{"alice", "bob", "carol"}
	return Config{
		Members: map[string]Member{
			"alice": {Identities: []string{"identity--alice"}},
			"bob":   {Identities: []string{"identity--bob"}},
			"carol": {Identities: []string{"identity--carol"}, Hidden: true},
		},
		Collections: map[string]*Collection{
			"open":  {Ceiling: 5, Floor: 2, Readers: all, Writers: all},
			"tight": {Ceiling: 3, Floor: 1, Readers: all, Writers: all},
			"drop":  {Ceiling: 3, Floor: 2, Readers: []string{"alice"}, Writers: all},
			"far":   {Ceiling: 5, Floor: 2, Readers: []string{"bob"}, Writers: all},
			"shut":  {Ceiling: 5, Floor: 2, Readers: all},
		},
		Markings: map[string]int{"marking-definition--register-amber": 3, "marking-definition--register-ignored": 0},
	}
}

var midnight = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// object is an object with a version, counted in hours after midnight. The rest are properties.
func object(id string, hour int, properties ...string) string {
	stamp := midnight.Add(time.Duration(hour) * time.Hour).Format(time.RFC3339)
	return observable(id, append(properties, `"created":"2029-01-01T00:00:00Z"`, `"modified":"`+stamp+`"`)...)
}

func observable(id string, properties ...string) string {
	kind, _, _ := strings.Cut(id, "--")
	return `{"type":"` + kind + `","id":"` + id + `",` + strings.Join(append(properties, `"spec_version":"2.1"`), ",") + `}`
}

func definition(id string, properties ...string) string {
	return observable(id, append(properties, `"created":"2029-01-01T00:00:00Z"`)...)
}

func by(member string) string { return `"created_by_ref":"identity--` + member + `"` }

func marked(label int) string {
	if label == 1 {
		return marking("marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9")
	}
	return marking(written[label])
}

func marking(ids ...string) string {
	return `"object_marking_refs":["` + strings.Join(ids, `","`) + `"]`
}

func refers(ids ...string) string { return `"object_refs":["` + strings.Join(ids, `","`) + `"]` }

// step is a request: a post, or a deletion where delete names an object.
type step struct {
	member, collection string
	objects            []string
	want               string // a letter for each verdict: T taken, R refused, W waiting
	delete             string
	answer             string // of a deletion: "done", "refused" or "absent"
}

func post(member, collection, want string, objects ...string) step {
	return step{member: member, collection: collection, want: want, objects: objects}
}

func remove(member, collection, id, answer string) step {
	return step{member: member, collection: collection, delete: id, answer: answer}
}

type scenario struct {
	name   string
	steps  []step
	stands map[string]string // what stands in a collection at the end: "id@hour=label", observables without hour
}

func run(t *testing.T, scenarios []scenario) {
	t.Helper()
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			o := New(world())
			for i, step := range s.steps {
				if step.delete != "" {
					ok, found := o.Delete(step.member, step.collection, step.delete)
					answer := map[[2]bool]string{{true, true}: "done", {false, true}: "refused", {false, false}: "absent"}[[2]bool{ok, found}]
					if answer != step.answer {
						t.Errorf("step %d: deletion is %q, want %q", i, answer, step.answer)
					}
					continue
				}
				got := ""
				for _, v := range o.Post(step.member, step.collection, texts(step.objects), midnight) {
					got += string("TRW"[v])
				}
				if got != step.want {
					t.Errorf("step %d: verdicts %s, want %s", i, got, step.want)
				}
			}
			for collection, want := range s.stands {
				if got := stands(o, collection); got != want {
					t.Errorf("%s has\n\t%s\nwant\n\t%s", collection, got, want)
				}
			}
		})
	}
}

func texts(objects []string) (all [][]byte) {
	for _, text := range objects {
		all = append(all, []byte(text))
	}
	return all
}

func stands(o *Oracle, collection string) string {
	var all []string
	for _, object := range o.Read(collection) {
		hour := ""
		if !object.Version.IsZero() {
			hour = fmt.Sprint("@", int(object.Version.Sub(midnight).Hours()))
		}
		all = append(all, fmt.Sprint(object.ID, hour, "=", object.Label))
	}
	return strings.Join(all, " ")
}

func TestOwnMarking(t *testing.T) {
	for _, c := range []struct {
		property string
		label    int // 0 for waiting; the floor is 2
	}{
		{`"name":"unmarked"`, 2},
		{marking("marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"), 1},
		{marking("marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487"), 1},
		{marking("marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"), 2},
		{marking("marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"), 2},
		{marking("marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"), 3},
		{marking("marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421"), 3},
		{marking("marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003"), 4},
		{marking("marking-definition--826578e1-40ad-459f-bc73-ede076f81f37"), 4},
		{marking("marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"), 5},
		{marking("marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"), 5},
		{marking(written[3], written[5], written[2]), 5},
		{`"granular_markings":[{"marking_ref":"` + written[4] + `","selectors":["name"]},{"lang":"de","selectors":["name"]}]`, 4},
		{`"labels":["phishing","TLP:Amber"]`, 3},
		{`"labels":["tlp:white"]`, 1},
		{`"labels":["tlp:amber+strict"]`, 4},
		{`"labels":["misp:tlp:red"]`, 5},
		{`"labels":["tlp:violet"]`, 0},
		{`"labels":["tlp:red","misp:tlp:ex:chr"]`, 0},
		{marking("marking-definition--nobody-knows"), 0},
		{`"granular_markings":[{"marking_ref":"marking-definition--nobody-knows","selectors":["name"]}]`, 0},
		{marking("marking-definition--register-amber"), 3},
		{marking("marking-definition--register-ignored"), 2},
	} {
		o := New(world())
		o.Post("alice", "open", texts([]string{object("indicator--1", 1, c.property)}), midnight)
		want := ""
		if c.label > 0 {
			want = fmt.Sprint("indicator--1@1=", c.label)
		}
		if got := stands(o, "open"); got != want {
			t.Errorf("%s: %q stands, want %q", c.property, got, want)
		}
	}
}

func TestDefinitions(t *testing.T) {
	const id = "marking-definition--1"
	statement := definition(id, `"definition_type":"statement","definition":{"statement":"Copyright"}`)
	pap := definition(id, `"extensions":{"`+papExtension+`":{"extension_type":"property-extension","pap":"red"}}`)
	uses := object("indicator--1", 1, by("alice"), marking(id))
	tlp2 := func(word string) string {
		return `"extensions":{"` + tlpExtension + `":{"extension_type":"property-extension","tlp_2_0":"` + word + `"}}`
	}
	tlp1 := func(word string) string { return `"definition_type":"tlp","definition":{"tlp":"` + word + `"}` }
	run(t, []scenario{
		{"waits without one", []step{post("alice", "open", "W", uses)}, map[string]string{"open": ""}},
		{
			"the definition may come last",
			[]step{post("alice", "open", "TT", uses, statement)},
			map[string]string{"open": "indicator--1@1=2 " + id + "@-8760=2"},
		},
		{"an earlier request, another collection", []step{post("alice", "tight", "T", statement), post("alice", "open", "T", uses)}, nil},
		{"PAP", []step{post("alice", "open", "TT", pap, uses)}, nil},
		{"not well-formed", []step{post("alice", "open", "TW", definition(id, `"definition_type":"statement","definition":{}`), uses)}, nil},
		{"of what might restrict reading", []step{post("alice", "open", "TW",
			definition(id, `"extensions":{"extension-definition--acs":{"extension_type":"property-extension"}}`), uses)}, nil},
		{"another member's does not count", []step{post("bob", "open", "T", statement), post("alice", "open", "W", uses)}, nil},
		{"never against the register", []step{
			post("alice", "tight", "TT",
				definition("marking-definition--register-amber", `"definition_type":"statement","definition":{"statement":"x"}`),
				object("indicator--1", 1, marking("marking-definition--register-amber"))),
		}, map[string]string{"tight": "indicator--1@1=3 marking-definition--register-amber@-8760=1"}},
		{"right copies of TLP are taken and not listed", []step{
			post("alice", "open", "TTTT", definition(written[5], tlp1("red")), definition(written[4], tlp2("amber+strict")),
				definition("marking-definition--826578e1-40ad-459f-bc73-ede076f81f37", tlp1("amber+strict")),
				definition("marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487", tlp2("clear"))),
		}, map[string]string{"open": ""}},
		{"TLP under another id, or another level, also by the operator", []step{
			post("admin", "open", "RRRRR", definition(id, tlp1("red")), definition(id, tlp2("green")), definition(written[5], tlp1("green")),
				definition(written[5], `"definition_type":"statement","definition":{"statement":"x"}`),
				definition(written[5], tlp1("red"), tlp2("green"))),
		}, map[string]string{"open": ""}},
	})
}

func TestContext(t *testing.T) {
	report := func(id string, hour, label int, refs ...string) string {
		return object(id, hour, by("alice"), marked(label), refers(refs...))
	}
	unmarked := object("indicator--1", 1, by("alice"))
	address := observable("ipv4-addr--1")
	unknownReport := object("report--1", 1, by("alice"), marking("marking-definition--nobody-knows"), refers("indicator--1"))
	run(t, []scenario{
		{
			"before its objects",
			[]step{post("alice", "open", "TT", report("report--1", 1, 4, "indicator--1"), unmarked)},
			map[string]string{"open": "indicator--1@1=4 report--1@1=4"},
		},
		{
			"after its objects in the same request",
			[]step{post("alice", "open", "TT", unmarked, report("report--1", 1, 4, "indicator--1"))},
			map[string]string{"open": "indicator--1@1=4 report--1@1=4"},
		},
		{
			"a lower one than the floor",
			[]step{post("alice", "open", "TT", unmarked, report("grouping--1", 1, 1, "indicator--1"))},
			map[string]string{"open": "grouping--1@1=1 indicator--1@1=1"},
		},
		{
			"not for marked objects",
			[]step{post("alice", "open", "TT", object("indicator--1", 1, marked(1)), report("report--1", 1, 3, "indicator--1"))},
			map[string]string{"open": "indicator--1@1=1 report--1@1=3"},
		},
		{"gives its own marking only", []step{
			post("alice", "open", "TTT", unmarked, object("malware--1", 1, marked(5)), report("report--1", 1, 3, "indicator--1", "malware--1")),
		}, map[string]string{"open": "indicator--1@1=3 malware--1@1=5 report--1@1=5"}},
		{"observed-data for observables only", []step{
			post("alice", "open", "TTT", unmarked, address, report("observed-data--1", 1, 4, "indicator--1", "ipv4-addr--1")),
		}, map[string]string{"open": "indicator--1@1=2 ipv4-addr--1=4 observed-data--1@1=4"}},
		{"refused by the ceiling", []step{
			post("alice", "tight", "R", report("report--1", 1, 5, "indicator--1")), post("alice", "tight", "R", unmarked),
		}, map[string]string{"tight": ""}},
		{"not in another collection, nor another member's", []step{
			post("alice", "tight", "R", report("report--1", 1, 5, "indicator--1", "indicator--2")),
			post("alice", "open", "T", unmarked), post("bob", "tight", "T", object("indicator--2", 1, by("bob"))),
		}, map[string]string{"open": "indicator--1@1=2", "tight": "indicator--2@1=1"}},
		{"the newest version counts", []step{
			post("alice", "open", "TT", report("report--1", 2, 3, "indicator--1"), report("report--1", 1, 5, "indicator--1")),
			post("alice", "open", "T", unmarked),
		}, map[string]string{"open": "indicator--1@1=3 report--1@1=5 report--1@2=3"}},
		{"a deleted one no longer", []step{
			post("alice", "open", "T", report("report--1", 1, 5, "indicator--1")), remove("alice", "open", "report--1", "done"),
			post("alice", "open", "T", unmarked),
		}, map[string]string{"open": "indicator--1@1=2"}},
		{"what nobody knows is passed on", []step{post("alice", "open", "WW", unmarked, unknownReport)}, map[string]string{"open": ""}},
		{"the highest of several", []step{
			post("alice", "open", "TTT", report("report--1", 1, 1, "indicator--1"), report("report--2", 1, 4, "indicator--1"), unmarked),
		}, map[string]string{"open": "indicator--1@1=4 report--1@1=4 report--2@1=4"}},
	})
}

func TestReferences(t *testing.T) {
	high := object("malware--1", 1, by("alice"), marked(4))
	for property, label := range map[string]int{
		refers("malware--1"):                                                      4,
		`"sample_ref":"malware--1"`:                                               4,
		`"x_deep":[{"inner":{"some_refs":["malware--1"]}}]`:                       4,
		`"created_by_ref":"malware--1"`:                                           1,
		`"granular_markings":[{"x_refs":["malware--1"],"selectors":["content"]}]`: 1,
		`"x_named":"malware--1"`:                                                  1,
	} {
		run(t, []scenario{{
			property,
			[]step{post("alice", "open", "T", high), post("alice", "open", "T", object("note--1", 1, marked(1), property))},
			map[string]string{"open": fmt.Sprint("malware--1@1=4 note--1@1=", label)},
		}})
	}
	seen := func(id string, label int, refs ...string) string {
		return object(id, 1, by("alice"), marked(label), refers(refs...))
	}
	run(t, []scenario{
		{"over several objects of one request, in any order", []step{
			post("alice", "open", "TTT", seen("note--1", 1, "note--2"), seen("note--2", 1, "malware--1"), high),
		}, map[string]string{"open": "malware--1@1=4 note--1@1=4 note--2@1=4"}},
		{"also where the referred object is refused", []step{post("alice", "tight", "RR", seen("note--1", 1, "malware--1"), high)}, nil},
		{"also where it waits", []step{
			post("alice", "open", "WW", seen("note--1", 1, "malware--2"), object("malware--2", 1, marking("marking-definition--nobody-knows"))),
		}, nil},
		{"the highest version in the request, the newest of what stands", []step{
			post("alice", "open", "TT", object("malware--2", 1, by("alice"), marked(4)), object("malware--2", 2, by("alice"), marked(2))),
			post("alice", "open", "T", seen("note--1", 1, "malware--2")),
			post("alice", "open", "TTT", object("malware--3", 1, by("alice"), marked(4)), object("malware--3", 2, by("alice"), marked(2)), seen("note--2", 1, "malware--3")),
		}, map[string]string{"open": "malware--2@1=4 malware--2@2=2 malware--3@1=4 malware--3@2=2 note--1@1=2 note--2@1=4"}},
		{"elsewhere the lowest that the member reads", []step{
			post("alice", "open", "T", object("tool--1", 1, marked(3))), post("alice", "tight", "T", object("tool--1", 1, marked(2))),
			post("bob", "far", "T", object("tool--1", 1, marked(5))),
			post("alice", "drop", "T", seen("note--1", 1, "tool--1")),
		}, map[string]string{"drop": "note--1@1=2"}},
		{"what the member does not see is nothing", []step{
			post("bob", "far", "T", object("tool--1", 1, marked(5))), post("alice", "far", "T", seen("note--1", 1, "tool--1")),
		}, map[string]string{"far": "note--1@1=1 tool--1@1=5"}},
		{"what it posted there itself counts", []step{
			post("alice", "far", "T", object("tool--1", 1, marked(5))), post("alice", "far", "T", seen("note--1", 1, "tool--1")),
		}, map[string]string{"far": "note--1@1=5 tool--1@1=5"}},
		{"unmarked identities raise nothing", []step{
			post("alice", "open", "TT", object("identity--9", 1), seen("note--1", 1, "identity--9")),
			post("alice", "open", "T", seen("note--2", 1, "identity--9")),
		}, map[string]string{"open": "identity--9@1=2 note--1@1=1 note--2@1=1"}},
		{
			"marked identities do",
			[]step{post("alice", "open", "TT", object("identity--9", 1, marked(4)), seen("note--1", 1, "identity--9"))},
			map[string]string{"open": "identity--9@1=4 note--1@1=4"},
		},
	})
}

func TestReferredObservables(t *testing.T) {
	address := observable("ipv4-addr--1")
	seen := func(id string, label int) string {
		return object(id, 1, by("alice"), marked(label), refers("ipv4-addr--1"))
	}
	run(t, []scenario{
		{
			"nothing refers to it: its own label",
			[]step{post("alice", "open", "T", address), post("alice", "open", "T", seen("note--1", 1))},
			map[string]string{"open": "ipv4-addr--1=2 note--1@1=2"},
		},
		{"the lowest of what refers to it there", []step{
			post("alice", "open", "TT", address, seen("note--1", 4)), post("alice", "open", "T", seen("note--2", 1)),
		}, map[string]string{"open": "ipv4-addr--1=2 note--1@1=4 note--2@1=4"}},
		{"newest versions only", []step{
			post("alice", "open", "TT", address, seen("note--1", 4)),
			post("alice", "open", "T", object("note--1", 2, by("alice"), marked(1))), post("alice", "open", "T", seen("note--2", 1)),
		}, map[string]string{"open": "ipv4-addr--1=2 note--1@1=4 note--1@2=1 note--2@1=2"}},
		{
			"of this request only: the lowest of what else refers to it",
			[]step{post("alice", "open", "TTT", seen("note--1", 4), seen("note--2", 3), address)},
			map[string]string{"open": "ipv4-addr--1=2 note--1@1=4 note--2@1=4"},
		},
		{
			"of this request only: its own label for the only one",
			[]step{post("alice", "open", "TT", seen("note--1", 1), address)},
			map[string]string{"open": "ipv4-addr--1=2 note--1@1=2"},
		},
		{"a marked one counts like all others", []step{
			post("alice", "open", "TT", observable("ipv4-addr--1", marked(4)), seen("note--1", 1)), post("alice", "open", "T", seen("note--2", 1)),
		}, map[string]string{"open": "ipv4-addr--1=4 note--1@1=4 note--2@1=4"}},
	})
}
