package packaging

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// texts lists the objects of a collection's hosts, and the indexes of its groups.
func texts(t *testing.T, in *record.Intake) (objects []string, indexes []int, withdrawn []string) {
	t.Helper()
	at := time.Date(2026, 3, 19, 0, 0, 0, 0, time.UTC)
	p, err := New(&exchange.Register{
		IDs:     exchange.NewIDs([]byte("the secret of tests")),
		Members: []exchange.Member{{ID: "cert-at", Kind: exchange.CSIRT, Name: "CERT.at", Clearance: tlp.Amber, Created: at, Changed: at}, {ID: "dcu", Kind: exchange.Publisher, Name: "DCU", Created: at, Changed: at}},
		Feeds:   []exchange.Feed{{ID: "f", Publisher: "dcu", Operation: "f", Malware: exchange.Malware{Name: "F"}, Profile: exchange.ProfileIndicator, Created: at, Changed: at}},
	}, "f")
	if err != nil {
		t.Fatal(err)
	}
	shares, err := p.Shares(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shares {
		if s.Collection != "cert-at" {
			continue
		}
		for _, g := range s.Groups {
			indexes = append(indexes, g.Index)
			for _, o := range g.Objects {
				objects = append(objects, string(o.Raw))
			}
			withdrawn = append(withdrawn, g.Withdraw...)
		}
	}
	return objects, indexes, withdrawn
}

func observed(address string, packaging, first uint8) record.Observation {
	at := time.Date(2026, 3, 19, 1, 0, 0, 0, time.UTC)
	o := record.Observation{
		ObservationKey: exchange.HostDay{Address: netip.MustParseAddr(address), Day: exchange.DayOf(at)}.At(exchange.Location{Country: "AT"}),
		Packaging:      packaging, FirstPackaging: first,
	}
	o.Merge(&exchange.Event{Address: o.Address, Observed: at, Count: 1}, tlp.Green, "publisher")
	o.Modified = o.Last
	return o
}

// A change of packaging is a form of its own: what was packaged before stays as it was, in its place in the record.
func TestANewFormChangesNothingThatIsThere(t *testing.T) {
	grant := exchange.Grant{Collection: "cert-at", Verdict: exchange.Verdict{Allow: true}}
	in := &record.Intake{
		Feed: "f", Packaging: 1, Introductions: []record.Introduction{{Collection: "cert-at"}},
		Observations: []record.Observation{observed("240.0.0.1", 1, 1), observed("240.0.0.2", 1, 1), observed("240.0.0.3", 1, 1)},
		Decisions:    []exchange.Decision{{Label: tlp.Green, Grants: []exchange.Grant{grant}}, {Label: tlp.Green}},
	}
	in.Observations[1].Decision = 1 // not for this collection
	before, indexes, _ := texts(t, in)
	if d := cmp.Diff([]int{0, 1, 3}, indexes); d != "" {
		t.Error(d)
	}

	forms[3] = form{
		host: func(h *hostDay) {
			h.feed = &exchange.Feed{ID: "f", Publisher: "dcu", Operation: "f", Malware: exchange.Malware{Name: "New name"}}
			h.indicator()
		},
		topic: func(*Packager, record.Introduction) ([]record.Object, error) {
			return []record.Object{{ID: "identity--1", Raw: []byte(`{"type":"identity","id":"identity--1","name":"New name"}`)}}, nil
		},
	}
	defer delete(forms, 3)
	again, _, _ := texts(t, in)
	if d := cmp.Diff(before, again); d != "" {
		t.Error("what was packaged in the first form is packaged otherwise:", d)
	}
	// As the record would be after the change: the second host is seen for the first time, the others again.
	in.Packaging = 3
	in.Observations = []record.Observation{observed("240.0.0.1", 3, 1), observed("240.0.0.4", 3, 3)}
	in.Withdrawals = []record.Withdrawal{{Collection: "cert-at", Observation: 0}}
	after, indexes, withdrawn := texts(t, in)
	if d := cmp.Diff([]int{0, 1, 2, 3}, indexes); d != "" {
		t.Error(d)
	}
	id := func(text string) string {
		_, rest, _ := strings.Cut(text, `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		return id
	}
	for _, text := range after {
		if !strings.Contains(text, "New name") && !strings.HasPrefix(id(text), "relationship") {
			t.Error("not the new form:", text)
		}
		if slices.ContainsFunc(before, func(b string) bool { return id(b) == id(text) }) {
			t.Error("an id of the first form has another content now:", text)
		}
	}
	host := func(list []string) string {
		return id(list[slices.IndexFunc(list, func(text string) bool { return strings.HasPrefix(id(text), "indicator") })])
	}
	if !slices.Contains(withdrawn, host(before)) || !slices.Contains(withdrawn, host(after)) {
		t.Errorf("what leaves is not what the host was packaged as, in both forms: %v", withdrawn)
	}
}

func TestAFormThatIsNotKnownIsRefused(t *testing.T) {
	b := builder{Packager: &Packager{feed: new(exchange.Feed)}}
	o := observed("240.0.0.1", 77, 1)
	if _, err := b.group(&o); err == nil || !strings.Contains(err.Error(), "version 77") {
		t.Error(err)
	}
	b.packaging, b.shares = 78, make(map[string]*record.Share)
	if err := b.introduce(record.Introduction{Collection: "a"}); err == nil || !strings.Contains(err.Error(), "version 78") {
		t.Error(err)
	}
}
