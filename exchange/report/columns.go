package report

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tocsin-exchange/tocsin/exchange"
)

// csvSource is a CSV with a header line.
type csvSource struct {
	records records
	names   []string
	row     *row   // for its notes
	plan    []cell // of fields, in their order
	marks   []int  // columns of the fields that restrict
	more    []int  // columns that are kept as extra
	columns []named
	last    []text   // by column, of fields that are the same row after row
	rules   []rule   // those that a row can fall under
	ruled   []int    // the columns that they look at
	told    told     // what they made of the row before
	report  []string // the name of its type
	// shadowserver says that it is one of Shadowserver's reports.
	shadowserver bool
	notes        []exchange.Note
	unread       []string
	rows         bool
}

// cell is a field with the columns that fill it: the first one that is not empty counts.
type cell struct {
	*field
	columns []int
}

// text is what a column of the row before said, and what was made of it.
type text struct {
	raw  []byte
	made string
}

// told is what the rules made of what a row says in their columns.
type told struct {
	raw     [][]byte // what it says there; nil before the first row
	exposed string
	column  string
	err     error
}

// separatorLine is what spreadsheets write before the header.
var separatorLine = []byte("sep=")

func newCSVSource(in *bufio.Reader, opt Options) (*csvSource, error) {
	s := &csvSource{records: records{lines: lines{in: in}, comma: delimiter(in)}}
	head, err := s.records.next()
	if errors.Is(err, io.EOF) {
		return nil, fileError(1, "the source is empty: a header line was expected")
	}
	if err != nil {
		return nil, err
	}
	if head.problem != "" {
		return nil, fileError(head.line, "the header line %s", head.problem)
	}
	for _, f := range head.fields {
		if !utf8.Valid(f) {
			return nil, fileError(head.line, "the header line is not UTF-8")
		}
		s.names = append(s.names, strings.ToLower(strings.TrimSpace(string(f))))
	}
	if n := len(s.names); n > 1 && s.names[n-1] == "" {
		s.names = s.names[:n-1] // a comma at the line's end
	}
	if err := s.assign(opt); err != nil {
		return nil, fileError(head.line, "%v", err)
	}
	s.records.width = len(s.names)
	s.last = make([]text, len(s.names))
	if opt.FirstLine > 0 {
		s.records.lines.number = opt.FirstLine - 1
		s.rows = true // there are some, in another piece perhaps
	}
	return s, nil
}

// delimiter is the first of comma, semicolon and tab that the header line has outside quotes, or the one that the line
// before it names (sep=;).
func delimiter(in *bufio.Reader) byte {
	head, _ := in.Peek(4096)
	head = bytes.TrimLeft(head, "\r\n")
	if rest, ok := bytes.CutPrefix(head, separatorLine); ok && len(rest) > 0 && strings.IndexByte(",;\t|", rest[0]) >= 0 {
		return rest[0]
	}
	first, _, _ := bytes.Cut(head, []byte{'\n'})
	var bare []byte
	quoted := false
	for _, c := range first {
		if c == '"' {
			quoted = !quoted
		} else if !quoted {
			bare = append(bare, c)
		}
	}
	for _, c := range []byte(",;\t") {
		if bytes.IndexByte(bare, c) >= 0 {
			return c
		}
	}
	return ','
}

// assign says which columns fill which field.
func (s *csvSource) assign(opt Options) error {
	t := &plain
	report := reportType(opt, s.names)
	if s.shadowserver = report != ""; s.shadowserver {
		t = &shadowserver
	}
	if err := s.govern(t.rules, report); err != nil {
		return err
	}
	r := t.with(opt)
	s.row = r.row(nil)
	for from := range opt.Map {
		if !slices.Contains(s.names, strings.ToLower(from)) {
			return fmt.Errorf("--map names the column %.60q, which is not there; the header is: %s", from, bound(strings.Join(s.names, ",")))
		}
	}
	columns := make([][]int, len(fields))
	s.columns = make([]named, len(s.names))
	for i, name := range s.names {
		n := r.byName[name]
		if t == &shadowserver && hidden(report, s.names, name) && n.rank >= 0 {
			n = named{}
		}
		s.columns[i] = n
		again := name != "" && slices.Index(s.names, name) != i
		switch {
		case n.field == nil:
			if !r.ruled[name] && !r.keep {
				s.unread = append(s.unread, name)
			} else if r.keep && !again {
				s.more = append(s.more, i)
			} else if again {
				s.unread = append(s.unread, name)
			}
		case again:
			return fmt.Errorf("column %.60q stands twice", name)
		case n.restricts():
			s.marks = append(s.marks, i)
		default:
			columns[n.index] = append(columns[n.index], i)
		}
	}
	for i, list := range columns {
		if len(list) > 0 {
			slices.SortFunc(list, func(a, b int) int { return cmp.Compare(s.columns[a].rank, s.columns[b].rank) })
			s.plan = append(s.plan, cell{fields[i], list})
		}
	}
	accounts := columns[fieldByName[emailField].index]
	for _, must := range []string{"ip", "timestamp"} {
		if len(columns[fieldByName[must].index]) == 0 && (must != "ip" || accounts == nil) {
			return fmt.Errorf("no column for %s (one of %s; or name yours with --map column=%s); the header is: %s",
				must, strings.Join(t.namesOf(must), ", "), must, bound(strings.Join(s.names, ",")))
		}
	}
	return nil
}

// govern keeps the rules that rows of a report can fall under. It refuses a report of which no row tells of anything.
func (s *csvSource) govern(rules []rule, report string) error {
	s.report = []string{report}
	for _, x := range rules {
		if x.name != reportName {
			if slices.Contains(s.names, x.name) {
				s.rules = append(s.rules, x)
			}
		} else if ok, _ := path.Match(x.like, report); ok {
			s.rules = append(s.rules, x)
			break
		}
	}
	if len(s.rules) > 0 && s.rules[0].name == reportName && s.rules[0].tells == nothing {
		return fmt.Errorf("%s %s", report, s.rules[0].why)
	}
	for _, x := range s.rules {
		for _, name := range []string{x.name, x.detail} {
			if i := slices.Index(s.names, name); name != "" && i >= 0 && !slices.Contains(s.ruled, i) {
				s.ruled = append(s.ruled, i)
			}
		}
	}
	return nil
}

// tell applies the rules to a record, where it does not say the same as the one before.
func (s *csvSource) tell(ev *exchange.Event, rec *record) (column string, err error) {
	last := &s.told
	same := last.raw != nil
	for i := 0; same && i < len(s.ruled); i++ {
		same = bytes.Equal(last.raw[i], rec.fields[s.ruled[i]])
	}
	if same {
		ev.Exposed = last.exposed
		return last.column, last.err
	}
	if last.raw == nil {
		last.raw = make([][]byte, len(s.ruled))
	}
	for i, at := range s.ruled {
		last.raw[i] = append(last.raw[i][:0], rec.fields[at]...)
	}
	last.column, last.err = tell(s.rules, ev, s.said)
	last.exposed = ev.Exposed
	return last.column, last.err
}

// said returns what a record says under a name that rules are of.
func (s *csvSource) said(name string) []string {
	if name == reportName {
		return s.report
	}
	if i := slices.Index(s.names, name); i >= 0 {
		if v := bytes.TrimSpace(s.records.rec.fields[i]); len(v) > 0 {
			return []string{string(v)}
		}
	}
	return nil
}

func (s *csvSource) flavour() string {
	if s.shadowserver {
		return Shadowserver
	}
	return CSV
}

func (s *csvSource) next(ev *exchange.Event) error {
	rec, err := s.records.next()
	if err != nil {
		if errors.Is(err, io.EOF) && !s.rows {
			s.rows = true
			s.notes = exchange.AddNote(s.notes, exchange.Note{Line: 1, Reason: "there are no rows under the header line"})
		}
		return err
	}
	s.rows = true
	ev.Line = rec.line
	if rec.problem != "" {
		return rowError(rec.line, "", "%s", rec.problem)
	}
	w := s.row
	w.notes, w.err, w.extra.text = w.notes[:0], nil, w.extra.text[:0]
	nul := bytes.IndexByte(rec.raw, 0) >= 0
	for i := 0; nul && i < len(rec.fields); i++ {
		rec.fields[i] = trim(rec.fields[i])
	}
	if name, err := s.tell(ev, rec); err != nil {
		return rowError(rec.line, name, "%v", err)
	}
	host := false
	for i := range s.plan {
		c := &s.plan[i]
		for _, at := range c.columns {
			value := bytes.TrimSpace(rec.fields[at])
			if len(value) == 0 {
				continue
			}
			if c.index == ipIndex {
				host = true
			} else if c.index == emailIndex && host { // who reads mail there is not what was seen
				w.extra.add(s.names[at], value)
				break
			}
			s.set(ev, c.field, at, value)
			break
		}
	}
	for _, at := range s.marks {
		if value := bytes.TrimSpace(rec.fields[at]); len(value) > 0 {
			w.set(ev, s.columns[at].field, s.names[at], value)
		}
	}
	if w.err != nil {
		return atLine(w.err, rec.line)
	}
	for _, at := range s.more {
		s.keep(s.names[at], bytes.TrimSpace(rec.fields[at]))
	}
	ev.Extra = w.extra.String()
	if nul {
		w.notes = append(w.notes, exchange.Note{Reason: "holds NUL bytes, which are left out"})
	}
	for _, n := range w.notes {
		n.Line = rec.line
		s.notes = exchange.AddNote(s.notes, n)
	}
	return complete(ev)
}

func (s *csvSource) noted() (notes []exchange.Note, unread []string) {
	notes, s.notes = s.notes, nil
	return notes, s.unread
}

// keep keeps a column as extra. One that holds what columns were, as tocsin pull writes it, is these again.
func (s *csvSource) keep(name string, value []byte) {
	if name == extraColumn && len(value) > 0 && value[0] == '{' {
		list := func(name string, v jsontext.Value) error { s.row.extra.add(name, scalarText(v)); return nil }
		if walk(value, list) == nil {
			return
		}
	}
	if !slices.Contains(aboutSightings, name) {
		s.row.extra.add(name, value)
	}
}

// set sets a field from a column. What the row before said there is not read again.
func (s *csvSource) set(ev *exchange.Event, f *field, at int, value []byte) {
	last := &s.last[at]
	if f.text != nil && last.raw != nil && bytes.Equal(last.raw, value) {
		*f.text(ev) = last.made
		return
	}
	n := len(s.row.notes)
	s.row.set(ev, f, s.names[at], value)
	if f.text != nil {
		last.raw, last.made = append(last.raw[:0], value...), *f.text(ev)
		if len(s.row.notes) > n { // it is noted each time
			last.raw = nil
		}
	}
}

// trim drops the spaces around a value, and NUL bytes wherever they are.
func trim(value []byte) []byte {
	if bytes.IndexByte(value, 0) >= 0 {
		value = bytes.ReplaceAll(value, []byte{0}, nil)
	}
	return bytes.TrimSpace(value)
}
