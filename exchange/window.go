package exchange

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window is a length of time as the register's file writes it: 30d, 24h, 90m.
type Window time.Duration

// MarshalText writes days where it is whole days.
func (w Window) MarshalText() ([]byte, error) {
	d := time.Duration(w)
	if d != 0 && d%(24*time.Hour) == 0 {
		return fmt.Appendf(nil, "%dd", d/(24*time.Hour)), nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads days, or what Go writes a duration as.
func (w *Window) UnmarshalText(text []byte) error {
	s := string(text)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("%.40q is not a length of time such as 30d or 24h", s)
		}
		*w = Window(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%.40q is not a length of time such as 30d or 24h", s)
	}
	*w = Window(d)
	return nil
}

// String returns it as the file has it.
func (w Window) String() string {
	text, _ := w.MarshalText() // never fails
	return string(text)
}

// Retention is how long what a collection was given is kept, of a feed, or, where that is "", of what members have posted; and, for
// no collection, how long a feed's rows are. Zero is for ever.
func (r *Register) Retention(collection, feed string) time.Duration {
	var of, in Window
	if f := r.Feed(feed); f != nil {
		of = f.Retention
	}
	for i := range r.Declared {
		if r.Declared[i].ID == collection {
			in = r.Declared[i].Retention
		}
	}
	if of == 0 || in > 0 && in < of {
		of = in
	}
	return time.Duration(of)
}

// ShortestRetention is the shortest time that anything is kept, zero where all is for ever.
func (r *Register) ShortestRetention() time.Duration {
	var all []Window
	for i := range r.Feeds {
		all = append(all, r.Feeds[i].Retention)
	}
	for i := range r.Declared {
		all = append(all, r.Declared[i].Retention)
	}
	if all = slices.DeleteFunc(all, func(w Window) bool { return w == 0 }); len(all) == 0 {
		return 0
	}
	return time.Duration(slices.Min(all))
}

// MaxRepeat is the longest time that repeats are suppressed.
const MaxRepeat = Window(30 * 24 * time.Hour)
