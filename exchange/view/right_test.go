package view_test

import (
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
)

var rightTo = view.RightTo

// madeUp has the methods of a right, by embedding one that is none.
type madeUp struct{ policy.Read }

func TestNothingIsReadWithoutARight(t *testing.T) {
	v, err := view.Open(view.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = v.Close(t.Context()) }()
	if _, err := v.Page(t.Context(), rightTo("a"), view.Query{Limit: 1}); err != nil {
		t.Error("with a right:", err)
	}
	for name, right := range map[string]policy.Read{"none": nil, "a made-up one": madeUp{}, "a wrapped one": madeUp{rightTo("a")}} {
		if _, err := v.Page(t.Context(), right, view.Query{Limit: 1}); err == nil {
			t.Errorf("%s: a page was given", name)
		}
		if _, err := v.Withdrawn(right, time.Time{}, 1); err == nil {
			t.Errorf("%s: withdrawals were told", name)
		}
		if _, err := v.Removed(right, time.Time{}, 1); err == nil {
			t.Errorf("%s: removals were told", name)
		}
	}
}
