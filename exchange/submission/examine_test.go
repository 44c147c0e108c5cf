package submission

import (
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// What is refused is named wherever its id stands.
func TestARefusedObjectIsNamed(t *testing.T) {
	const rest = `"type":"indicator","id":"indicator--28bb3599-77cd-5a82-a950-b5bc3caf07c4","spec_version":"2.1","modified":"2026-01-01T00:00:00Z"}`
	for _, by := range []string{`null`, `1`, `["x"]`, `{"a":"}"}`} {
		var o Result
		if _, err := examine([]byte(`{"created_by_ref":`+by+`,`+rest), []string{"2.1"}, time.Now(), &o); err == nil || o.ID == "" || o.Version == "" {
			t.Errorf("%s: %+v %v", by, o, err)
		}
	}
}

// A version may be a day ahead, a definition of a label has the label's id, and an id of the table is of its level.
func TestWhatIsRefusedByItself(t *testing.T) {
	now := time.Date(2026, 3, 19, 0, 0, 0, 0, time.UTC)
	note := func(modified string) string {
		return `{"type":"note","spec_version":"2.1","id":"note--00000001-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00Z","modified":"` + modified + `","content":"c","object_refs":["indicator--00000001-0000-4000-8000-000000000000"]}`
	}
	definition := func(id, level string) string {
		return `{"type":"marking-definition","spec_version":"2.1","id":"` + id + `","created":"2017-01-20T00:00:00.000Z","definition_type":"tlp","name":"TLP:` + strings.ToUpper(level) + `","definition":{"tlp":"` + level + `"}}`
	}
	for _, c := range []struct{ raw, why string }{
		{note("2026-03-19T23:59:59Z"), ""},
		{note("2026-03-20T00:00:01Z"), "more than a day ahead"},
		{note("2099-01-01T00:00:00Z"), "more than a day ahead"},
		{definition(tlp.Green.MarkingID(), "green"), ""},
		{definition(tlp.Green.MarkingID(), "red"), "it does not define"},
		{definition("marking-definition--00000000-0000-4000-8000-00000000acac", "red"), "it defines TLP:RED, whose id is"},
		{string(tlp.AmberStrict.Definition()), ""},
	} {
		var out Result
		o, err := examine([]byte(c.raw), []string{"2.1"}, now, &out)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", c.raw, err)
		}
		if _, ours := tlp.FromMarking(o.head.ID); err == nil && o.dropped != ours {
			t.Errorf("%s is dropped: %v", c.raw, o.dropped)
		}
	}
}

// What the scanner of blocks could not read is refused: escapes in what it looks at. What it does not look at may have them.
func TestNoEscapesInWhatIsScanned(t *testing.T) {
	const whole = `{"type":"note","spec_version":"2.1","id":"note--abcdef01-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z","created_by_ref":"identity--ABCDEF01-0000-4000-8000-000000000000","content":"\u0063","object_refs":["indicator--ABCDEF01-0000-4000-8000-000000000000"]}`
	now := time.Date(2026, 3, 19, 0, 0, 0, 0, time.UTC)
	var out Result
	o, err := examine([]byte(whole), []string{"2.1"}, now, &out)
	if err != nil || o.head.CreatedByRef != "identity--abcdef01-0000-4000-8000-000000000000" || o.head.Refs[0] != "indicator--abcdef01-0000-4000-8000-000000000000" {
		t.Errorf("%v: %+v", err, o)
	}
	for _, c := range [][2]string{
		{`"type":"note"`, `"type":"\u006eote"`},
		{`"spec_version":"2.1"`, `"spec_version":"\u0032.1"`},
		{`"id":"note--`, `"id":"note\u002d-`},
		{`"modified":"2026`, `"modified":"\u0032026`},
	} {
		raw := strings.Replace(whole, c[0], c[1], 1)
		if _, err := examine([]byte(raw), []string{"2.1"}, now, &out); err == nil || raw == whole || !strings.Contains(err.Error(), "without escapes") {
			t.Errorf("%s: %v", c[1], err)
		}
	}
}

func TestWhatIsRefusedOfSTIX20(t *testing.T) {
	for _, c := range []struct{ times, why string }{
		{`"created":"2026-01-02T00:00:00.000Z","modified":"2026-01-02T00:00:00.000Z"`, ""},
		{`"created":"2026-01-02T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z"`, "is before created"},
		{`"created":"2026-01-02T00:00:00.000Z"`, "no modified"},
		{`"modified":"2026-01-02T00:00:00.000Z"`, "no created"},
		{`"created":"yesterday","modified":"2026-01-01T00:00:00.000Z"`, "yesterday"},
	} {
		var out Result
		_, err := examine([]byte(`{"type":"tool","id":"tool--28bb3599-77cd-4a82-a950-b5bc3caf07c4","name":"T","labels":["x"],`+c.times+`}`), []string{"2.0"}, time.Date(2026, 3, 19, 0, 0, 0, 0, time.UTC), &out)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", c.times, err)
		}
	}
}
