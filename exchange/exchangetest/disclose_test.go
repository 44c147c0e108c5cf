package exchangetest_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
)

func sampleID(n int) string { return fmt.Sprintf("indicator--%08d-0000-4000-8000-%012d", n, n) }

// telling is an object of a type that tells that others are there.
func telling(typ string, n int, version, extra string, refs ...string) (id, text string) {
	id = fmt.Sprintf("%s--%08d-0000-4000-8000-000000000000", typ, n)
	how := map[string]string{
		"relationship":     `"relationship_type":"related-to","source_ref":%q,"target_ref":%q`,
		"sighting":         `"sighting_of_ref":%q`,
		"language-content": `"object_ref":%q,"contents":{"de":{"relationship_type":"gehört zu"}}`,
	}[typ]
	var ends []any
	for _, r := range refs {
		ends = append(ends, r)
	}
	return id, fmt.Sprintf(`{"type":%q,"spec_version":"2.1","id":%q,"created":%q,"modified":%q,%s%s}`, typ, id, version1, version, fmt.Sprintf(how, ends...), extra)
}

// hasObject tells whether a collection has an object.
func (m member) hasObject(collection, id string) bool {
	m.t.Helper()
	code, _, text := m.e.Do(m.t, "GET", "/exchange/collections/"+collection+"/objects/"+id+"/", m.id, m.token, "", "Accept", taxii.MediaType)
	return code == http.StatusOK && strings.Contains(text, id)
}

// What tells that an object is there goes with it, when its label is raised: by whomever it was added,
// and also what tells of that.
func TestWhatDisclosesAnObjectGoesWithIt(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	add := func(m member, collection, text string) {
		t.Helper()
		if why := m.add(collection, text); why != "" {
			t.Fatal(why)
		}
	}
	relationship, text := telling("relationship", 1, version1, "", sampleID(1), sampleID(2))
	translation, text2 := telling("language-content", 2, version1, "", relationship)
	sighting, text3 := telling("sighting", 3, version1, "", sampleID(2))
	early, text4 := telling("sighting", 4, version1, "", sampleID(5))
	foreign, text5 := telling("sighting", 5, version1, "", sampleID(5))
	aside, text6 := telling("relationship", 6, version1, amber, sampleID(1), sampleID(2))
	for n := 1; n <= 2; n++ {
		add(at, "low", sample(n, version1, green))
	}
	add(pl, "low", text)
	add(pl, "low", text2)
	add(pl, "low", text3)
	add(pl, "mid", text3)
	add(pl, "mid", text6)
	add(at, "low", text4)
	add(pl, "low", text5)
	for _, id := range []string{relationship, translation, sighting, early, foreign} {
		if !at.hasObject("low", id) {
			t.Fatal(id, "is not there")
		}
	}
	add(at, "mid", sample(1, version2, amber))
	wanted := func(when string, want map[string]bool) {
		t.Helper()
		for id, there := range want {
			if at.hasObject("low", id) != there {
				t.Errorf("%s low has %s: %v", when, id, !there)
			}
		}
	}
	after := map[string]bool{relationship: false, translation: false, sighting: true, early: true, foreign: true}
	wanted("after one end was raised", after)
	// What somebody said before there was anything to disclose stays; who says both meant both.
	add(at, "mid", sample(5, version1, amber))
	after[early] = false
	wanted("after the end has come", after)
	if why := pl.add("low", text); !strings.Contains(why, "AMBER") {
		t.Error("what was withdrawn came back:", why)
	}
	add(pl, "mid", text)
	// Where nothing has to leave, the label is kept all the same.
	add(at, "room", sample(2, version2, red))
	if at.hasObject("mid", aside) || at.hasObject("mid", relationship) || at.hasObject("mid", sighting) {
		t.Error("mid has what tells of what is RED now")
	}
	whole(t, e, "low")
	e = rebuilt(t, e)
	at.e, pl.e = e, e
	after[sighting] = false
	wanted("after a rebuild", after)
	_, text7 := telling("language-content", 7, version1, "", relationship)
	if why := pl.add("mid", text7); !strings.Contains(why, "RED") {
		t.Error("a translation of what is RED came in:", why)
	}
}

// Of a relationship that is added while the label of its end is raised, one is seen by the other.
func TestARelationshipAndARaisedEndCross(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	for n := range 60 {
		if why := at.add("low", sample(n, version1, green)); why != "" {
			t.Fatal(why)
		}
		id, text := telling("relationship", n, version1, "", sampleID(n), sampleID(n))
		var wg sync.WaitGroup
		wg.Go(func() { pl.add("low", text) })
		wg.Go(func() {
			if why := at.add("mid", sample(n, version2, amber)); why != "" {
				t.Error(why)
			}
		})
		wg.Wait()
		if at.hasObject("low", id) {
			t.Fatalf("relationship %d tells of what is AMBER", n)
		}
	}
}

// What has told of an object goes also where it comes in a version of a lower label beside that which raises the object.
func TestWhatComesBesideARaisedEndGoes(t *testing.T) {
	t.Parallel()
	const of = `,"created_by_ref":"identity--00000000-0000-4000-8000-0000000000aa"`
	for name, mark := range map[string]string{"unknown": unknown, "amber": amber} {
		t.Run(name, func(t *testing.T) {
			e := exchangetest.Start(t, labelled)
			at, admin := as(t, e, "cert-at"), as(t, e, exchange.Admin)
			for n, first := range []member{at, admin} { // who adds the relationship, which is cert-at's
				end, other := 2*n+1, 2*n+2
				id, text := telling("relationship", n, version1, green+of, sampleID(end), sampleID(other))
				_, newer := telling("relationship", n, version2, green+of, sampleID(other), sampleID(other))
				for m, objects := range [][]string{{sample(end, version1, green), sample(other, version1, green)}, {text}, {newer, sample(end, version2, mark)}} {
					who := []member{at, first, at}[m]
					if st := post(t, e, "low", who.id, who.token, envelope(objects...)); len(st.Failures) > m/2 { // the raised end is not for it
						t.Fatalf("step %d by %s: %+v", m, who.id, st.Failures)
					}
				}
				if at.hasObject("low", id) {
					t.Errorf("the relationship that %s added is still there", first.id)
				}
				if !at.hasObject("low", sampleID(other)) {
					t.Error("its other end is gone")
				}
			}
		})
	}
}
