// Package clock is the time of the exchange. A machine's clock can be wrong: a start two years ahead would make all that is kept
// for a while too old, and stamps that only rise would stay ahead for two years. So the exchange follows the machine's clock
// only while that goes on as time does; when it jumps ahead, the exchange goes on by itself, deletes nothing that is too old, and
// says so.
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
	// A jump ahead by up to soon is followed once it has lasted for patience: a clock was set right, or the machine slept.
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
	jumps int
}

// Options are what New wants.
type Options struct {
	// Last is when the exchange ran last, zero where that is not known.
	Last time.Time
	// Trust says that the machine's clock is right, however long ago that was.
	Trust bool
	Log   *slog.Logger
	// Wall is the machine's clock, and Elapsed is how much time has passed, whatever that says; nil for the machine's.
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
		c.base, c.doubt, c.since = o.Last, true, c.at
		c.log.Error("the machine's clock is far ahead of when the exchange ran last: nothing is deleted for its age, and stamps go on from then, until it is set right, or the exchange is started with --trust-clock",
			"clock", now.UTC(), "last", o.Last.UTC())
	case ahead < -tolerance:
		c.jumps++
		c.log.Warn("the machine's clock is behind of when the exchange ran last", "clock", now.UTC(), "last", o.Last.UTC())
	}
	return c
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.mono()
	now, expected := c.wall().Round(0), c.base.Add(at-c.at)
	switch off := now.Sub(expected); {
	case off >= -tolerance && off <= tolerance:
		if c.doubt {
			c.log.Info("the machine's clock is right again", "clock", now.UTC())
		}
		c.base, c.at, c.doubt = now, at, false
		return now
	case off < 0:
		c.jumps++
		c.log.Warn("the machine's clock went back", "by", -off.Round(time.Second), "clock", now.UTC())
		c.base, c.at, c.doubt = now, at, false
		return now
	case !c.doubt:
		c.jumps++
		c.doubt, c.since = true, at
		c.log.Error("the machine's clock jumped ahead: nothing is deleted for its age, and stamps go on without it", "by", off.Round(time.Second), "clock", now.UTC())
	case off <= soon && at-c.since >= patience:
		c.log.Warn("the machine's clock is followed: it has stayed ahead", "by", off.Round(time.Second), "clock", now.UTC())
		c.base, c.at, c.doubt = now, at, false
		return now
	}
	return expected
}

// Doubt tells whether the machine's clock is in doubt: then nothing may be deleted for its age.
func (c *Clock) Doubt() bool {
	c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.doubt
}

// Jumps is how often the machine's clock has jumped.
func (c *Clock) Jumps() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jumps
}
