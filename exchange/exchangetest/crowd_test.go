package exchangetest_test

import (
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
)

// Whoever follows a collection while eight write to it gets everything, and
// nothing twice. TOCSIN_CROWD=100000 makes it the size of the claim.
func TestFollowersMissNothing(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	c := &exchangetest.Crowd{Base: e.HTTPURL, Collection: "/exchange/collections/board/", User: "cert-at", Token: e.Token(t, "cert-at"), Writers: 8}
	c.Run(t, exchangetest.CrowdSize(6000))
}
