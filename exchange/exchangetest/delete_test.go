package exchangetest_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// Members delete what they have added or are the creator of, the operator everything, and nobody what
// others have added.
func TestMembersDeleteTheirOwn(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl, admin := as(t, e, "cert-at"), as(t, e, "cert-pl"), as(t, e, exchange.Admin)
	address := func(n byte) (id, text string) {
		a := netip.AddrFrom4([4]byte{198, 51, 100, n})
		id = stix.AddressID(a)
		return id, string(stix.AppendAddress(nil, a, id))
	}
	deletes := func(m member, id, query string) int {
		t.Helper()
		code, _, _ := e.Do(t, "DELETE", "/exchange/collections/mid/objects/"+id+"/"+query, m.id, m.token, "", "Accept", taxii.MediaType)
		return code
	}
	must := func(m member, objects ...string) {
		t.Helper()
		for _, o := range objects {
			if why := m.add("mid", o); why != "" {
				t.Fatal(why)
			}
		}
	}
	mine, minesText := address(1)
	both, bothText := address(2)
	again, againText := address(3)
	must(at, sample(1, version1, green), sample(1, version2, green), minesText, bothText, againText, againText)
	must(pl, bothText, againText)
	must(admin, sample(2, version1, green+`,"created_by_ref":"identity--00000000-0000-4000-8000-0000000000cc"`), sample(3, version1, green))
	for _, c := range []struct {
		by    member
		id    string
		query string
		want  int
	}{
		{pl, sampleID(1), "", http.StatusForbidden},
		{pl, sampleID(1), "?match[version]=first", http.StatusForbidden},
		{pl, mine, "", http.StatusForbidden},
		{pl, sampleID(7), "", http.StatusNotFound},
		{pl, both, "", http.StatusForbidden}, // it was there when cert-pl added it
		{pl, again, "", http.StatusForbidden},
		{at, sampleID(2), "", http.StatusForbidden},
		{pl, sampleID(3), "", http.StatusForbidden},
		{at, sampleID(1), "?match[version]=first", http.StatusOK},
		{at, sampleID(1), "", http.StatusOK},
		{at, mine, "", http.StatusOK},
		{pl, sampleID(2), "", http.StatusOK}, // which the operator has relayed, and is cert-pl's
		{at, both, "", http.StatusOK},
		{admin, again, "", http.StatusOK},
		{admin, sampleID(3), "", http.StatusOK},
		{at, sampleID(1), "", http.StatusNotFound},
	} {
		if got := deletes(c.by, c.id, c.query); got != c.want {
			t.Errorf("%s deletes %s%s: %d, want %d", c.by.id, c.id, c.query, got, c.want)
		}
	}
}
