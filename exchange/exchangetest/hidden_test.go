package exchangetest_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/packaging"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// A hidden member appears to no other member anywhere: not its id, not its name, not its identity, nor an id
// that could be made of it.
func TestHiddenMembersAppearToNobody(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strings.NewReplacer("{id: dcu, kind: publisher,", "{id: dcu, name: Crimes Unit, hidden: true, kind: publisher,", "{id: isp-one,", "{id: isp-one, name: Provider, hidden: true,").Replace(labelled))
	at, isp, dcu := as(t, e, "cert-at"), as(t, e, "isp-one"), as(t, e, "dcu")
	_, _, receipt := e.Do(t, "POST", "/v1/feeds/rustock/events?format=csv", dcu.id, dcu.token, "ip,timestamp,cc,asn\n240.1.0.1,2026-03-19T10:00:00Z,AT,64511\n")
	if !strings.Contains(receipt, `"hidden":1`) || !strings.Contains(receipt, `"cert-at":1`) {
		t.Error(receipt)
	}
	for n, m := range []member{isp, dcu} {
		// To others its identity is nobody's, as one that there is not.
		identity, nobody := e.Identity(m.id), "identity--00000000-0000-4000-8000-00000000abcd"
		for k, with := range []string{`,"created_by_ref":"%s"`, `,"x_refs":["%s"]`, `,"x_seen":{"by":"%s"}`} {
			guess := at.add("feedback-cert-at", sample(100+10*n+k, version1, amber+fmt.Sprintf(with, identity)))
			if none := at.add("feedback-cert-at", sample(200+10*n+k, version1, amber+fmt.Sprintf(with, nobody))); guess != none {
				t.Errorf("a guess is confirmed: %q is not %q", guess, none)
			}
		}
		if why := m.add("mid", sample(10+n, version1, amber)); why != "" {
			t.Error(why)
		}
	}
	var seen strings.Builder
	for _, path := range []string{
		"/exchange/collections/cert-at/objects/", "/exchange/collections/mid/objects/", "/exchange/collections/", "/v1/collections", "/v1/members", "/v1/feeds",
		"/v1/explain?address=240.1.0.1", "/v1/explain?address=240.1.0.1&day=2026-03-19", "/v1/self",
	} {
		_, _, text := e.Do(t, "GET", path, at.id, at.token, "", "Accept", taxii.MediaType)
		seen.WriteString(text)
	}
	_, _, explained := e.Do(t, "GET", "/v1/explain?address=240.1.0.1&day=2026-03-19", dcu.id, dcu.token, "")
	if !strings.Contains(explained, "cert-at") {
		t.Error(explained)
	}
	events, _ := receive(t, e, at.id, at.token, "mid", "", "", 2)
	for what, text := range map[string]string{"what cert-at sees": seen.String(), "the publisher's receipt": receipt, "the publisher's explanation": explained, "events": strings.Join(events, " ")} {
		for _, name := range []string{"isp-one", "Provider", "Crimes Unit", e.Identity("dcu"), e.Identity("isp-one")} {
			if strings.Contains(text, name) {
				t.Errorf("%s names %s: %s", what, name, text)
			}
		}
	}
	if !strings.Contains(seen.String(), "A publisher who is not named") || strings.Contains(seen.String(), `"dcu"`) {
		t.Error(seen.String())
	}
	// The guess that it is dcu cannot be confirmed by an id either.
	r := e.Register.Current()
	was := exchange.Feed{Operation: "rustock", Publisher: "dcu"}
	of := exchange.HostDay{Address: netip.MustParseAddr("240.1.0.1"), Day: 20531}.At(exchange.Location{Country: "AT", ASN: 64511})
	if !strings.Contains(seen.String(), r.IDs.Of("observed-data", r.Feeds[0].Recipe(of, packaging.Version)...)) {
		t.Error("the recipe of ids is another than this test's")
	}
	if strings.Contains(seen.String(), r.IDs.Of("observed-data", was.Recipe(of, packaging.Version)...)) {
		t.Error("the id of an object tells who publishes")
	}
	if _, _, text := e.Do(t, "GET", "/v1/members", exchange.Admin, e.AdminToken(), ""); !strings.Contains(text, "Crimes Unit") {
		t.Error("the operator sees all:", text)
	}
}
