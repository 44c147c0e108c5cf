package policy_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// parties are members of each kind and clearance, with collections of each kind of reader.
func parties() *exchange.Register {
	return &exchange.Register{
		IDs: exchange.NewIDs(nil),
		Members: []exchange.Member{
			{ID: "cert", Kind: exchange.CSIRT, Clearance: tlp.Red, Identities: []string{"identity--00000000-0000-4000-8000-0000000000aa"}},
			{ID: "ghost", Kind: exchange.CSIRT, Clearance: tlp.Amber, Hidden: true, Identities: []string{"identity--00000000-0000-4000-8000-0000000000bb"}},
			{ID: "low", Kind: exchange.CSIRT, Clearance: tlp.Green},
			{ID: "owner", Kind: exchange.NetworkOwner, Clearance: tlp.Amber},
			{ID: "pub", Kind: exchange.Publisher, Clearance: tlp.AmberStrict},
		},
	}
}

// callers are written as member, member/person, or either with a scope behind a colon.
func callerOf(text string) exchange.Caller {
	name, scope, scoped := strings.Cut(text, ":")
	member, person, _ := strings.Cut(name, "/")
	c := exchange.Caller{Member: member, Person: person}
	if scoped {
		c.Scopes = []exchange.Scope{exchange.Scope(scope)}
	}
	return c
}

// Who may read which collection, by which channel.
func TestWhoMayReadACollection(t *testing.T) {
	r := parties()
	everybody := []string{"", "admin", "admin/otto", "admin:read", "admin:publish", "cert", "cert/eva", "cert/bob", "cert:read", "cert:publish", "owner", "pub", "low", "ghost", "nobody", "nobody/eva"}
	for name, c := range map[string]struct {
		exchange.Collection
		taxii, nats, misp string
	}{
		"a member's own": {
			exchange.Collection{ID: "cert", Owner: "cert", Ceiling: tlp.AmberStrict},
			"admin admin/otto admin:read cert cert/eva cert/bob cert:read", "admin admin/otto admin:read cert cert/eva cert/bob cert:read", "",
		},
		"everybody's": {
			exchange.Collection{ID: "all", Everybody: true, Ceiling: tlp.Green},
			"admin admin/otto admin:read cert cert/eva cert/bob cert:read ghost low owner pub", "admin admin/otto admin:read cert cert/eva cert/bob cert:read ghost low owner pub",
			"admin admin/otto admin:read cert cert/eva cert/bob cert:read ghost low owner pub",
		},
		"everybody's who is cleared": {
			exchange.Collection{ID: "all", Everybody: true, Ceiling: tlp.AmberStrict},
			"admin admin/otto admin:read cert cert/eva cert/bob cert:read pub", "admin admin/otto admin:read cert cert/eva cert/bob cert:read pub", "",
		},
		"some readers'": {
			exchange.Collection{ID: "some", Readers: []string{"owner", "low"}, Ceiling: tlp.Amber},
			"admin admin/otto admin:read owner", "admin admin/otto admin:read owner", "admin admin/otto admin:read owner",
		},
		"the public's": {
			exchange.Collection{ID: "news", Public: true, Ceiling: tlp.Clear},
			" admin admin/otto admin:read", " admin admin/otto admin:read", " admin admin/otto admin:read",
		},
		"named persons'": {
			exchange.Collection{ID: "room", Persons: []string{"cert/eva", "admin/otto", "nobody/eva"}, Readers: []string{"cert"}, Ceiling: tlp.Red},
			"admin/otto cert/eva", "", "",
		},
		"nobody's": {exchange.Collection{ID: "none", Ceiling: tlp.Clear}, "admin admin/otto admin:read", "admin admin/otto admin:read", "admin admin/otto admin:read"},
	} {
		for channel, want := range map[exchange.Channel]string{exchange.ChannelTAXII: c.taxii, exchange.ChannelNATS: c.nats, exchange.ChannelMISP: c.misp} {
			var got []string
			for _, who := range everybody {
				if policy.MayRead(r, callerOf(who), &c.Collection, channel) {
					got = append(got, who)
				}
			}
			slices.Sort(got)
			wanted := strings.Split(want, " ")
			slices.Sort(wanted)
			if want == "" {
				wanted = nil
			}
			if d := cmp.Diff(wanted, got); d != "" {
				t.Errorf("%s by %s: %s", name, channel, d)
			}
		}
		for _, who := range everybody {
			want := c.Ceiling < tlp.Red && policy.MayRead(r, callerOf(who), &c.Collection, exchange.ChannelTAXII)
			if policy.MayTake(r, callerOf(who), &c.Collection) != want {
				t.Errorf("%s takes of %s: %v", who, name, !want)
			}
		}
	}
}

func TestWhoMayWriteAndPublish(t *testing.T) {
	r := parties()
	for who, want := range map[string][4]bool{ // to "all", to [cert], to nobody, on pub's feed
		"": {}, "nobody": {}, "admin": {true, true, false, true}, "admin:read": {}, "admin:publish": {true, true, false, true}, "cert": {true, true, false, false},
		"cert:read": {}, "cert:feedback": {}, "cert:publish": {true, true, false, false}, "owner": {true, false, false, false}, "pub": {true, false, false, true}, "pub:read": {},
	} {
		c := callerOf(who)
		got := [4]bool{
			policy.MayWrite(r, c, &exchange.Collection{Writers: []string{"all"}}), policy.MayWrite(r, c, &exchange.Collection{Writers: []string{"cert"}}),
			policy.MayWrite(r, c, &exchange.Collection{}), policy.MayPublish(r, c, &exchange.Feed{Publisher: "pub"}),
		}
		if got != want {
			t.Errorf("%q: %v, want %v", who, got, want)
		}
	}
}

func TestWhatIsTakenObjectByObject(t *testing.T) {
	r := parties()
	for _, c := range []struct {
		who     string
		channel exchange.Channel
		ceiling tlp.Level
		want    bool
	}{
		{"cert", exchange.ChannelMISP, tlp.AmberStrict, true},
		{"cert", exchange.ChannelWebhook, tlp.Green, true},
		{"cert", "pigeon", tlp.Clear, false},
		{"cert", exchange.ChannelMISP, tlp.Red, false},
		{"low", exchange.ChannelMISP, tlp.AmberStrict, false},
		{"nobody", exchange.ChannelMISP, tlp.Clear, false},
	} {
		right := policy.ToTake(r, exchange.As(c.who), &exchange.Collection{ID: "x", Everybody: true, Ceiling: c.ceiling}, c.channel)
		if (right != nil) != c.want {
			t.Errorf("%+v: %v", c, right)
		}
		if right != nil && (right.Member() != c.who || right.Channel() != c.channel || right.Collection().ID != "x") {
			t.Errorf("%+v: %+v", c, right)
		}
		if id, ok := policy.Readable(right); ok != c.want || ok && id != "x" {
			t.Errorf("%+v: %q %v", c, id, ok)
		}
	}
	for name, right := range map[string]policy.Read{"none": nil, "wrapped": struct{ policy.Read }{policy.ToRead(r, exchange.As("cert"), &exchange.Collection{ID: "x", Everybody: true, Ceiling: tlp.Green}, exchange.ChannelTAXII)}} {
		if id, ok := policy.Readable(right); ok || id != "" {
			t.Error(name, id)
		}
	}
}

func TestWhatGoesOutOverNATS(t *testing.T) {
	r := parties()
	for member, want := range map[string]bool{"cert": true, "owner": false, "pub": true, "low": true, "nobody": false, "admin": false, "": false} {
		if (policy.OnNATS(r, member, &exchange.Collection{Everybody: true, Ceiling: tlp.Green}) != nil) != want {
			t.Errorf("%q: %v", member, !want)
		}
		if policy.OnNATS(r, member, &exchange.Collection{Everybody: true, Ceiling: tlp.Green, Feed: "f"}) != nil {
			t.Errorf("a feed's own goes out to %q", member)
		}
	}
}

// A hidden member is named to itself and the operator alone, nor are its identities others' to name.
func TestHiddenMembersAreNamedToNobody(t *testing.T) {
	r := parties()
	for from, want := range map[string]bool{"cert": true, "": true, "ghost": false, "admin": false} {
		if policy.Hides(r, "ghost", from) != want || policy.Hides(r, "cert", from) {
			t.Errorf("from %q: %v", from, !want)
		}
		shown := policy.Shown(r, &exchange.Receipt{Collections: map[string]int64{"cert": 2, "ghost": 3}}, from).Collections
		name := map[bool]string{true: exchange.HiddenName, false: "ghost"}[want]
		if d := cmp.Diff(map[string]int64{"cert": 2, name: 3}, shown); d != "" {
			t.Errorf("to %q: %s", from, d)
		}
	}
	for _, c := range []struct {
		member, identity string
		speaks, others   bool
	}{
		{"cert", r.IdentityID("cert"), true, false},
		{"cert", "identity--00000000-0000-4000-8000-0000000000aa", true, false},
		{"low", r.IdentityID("cert"), false, true},
		{"low", "identity--00000000-0000-4000-8000-0000000000aa", false, true},
		{"low", r.IdentityID("ghost"), false, false},
		{"low", "identity--00000000-0000-4000-8000-0000000000bb", false, false},
		{"ghost", r.IdentityID("ghost"), true, false},
		{"admin", r.IdentityID("cert"), false, true},
		{"cert", "identity--00000000-0000-4000-8000-0000000000cc", false, false},
	} {
		if policy.Speaks(r, c.member, c.identity) != c.speaks || policy.SpokenByOthers(r, c.member, c.identity) != c.others {
			t.Errorf("%+v", c)
		}
	}
}

// Addresses that cannot be an infected host's are refused, each for its reason; the exchange's own never
// are an infection.
func TestAddressesThatAreNobodysInfection(t *testing.T) {
	r := &exchange.Register{Own: []netip.Prefix{netip.MustParsePrefix("193.171.255.0/24")}}
	account := exchange.AccountKey("a@example.at")
	for _, c := range []struct {
		address string
		open    bool // allow_reserved
		account string
		want    string // in the reason, "" for none
	}{
		{"8.8.8.8", false, "", ""},
		{"2a00:1450::1", false, "", ""},
		{"193.171.255.9", false, "", "exchange's own"},
		{"193.171.255.9", true, "", "exchange's own"},
		{"10.0.0.1", false, "", "private or reserved"},
		{"10.0.0.1", true, "", ""},
		{"240.0.0.1", false, "", "reserved"},
		{"240.0.0.1", true, "", ""},
		{"127.0.0.1", true, "", "no host's"},
		{"0.0.0.0", true, "", "no host's"},
		{"224.0.0.1", true, "", "no host's"},
		{"fe80::1", true, "", "no host's"},
		{"255.255.255.255", true, "", "no host's"},
		{"64:ff9b::10.0.0.1", false, "", "64:ff9b::/96"},
		{"2002:a00:1::1", false, "", "2002::/16"},
		{"2001:0:a00:1::1", false, "", "2001::/23"},
		{"fec0::1", false, "", "outside 2000::/3"},
		{"4000::1", false, "", "outside 2000::/3"},
		{"8000::1", false, "", "outside 2000::/3"},
		{"8000::1", true, "", ""},
		{account.String(), false, "a@example.at", ""},
		{account.String(), true, "", "reserved"},
		{"100::1", true, "", "reserved"},
	} {
		e := &exchange.Event{Address: netip.MustParseAddr(c.address), Account: c.account}
		got := policy.RefusedEvent(e, r, &exchange.Feed{AllowReserved: c.open})
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
