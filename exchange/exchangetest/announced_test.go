package exchangetest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// strict is labelled with two collections that take AMBER+STRICT.
var strict = strings.Replace(labelled, "collections:\n", "collections:\n  - {id: strict, ceiling: amber+strict, floor: clear, readers: [cert-at], writers: [cert-at]}\n  - {id: strict2, ceiling: amber+strict, floor: clear, readers: [cert-at], writers: [cert-at]}\n", 1)

const amberStrict = `,"object_marking_refs":["marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003"]`

// A relationship has the labels of ends that a report has announced, though they were refused, or have not come.
func TestARelationshipOfWhatWasAnnounced(t *testing.T) {
	t.Parallel()
	for what, send := range map[string]int{"refused": 51, "not there yet": 0} {
		e := exchangetest.Start(t, labelled)
		at := as(t, e, "cert-at")
		_, report, ids, objects := mispEventObjects(1, "amber")
		at.add("low", report)
		for _, o := range objects[:send] {
			if why := at.add("low", o); !strings.Contains(why, "AMBER") {
				t.Fatal(why)
			}
		}
		if why := at.add("low", objects[51]); at.hasObject("low", ids[51]) {
			t.Errorf("a relationship of AMBER ends that are %s came in: %q", what, why)
		}
	}
}

// Addresses and so on have no label of their own that stays: what is announced of them holds for what relates
// them.
func TestARelationshipOfAnnouncedObservables(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strict)
	at := as(t, e, "cert-at")
	const a, b = "domain-name--00000000-0000-4000-8000-000000000001", "ipv4-addr--00000000-0000-4000-8000-000000000002"
	id, relationship := telling("relationship", 1, version1, "", a, b)
	for _, o := range []string{
		fmt.Sprintf(`{"type":"report","spec_version":"2.1","id":"report--00000000-0000-4000-8000-000000000001","created":%q,"modified":%q,"name":"x","published":%q,"object_refs":[%q,%q]%s}`, version1, version1, version1, a, b, amberStrict),
		fmt.Sprintf(`{"type":"domain-name","spec_version":"2.1","id":%q,"value":"a.example"}`, a), fmt.Sprintf(`{"type":"ipv4-addr","spec_version":"2.1","id":%q,"value":"198.51.100.4"}`, b), relationship,
	} {
		if why := at.add("strict", o); why != "" {
			t.Fatal(why)
		}
	}
	if s, err := known(e.View, id); err != nil || s == nil || s.Label != tlp.AmberStrict {
		t.Error(s, err)
	}
}

// A report that is refused for its form still says what it says.
func TestARefusedReportHoldsForWhatIsBesideIt(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at := as(t, e, "cert-at")
	_, report, _, objects := mispEventObjects(1, "amber")
	large := strings.Replace(report, `"name":"Rustock"`, `"name":"Rustock","description":"`+strings.Repeat("x", 4<<20)+`"`, 1)
	escaped := strings.Replace(report, `"id":"report--`, `"id":"report\u002d-`, 1)
	for what, text := range map[string]string{"too large": large, "with escapes": escaped} {
		if st := post(t, e, "low", at.id, at.token, envelope(text, objects[0])); st.SuccessCount != 0 {
			t.Errorf("%s: what it labels AMBER came in", what)
		}
		if why := at.add("low", objects[1]); !strings.Contains(why, "AMBER") {
			t.Errorf("%s: what it labels AMBER came in later: %q", what, why)
		}
	}
}

// Where a member has announced more than is remembered one by one, the highest label holds for all that comes.
func TestMoreIsAnnouncedThanIsRemembered(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at := as(t, e, "cert-at")
	_, report, _, objects := mispEventObjects(1, "amber")
	at.add("low", report)
	var refs []string
	for i := range 40_001 {
		refs = append(refs, fmt.Sprintf(`"malware--00000000-0000-4000-8000-%012d"`, i))
	}
	large := fmt.Sprintf(`{"type":"report","spec_version":"2.1","id":"report--00000099-0000-4000-8000-000000000000","created":%q,"modified":%q,"name":"x","published":%q,"object_refs":[%s]%s}`, version1, version1, version1, strings.Join(refs, ","), green)
	if why := at.add("low", large); why != "" {
		t.Fatal(why)
	}
	for _, o := range []string{objects[0], sample(77, version1, green)} {
		if why := at.add("low", o); !strings.Contains(why, "AMBER") {
			t.Errorf("%.80s: %q", o, why)
		}
	}
	if why := at.add("mid", sample(78, version1, green)); why != "" {
		t.Error("of another collection nothing was said:", why)
	}
}

// Nobody writes the identity of another member.
func TestAnIdentityIsWrittenByWhoSpeaksForIt(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	identity := func(n string) string {
		return fmt.Sprintf(`{"type":"identity","spec_version":"2.1","id":"identity--00000000-0000-4000-8000-0000000000%s","created":%q,"modified":%q,"name":"X"}`, n, version1, version1)
	}
	if why := pl.add("mid", identity("aa")); !strings.Contains(why, "another member") {
		t.Error(why)
	}
	for _, n := range []string{"aa", "ee"} { // its own, and one that is nobody's
		if why := at.add("mid", identity(n)); why != "" {
			t.Error(why)
		}
	}
}
