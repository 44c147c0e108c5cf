package exchangetest_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// apartFile is the register of these tests: what cert-at reads, writes, both, and neither.
const apartFile = `
members:
  - {id: cert-at, kind: csirt, clearance: amber+strict, constituency: {countries: [AT]}}
  - {id: cert-pl, kind: csirt, clearance: amber+strict, constituency: {countries: [PL]}}
  - {id: dcu, kind: publisher, clearance: amber+strict}
feeds:
  - {id: rustock, publisher: dcu, operation: rustock, malware: {name: Rustock}, default_tlp: amber, allow_reserved: true}
collections:
  - {id: board, ceiling: amber, floor: clear, readers: all, writers: all}
  - {id: box, ceiling: amber, floor: clear, readers: [cert-pl], writers: all}
  - {id: den, ceiling: amber+strict, floor: amber, readers: [cert-pl], writers: [cert-pl]}
`

// What an answer tells of itself: ids and instants that are made for it.
var ofTheAnswer = regexp.MustCompile(`"(id|request_timestamp|date_added|last_added|at|next|uuid|timestamp)":"[^"]*"|[0-9a-f]{64}|[0-9a-f]{32}|until 20[0-9T:-]*Z`)

// conversation is what cert-at asks, and what it is answered.
func conversation(t *testing.T, e *exchangetest.Exchange, token string, requests [][3]string) (answers []string) {
	t.Helper()
	for _, r := range requests {
		code, h, text := e.Do(t, r[0], r[1], "cert-at", token, r[2], "Accept", "*/*", "Content-Type", taxii.MediaType)
		masked := ofTheAnswer.ReplaceAllStringFunc(text, func(s string) string {
			if name, _, _ := strings.Cut(s, ":"); strings.Contains(s, "--") { // an object's
				return s
			} else if len(name) < len(s) {
				return name
			}
			return "hash"
		})
		answers = append(answers, fmt.Sprintf("%s %s %s\n%d %s %s", r[0], r[1], r[2], code, h.Get("Content-Type"), masked))
	}
	return answers
}

// Two exchanges that differ in nothing but what cert-at may not see give it the same answers.
func TestAnswersDoNotTellOfWhatTheAskerMayNotSee(t *testing.T) {
	t.Parallel()
	open, full := exchangetest.Start(t, apartFile), exchangetest.Start(t, apartFile)
	// The hidden steps.
	full.Publish(t, "rustock", "ip,timestamp,cc,port\n240.0.0.1,2026-03-19T00:00:00Z,PL,1024\n240.0.0.2,2026-03-19T00:00:00Z,,\n")
	pl := as(t, full, "cert-pl")
	_, relation := telling("relationship", 8, version1, "", sampleID(1), sampleID(2))
	for collection, objects := range map[string][]string{
		"den": {sample(1, version2, amberStrict), sample(2, version2, amber), relation, sample(3, version2, "")},
		"box": {sample(4, version2, green), sample(5, version2, amber)},
	} {
		for _, o := range objects {
			if why := pl.add(collection, o); why != "" {
				t.Fatal(why)
			}
		}
	}
	pl.add("den", sample(6, version2, strings.Replace(unknown, "acac", "acad", 1))) // and one in quarantine

	var requests [][3]string
	post := func(object string) {
		for _, c := range []string{"feedback-cert-at", "board", "box"} {
			requests = append(requests, [3]string{"POST", "/exchange/collections/" + c + "/objects/", envelope(object)})
		}
	}
	const low, high = "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9", "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"
	markings := []string{"", `,"object_marking_refs":["` + low + `"]`, `,"object_marking_refs":["` + high + `"]`, unknown}
	var ids []string
	for n := range 8 {
		ids = append(ids, sampleID(n))
	}
	for address, at := range map[string]exchange.Location{"240.0.0.1": {Country: "PL"}, "240.0.0.2": {}, "240.0.0.3": {}} { // the last is not known
		for _, typ := range []string{"observed-data", "indicator", "sighting"} {
			ids = append(ids, full.HostObject("rustock", typ, address, "2026-03-19", at))
		}
	}
	for i, id := range ids {
		for _, m := range markings {
			for _, version := range []string{version1, version2, version3} {
				typ, _, _ := strings.Cut(id, "--")
				more := map[string]string{
					"indicator":     `"pattern":"[ipv4-addr:value = '198.51.100.1']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"`,
					"observed-data": `"first_observed":"2026-01-01T00:00:00Z","last_observed":"2026-01-01T00:00:00Z","number_observed":1,"object_refs":["ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4"]`,
					"sighting":      `"sighting_of_ref":"indicator--00000009-0000-4000-8000-000000000009"`,
				}[typ]
				post(fmt.Sprintf(`{"type":%q,"spec_version":"2.1","id":%q,"created":%q,"modified":%q,%s%s}`, typ, id, version1, version, more, m))
			}
		}
		for k, typ := range []string{"relationship", "sighting", "language-content"} {
			refs := []string{id}
			if typ == "relationship" {
				refs = append(refs, sampleID(9))
			}
			for m, marking := range markings {
				_, text := telling(typ, 1000*(k+1)+100*m+i, version1, marking, refs...)
				post(text)
			}
		}
		for _, path := range []string{"board/objects/" + id + "/", "board/objects/" + id + "/versions/", "board/manifest/?match[id]=" + id} {
			requests = append(requests, [3]string{"GET", "/exchange/collections/" + path, ""})
		}
		if i%3 == 0 {
			for _, c := range []string{"board", "box", "feedback-cert-at"} {
				requests = append(requests, [3]string{"DELETE", "/exchange/collections/" + c + "/objects/" + id + "/", ""})
			}
		}
	}
	for _, path := range []string{
		"/exchange/collections/board/objects/?limit=5000&match[version]=all", "/v1/collections", "/v1/collections/board/withdrawn",
		"/misp/board/manifest.json", "/misp/board/hashes.csv", "/v1/explain?address=240.0.0.1", "/v1/explain?address=240.0.0.1&day=2026-03-19", "/v1/explain?address=240.0.0.3&day=2026-03-19",
	} {
		requests = append(requests, [3]string{"GET", path, ""})
	}
	want := conversation(t, open, open.Token(t, "cert-at"), requests)
	got := conversation(t, full, full.Token(t, "cert-at"), requests)
	different := 0
	for i := range want {
		if want[i] != got[i] {
			if different++; different < 4 {
				t.Errorf("an answer tells of what cert-at may not see: %s", cmp.Diff(want[i], got[i]))
			}
		}
	}
	if different > 0 {
		t.Errorf("%d of %d answers differ", different, len(want))
	}
}
