package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A label is found under its key in any case; of several, the highest counts; one that nobody
// understands rejects its row. None of them becomes the feed's default.
func TestLabelKeysAreReadInAnyCaseAndTheHighestCounts(t *testing.T) {
	line := func(keys string) string {
		return `{"ip":"240.0.0.1","timestamp":"2026-03-19T00:00:00Z",` + keys + "}\n"
	}
	n6 := func(keys string) string {
		return `{"id":"0","source":"s","restriction":"need-to-know","confidence":"low","category":"bots","time":"2026-03-19T00:00:00Z","address":[{"ip":"240.0.0.1"}],` + keys + "}\n"
	}
	xarf := func(keys string) string {
		return `{"xarf_version":"4.0.0","report_id":"r","timestamp":"2026-03-19T00:00:00Z","category":"connection","type":"infected_host","source_identifier":"240.0.0.1",` + keys + "}\n"
	}
	idea := func(keys string) string {
		return `{"Format":"IDEA0","ID":"1","DetectTime":"2026-03-19T00:00:00Z","Category":["Malware"],"Source":[{"IP4":["240.0.0.1"]}],` + keys + "}\n"
	}
	type check struct {
		source, format string
		opt            map[string]string
		want           string // label and floor, or "rejected"
	}
	list := []check{
		{line(`"note":"x"`), report.JSONLines, nil, " "},
		{line(`"tlp_floor":"green","TLP_Floor":"AMBER"`), report.JSONLines, nil, " amber"},
		{line(`"marking":"green","tlp":"red"`), report.JSONLines, map[string]string{"marking": "tlp"}, "red "},
		{line(`"marking":"red","TLp":"green"`), report.JSONLines, map[string]string{"marking": "tlp"}, "red "},
		{line(`"extra":{"TLP":"red"}`), report.JSONLines, nil, "red "},
		{line(`"extra.Tlp":"red","tlp":"green"`), report.JSONLines, nil, "red "},
		{line(`" tlp ":"red"`), report.JSONLines, nil, "red "},
		{strings.Replace(n6(`"tlp":"green"`), `"240.0.0.1"`, `"240.0.0.1","TLP":"red"`, 1), report.N6, nil, "red green"},
		{line(`"Marking":"red"`), report.JSONLines, map[string]string{"marking": "tlp"}, "red "},
		{line(`"tlp":"","TLP":"green"`), report.JSONLines, nil, "green "},
		{`{"source.ip":"240.0.0.1","time.source":"2026-03-19T00:00:00Z","Tlp":"red"}`, report.IntelMQ, nil, "red "},
		{"ip,timestamp,Tlp\n240.0.0.1,2026-03-19 00:00:00,Red\n", report.CSV, nil, "red "},
		{"ip,timestamp,tlp,marking\n240.0.0.1,2026-03-19 00:00:00,red,green\n", report.CSV, map[string]string{"marking": "tlp"}, "red "},
		{"ip,timestamp,tlp,marking\n240.0.0.1,2026-03-19 00:00:00,green,red\n", report.CSV, map[string]string{"marking": "tlp"}, "red "},
		{"ip,timestamp,tlp,marking\n240.0.0.1,2026-03-19 00:00:00,green,?\n", report.CSV, map[string]string{"marking": "tlp"}, "rejected"},
	}
	for _, f := range []struct {
		format string
		row    func(string) string
		floor  string
		twice  string // what becomes of two keys that differ in case
	}{{report.JSONLines, line, "", "red "}, {report.N6, n6, "green", "red green"}, {report.XARF, xarf, "", "red "}, {report.IDEA, idea, "", "rejected"}} {
		for _, key := range []string{"tlp", "TLP", "Tlp", "tLp"} {
			list = append(list, check{f.row(fmt.Sprintf("%q:%q", key, "red")), f.format, nil, "red " + f.floor}, check{f.row(fmt.Sprintf("%q:%q", key, "rouge")), f.format, nil, "rejected"}, check{f.row(fmt.Sprintf("%q:[%q]", key, "red")), f.format, nil, "rejected"})
		}
		list = append(list, check{f.row(`"tlp":"red","TLP":"CLEAR"`), f.format, nil, f.twice}, check{f.row(`"TLP":"CLEAR","tlp":"red"`), f.format, nil, f.twice})
	}
	for _, c := range list {
		events, rejected, err := read(t, strings.NewReader(c.source), report.Options{Format: c.format, Map: c.opt})
		if err != nil || len(events)+len(rejected) != 1 {
			t.Fatalf("%s: %v %v %v", c.source, events, rejected, err)
		}
		got := "rejected"
		if len(events) == 1 {
			got = events[0].Label.String() + " " + events[0].Floor.String()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q %v", c.source, got, c.want, rejected)
		}
	}
}

// Of a MISP object, every attribute that an event takes a value from counts for its label.
func TestMISPAttributesThatAreUsedCountForTheLabel(t *testing.T) {
	event := func(attributes ...string) string {
		return `{"Event":{"info":"x","timestamp":"1773878400","Object":[{"name":"network-connection","Attribute":[` + strings.Join(attributes, ",") + `]}]}}`
	}
	attribute := func(typ, relation, value, tag string) string {
		return fmt.Sprintf(`{"type":%q,"object_relation":%q,"value":%q,"Tag":[{"name":%q}]}`, typ, relation, value, tag)
	}
	host := attribute("ip-src", "ip-src", "240.0.0.1", "tlp:green")
	for name, c := range map[string]struct{ source, want string }{
		"what was called":           {event(host, attribute("ip-dst", "ip-dst", "240.0.0.9", "tlp:red")), "240.0.0.9 red"},
		"what was called, first":    {event(attribute("ip-dst", "ip-dst", "240.0.0.9", "TLP:Red"), host), "240.0.0.9 red"},
		"a label with a space":      {event(host, attribute("ip-dst", "ip-dst", "240.0.0.9", " TLP:AMBER+STRICT")), "240.0.0.9 amber+strict"},
		"a label with quotes":       {event(host, attribute("ip-dst", "ip-dst", "240.0.0.9", "tlp=\"red\"")), "240.0.0.9 red"},
		"its port":                  {event(host, attribute("port", "dst-port", "80", "tlp:amber")), "invalid IP amber"},
		"what is not used":          {event(host, attribute("text", "comment", "x", "tlp:red")), "invalid IP green"},
		"what was deleted":          {event(host, strings.Replace(attribute("ip-dst", "ip-dst", "240.0.0.9", "tlp:red"), "{", `{"deleted":true,`, 1)), "invalid IP green"},
		"a label that nobody knows": {event(host, attribute("ip-dst", "ip-dst", "240.0.0.9", "tlp:rouge")), "rejected"},
	} {
		events, rejected, err := read(t, strings.NewReader(c.source), report.Options{Format: report.MISP})
		if err != nil {
			t.Fatal(name, err)
		}
		got := "rejected"
		if len(events) == 1 {
			got = events[0].Dst.String() + " " + events[0].Label.String()
		}
		if got != c.want || len(events)+len(rejected) != 1 {
			t.Errorf("%s: %s, want %s %v", name, got, c.want, rejected)
		}
	}
}

// The distribution of a MISP attribute, its object and its event restricts what its tags say, and opens nothing.
func TestMISPDistributionIsTheLeastOfALabel(t *testing.T) {
	for name, c := range map[string]struct{ event, attribute, beside, object, want string }{
		"none":                         {"", "", "", "", "clear "},
		"one organisation":             {"", `0`, "", "", "clear amber+strict"},
		"as a text":                    {"", `"0"`, "", "", "clear amber+strict"},
		"a community":                  {"", `1`, "", "", "clear green"},
		"those connected":              {"", `2`, "", "", "clear green"},
		"all":                          {`3`, `3`, "", "", "clear "},
		"all, of an event for one":     {`0`, `3`, "", "", "clear amber+strict"},
		"a sharing group":              {"", `4`, "", "", "clear amber+strict"},
		"the event's":                  {`1`, `5`, "", "", "clear green"},
		"its object's":                 {`3`, `5`, "", `1`, "clear green"},
		"nothing of its own":           {`0`, "", "", "", "clear amber+strict"},
		"a level that is none":         {"", `9`, "", "", "clear red"},
		"what was called beside":       {"", `3`, `0`, "", "clear amber+strict"},
		"which is its object's":        {"", `3`, `5`, `4`, "clear amber+strict"},
		"the object's, said by nobody": {`3`, "", "", `0`, "clear amber+strict"},
	} {
		of := func(distribution string) string {
			if distribution == "" {
				return ""
			}
			return `"distribution":` + distribution + ","
		}
		source := `{"Event":{` + of(c.event) + `"info":"x","timestamp":"1773878400","Tag":[{"name":"tlp:clear"}],"Object":[{` + of(c.object) + `"name":"network-connection","Attribute":[` +
			`{` + of(c.attribute) + `"type":"ip-src","object_relation":"ip-src","value":"240.0.0.1"},{` + of(c.beside) + `"type":"ip-dst","object_relation":"ip-dst","value":"240.0.0.9"}]}]}}`
		if c.beside == "" {
			source = strings.Replace(source, `,{"type":"ip-dst","object_relation":"ip-dst","value":"240.0.0.9"}`, "", 1)
		}
		events, rejected, err := read(t, strings.NewReader(source), report.Options{Format: report.MISP})
		if err != nil || len(events) != 1 {
			t.Fatal(name, rejected, err)
		}
		if got := events[0].Label.String() + " " + events[0].Floor.String(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What two hosts of a bundle refer to carries no label from one to the other; what each was taken from does.
func TestWhatManyReferToCarriesNoLabel(t *testing.T) {
	var list []string
	object := func(typ string, n int, level tlp.Level, more string) string {
		id := fmt.Sprintf("%s--0000000%d-0000-4000-8000-000000000000", typ, n)
		versions := `"created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z",`
		if strings.HasSuffix(typ, "-addr") {
			versions = ""
		}
		mark := ""
		if level != tlp.None {
			mark = fmt.Sprintf(`,"object_marking_refs":[%q]`, level.MarkingID())
		}
		list = append(list, fmt.Sprintf(`{"type":%q,"spec_version":"2.1","id":%q,%s%s%s}`, typ, id, versions, more, mark))
		return id
	}
	malware := object("malware", 1, tlp.None, `"name":"Rustock","is_family":true`)
	levels := []tlp.Level{tlp.Green, tlp.AmberStrict, tlp.Green}
	for n, level := range levels {
		address := object("ipv4-addr", n, tlp.None, fmt.Sprintf(`"value":"240.0.0.%d"`, n))
		observed := object("observed-data", n, level, fmt.Sprintf(`"first_observed":"2026-03-19T00:00:00Z","last_observed":"2026-03-19T00:00:00Z","number_observed":1,"object_refs":[%q]`, address))
		object("sighting", n, level, fmt.Sprintf(`"sighting_of_ref":%q,"observed_data_refs":[%q]`, malware, observed))
		if n == 2 { // a report says more of the last
			object("report", n, tlp.Amber, fmt.Sprintf(`"name":"R","published":"2026-01-01T00:00:00Z","object_refs":[%q]`, observed))
		}
	}
	source := `{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000000","objects":[` + strings.Join(list, ",") + `]}`
	events, rejected, err := read(t, strings.NewReader(source), report.Options{Format: report.STIX})
	if err != nil || len(events) != 3 {
		t.Fatal(events, rejected, err)
	}
	for n, want := range []tlp.Level{tlp.Green, tlp.AmberStrict, tlp.Amber} {
		if e := &events[n]; e.Label != want || e.Malware != "rustock" {
			t.Errorf("%s is %s, want %s; %s", e.Address, e.Label, want, e.Malware)
		}
	}
}

// An n6 event's fqdn is the address's own name in some categories only; in the others it may be the
// destination's, which says nothing of who is responsible for the address.
func TestTheFQDNOfN6IsTheHostsNameOnlyInSomeCategories(t *testing.T) {
	own := " phish malurl cnc deface backdoor spam-url "
	none := " dns-query dos-victim flow flow-anomaly leak malware-action sandbox-url webinject tor fraud other scam "
	// n6 REST API, the categories of an event.
	for _, category := range strings.Fields("amplifier bots backdoor cnc deface dns-query dos-attacker dos-victim flow flow-anomaly fraud leak malurl malware-action other phish proxy sandbox-url scam scanning server-exploit spam spam-url tor vulnerable webinject") {
		source := fmt.Sprintf(`{"id":"0","source":"s","restriction":"public","confidence":"low","category":%q,"time":"2026-03-19T00:00:00Z","address":[{"ip":"240.200.0.9","cc":"GB"}],"fqdn":"honeypot.example.at"}`, category)
		events, rejected, err := read(t, strings.NewReader(source), report.Options{})
		if strings.Contains(none, " "+category+" ") {
			if err != nil || len(events) != 0 || len(rejected) != 1 || !strings.Contains(rejected[0], "category: ") {
				t.Error(category, events, rejected, err)
			}
			continue
		}
		if err != nil || len(events) != 1 {
			t.Fatal(category, rejected, err)
		}
		want := ""
		if strings.Contains(own, " "+category+" ") {
			want = "honeypot.example.at"
		}
		if d := cmp.Diff(want, events[0].Hostname); d != "" {
			t.Errorf("%s: %s", category, d)
		}
	}
}

// A statement marking says nothing of a label, wherever its definition stands; one that nobody has
// defined here is none.
func TestStatementMarkingsDoNotReject(t *testing.T) {
	const copyright = "marking-definition--fa42a846-8d90-4e51-bc29-71d5b4802168"
	definition := fmt.Sprintf(`{"type":"marking-definition","spec_version":"2.1","id":%q,"created":"2017-06-01T00:00:00.000Z","definition_type":"statement","definition":{"statement":"Copyright"}}`, copyright)
	acs := strings.Replace(definition, `"statement":"Copyright"`, `"statement":"Copyright","read":"nobody"`, 1)
	marked := observed(2, `,"object_marking_refs":["`+copyright+`","marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"]`, stixID("ipv4-addr", 1))
	host := addressObject(1, "240.0.0.1", "")
	for name, c := range map[string]struct {
		source string
		want   string
	}{
		"before it":           {bundle(definition, host, marked), "green"},
		"behind it":           {bundle(host, marked, definition), "green"},
		"not there":           {bundle(host, marked), "rejected"},
		"no statement":        {bundle(host, marked, acs), "rejected"},
		"one of each":         {bundle(definition, host, marked, acs), "rejected"},
		"of a TLP label":      {bundle(strings.Replace(definition, copyright, "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed", 1), host, observed(2, `,"object_marking_refs":["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]`, stixID("ipv4-addr", 1))), "red"},
		"one of each, turned": {bundle(acs, host, marked, definition), "rejected"},
	} {
		events, rejected, err := read(t, strings.NewReader(c.source), report.Options{})
		if err != nil {
			t.Fatal(name, err)
		}
		got := "rejected"
		if len(events) == 1 {
			got = events[0].Label.String()
		}
		if len(events) == 1 && rejected != nil {
			got += ", and rejected"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s: %v", name, got, c.want, rejected)
		}
	}
}
