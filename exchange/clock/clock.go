// Package clock is the time of the exchange. A machine's clock can be wrong: a start two years ahead would make all that is kept
// for a while too old, and stamps that only rise would stay ahead for two years. So the exchange follows the machine's clock
// only while that goes on as time does. When it jumps, the exchange counts on by itself, deletes nothing for its age, and says so,
// until the clock is where it would be, or has stayed within a day of that for a while.
package clock

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// tolerance is by how much the machine's clock may differ from what is expected: it is being set right all the time.
	tolerance = time.Minute
	// longest is for how long an exchange may have been off before its clock is doubted at its start.
	longest = 60 * 24 * time.Hour
	// A jump by up to soon is followed once it has lasted for patience: a clock was set right, or the machine slept.
	soon     = 26 * time.Hour
	patience = 10 * time.Minute
)

// Clock is safe for concurrent use.
type Clock struct {
	wall func() time.Time
	mono func() time.Duration
	log  *slog.Logger

	mu    sync.Mutex // guards what is below
	base  time.Time  // what time it was
	at    time.Duration
	since time.Duration // since when it is in doubt
	doubt bool
	early bool // it was behind when it was started: what it is set to then is believed, however long the exchange was off
	jumps int
}

// Options are what New wants.
type Options struct {
	// Last is when the exchange ran last, zero where that is not known.
	Last time.Time
	// Trust says that the machine's clock is right, however long ago that was.
	Trust bool
	Log   *slog.Logger
	// Wall is the machine's clock, and Elapsed is how much time has passed, also where Wall was set wrong; nil for the machine's.
	Wall    func() time.Time
	Elapsed func() time.Duration
}

// New starts a clock.
func New(o Options) *Clock {
	c := &Clock{wall: o.Wall, mono: o.Elapsed, log: o.Log}
	if c.wall == nil {
		c.wall = time.Now
	}
	if c.mono == nil {
		began := time.Now()
		c.mono = func() time.Duration { return time.Since(began) }
	}
	now := c.wall().Round(0) // without what Go measures beside it
	c.base, c.at = now, c.mono()
	switch ahead := now.Sub(o.Last); {
	case o.Last.IsZero() || o.Trust:
	case ahead > longest:
		c.doubted(o.Last)
		c.log.Error("the machine's clock is far ahead of when the exchange ran last: nothing is deleted for its age, and stamps go on from then, until it is set right, or the exchange is started with --trust-clock",
			"clock", now.UTC(), "last", o.Last.UTC())
	case ahead < -tolerance:
		c.doubted(o.Last)
		c.early = true
		c.log.Error("the machine's clock is behind of when the exchange ran last: nothing is deleted for its age, and stamps go on from then, until it is set right, or the exchange is started with --trust-clock",
			"clock", now.UTC(), "last", o.Last.UTC())
	}
	return c
}

// doubted has the clock count on from an instant by itself.
func (c *Clock) doubted(from time.Time) {
	c.base, c.doubt, c.since = from, true, c.at
	c.jumps++
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.mono()
	now, expected := c.wall().Round(0), c.base.Add(at-c.at)
	off := now.Sub(expected)
	right := off >= -tolerance && off <= tolerance || c.early && off > 0 && off <= longest
	switch {
	case right && c.doubt:
		c.log.Info("the machine's clock is right again", "clock", now.UTC())
	case right:
	case !c.doubt:
		c.jumps++
		c.doubt, c.since = true, at
		c.log.Error("the machine's clock jumped: nothing is deleted for its age, and stamps go on without it, until it is set right, or has stayed within a day for ten minutes", "by", off.Round(time.Second), "clock", now.UTC())
		return expected
	case off.Abs() <= soon && at-c.since >= patience:
		c.log.Warn("the machine's clock is followed: it has stayed where it jumped to", "by", off.Round(time.Second), "clock", now.UTC())
	default:
		return expected
	}
	c.base, c.at, c.doubt, c.early = now, at, false, false
	return now
}

// Doubt tells whether the machine's clock is in doubt: then nothing may be deleted for its age.
func (c *Clock) Doubt() bool {
	c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.doubt
}

// Jumps is how often the machine's clock has jumped, its start included.
func (c *Clock) Jumps() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jumps
}
