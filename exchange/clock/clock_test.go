package clock_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/clock"
)

// machine has a clock that can be set, and time that passes.
type machine struct {
	wall    time.Time
	elapsed time.Duration
}

func (m *machine) pass(d time.Duration) { m.wall, m.elapsed = m.wall.Add(d), m.elapsed+d }

func (m *machine) clock(last time.Time, trust bool) *clock.Clock {
	return clock.New(clock.Options{
		Last: last, Trust: trust, Log: slog.New(slog.DiscardHandler),
		Wall: func() time.Time { return m.wall }, Elapsed: func() time.Duration { return m.elapsed },
	})
}

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func TestAClockIsFollowedWhileItGoesOn(t *testing.T) {
	for _, x := range []struct {
		name  string
		jump  time.Duration
		later time.Duration // that passes then
		off   time.Duration // by how much it is ahead of what has passed
		doubt bool
		jumps int
	}{
		{"as time goes", 0, time.Hour, 0, false, 0},
		{"set right a little", 30 * time.Second, time.Hour, 30 * time.Second, false, 0},
		{"back a little", -30 * time.Second, time.Hour, -30 * time.Second, false, 0},
		{"back an hour", -time.Hour, time.Second, 0, true, 1},
		{"back an hour, for long", -time.Hour, time.Hour, -time.Hour, false, 1},
		{"back two days", -48 * time.Hour, 48 * time.Hour, 0, true, 1},
		{"ahead an hour", time.Hour, time.Minute, 0, true, 1},
		{"ahead an hour, for long", time.Hour, time.Hour, time.Hour, false, 1},
		{"ahead a day", 24 * time.Hour, time.Minute, 0, true, 1},
		{"ahead a day, for long", 24 * time.Hour, time.Hour, 24 * time.Hour, false, 1},
		{"ahead two years", 2 * 365 * 24 * time.Hour, 48 * time.Hour, 0, true, 1},
	} {
		m := &machine{wall: noon}
		c := m.clock(time.Time{}, false)
		m.pass(time.Hour)
		c.Now()
		m.wall = m.wall.Add(x.jump)
		c.Now()
		m.pass(x.later)
		if got, want := c.Now(), noon.Add(time.Hour+x.later+x.off); !got.Equal(want) || c.Doubt() != x.doubt || c.Jumps() != x.jumps {
			t.Errorf("%s: %v, and not %v; doubt %v, %d jumps", x.name, got, want, c.Doubt(), c.Jumps())
		}
	}
}

// What jumped ahead and was set right again leaves nothing behind.
func TestAClockIsSetRightAgain(t *testing.T) {
	m := &machine{wall: noon}
	c := m.clock(time.Time{}, false)
	m.wall = m.wall.Add(1000 * 24 * time.Hour)
	m.pass(time.Hour)
	if !c.Doubt() {
		t.Error("a jump of a thousand days is believed")
	}
	m.wall = m.wall.Add(-1000 * 24 * time.Hour)
	m.pass(time.Hour)
	if got := c.Now(); c.Doubt() || !got.Equal(noon.Add(2*time.Hour)) {
		t.Error(got, c.Doubt())
	}
	// Back two days, and right again.
	m.wall = m.wall.Add(-48 * time.Hour)
	m.pass(time.Hour)
	c.Now()
	m.wall = m.wall.Add(48 * time.Hour)
	m.pass(time.Hour)
	if got := c.Now(); c.Doubt() || !got.Equal(noon.Add(4*time.Hour)) {
		t.Error(got, c.Doubt())
	}
}

// A machine that begins in 1970 and is set right minutes later is believed then; until then the exchange goes on from when it ran.
func TestAMachineThatBeginsIn1970(t *testing.T) {
	m := &machine{wall: time.Unix(60, 0).UTC()}
	c := m.clock(noon, false)
	m.pass(time.Minute)
	if got := c.Now(); !got.Equal(noon.Add(time.Minute)) || !c.Doubt() {
		t.Error(got, c.Doubt())
	}
	m.wall = noon.Add(72 * time.Hour)
	if got := c.Now(); !got.Equal(m.wall) || c.Doubt() {
		t.Error(got, c.Doubt())
	}
}

func TestAStart(t *testing.T) {
	for _, x := range []struct {
		name  string
		last  time.Time
		trust bool
		want  time.Time
		doubt bool
	}{
		{"the first", time.Time{}, false, noon, false},
		{"a day later", noon.Add(-24 * time.Hour), false, noon, false},
		{"two years later", noon.Add(-2 * 365 * 24 * time.Hour), false, noon.Add(-2 * 365 * 24 * time.Hour), true},
		{"two years later, and it is said to be so", noon.Add(-2 * 365 * 24 * time.Hour), true, noon, false},
		{"a day before", noon.Add(24 * time.Hour), false, noon.Add(24 * time.Hour), true},
	} {
		m := &machine{wall: noon}
		c := m.clock(x.last, x.trust)
		if got := c.Now(); !got.Equal(x.want) || c.Doubt() != x.doubt {
			t.Errorf("%s: %v, doubt %v", x.name, got, c.Doubt())
		}
	}
}
