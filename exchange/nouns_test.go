package exchange_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func TestAccountsAreReadInOneForm(t *testing.T) {
	for text, want := range map[string][2]string{
		"User@Example.AT": {"user@example.at", "example.at"}, "a@mail_1.example.org": {"a@mail_1.example.org", "mail_1.example.org"},
		"a@bücher.example": {"a@xn--bcher-kva.example", "xn--bcher-kva.example"}, "a@example.at.": {"", ""},
		"A <a@example.at>": {"", ""}, "a": {"", ""}, "a@": {"", ""}, "@example.at": {"", ""}, " a@example.at": {"", ""}, "a@b@example.at": {"", ""}, "": {"", ""},
	} {
		account, domain, err := exchange.ParseAccount(text)
		if d := cmp.Diff(want, [2]string{account, domain}); d != "" || (err == nil) != (account != "") {
			t.Errorf("%q: %v %s", text, err, d)
		}
	}
	if k := exchange.AccountKey("a@example.at"); !exchange.IsAccount(k) || k == exchange.AccountKey("b@example.at") {
		t.Error(k)
	}
}

func TestAWindowIsReadAsItIsWritten(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "24h": 24 * time.Hour, "90m": 90 * time.Minute, "0d": 0} {
		var w, again exchange.Window
		if err := w.UnmarshalText([]byte(text)); err != nil || time.Duration(w) != want {
			t.Errorf("%s: %v %v", text, w, err)
		}
		if err := again.UnmarshalText([]byte(w.String())); err != nil || again != w {
			t.Errorf("%s: %v %v", text, again, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "70000d", "-1h", "a week", "30"} {
		if err := new(exchange.Window).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestWhatACredentialIsGoodFor(t *testing.T) {
	read := []exchange.Scope{exchange.ScopeRead}
	for _, c := range []struct {
		who  exchange.Caller
		want []exchange.Scope
	}{
		{exchange.Caller{}, read},
		{exchange.As("cert-at"), []exchange.Scope{exchange.ScopeRead, exchange.ScopePublish, exchange.ScopeFeedback}},
		{exchange.Caller{Member: "cert-at", Scopes: read}, read},
		{exchange.Caller{Member: "cert-at", Scopes: []exchange.Scope{exchange.ScopeAdmin}}, nil},
		{exchange.As(exchange.Admin), exchange.Scopes()},
		{exchange.Caller{Member: exchange.Admin, Scopes: read}, read},
	} {
		var got []exchange.Scope
		for _, s := range exchange.Scopes() {
			if c.who.May(s) {
				got = append(got, s)
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%+v: %s", c.who, d)
		}
	}
}

// Nothing RED enters a collection that a member's clearance alone gives: it names no persons.
func TestTheCollectionsThatFollowFromTheRegister(t *testing.T) {
	r := &exchange.Register{
		Members: []exchange.Member{
			{ID: "cert", Kind: exchange.CSIRT, Clearance: tlp.Red},
			{ID: "isp", Kind: exchange.NetworkOwner, Clearance: tlp.Green},
			{ID: "pub", Kind: exchange.Publisher, Clearance: tlp.Amber},
		},
		Feeds:    []exchange.Feed{{ID: "f", Publisher: "pub"}, {ID: "g", Publisher: "nobody"}},
		Declared: []exchange.Declared{{ID: "d", Ceiling: tlp.Amber}, {ID: "p", Ceiling: tlp.Clear, Public: true}},
	}
	got := make(map[string]tlp.Level)
	for id, c := range r.CollectionsByID() {
		got[id] = c.Ceiling
		if c.Everybody != (id == "p") || c.OfMembers() != (id != "cert" && id != "isp" && id != "unclaimed" && id != "feed-f" && id != "feed-g") {
			t.Errorf("%+v", c)
		}
	}
	want := map[string]tlp.Level{
		"unclaimed": tlp.AmberStrict, "quarantine": tlp.Red, "cert": tlp.AmberStrict, "feedback-cert": tlp.AmberStrict, "isp": tlp.Green,
		"feedback-isp": tlp.Green, "feed-f": tlp.Amber, "feed-g": tlp.Clear, "d": tlp.Amber, "p": tlp.Clear,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Two sightings are one event where all that they say is the same, and no text runs into the next.
func TestAnEventIsNamedByAllThatItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"", "a", "1:a", "a1:", "aa"})
		draw := func(n string) exchange.Event {
			return exchange.Event{
				Address: netip.AddrFrom4([4]byte{240, 0, 0, rapid.Byte().Draw(t, n)}), Observed: time.UnixMilli(rapid.Int64Range(0, 3).Draw(t, n)).UTC(), Count: 1,
				Port: rapid.Uint16Range(0, 2).Draw(t, n), Country: text.Draw(t, n), Hostname: text.Draw(t, n), Malware: text.Draw(t, n),
				Protocol: text.Draw(t, n), Provider: text.Draw(t, n), PublisherID: text.Draw(t, n),
			}
		}
		a, b := draw("a"), draw("b")
		if same := a == b; same != (a.ID() == b.ID()) {
			t.Fatalf("%+v and %+v", a, b)
		}
		b = a
		b.Line, b.Extra = 7, "{}" // which are no part of it
		if a.ID() != b.ID() {
			t.Fatalf("%+v and %+v", a, b)
		}
	})
}
