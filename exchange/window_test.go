package exchange_test

import (
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// What is kept is kept as long as the feed says, or the collection, whichever is shorter; zero is for ever.
func TestRetention(t *testing.T) {
	const day = exchange.Window(24 * time.Hour)
	r := &exchange.Register{
		Feeds:    []exchange.Feed{{ID: "ever"}, {ID: "short", Retention: 30 * day}},
		Declared: []exchange.Declared{{ID: "board", Retention: 60 * day}, {ID: "brief", Retention: 10 * day}, {ID: "drop"}},
	}
	for _, x := range []struct {
		collection, feed string
		days             exchange.Window
	}{
		{"", "short", 30},
		{"", "ever", 0},
		{"", "unknown", 0},
		{"cert-at", "short", 30},
		{"cert-at", "ever", 0},
		{"board", "", 60},
		{"board", "short", 30},
		{"brief", "short", 10},
		{"brief", "ever", 10},
		{"drop", "", 0},
		{"drop", "short", 30},
		{"unknown", "", 0},
	} {
		if got := r.Retention(x.collection, x.feed); got != time.Duration(x.days*day) {
			t.Errorf("%q of %q: %v", x.feed, x.collection, got)
		}
	}
	if got := r.ShortestRetention(); got != time.Duration(10*day) {
		t.Error(got)
	}
	if got := new(exchange.Register).ShortestRetention(); got != 0 {
		t.Error(got)
	}
}
