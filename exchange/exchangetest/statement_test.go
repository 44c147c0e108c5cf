package exchangetest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

const copyrightID = "marking-definition--fa42a846-8d90-4e51-bc29-71d5b4802168"

// definition is a marking definition with a body.
func definition(id, body string) string {
	return fmt.Sprintf(`{"type":"marking-definition","spec_version":"2.1","id":%q,"created":"2017-06-01T00:00:00.000Z",%s}`, id, body)
}

const copyright = `"definition_type":"statement","definition":{"statement":"Copyright 2015-2026, Example."}`

// A statement marking says nothing about who may read: it is kept, and ignored for the label. Only its
// definition by the same member tells that it is one.
func TestStatementMarkingsAreKeptAndIgnored(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl, admin := as(t, e, "cert-at"), as(t, e, "cert-pl"), as(t, e, exchange.Admin)
	marked := func(n int, ids ...string) string {
		return sample(n, version1, `,"object_marking_refs":["`+strings.Join(ids, `","`)+`"]`)
	}
	const greenID, redID = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"
	add := func(m member, objects ...string) (refused []string) {
		t.Helper()
		for _, f := range post(t, e, "low", m.id, m.token, envelope(objects...)).Failures {
			refused = append(refused, f.ID+": "+f.Message)
		}
		return refused
	}
	if got := add(at, marked(1, greenID, copyrightID)); len(got) != 1 || !strings.Contains(got[0], "quarantine") {
		t.Error("nobody has said what it is:", got)
	}
	if got := add(at, marked(2, greenID, copyrightID), definition(copyrightID, copyright)); got != nil {
		t.Error("its definition is beside it:", got)
	}
	if got := add(at, marked(3, strings.ToUpper(copyrightID[:20])+copyrightID[20:], greenID)); got == nil {
		t.Error("an id that is none was taken") // the type is not in capitals
	}
	if got := add(at, marked(4, copyrightID, greenID)); got != nil {
		t.Error("it was defined before:", got)
	}
	if got := add(at, marked(5, copyrightID)); got != nil {
		t.Error("without a label it has the floor:", got)
	}
	if got := add(at, marked(6, copyrightID, redID)); len(got) != 1 || !strings.Contains(got[0], "TLP:RED") {
		t.Error("its own label holds:", got)
	}
	if got := add(at, sample(7, version1, `,"granular_markings":[{"marking_ref":"`+copyrightID+`","selectors":["pattern"]}]`)); got != nil {
		t.Error("it marks a part:", got)
	}
	if got := add(pl, marked(8, greenID, copyrightID)); len(got) != 1 || !strings.Contains(got[0], "quarantine") {
		t.Error("cert-at's definition counts for cert-pl:", got)
	}
	if got := add(admin, marked(9, greenID, copyrightID), definition(copyrightID, copyright)); got != nil {
		t.Error("the operator relays it:", got)
	}
	objects, _ := e.Pull(t, "low", taxiiclient.Cursor{}, taxii.Filter{Types: []string{"indicator"}})
	kept := 0
	for _, o := range objects {
		if strings.Contains(o, copyrightID) {
			kept++
		}
	}
	if kept != 5 {
		t.Errorf("%d objects have the marking still", kept)
	}
	// What only looks like one is none.
	for i, body := range []string{
		`"definition_type":"statement","definition":{"statement":"x"},"extensions":{"extension-definition--3a65884d-005a-4290-8335-cb2d778a83ce":{"extension_type":"property-extension","access_privilege":[]}}`,
		`"definition_type":"x-acs","definition":{"statement":"x"}`,
		`"definition_type":"statement","definition":{"statement":"x","read":"nobody"}`,
		`"definition_type":"statement","definition":{"statement":{"tlp":"red"}}`,
	} {
		id := fmt.Sprintf("marking-definition--00000000-0000-4000-8000-0000000000%02d", i)
		got := add(at, marked(20+i, greenID, id), definition(id, body))
		if len(got) == 0 || !strings.Contains(strings.Join(got, " "), sampleID(20+i)+": it waits in quarantine") {
			t.Errorf("%s: %q", body, got)
		}
	}
	// Two that contradict each other are none, and neither is what was said before.
	if got := add(at, marked(30, greenID, copyrightID), definition(copyrightID, copyright), definition(copyrightID, `"definition_type":"statement","definition":{"statement":"x","read":"nobody"}`)); len(got) == 0 {
		t.Error("of two definitions the harmless one counts")
	}
}
