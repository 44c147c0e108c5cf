package webhook

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever a receiver does and whoever asks for what again: each instant is taken, in a dead letter, or to
// come; and what was asked for again is taken, or dead again.
func TestNothingIsLostByAState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func(n int) time.Time { return time.Unix(int64(n), 0).UTC() }
		p := Pace{Least: 1, Most: 4, Refusals: 3, GiveUp: 10 * time.Second}
		st := &State{After: at(0)}
		taken, end, clock := make(map[int]bool), 0, 0
		again := func(from, to int64) { // what was taken counts no more
			for n := from + 1; n <= to; n++ {
				delete(taken, int(n))
			}
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			clock++
			end += rapid.IntRange(0, 3).Draw(t, "added")
			letter, fresh, _ := st.choose(at(clock))
			d := &delivery{after: at(0), reached: at(0)}
			if fresh && (letter == nil || !st.Turn) {
				d = &delivery{after: st.After, reached: at(end), kind: bundle, count: 1}
			} else if letter != nil {
				d = &delivery{after: letter.After, reached: letter.To, kind: bundle, again: true}
			}
			if some := int(d.reached.Sub(d.after) / time.Second); some > 1 {
				d.reached = d.after.Add(time.Duration(rapid.IntRange(1, some).Draw(t, "part")) * time.Second)
			}
			switch what := rapid.SampledFrom([]string{"take", "refuse", "fail", "fail", "resend", "from"}).Draw(t, "what"); {
			case what == "resend":
				for _, l := range st.Dead {
					again(l.After.Unix(), l.To.Unix())
				}
				st.resend()
			case what == "from":
				from := at(rapid.IntRange(0, end).Draw(t, "from"))
				if err := st.resendFrom(from, at(clock)); (err == nil) != from.Before(st.After) {
					t.Fatal(err)
				}
				again(from.Unix(), st.After.Unix())
			case !d.reached.After(d.after) || !st.stands(d):
			case what == "take":
				for n := d.after.Unix() + 1; n <= d.reached.Unix(); n++ {
					taken[int(n)] = true
				}
				st.taken(d, at(clock))
			case what == "refuse":
				st.failed(d, &refusal{404}, at(clock), &p)
			default:
				st.failed(d, errors.New("down"), at(clock), &p)
			}
			if len(st.Dead) > maxLetters {
				t.Fatal(len(st.Dead), "letters")
			}
			for n := 1; n <= end; n++ {
				waits := at(n).After(st.After)
				for _, l := range st.Dead {
					waits = waits || at(n).After(l.After) && !at(n).After(l.To)
				}
				if !waits && !taken[n] {
					t.Fatalf("%d is lost: %+v", n, st)
				}
			}
		}
	})
}

func TestWaitsDouble(t *testing.T) {
	p := DefaultPace
	for n, want := range []time.Duration{0: 5 * time.Second, 1: 5 * time.Second, 2: 10 * time.Second, 5: 80 * time.Second, 50: 10 * time.Minute} {
		if got := p.wait(n); want > 0 && got != want {
			t.Error(n, got, want)
		}
	}
}
