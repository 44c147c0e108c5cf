package admission_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// packagerFunc is a packager made of what it does.
type packagerFunc func(in *record.Intake) ([]record.Share, error)

func (f packagerFunc) Shares(in *record.Intake) ([]record.Share, error)   { return f(in) }
func (f packagerFunc) Outlines(in *record.Intake) ([]record.Share, error) { return f(in) }

// packagersOf makes packagers of which every one does this.
func packagersOf(f packagerFunc) *admission.Packagers {
	return &admission.Packagers{
		Register: func(context.Context, uint64) (*exchange.Register, error) { return new(exchange.Register), nil },
		New:      func(*exchange.Register, string) (admission.Packager, error) { return f, nil },
	}
}

func only(collection string) func(string) bool {
	return func(c string) bool { return c == collection }
}

func TestARecordIsPackagedOnceForBothAndThenForgotten(t *testing.T) {
	made := 0
	p := packagersOf(func(*record.Intake) ([]record.Share, error) {
		made++
		return []record.Share{{Collection: "cert-pl"}, {Collection: "feed-rustock"}}, nil
	})
	in := &record.Intake{Feed: "rustock", Hash: [32]byte{1}}
	for i, want := range []int{1, 1, 2, 2} { // whom the third asks for, it makes anew
		of := []string{"cert-pl", "feed-rustock"}[i%2]
		shares, err := p.Shares(t.Context(), in, only(of))
		if err != nil || len(shares) != 1 || shares[0].Collection != of {
			t.Fatalf("shares %v, %v; want that of %s", shares, err, of)
		}
		if made != want {
			t.Errorf("packaged %d times after %d asked, want %d", made, i+1, want)
		}
	}
	if _, err := p.Again(t.Context(), in, only("feed-rustock")); err != nil || made != 3 {
		t.Errorf("packaged %d times after a look at the past, want 3 (%v)", made, err)
	}
	if _, err := p.Shares(t.Context(), in, only("cert-pl")); err != nil || made != 4 {
		t.Errorf("packaged %d times, want 4: a look at the past keeps nothing (%v)", made, err)
	}
}

// What fails for one is tried for the other, who gets what it wants and no other collection's.
func TestAFailureIsNotPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, fail := 0, make(chan struct{})
		p := packagersOf(func(*record.Intake) ([]record.Share, error) {
			if calls++; calls == 1 {
				<-fail
				return nil, errors.New("gone")
			}
			return []record.Share{{Collection: "cert-pl"}, {Collection: "feed-rustock"}}, nil
		})
		in := &record.Intake{Feed: "rustock"}
		go func() {
			if _, err := p.Shares(t.Context(), in, only("feed-rustock")); err == nil {
				t.Error("the first did not fail")
			}
		}()
		synctest.Wait()
		go func() {
			synctest.Wait()
			close(fail)
		}()
		shares, err := p.Shares(t.Context(), in, only("cert-pl"))
		if err != nil || len(shares) != 1 || shares[0].Collection != "cert-pl" {
			t.Errorf("shares %v, %v; want that of cert-pl alone", shares, err)
		}
	})
}
