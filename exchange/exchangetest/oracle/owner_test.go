package oracle

import (
	"slices"
	"testing"
)

func TestOwner(t *testing.T) {
	alices := func(hour, label int) string { return object("indicator--1", hour, by("alice"), marked(label)) }
	plain := object("indicator--1", 1, by("alice"))
	run(t, []scenario{
		{"only by its owner", []step{post("bob", "open", "R", plain)}, map[string]string{"open": ""}},
		{"by the operator", []step{post("admin", "open", "T", plain)}, map[string]string{"open": "indicator--1@1=2"}},
		{"the same text that the poster reads, at least its label there", []step{
			post("alice", "open", "T", alices(1, 4)), post("bob", "far", "T", plain),
			post("bob", "tight", "R", plain), post("bob", "far", "R", object("indicator--1", 1, by("alice"), `"name":"changed"`)),
		}, map[string]string{"far": "indicator--1@1=4"}},
		{"not what the poster does not read", []step{post("alice", "drop", "T", alices(1, 2)), post("bob", "open", "R", alices(1, 2))}, nil},
		{"identities belong to who speaks for them", []step{
			post("bob", "open", "R", object("identity--alice", 1)), post("bob", "open", "R", object("identity--alice", 1, by("bob"))),
			post("alice", "open", "T", object("identity--alice", 1, by("bob"))),
		}, map[string]string{"open": "identity--alice@1=2"}},
		{"its owner revises an identity that the operator posted", []step{
			post("admin", "open", "T", object("identity--alice", 1)), post("alice", "open", "T", object("identity--alice", 2, marked(1))),
		}, map[string]string{"open": "identity--alice@1=2 identity--alice@2=1"}},
		{"hidden members' identities are nobody's for others", []step{
			post("bob", "open", "T", object("indicator--1", 1, by("carol"))), post("carol", "open", "T", object("indicator--1", 2, by("carol"))),
			post("bob", "open", "T", object("indicator--1", 3, by("carol"))),
		}, nil},
		{"a day ahead", []step{post("admin", "open", "TR", object("indicator--1", 24), object("indicator--2", 25))}, nil},
		{"writers only", []step{post("alice", "shut", "R", plain), post("admin", "shut", "T", plain)}, nil},
	})
}

func TestVersionsForReaders(t *testing.T) {
	run(t, []scenario{
		{"the same version: same text or not", []step{
			post("alice", "open", "T", object("indicator--1", 1, by("alice"))),
			post("alice", "open", "TTR", object("indicator--1", 1, by("alice")), object("indicator--1", 1, by("alice"), `"object_marking_refs":[]`),
				object("indicator--1", 1, by("alice"), `"name":"changed"`)),
		}, map[string]string{"open": "indicator--1@1=2"}},
		{"observables: what stands stays", []step{
			post("alice", "open", "T", observable("ipv4-addr--1")),
			post("bob", "open", "T", observable("ipv4-addr--1", marked(5), `"value":"changed"`)),
		}, map[string]string{"open": "ipv4-addr--1=2"}},
		{"created_by_ref stays", []step{
			post("alice", "open", "T", object("tool--1", 1, by("mitre"))),
			post("alice", "open", "RRR", object("tool--1", 2, by("oasis")), object("tool--1", 2), object("tool--1", 2, by("alice"))),
		}, map[string]string{"open": "tool--1@1=2"}},
		{"its first poster may claim what has none", []step{
			post("alice", "open", "T", object("tool--1", 1)), post("bob", "open", "R", object("tool--1", 2, by("bob"))),
			post("alice", "open", "R", object("tool--1", 2, by("mitre"))), post("alice", "open", "T", object("tool--1", 2, by("alice"))),
		}, map[string]string{"open": "tool--1@1=2 tool--1@2=2"}},
		{"without created_by_ref its first poster and the operator", []step{
			post("alice", "open", "T", object("tool--1", 1)), post("bob", "open", "R", object("tool--1", 2)),
			post("admin", "open", "T", object("tool--1", 3)), post("alice", "open", "T", object("tool--1", 4)),
			post("bob", "tight", "T", object("tool--1", 2)),
		}, map[string]string{"open": "tool--1@1=2 tool--1@3=2 tool--1@4=2", "tight": "tool--1@2=1"}},
		{"third parties' objects by anyone", []step{
			post("alice", "open", "T", object("tool--1", 1, by("mitre"))), post("bob", "open", "T", object("tool--1", 2, by("mitre"))),
		}, map[string]string{"open": "tool--1@1=2 tool--1@2=2"}},
	})
}

func TestVersionsForOthers(t *testing.T) {
	run(t, []scenario{
		{"another's is dropped", []step{
			post("alice", "drop", "T", object("tool--1", 1, by("mitre"))),
			post("bob", "drop", "TT", object("tool--1", 1, by("mitre"), `"name":"changed"`), object("tool--1", 2, by("mitre"))),
		}, map[string]string{"drop": "tool--1@1=2"}},
		{"its own goes on", []step{
			post("bob", "drop", "T", object("tool--1", 1, by("mitre"))),
			post("bob", "drop", "TTT", object("tool--1", 1, by("mitre"), `"name":"changed"`), object("tool--1", 2, by("mitre")), object("tool--1", 3, by("oasis"))),
		}, map[string]string{"drop": "tool--1@1=2 tool--1@2=2"}},
		{"a dropped object raises what it would if it stood", []step{
			post("bob", "open", "T", object("indicator--1", 1, by("bob"))),
			post("alice", "drop", "T", object("indicator--1", 1, by("bob"))),
			post("bob", "drop", "T", object("indicator--1", 2, by("bob"), marked(3))),
		}, map[string]string{"open": "indicator--1@1=3", "drop": "indicator--1@1=3"}},
	})
}

func TestLowering(t *testing.T) {
	version := func(hour, label int, creator string) string {
		return object("tool--1", hour, by(creator), marked(label))
	}
	run(t, []scenario{
		{
			"the owner, with a newer version",
			[]step{post("alice", "open", "TT", version(2, 4, "alice"), version(3, 1, "alice"))},
			map[string]string{"open": "tool--1@2=4 tool--1@3=1"},
		},
		{
			"not with an older one",
			[]step{post("alice", "open", "TT", version(2, 4, "alice"), version(1, 1, "alice"))},
			map[string]string{"open": "tool--1@1=4 tool--1@2=4"},
		},
		{
			"not the operator",
			[]step{post("alice", "open", "T", version(1, 4, "alice")), post("admin", "open", "T", version(2, 1, "alice"))},
			map[string]string{"open": "tool--1@1=4 tool--1@2=4"},
		},
		{"third parties': who posted the newest", []step{
			post("alice", "open", "T", version(1, 4, "mitre")), post("bob", "open", "T", version(2, 1, "mitre")),
			post("bob", "open", "T", version(3, 2, "mitre")),
		}, map[string]string{"open": "tool--1@1=4 tool--1@2=4 tool--1@3=2"}},
		{"without created_by_ref: the first poster", []step{
			post("alice", "open", "T", object("tool--1", 1, marked(4))), post("admin", "open", "T", object("tool--1", 2, marked(1))),
			post("alice", "open", "T", object("tool--1", 3, marked(1))),
		}, map[string]string{"open": "tool--1@1=4 tool--1@2=4 tool--1@3=1"}},
	})
}

func TestOwnersRaise(t *testing.T) {
	version := func(hour, label int, properties ...string) string {
		return object("indicator--1", hour, append(properties, by("alice"), marked(label))...)
	}
	run(t, []scenario{
		{"everywhere, withdrawn or raised", []step{
			post("alice", "open", "T", version(1, 2)), post("alice", "tight", "T", version(1, 2)), post("bob", "far", "T", version(1, 2)),
			post("alice", "open", "T", version(2, 4)),
		}, map[string]string{"open": "indicator--1@1=4 indicator--1@2=4", "tight": "", "far": "indicator--1@1=4"}},
		{"also refused by the ceiling", []step{
			post("alice", "open", "T", version(1, 2)), post("alice", "tight", "R", version(2, 5)),
		}, map[string]string{"open": "indicator--1@1=5"}},
		{"not refused by ownership", []step{
			post("alice", "open", "T", version(1, 2)), post("alice", "open", "R", version(1, 5, `"name":"changed"`)),
		}, map[string]string{"open": "indicator--1@1=2"}},
		{"the same text by the owner", []step{post("alice", "open", "TT", version(1, 2), version(1, 4))}, map[string]string{"open": "indicator--1@1=4"}},
		{
			"the same text by another leaves no trace",
			[]step{post("alice", "open", "T", version(1, 2)), post("bob", "open", "T", version(1, 4))},
			map[string]string{"open": "indicator--1@1=2"},
		},
		{"the same text again, unread", []step{post("alice", "far", "TT", version(1, 2), version(1, 4))}, map[string]string{"far": "indicator--1@1=4"}},
		{"not newer ones", []step{post("alice", "open", "TT", version(2, 2), version(1, 4))}, map[string]string{"open": "indicator--1@1=4 indicator--1@2=2"}},
		{"without created_by_ref in this collection only", []step{
			post("alice", "open", "T", object("tool--1", 1)), post("alice", "tight", "T", object("tool--1", 1)),
			post("alice", "open", "T", object("tool--1", 2, marked(5))),
		}, map[string]string{"open": "tool--1@1=5 tool--1@2=5", "tight": "tool--1@1=1"}},
		{"third parties' do not", []step{
			post("alice", "open", "TT", object("tool--1", 1, by("mitre")), object("tool--1", 2, by("mitre"), marked(5))),
		}, map[string]string{"open": "tool--1@1=2 tool--1@2=5"}},
		{"remembered", []step{
			post("alice", "tight", "TR", version(1, 2), version(2, 5)), post("alice", "tight", "RRT", version(1, 2), version(2, 2), version(3, 2)),
		}, map[string]string{"tight": "indicator--1@3=2"}},
		{"the operator's does not bind", []step{
			post("alice", "open", "T", version(1, 2)), post("admin", "open", "T", version(2, 5)),
		}, map[string]string{"open": "indicator--1@1=2 indicator--1@2=5"}},
	})
}

func TestContextRaises(t *testing.T) {
	report := func(hour, label int, refs ...string) string {
		return object("report--1", hour, by("alice"), marked(label), refers(refs...))
	}
	unmarked := object("indicator--1", 1, by("alice"))
	address := observable("ipv4-addr--1")
	run(t, []scenario{
		{"what the same member posted unmarked", []step{
			post("alice", "open", "TTT", unmarked, object("indicator--2", 1, marked(1)), object("indicator--3", 1, refers("indicator--1"))),
			post("bob", "open", "T", object("indicator--4", 1)),
			post("alice", "open", "T", report(1, 4, "indicator--1", "indicator--2", "indicator--4")),
		}, map[string]string{"open": "indicator--1@1=4 indicator--2@1=1 indicator--3@1=2 indicator--4@1=2 report--1@1=4"}},
		{
			"above the ceiling",
			[]step{post("alice", "tight", "T", unmarked), post("alice", "tight", "R", report(1, 5, "indicator--1"))},
			map[string]string{"tight": ""},
		},
		{
			"in its own collection only",
			[]step{post("alice", "tight", "T", unmarked), post("alice", "open", "T", report(1, 5, "indicator--1"))},
			map[string]string{"tight": "indicator--1@1=1"},
		},
		{"the newest version only", []step{
			post("alice", "open", "TT", unmarked, report(2, 2)), post("alice", "open", "T", report(1, 4, "indicator--1")),
		}, map[string]string{"open": "indicator--1@1=2 report--1@1=4 report--1@2=2"}},
		{"observed-data raises observables only", []step{
			post("alice", "open", "TT", unmarked, address),
			post("alice", "open", "T", object("observed-data--1", 1, marked(4), refers("indicator--1", "ipv4-addr--1"))),
		}, map[string]string{"open": "indicator--1@1=2 ipv4-addr--1=4 observed-data--1@1=4"}},
	})
}

func TestDelete(t *testing.T) {
	address := observable("ipv4-addr--1")
	seen := func(id string, hour int) string { return object(id, hour, by("alice"), refers("ipv4-addr--1")) }
	run(t, []scenario{
		{"nothing there", []step{remove("alice", "open", "indicator--1", "absent")}, nil},
		{"the owner and the operator", []step{
			post("alice", "open", "TTT", object("indicator--1", 1, by("alice")), object("indicator--1", 2, by("alice")), object("indicator--2", 1, by("alice"))),
			remove("bob", "open", "indicator--1", "refused"), remove("alice", "open", "indicator--1", "done"),
			remove("admin", "open", "indicator--2", "done"), remove("alice", "open", "indicator--2", "absent"),
		}, map[string]string{"open": ""}},
		{"without created_by_ref the first poster", []step{
			post("alice", "open", "T", object("tool--1", 1)), post("admin", "open", "T", object("tool--1", 2)),
			remove("bob", "open", "tool--1", "refused"), remove("alice", "open", "tool--1", "done"),
		}, map[string]string{"open": ""}},
		{"third parties': each their own", []step{
			post("alice", "open", "T", object("tool--1", 1, by("mitre"))), post("bob", "open", "T", object("tool--1", 2, by("mitre"))),
			remove("carol", "open", "tool--1", "refused"), remove("bob", "open", "tool--1", "done"), remove("bob", "open", "tool--1", "refused"),
		}, map[string]string{"open": "tool--1@1=2"}},
		{"observables: who posted them there", []step{
			post("alice", "open", "T", address), remove("bob", "open", "ipv4-addr--1", "refused"), remove("alice", "open", "ipv4-addr--1", "done"),
		}, map[string]string{"open": ""}},
		{"observables leave with the last that refers to them", []step{
			post("alice", "open", "TTT", address, seen("note--1", 1), seen("note--2", 1)), remove("alice", "open", "note--1", "done"),
		}, map[string]string{"open": "ipv4-addr--1=2 note--2@1=2"}},
		{"and what those refer to", []step{
			post("alice", "open", "TTT", address, observable("domain-name--1", `"resolves_to_refs":["ipv4-addr--1"]`),
				object("note--1", 1, by("alice"), refers("domain-name--1"))),
			remove("alice", "open", "note--1", "done"),
		}, map[string]string{"open": ""}},
		{"not another member's", []step{
			post("bob", "open", "T", address), post("alice", "open", "T", seen("note--1", 1)), remove("alice", "open", "note--1", "done"),
		}, map[string]string{"open": "ipv4-addr--1=2"}},
		{"also with what is withdrawn", []step{
			post("alice", "tight", "TT", address, seen("note--1", 1)),
			post("alice", "open", "T", object("note--1", 2, by("alice"), marked(5))),
		}, map[string]string{"tight": ""}},
	})
}

func TestText(t *testing.T) {
	statement, internal := "marking-definition--register-ignored", "marking-definition--register-amber"
	for _, c := range []struct{ posted, served string }{
		{`{"z":1.0, "name":"<&>", "type":"tool","id":"tool--1"}`, // the floor is AMBER
			`{"id":"tool--1","name":"<&>","object_marking_refs":["` + written[3] + `"],"type":"tool","z":1}`},
		{
			`{"type":"tool","id":"tool--1","object_marking_refs":["` + statement + `"]}`,
			`{"id":"tool--1","object_marking_refs":["` + written[3] + `","` + statement + `"],"type":"tool"}`,
		},
		{
			`{"type":"tool","id":"tool--1","object_marking_refs":["` + internal + `"]}`, // which means AMBER, and is no TLP
			`{"id":"tool--1","object_marking_refs":["` + written[3] + `","` + internal + `"],"type":"tool"}`,
		},
		{`{"type":"tool","id":"tool--1","labels":["tlp:red"]}`, `{"id":"tool--1","labels":["tlp:red"],"type":"tool"}`},
		{`{"type":"tool","id":"tool--1","labels":["tlp:clear"]}`, `{"id":"tool--1","labels":["tlp:clear"],"type":"tool"}`},
		{
			`{"type":"tool","id":"tool--1","x_ref":"tool--2","object_marking_refs":["` + written[2] + `"]}`,
			`{"id":"tool--1","object_marking_refs":["` + written[5] + `","` + written[2] + `"],"type":"tool","x_ref":"tool--2"}`,
		},
	} {
		config := world()
		config.Collections["open"].Floor = 3
		o := New(config)
		o.Post("alice", "open", texts([]string{c.posted, `{"type":"tool","id":"tool--2","labels":["tlp:red"]}`}), midnight)
		list := o.Read("open")
		i := slices.IndexFunc(list, func(object Object) bool { return object.ID == "tool--1" })
		if i < 0 || string(list[i].Text) != c.served {
			t.Errorf("%s is served as %+v, want %s", c.posted, list, c.served)
		}
	}
}

func TestCeilingChanges(t *testing.T) {
	config := world()
	o := New(config)
	marked := object("indicator--1", 1, by("alice"), marked(4))
	if got := o.Post("alice", "tight", texts([]string{marked}), midnight)[0]; got != Refused {
		t.Errorf("under a ceiling of AMBER: %v", got)
	}
	config.Collections["tight"].Ceiling = 4
	if got := o.Post("alice", "tight", texts([]string{marked}), midnight)[0]; got != Taken {
		t.Errorf("under a ceiling of AMBER+STRICT: %v", got)
	}
}
