package record

import (
	"maps"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Append writes the record in the journal's form: a version byte, varints, and
// each string once. It is smaller and ten times faster than JSON, and a
// takedown writes and reads a million events of it.
func (in *Intake) Append(b []byte) []byte {
	e := encoder{b: append(b, recordVersion), strings: make(map[string]uint64, 64)}
	e.text(in.Feed)
	e.text(in.Key)
	e.b = append(e.b, in.Hash[:]...)
	e.int(in.At.UnixMicro())
	e.uint(in.Register)
	e.text(in.RegisterHash)
	e.text(in.Networks)
	e.uint(in.Number)
	e.text(in.Previous)
	e.head(in.Blocks)
	e.head(in.Audit)
	e.b = append(e.b, in.Packaging)
	e.receipt(&in.Receipt)
	e.bool(in.Backfill)
	e.bool(in.Repeats)
	e.uint(uint64(len(in.Cleaned)))
	for _, c := range in.Cleaned {
		e.address(c.Address)
		e.text(c.Member)
		e.int(c.At.UnixMilli())
	}
	e.uint(uint64(len(in.Decisions)))
	for i := range in.Decisions {
		e.decision(&in.Decisions[i])
	}
	e.uint(uint64(len(in.Observations)))
	for i := range in.Observations {
		e.observation(&in.Observations[i])
	}
	e.uint(uint64(len(in.Events)))
	for i := range in.Events {
		e.event(&in.Events[i])
	}
	e.uint(uint64(len(in.Introductions)))
	for _, x := range in.Introductions {
		e.text(x.Collection)
		e.text(x.Topic)
	}
	e.uint(uint64(len(in.Withdrawals)))
	for _, x := range in.Withdrawals {
		e.text(x.Collection)
		e.uint(uint64(x.Observation))
	}
	e.uint(uint64(len(in.Recalled)))
	for _, id := range in.Recalled {
		e.b = append(e.b, id[:]...)
	}
	e.text(in.Reason)
	e.b = append(e.b, in.Nonce[:]...)
	return e.b
}

// DecodeBeginning reads of what Append wrote only what stands before Packaging.
func DecodeBeginning(b []byte) (*Intake, error) {
	d := decoder{b: b}
	in := d.beginning()
	return in, d.err
}

func (d *decoder) beginning() *Intake {
	d.begin()
	in := &Intake{Feed: d.text(), Key: d.text()}
	copy(in.Hash[:], d.take(32))
	in.At = time.UnixMicro(d.int()).UTC()
	in.Register, in.RegisterHash, in.Networks = d.uint(), d.text(), d.text()
	in.Number, in.Previous, in.Blocks = d.uint(), d.text(), d.head()
	if d.version >= 8 {
		in.Audit = d.head()
	}
	return in
}

// DecodeIntake reads what Append wrote. Every index in the result is in range.
func DecodeIntake(b []byte) (*Intake, error) {
	d := decoder{b: b}
	in := d.beginning()
	in.Packaging = d.byte()
	in.Receipt = d.receipt()
	in.Receipt.Feed = in.Feed
	in.Backfill, in.Repeats = d.byte() != 0, d.byte() != 0
	in.Cleaned = make([]Cleaned, d.count())
	for i := range in.Cleaned {
		in.Cleaned[i] = Cleaned{Address: d.address(), Member: d.text(), At: d.millis()}
	}
	in.Decisions = make([]exchange.Decision, d.count())
	for i := range in.Decisions {
		in.Decisions[i] = d.decision()
	}
	in.Observations = make([]Observation, d.count())
	for i := range in.Observations {
		o := d.observation()
		if o.Decision < 0 || o.Decision >= len(in.Decisions) {
			d.fail()
		}
		in.Observations[i] = o
	}
	in.Events = make([]Accepted, d.count())
	for i := range in.Events {
		a := d.event()
		if a.Decision < 0 || a.Decision >= len(in.Decisions) || a.Observation < -1 || a.Observation >= len(in.Observations) {
			d.fail()
		}
		in.Events[i] = a
	}
	in.Introductions = make([]Introduction, d.count())
	for i := range in.Introductions {
		in.Introductions[i] = Introduction{Collection: d.text(), Topic: d.text()}
	}
	in.Withdrawals = make([]Withdrawal, d.count())
	for i := range in.Withdrawals {
		x := Withdrawal{Collection: d.text(), Observation: int(d.uint())}
		if x.Observation < 0 || x.Observation >= len(in.Observations) {
			d.fail()
		}
		in.Withdrawals[i] = x
	}
	if d.version >= 7 {
		if n := d.count(); n > 0 {
			in.Recalled = make([]exchange.EventID, n)
		}
		for i := range in.Recalled {
			copy(in.Recalled[i][:], d.take(uint64(len(in.Recalled[i]))))
		}
		in.Reason = d.text()
	}
	if d.version >= 9 {
		copy(in.Nonce[:], d.take(uint64(len(in.Nonce))))
	}
	if err := d.done(); err != nil {
		return nil, err
	}
	return in, nil
}

func (e *encoder) receipt(r *exchange.Receipt) {
	for _, n := range [...]int64{r.Rows, r.Events, r.Rejected, r.Duplicates, r.Unclaimed, r.Withheld, r.ProblemsTotal, r.Disagreements, r.Suppressed} {
		e.int(n)
	}
	e.uint(uint64(len(r.Collections)))
	for _, c := range slices.Sorted(maps.Keys(r.Collections)) {
		e.text(c)
		e.int(r.Collections[c])
	}
	e.uint(uint64(len(r.Problems)))
	for _, p := range r.Problems {
		e.int(int64(p.Line))
		e.text(p.Column)
		e.text(p.Reason)
		e.uint(uint64(p.Rows))
	}
	e.uint(uint64(len(r.Notes)))
	for _, n := range r.Notes {
		e.int(int64(n.Line))
		e.int(n.Rows)
		e.text(n.Column)
		e.text(n.Reason)
		e.text(n.Example)
	}
	e.uint(uint64(len(r.Unread)))
	for _, name := range r.Unread {
		e.text(name)
	}
	e.int(r.Raised)
}

func (d *decoder) receipt() (r exchange.Receipt) {
	for _, n := range [...]*int64{&r.Rows, &r.Events, &r.Rejected, &r.Duplicates, &r.Unclaimed, &r.Withheld, &r.ProblemsTotal, &r.Disagreements, &r.Suppressed} {
		*n = d.int()
	}
	n := d.count()
	r.Collections = make(map[string]int64, n)
	for range n {
		c := d.text()
		r.Collections[c] = d.int()
	}
	if n := d.count(); n > 0 {
		r.Problems = make([]exchange.Problem, n)
	}
	for i := range r.Problems {
		r.Problems[i] = exchange.Problem{Line: int(d.int()), Column: d.text(), Reason: d.text(), Rows: int(d.uint())}
	}
	if d.version < 7 {
		return r
	}
	if n := d.count(); n > 0 {
		r.Notes = make([]exchange.Note, n)
	}
	for i := range r.Notes {
		r.Notes[i] = exchange.Note{Line: int(d.int()), Rows: d.int(), Column: d.text(), Reason: d.text(), Example: d.text()}
	}
	if n := d.count(); n > 0 {
		r.Unread = make([]string, n)
	}
	for i := range r.Unread {
		r.Unread[i] = d.text()
	}
	r.Raised = d.int()
	return r
}

func (e *encoder) decision(v *exchange.Decision) {
	e.b = append(e.b, byte(v.Label))
	e.uint(uint64(len(v.Grants)))
	for _, g := range v.Grants {
		e.text(g.Collection)
		e.text(string(g.Key.Kind))
		e.text(g.Key.Value)
		e.bool(g.Allow)
		e.text(g.Rule)
	}
}

func (d *decoder) decision() exchange.Decision {
	v := exchange.Decision{Label: d.level(), Grants: make([]exchange.Grant, d.count())}
	for i := range v.Grants {
		v.Grants[i] = exchange.Grant{
			Collection: d.text(), Key: exchange.Key{Kind: exchange.KeyKind(d.text()), Value: d.text()},
			Verdict: exchange.Verdict{Allow: d.byte() == 1, Rule: d.text()},
		}
	}
	return v
}

func (e *encoder) event(a *Accepted) {
	e.address(a.Address)
	e.uint(uint64(a.Port))
	e.int(a.Observed.UnixMilli())
	e.bool(!a.First.IsZero())
	if !a.First.IsZero() {
		e.int(a.First.UnixMilli())
	}
	e.int(a.Count)
	e.uint(uint64(a.ASN))
	e.text(a.Country)
	e.text(a.Hostname)
	e.text(a.Malware)
	e.text(a.Protocol)
	e.text(a.Provider)
	e.address(a.Dst)
	e.uint(uint64(a.DstPort))
	e.text(a.PublisherID)
	e.text(a.Extra)
	e.text(a.Account)
	e.text(a.Exposed)
	e.b = append(e.b, byte(a.Label))
	e.location(a.Location)
	e.int(int64(a.Decision))
	e.int(int64(a.Observation))
}

func (d *decoder) event() (a Accepted) {
	a.Address = d.address()
	a.Port = uint16(d.uint())
	a.Observed = d.millis()
	if d.version >= 7 && d.byte() != 0 {
		a.First = d.millis()
	}
	a.Count = d.int()
	a.ASN = uint32(d.uint())
	a.Country, a.Hostname, a.Malware = d.text(), d.text(), d.text()
	a.Protocol, a.Provider = d.text(), d.text()
	a.Dst, a.DstPort = d.address(), uint16(d.uint())
	a.PublisherID = d.text()
	a.Extra, a.Account = d.text(), d.text()
	if d.version >= 7 {
		a.Exposed = d.text()
	}
	a.Label = d.level()
	a.Location = d.location()
	a.Decision, a.Observation = int(d.int()), int(d.int())
	return a
}
