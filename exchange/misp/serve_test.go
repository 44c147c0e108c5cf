package misp

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// What MISP is told of an event: whose it is, what it is about, and how far it may go.
func TestTheHeaderOfAnEvent(t *testing.T) {
	r := &exchange.Register{
		IDs: exchange.NewIDs(nil),
		Members: []exchange.Member{
			{ID: "dcu", Name: "Digital Crimes Unit", Kind: exchange.Publisher}, {ID: "ghost", Name: "Ghost", Kind: exchange.Publisher, Hidden: true},
		},
		Feeds: []exchange.Feed{
			{ID: "f", Publisher: "dcu", Malware: exchange.Malware{Name: "Rustock", Types: []string{"rootkit", "bot"}}},
			{ID: "g", Publisher: "ghost", As: "pseudonym", Malware: exchange.Malware{Name: "Zeus"}},
		},
	}
	c := &exchange.Collection{ID: "cert-at", Title: "CERT.at"}
	uuid := func(member string) string { return r.IdentityID(member)[len("identity--"):] }
	for name, x := range map[string]struct {
		e                                     event
		info, org, orgUUID, tag, distribution string
	}{
		"a feed's day":     {event{Feed: "f", Day: "2026-03-19", Labels: [8]int{tlp.Green: 1}}, "Rustock infections in CERT.at, feed f, 2026-03-19", "Digital Crimes Unit", uuid("dcu"), "tlp:green", distributions[tlp.Green]},
		"its second part":  {event{Feed: "f", Day: "2026-03-19", Part: 1, Labels: [8]int{tlp.Amber: 1}}, "Rustock infections in CERT.at, feed f, 2026-03-19 (2)", "Digital Crimes Unit", uuid("dcu"), "tlp:amber", "0"},
		"a hidden one's":   {event{Feed: "g", Day: "2026-03-19"}, "Zeus infections in CERT.at, 2026-03-19", "A publisher who is not named", uuid("pseudonym"), "tlp:clear", distributions[tlp.Clear]},
		"no feed any more": {event{Feed: "gone", Day: "2026-03-19"}, "Infections in CERT.at, 2026-03-19", "Tocsin", "", "tlp:clear", distributions[tlp.Clear]},
		"indicators":       {event{Day: "2026-03-19", Labels: [8]int{tlp.Clear: 2, tlp.Green: 1}}, "Indicators in CERT.at, 2026-03-19", "Tocsin", "", "tlp:green", distributions[tlp.Green]},
	} {
		h := x.e.head(r, c)
		if x.orgUUID == "" {
			x.orgUUID = h.Orgc.UUID
		}
		got := []string{h.Info, h.Orgc.Name, h.Orgc.UUID, h.Tags[0].Name, h.Distribution}
		if d := cmp.Diff([]string{x.info, x.org, x.orgUUID, x.tag, x.distribution}, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	one, again, other := newEvent(c, "f", "2026-03-19", 0), newEvent(c, "f", "2026-03-19", 0), newEvent(c, "f", "2026-03-19", 1)
	if one.UUID == other.UUID || one.UUID != again.UUID {
		t.Error("an event's UUID is not of its feed, day and part alone")
	}
}
