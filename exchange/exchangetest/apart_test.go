package exchangetest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// Of two members' objects of one id, one of which the other may not see, a collection has one: nobody
// overwrites, deletes, withdraws or relabels what another has there, and each raises its own.
func TestACollectionHasOneObjectOfAnID(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strings.Replace(apartFile, "collections:\n", "collections:\n  - {id: low, ceiling: green, floor: clear, readers: all, writers: all}\n", 1))
	at, pl, admin := as(t, e, "cert-at"), as(t, e, "cert-pl"), as(t, e, exchange.Admin)
	must := func(m member, collection, object string) {
		t.Helper()
		if why := m.add(collection, object); why != "" {
			t.Fatal(collection, why)
		}
	}
	not := func(what, why string) {
		t.Helper()
		if why == "" {
			t.Errorf("%s: taken", what)
		}
	}
	has := func(m member, collection string, n int, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, m.has(collection, n)); d != "" {
			t.Errorf("%s of %d: %s", collection, n, d)
		}
	}
	deletes := func(m member, collection string, n int) int {
		t.Helper()
		code, _, _ := e.Do(t, "DELETE", "/exchange/collections/"+collection+"/objects/"+sampleID(n)+"/", m.id, m.token, "", "Accept", taxii.MediaType)
		return code
	}
	// cert-pl's is shared, and in board; cert-at's stands apart in its feedback collection.
	must(pl, "den", sample(1, version1, amber))
	must(at, "feedback-cert-at", sample(1, version1, amberStrict))
	must(pl, "board", sample(1, version2, amber))
	not("another's object in board", at.add("board", sample(1, version3, green)))
	not("a raise of another's object", at.add("board", sample(1, version3, red)))
	has(at, "board", 1, version2)
	if code := deletes(at, "board", 1); code != http.StatusForbidden {
		t.Error("cert-at deletes what cert-pl has added:", code)
	}
	must(pl, "den", sample(1, version3, amberStrict))
	has(at, "board", 1) // its owner has raised it
	// cert-at's is in board; cert-pl's raise is none of its business, and its own raise is.
	must(pl, "den", sample(2, version1, amber))
	must(at, "board", sample(2, version1, green))
	not("the shared object where another stands", pl.add("board", sample(2, version2, green)))
	must(pl, "den", sample(2, version3, amberStrict))
	has(pl, "board", 2, version1)
	must(at, "feedback-cert-at", sample(2, version2, amberStrict))
	has(pl, "board", 2)
	// What was dropped counts for its own member, as if it were there.
	must(pl, "box", sample(3, version1, green))
	must(at, "box", sample(3, version1, amber))
	has(pl, "box", 3, version1)
	if why := at.add("low", sample(3, version1, green)); !strings.Contains(why, "TLP:AMBER") {
		t.Error("its own label is forgotten:", why)
	}
	must(at, "low", sample(3, version2, green))
	// The operator relays another's object of an id that a member has taken.
	must(at, "feedback-cert-at", sample(4, version1, green))
	must(admin, "board", sample(4, version1, green+`,"created_by_ref":"identity--00000000-0000-4000-8000-0000000000ff"`))
	not("what the operator has relayed", at.add("board", sample(4, version2, green)))
}

// What members get over NATS does not tell which objects stand apart.
func TestNATSDoesNotTellWhatStandsApart(t *testing.T) {
	t.Parallel()
	headers := func(hidden bool) (list []string) {
		e := exchangetest.Start(t, apartFile)
		at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
		if hidden {
			if why := pl.add("den", sample(1, version1, amber)); why != "" {
				t.Fatal(why)
			}
		}
		for n := range 3 {
			if why := at.add("board", sample(n, version1, green)); why != "" {
				t.Fatal(why)
			}
		}
		nc, err := nats.Connect(e.NATSURL(), nats.UserInfo("cert-at", at.token), nats.CustomInboxPrefix("_INBOX.cert-at"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		in, err := nc.SubscribeSync("_INBOX.cert-at.x")
		if err == nil {
			err = nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.TOCSIN_BLOCKS.cert-at_board", "_INBOX.cert-at.x", []byte(`{"batch":3}`))
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			m, err := in.NextMsgWithContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for name, values := range m.Header {
				value := strings.Join(values, ",")
				if slices.Contains([]string{"Tocsin-By", "Tocsin-Added-First", "Tocsin-Previous", "Tocsin-Root", "Tocsin-Seed", "Tocsin-Sealed", "Nats-Msg-Id", "Nats-Expected-Last-Subject-Sequence"}, name) {
					value = strings.Repeat("x", len(value)) // random, or made of what is
				}
				list = append(list, name+": "+value)
			}
		}
		slices.Sort(list)
		return list
	}
	if d := cmp.Diff(headers(false), headers(true)); d != "" {
		t.Error(d)
	}
}
