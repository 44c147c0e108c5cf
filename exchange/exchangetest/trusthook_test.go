package exchangetest_test

import (
	"net/http/httptest"
	"net/netip"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// hook has a webhook of a member sent all of a collection, and compares that: AMBER+STRICT leaves by no
// webhook, an address of a collection that holds such because nobody has said what it is.
func (w *world) hook(c, member string, want []string) {
	r := &receiver{t: w.T}
	r.Server = httptest.NewServer(r)
	defer r.Close()
	_, err := w.e.Register.Change(w.Context(), "test", func(reg *exchange.Register) error {
		reg.Webhooks = []exchange.Webhook{{
			ID: "hook", Member: member, Collection: c, URL: r.URL, Send: exchange.SendBundle,
			Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Created: time.Unix(int64(w.n), 0).UTC(),
		}}
		return nil
	})
	w.n++ // another webhook each time
	if may := w.o.mayRead(member, "", c, "webhook"); may != (err == nil) {
		w.Errorf("a webhook of %s for %s: %v, the oracle says %v", c, member, err, may)
	}
	if err != nil {
		return
	}
	m := memberOf(w, member)
	waitFor(w.T, "the end of "+c, func() bool { st := m.hook("hook"); return !st.State.After.Before(st.Newest) })
	var got []string
	for _, x := range r.all("bundle") {
		got = append(got, linesOf(w, x.body)...)
	}
	slices.Sort(got)
	if w.o.ceiling[c] > 3 {
		high := make(map[string]bool)
		for _, x := range w.posted.Read(c) {
			high[line(w, x.Text)] = x.Label > 3
		}
		want = slices.DeleteFunc(slices.Clone(want), func(l string) bool { return high[l] })
	}
	w.same(c+" by webhook for "+member, newest(slices.Compact(got)), want)
	if _, err := w.e.Register.Change(w.Context(), "test", func(reg *exchange.Register) error { reg.Webhooks = nil; return nil }); err != nil {
		w.Error(err)
	}
}

func memberOf(w *world, id string) member { return member{w.T, w.e, id, w.tokens[id]} }
