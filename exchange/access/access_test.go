package access_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func parties() *exchange.Register {
	now := time.Now()
	return &exchange.Register{
		Version: 1,
		Members: []exchange.Member{
			{ID: "cert-at", Kind: exchange.CSIRT, Clearance: tlp.Amber, Certificates: []string{"CN=cert-at", "dns:cert.at.example", "email:a@cert.at.example", "uri:spiffe://at"}},
			{ID: "cert-pl", Kind: exchange.CSIRT, Clearance: tlp.Amber},
			{ID: "isp", Kind: exchange.NetworkOwner, Clearance: tlp.Amber},
		},
		Declared: []exchange.Declared{{ID: "board", Ceiling: tlp.Green, Readers: []string{"all"}}, {ID: "den", Ceiling: tlp.Amber, Readers: []string{"cert-pl"}}},
		UUIDs:    map[string]string{"board": "b0a4d000-0000-4000-8000-000000000000"},
		Tokens: map[string][]exchange.Token{
			"cert-at": {
				{Name: "one", SHA256: exchange.HashToken("one")},
				{Name: "over", SHA256: exchange.HashToken("over"), Expires: now.Add(-time.Second)},
				{Name: "soon", SHA256: exchange.HashToken("soon"), Expires: now.Add(time.Hour), Person: "p", Scopes: []exchange.Scope{exchange.ScopeRead}},
			},
			"cert-pl": {{Name: "later", SHA256: exchange.HashToken("later"), Expires: now.Add(2 * time.Hour)}},
		},
	}
}

func TestWhoATokenIsOf(t *testing.T) {
	t.Parallel()
	a := access.New(parties())
	for _, c := range []struct {
		user, token, want string
	}{
		{"cert-at", "one", "cert-at one"},
		{"", "one", "cert-at one"},
		{"cert-pl", "one", "nobody"},
		{"cert-at", "over", "nobody"},
		{"cert-at", "soon", "cert-at soon"},
		{"cert-at", "later", "nobody"},
		{"cert-at", "", "nobody"},
		{"", "", "nobody"},
		{"cert-at", exchange.HashToken("one"), "nobody"},
	} {
		who, ok := a.Token(c.user, c.token)
		got := "nobody"
		if ok {
			got = who.Member + " " + who.Credential
		} else if d := cmp.Diff(exchange.Caller{}, who); d != "" {
			t.Error("a bad token is somebody's:", d)
		}
		if got != c.want {
			t.Errorf("%q %q: %s, want %s", c.user, c.token, got, c.want)
		}
	}
	if who, _ := a.Token("", "soon"); who.Person != "p" || who.May(exchange.ScopePublish) || !who.May(exchange.ScopeRead) {
		t.Errorf("%+v", who)
	}
}

func TestWhoACertificateIsOf(t *testing.T) {
	t.Parallel()
	a := access.New(parties())
	good := time.Now().Add(time.Hour)
	uri, err := url.Parse("spiffe://at")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		leaf x509.Certificate
		want string
	}{
		"its subject":      {x509.Certificate{NotAfter: good, Subject: pkix.Name{CommonName: "cert-at"}}, "cert-at"},
		"a name":           {x509.Certificate{NotAfter: good, DNSNames: []string{"x.example", "cert.at.example"}}, "cert-at"},
		"an address":       {x509.Certificate{NotAfter: good, EmailAddresses: []string{"a@cert.at.example"}}, "cert-at"},
		"a URI":            {x509.Certificate{NotAfter: good, URIs: []*url.URL{uri}}, "cert-at"},
		"over":             {x509.Certificate{NotAfter: time.Now().Add(-time.Second), Subject: pkix.Name{CommonName: "cert-at"}}, ""},
		"somebody else's":  {x509.Certificate{NotAfter: good, Subject: pkix.Name{CommonName: "cert-pl"}}, ""},
		"a name as a mail": {x509.Certificate{NotAfter: good, EmailAddresses: []string{"cert.at.example"}}, ""},
	} {
		if got := a.Certificate(&c.leaf); got.Member != c.want {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}

func TestWhoReadsWhat(t *testing.T) {
	t.Parallel()
	a := access.New(parties())
	for _, c := range []struct {
		who, name string
		want      bool
	}{
		{"cert-at", "board", true},
		{"cert-at", "b0a4d000-0000-4000-8000-000000000000", true},
		{"cert-at", "den", false},
		{"cert-pl", "den", true},
		{"cert-at", "cert-at", true},
		{"cert-pl", "cert-at", false},
		{"cert-at", "nothing", false},
		{"", "board", false},
		{"ghost", "board", false},
	} {
		right := a.Read(exchange.As(c.who), c.name, exchange.ChannelEvents)
		if (right != nil) != c.want {
			t.Errorf("%s reads %s: %v", c.who, c.name, !c.want)
		}
		if right != nil && (right.Member() != c.who || right.Channel() != exchange.ChannelEvents || right.Collection() != a.Collection(c.name)) {
			t.Errorf("%s reads %s as %s", c.who, c.name, right.Member())
		}
	}
}

func TestLoginsAreWhatMembersReadOverNATS(t *testing.T) {
	t.Parallel()
	reads := func(all access.Logins) map[string][]string {
		got := make(map[string][]string)
		for member, l := range all {
			for _, right := range l.Reads {
				if right.Member() != member || right.Channel() != exchange.ChannelNATS {
					t.Errorf("%s has a right of %s by %s", member, right.Member(), right.Channel())
				}
				got[member] = append(got[member], right.Collection().ID)
			}
		}
		return got
	}
	r, now := parties(), time.Now()
	all, ends := access.New(r).Logins(now)
	if d := cmp.Diff(map[string][]string{"cert-at": {"board", "cert-at"}, "cert-pl": {"board", "cert-pl", "den"}}, reads(all)); d != "" {
		t.Error(d)
	}
	if !ends.Equal(r.Tokens["cert-at"][2].Expires) {
		t.Error("the next credential ends at", ends)
	}
	// A credential that ends, or a right, changes whose login it is, and nobody else's.
	later, _ := access.New(r).Logins(now.Add(90 * time.Minute))
	r.Declared[1].Readers = nil
	fewer, _ := access.New(r).Logins(now)
	for member, changed := range map[string][2]bool{"cert-at": {true, false}, "cert-pl": {false, true}, "isp": {false, false}} {
		if all[member].Equal(later[member]) == changed[0] || all[member].Equal(fewer[member]) == changed[1] {
			t.Errorf("%s: %+v %+v %+v", member, all[member], later[member], fewer[member])
		}
	}
	if _, ends := access.New(r).Logins(now.Add(3 * time.Hour)); !ends.IsZero() {
		t.Error("nothing ends any more, but", ends)
	}
}
