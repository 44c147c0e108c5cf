package erasure_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/erasure"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

func matcher(t *testing.T) (*erasure.Order, *erasure.Matcher) {
	t.Helper()
	o := erasure.New(time.Now(), "admin", "asked", []netip.Addr{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("2001:db8::5")}, []string{"o'neil@mail.example"})
	return o, erasure.Match([]*erasure.Order{o})
}

// An address is found in each of its forms, between any letters, and no other is taken for it.
func TestText(t *testing.T) {
	_, m := matcher(t)
	for text, want := range map[string]bool{
		"203.0.113.5": true, "at 203.0.113.5.": true, `"203.0.113.5"`: true, "203.0.113.5:80": true, "203.0.113.5/32": true,
		"[ipv4-addr:value = '203.0.113.5']": true, "::ffff:203.0.113.5": true, "tcp://203.0.113.5:80/x": true, "a,203.0.113.5,b": true,
		"source:2001:db8::5": true, "face:2001:db8::5": true, "C:2001:db8::5": true, "203[.]0[.]113[.]5": true, "5.113.0.203.in-addr.arpa": true, "203.0.113.5and": true,
		"5.113.0.203": false, "203.0.113.5x": true,
		"203.0.113.50": false, "203.0.113.51": false, "1203.0.113.5": false, "203.0.113": false, "203.0.113.5.7": false, "2203.0.113.5": false,
		"2001:db8::5": true, "2001:DB8:0:0:0:0:0:5": true, "[2001:db8::5]:443": true, "2001:db8::50": false, "2001:db8::5:1": false, "2001:0db8:0000:0000:0000:0000:0000:0005": true,
		`203\u002e0.113.5`: true, `\u0032001:db8::5`: true, `203\u00`: false, `\u`: false,
		"o'neil@mail.example": true, "O'Neil@Mail.Example": true, `[email-addr:value = 'o\\'neil@mail.example']`: true, "mailto:o'neil@mail.example.": true, "<o'neil@mail.example>": true,
		"neil@mail.example": false, "x='o'neil@mail.example'": true, "o'neil@mail.example.org": false, "o'neil": false, "@": false, "a@": false, "@mail.example": false,
		"": false, ":::::": false, ".....": false, "2026-01-01T00:00:00.000Z": false, "09:00:00": false,
	} {
		if got := m.Text([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// What names it leaves lists, and becomes a word elsewhere; numbers and the rest are as they were.
func TestJSON(t *testing.T) {
	_, m := matcher(t)
	for text, want := range map[string]string{
		`{"a":"203.0.113.5","n":12345678901234567890}`:          `{"a":"(erased)","n":12345678901234567890}`,
		`{"list":["203.0.113.5","x",{"deep":["2001:db8::5"]}]}`: `{"list":["x"]}`,
		`{"203.0.113.5":1,"b":2}`:                               `{"b":2}`,
		`{"in":{"a":"seen 203.0.113.5"},"b":true}`:              `{"b":true,"in":{"a":"(erased)"}}`,
		`no json 203.0.113.5`:                                   `(erased)`,
		`"203.0.113.5"`:                                         `"(erased)"`,
	} {
		if got, changed := m.JSON([]byte(text)); !changed || string(got) != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	if got, changed := m.JSON([]byte(`{"a" : "203.0.113.6"}`)); changed || string(got) != `{"a" : "203.0.113.6"}` {
		t.Errorf("%s", got)
	}
}

// An order says nothing of what it erases, and nothing can be found by it once its key is destroyed.
func TestAnOrderDoesNotTell(t *testing.T) {
	o, _ := matcher(t)
	text, err := json.Marshal(o)
	if err != nil || bytes.Contains(text, []byte("203.0.113")) || bytes.Contains(text, []byte("neil")) || len(o.Hashes) != 3 {
		t.Errorf("%s %v", text, err)
	}
	var again erasure.Order
	if err := json.Unmarshal(text, &again); err != nil || !erasure.Match([]*erasure.Order{&again}).Address(netip.MustParseAddr("203.0.113.5")) {
		t.Errorf("%+v %v", again, err)
	}
	again.Key = nil
	if erasure.Match([]*erasure.Order{&again}).Address(netip.MustParseAddr("203.0.113.5")) {
		t.Error("an order without its key erases")
	}
	other := erasure.New(time.Now(), "admin", "asked", []netip.Addr{netip.MustParseAddr("203.0.113.5")}, nil)
	for _, h := range o.Hashes {
		if bytes.Equal(h, other.Hashes[0]) {
			t.Error("two orders can be told to be of the same address")
		}
	}
}

// Of a record goes all that is of what is erased, and nothing else; what it is known by stays.
func TestIntake(t *testing.T) {
	_, m := matcher(t)
	victim, other := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("203.0.113.6")
	event := func(a, dst netip.Addr, extra string) record.Accepted {
		return record.Accepted{Event: exchange.Event{Address: a, Dst: dst, DstPort: 80, Extra: extra, Count: 1}, Observation: -1}
	}
	in := &record.Intake{
		Feed: "f", Key: "of 203.0.113.5", Hash: [32]byte{1}, Number: 3, Previous: "p", Reason: "x",
		Decisions:    []exchange.Decision{{}},
		Observations: []record.Observation{{ObservationKey: exchange.ObservationKey{HostDay: exchange.HostDay{Address: victim}}, Count: 7}, {ObservationKey: exchange.ObservationKey{HostDay: exchange.HostDay{Address: other}}, Count: 7}},
		Events:       []record.Accepted{event(victim, other, ""), event(other, victim, `{"a":"203.0.113.5","b":"c"}`), event(other, other, "")},
		Cleaned:      []record.Cleaned{{Address: victim}, {Address: other}},
		Receipt:      exchange.Receipt{Problems: []exchange.Problem{{Reason: "203.0.113.5 is bad"}, {Reason: "203.0.113.6 is bad"}}, Notes: []exchange.Note{{Example: "203.0.113.5"}}},
	}
	victimID := in.Events[0].ID()
	had := in.Append(nil)
	if !m.Intake(in) {
		t.Fatal("nothing was found")
	}
	if len(in.Events) != 2 || in.Events[0].Dst.IsValid() || in.Events[0].Extra != `{"b":"c"}` && in.Events[0].Extra != `{"a":"(erased)","b":"c"}` || len(in.Cleaned) != 1 || in.Key != "" || in.Hash != [32]byte{} ||
		len(in.Receipt.Problems) != 1 || len(in.Receipt.Notes) != 0 || !in.Observations[0].Erased() || in.Observations[1].Erased() || in.Observations[1].Count != 7 {
		t.Errorf("%+v", in)
	}
	stays := in.AppendErased(nil, had)
	if record.IntakeHash(stays) != record.IntakeHash(had) {
		t.Error("it has another hash")
	}
	again, err := record.DecodeIntake(stays)
	if err != nil || again.Number != 3 || m.Text(stays) || bytes.Contains(stays, append([]byte{4}, victim.AsSlice()...)) {
		t.Errorf("%+v %v", again, err)
	}
	if m.Intake(again) {
		t.Error("a second time it finds something")
	}
	if record.IntakeHash(again.AppendErased(nil, stays)) != record.IntakeHash(had) {
		t.Error("erased twice it has another hash")
	}
	later := &record.Intake{Recalled: []exchange.EventID{victimID, {9}}}
	if !m.Intake(later) || len(later.Recalled) != 1 {
		t.Errorf("%+v", later.Recalled)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"203.0.113.5", "[2001:db8::5]:443", `\u0032001:db8::5`, `{"a":["o'neil@mail.example"]}`} {
		f.Add([]byte(s))
	}
	o := erasure.New(time.Now(), "admin", "asked", []netip.Addr{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("2001:db8::5")}, []string{"o'neil@mail.example"})
	f.Fuzz(func(t *testing.T, text []byte) {
		m := erasure.Match([]*erasure.Order{o})
		// Between letters that are of no address it is always found.
		if !m.Text(append(append([]byte{}, text...), " 203.0.113.5 "...)) {
			t.Errorf("not found behind %q", text)
		}
		if stays, changed := m.JSON(text); changed && m.Text(stays) {
			t.Errorf("%q stays of %q", stays, text)
		}
	})
}

// What came after an order had been carried out is not meant by it: it can come again.
func TestAnOrderIsOfWhatWasThere(t *testing.T) {
	o, _ := matcher(t)
	victim := netip.MustParseAddr("203.0.113.5")
	for _, until := range []time.Time{{}, time.Unix(1000, 0)} {
		o.Until = until
		m := erasure.Match([]*erasure.Order{o})
		for at, want := range map[int64]bool{1: true, 1000: true, 1001: until.IsZero()} {
			if m.Of(time.Unix(at, 0)); m.Address(victim) != want {
				t.Errorf("until %v, of %d: %v", until, at, !want)
			}
		}
		if m.Of(time.Time{}); !m.Address(victim) {
			t.Error("not at all")
		}
	}
}
