package report

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// table is how a format is read. Every format has one, beside its code, and nothing but its table says which name fills
// which field and what tells of an infection.
//
// Names are in lower case; a key of an object stands behind the object's name and a dot.
type table struct {
	// names lists, for fields, the names that fill them: the first one with a value in a row counts. Of the fields that
	// restrict who may be shown a row, each counts.
	names []names
	// rules say what a row tells of: the first that applies counts, and where none does, it is an infection.
	rules []rule
	// known are names that say what a row is, and are read otherwise.
	known []string
	// flat says that keys within objects are kept as extra as well.
	flat bool
}

type names struct {
	field string
	from  []string
}

// rule says what a row tells of whose value of a name is like a pattern (path.Match, in lower case).
type rule struct {
	name, like string
	tells      tells
	// why says why it is nothing, and detail is the name of a value that says more of what is exposed than this one does.
	why, detail string
}

// tells is what a row tells of its address.
type tells int

const (
	infected tells = iota // or compromised: it is somebody's to clean
	exposed               // vulnerable, or open to all: exchange.Event.Exposed
	nothing               // it is a victim, a resolver, a test and so on: the row is rejected
)

// reading is a table with the names that a publisher has renamed.
type reading struct {
	*table
	byName map[string]named
	ruled  map[string]bool // the names that rules are of, and those that are known
	keep   bool
}

// named is a field as one name stands for it; of several in a row that of the lowest rank counts.
type named struct {
	*field
	rank int
}

// with makes a reading. A name that is renamed ranks first, and means nothing else any more.
func (t *table) with(opt Options) *reading {
	r := &reading{table: t, byName: make(map[string]named), ruled: make(map[string]bool), keep: opt.Keep}
	for _, n := range t.names {
		for i, name := range n.from {
			r.byName[name] = named{fieldByName[n.field], i}
		}
	}
	for from, to := range opt.Map {
		r.byName[strings.ToLower(from)] = named{fieldByName[to], -1}
	}
	for _, name := range t.known {
		r.ruled[name] = true
	}
	for _, x := range t.rules {
		r.ruled[x.name] = true
		if x.detail != "" {
			r.ruled[x.detail] = true
		}
	}
	return r
}

// row is what one row of a source says.
type row struct {
	*reading
	picks []pick // by field
	marks []pick // of the fields that restrict
	said  map[string][]string
	extra extra
	// label and floor are what the format says of who may be shown it, beside the fields.
	label, floor tlp.Level
	err          error // the first that rejects the row
	// place is what messages say for a prefix of names, and the prefix.
	place [2]string
	notes []exchange.Note
	made  exchange.Event
	// unread gathers the names that nothing is read from.
	unread func(name string)
}

// pick is a value of a field, and the name under which it stands.
type pick struct {
	*field
	name  string
	rank  int
	value []byte
}

func (r *reading) row(unread func(string)) *row {
	return &row{reading: r, picks: make([]pick, len(fields)), said: make(map[string][]string), extra: extra{keep: r.keep}, unread: unread}
}

// clear makes the row an empty one.
func (w *row) clear() {
	clear(w.picks)
	clear(w.said)
	w.marks, w.notes, w.err, w.extra.text = w.marks[:0], nil, nil, w.extra.text[:0]
	w.label, w.floor, w.place = tlp.None, tlp.None, [2]string{}
}

// clone copies a row, to be one of several that have much in common.
func (w *row) clone() *row {
	c := *w
	c.picks, c.marks = slices.Clone(w.picks), slices.Clone(w.marks)
	c.said = make(map[string][]string, len(w.said))
	for name, list := range w.said {
		c.said[name] = slices.Clone(list)
	}
	c.extra.text, c.notes = slices.Clone(w.extra.text), slices.Clone(w.notes)
	return &c
}

// add takes what stands under a name, in any case, in the row.
func (w *row) add(name string, value []byte) {
	nul := bytes.IndexByte(value, 0) >= 0
	if value = trim(value); len(value) == 0 {
		return
	}
	lower := strings.ToLower(name)
	if w.ruled[lower] {
		w.said[lower] = append(w.said[lower], string(value))
	}
	n := w.byName[lower]
	if n.field != nil && nul {
		w.note(name, &fault{what: "holds NUL bytes, which are left out", read: true})
	}
	switch {
	case n.field == nil:
		if w.flat || !strings.Contains(name, ".") {
			w.extra.add(name, value)
		}
		// What stands behind extra. was told by who read the source.
		if !w.ruled[lower] && !w.keep && w.unread != nil && !strings.HasPrefix(lower, "extra.") {
			w.unread(name)
		}
	case n.restricts():
		w.marks = append(w.marks, pick{n.field, name, n.rank, value})
	default:
		if have := &w.picks[n.index]; have.field == nil || n.rank < have.rank {
			*have = pick{n.field, name, n.rank, value}
		}
	}
}

// object takes the values of a JSON object, behind a prefix.
func (w *row) object(raw jsontext.Value, prefix string) error {
	if raw.Kind() != '{' {
		return nil
	}
	return walk(raw, func(name string, value jsontext.Value) error { return w.value(prefix+name, value) })
}

// fail rejects the row, for what is wrong under a name.
func (w *row) fail(name, format string, args ...any) {
	if w.err == nil {
		if rest, ok := strings.CutPrefix(name, w.place[1]); ok {
			name = w.place[0] + rest
		}
		w.err = &RowError{exchange.Problem{Column: short(name), Reason: fmt.Sprintf(format, args...)}}
	}
}

// event makes the event of the row, that stands at a line.
func (w *row) event(line int, to *found) {
	ev := &w.made
	*ev = exchange.Event{Line: line, Count: 1, Label: w.label, Floor: w.floor}
	w.fill(ev)
	if w.err != nil {
		to.problem(atLine(w.err, line))
		return
	}
	ev.Extra = w.extra.String()
	for _, n := range w.notes {
		n.Line = line
		to.notes = exchange.AddNote(to.notes, n)
	}
	to.event(ev)
}

// fill sets the event's fields.
func (w *row) fill(ev *exchange.Event) {
	if name, err := tell(w.rules, ev, func(name string) []string { return w.said[name] }); err != nil {
		w.fail(name, "%v", err)
	}
	ip, email := &w.picks[ipIndex], &w.picks[emailIndex]
	if ip.field != nil && email.field != nil { // who reads mail there is not what was seen
		w.extra.add(email.name, email.value)
		email.field = nil
	}
	for i := range w.picks {
		if p := &w.picks[i]; p.field != nil {
			w.set(ev, p.field, p.name, p.value)
		}
	}
	for _, p := range w.marks {
		w.set(ev, p.field, p.name, p.value)
	}
}

// set sets one field. What cannot be read is left out and noted, but where an event is none without it.
func (w *row) set(ev *exchange.Event, f *field, name string, value []byte) {
	switch err := f.set(ev, value); {
	case err == nil && name == observationTime:
		w.note(name, &fault{what: "is when it was collected, and counts where there is no time of the event", read: true})
	case err == nil:
	case f.must:
		w.fail(name, "%v", err)
	default:
		w.note(name, err)
	}
}

// note notes what is wrong with an optional field.
func (w *row) note(name string, err error) {
	n := exchange.Note{Column: short(name), Reason: err.Error() + ": left out"}
	var f *fault
	if errors.As(err, &f) {
		n.Reason, n.Example = f.what, f.value
		if !f.read {
			n.Reason += ": left out"
		}
	}
	w.notes = exchange.AddNote(w.notes, n)
}

// tell applies the rules to what a row says under their names. It returns the reason why the row tells of nothing.
func tell(rules []rule, ev *exchange.Event, said func(name string) []string) (name string, err error) {
	var values []string
	for i := range rules {
		x := &rules[i]
		if i == 0 || x.name != rules[i-1].name {
			values = said(x.name)
		}
		for _, value := range values {
			switch ok, _ := path.Match(x.like, strings.ToLower(value)); {
			case !ok:
				continue
			case x.tells == nothing:
				return x.name, fmt.Errorf("%.60q %s", value, x.why)
			case x.tells == exposed && ev.Exposed == "":
				if x.detail != "" {
					if more := said(x.detail); len(more) > 0 {
						value = more[0]
					}
				}
				return "", setExposed(ev, []byte(value))
			}
			return "", nil
		}
	}
	return "", nil
}

// namesOf lists the names that fill a field.
func (t *table) namesOf(field string) []string {
	for _, n := range t.names {
		if n.field == field {
			return n.from
		}
	}
	return nil
}

func short(name string) string { return name[:min(len(name), 64)] }
