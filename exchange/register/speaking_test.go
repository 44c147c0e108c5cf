package register

import (
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A marking is said to mean something once, and nobody speaks for another's identity.
func TestWhatMarkingsMeanAndWhoSpeaks(t *testing.T) {
	const marking = "marking-definition--00000000-0000-4000-8000-00000000acac"
	r := &exchange.Register{IDs: exchange.NewIDs(nil)}
	own := r.IdentityID("a")
	member := func(id string, identities ...string) string {
		return "  - {id: " + id + ", kind: publisher, clearance: green, identities: [" + strings.Join(identities, ", ") + "]}\n"
	}
	for _, c := range []struct{ file, want string }{
		{"markings: [{id: " + marking + ", means: ignore}]", ""},
		{"markings: [{id: " + marking + ", means: amber}]", ""},
		{"markings: [{id: " + marking + ", means: secret}]", `means "secret": want ignore or a TLP label`},
		{"markings: [{id: x, means: ignore}]", "want the id of a marking-definition"},
		{"markings: [{id: " + strings.ToUpper(marking[:21]) + marking[21:] + ", means: ignore}]", "want the id of a marking-definition"},
		{"markings: [{id: " + tlp.Red.MarkingID() + ", means: ignore}]", "is a TLP label"},
		{"members:\n" + member("a", "identity--00000000-0000-4000-8000-0000000000aa") + member("b", "identity--00000000-0000-4000-8000-0000000000bb"), ""},
		{"members:\n" + member("a", "identity--00000000-0000-4000-8000-0000000000aa") + member("b", "identity--00000000-0000-4000-8000-0000000000aa"), "members a and b: both are to speak for"},
		{"members:\n" + member("a") + member("b", own), "members a and b: both are to speak for"},
	} {
		f, err := Parse([]byte(c.file))
		if err != nil {
			t.Fatal(c.file, err)
		}
		r := &exchange.Register{IDs: exchange.NewIDs(nil), UUIDs: map[string]string{}}
		f.Apply(r, false, time.Unix(0, 0))
		err = validate(r)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.file, err)
		}
	}
	r.Markings = []exchange.Marking{{ID: marking, Means: "amber"}, {ID: marking[:len(marking)-1] + "d", Means: exchange.MarkingIgnore}}
	if l, known := r.Meaning(strings.ToUpper(marking)); l != tlp.Amber || !known {
		t.Error(l, known)
	}
	if l, known := r.Meaning(marking[:len(marking)-1] + "d"); l != tlp.None || !known {
		t.Error(l, known)
	}
	if _, known := r.Meaning("marking-definition--00000000-0000-4000-8000-00000000bcbc"); known {
		t.Error("it is known")
	}
}
