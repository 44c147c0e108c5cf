package misp

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // MISP names values in hashes.csv by it
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// fixed is how many attributes an event has besides those of objects: the malware, and what tells of what is withheld.
const fixed = 2

// organisation is who an event is of.
type organisation struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
}

// entry is an event as the manifest has it. MISP writes numbers as strings.
type entry struct {
	Orgc      organisation `json:"Orgc"`
	Tags      []tag        `json:"Tag"`
	Info      string       `json:"info"`
	Date      string       `json:"date"`
	Analysis  string       `json:"analysis"`
	Threat    string       `json:"threat_level_id"`
	Timestamp string       `json:"timestamp"`
}

// header is an event but for its attributes.
type header struct {
	UUID string `json:"uuid"`
	entry
	Published    bool   `json:"published"`
	PublishedAt  string `json:"publish_timestamp"`
	Distribution string `json:"distribution"`
}

// tlpTag is the tag that MISP has for a label, with the colour of FIRST's TLP 2.0.
func tlpTag(l tlp.Level) tag {
	colours := map[tlp.Level]string{tlp.Clear: "#ffffff", tlp.Green: "#33ff00", tlp.Amber: "#ffc000"}
	return tag{Name: "tlp:" + l.String(), Colour: colours[l]}
}

// distributions are how far MISP may pass on what has a label: AMBER stays in the organisation, GREEN
// in this community, CLEAR goes to all.
var distributions = map[tlp.Level]string{tlp.Clear: "3", tlp.Green: "1", tlp.Amber: "0"}

// galaxies are MISP's of malware, by the type that a family has (STIX 2.1 section 10.13).
var galaxies = map[string]string{"bot": "botnet", "ransomware": "ransomware", "remote-access-trojan": "rat", "backdoor": "backdoor"}

// label is the highest of an event's attributes. That something is withheld is for no others than those who may ask for it.
func (e *event) label() tlp.Level {
	highest := tlp.Clear
	if e.Withheld > 0 {
		highest = tlp.Amber
	}
	for l, n := range e.Labels {
		if n > 0 {
			highest = max(highest, tlp.Level(l))
		}
	}
	return highest
}

// head makes the header of an event, under a version of the register.
func (e *event) head(r *exchange.Register, c *exchange.Collection) *header {
	label := e.label()
	h := &header{
		UUID: e.UUID, Published: true, PublishedAt: strconv.FormatInt(e.Timestamp, 10), Distribution: distributions[label],
		entry: entry{Tags: []tag{tlpTag(label)}, Date: e.Day, Analysis: "2", Threat: "4", Timestamp: strconv.FormatInt(e.Timestamp, 10)},
	}
	h.Orgc = organisation{"Tocsin", strings.TrimPrefix(stix.DerivedID("identity", "project", "tocsin"), "identity--")}
	h.Info = "Indicators in " + c.Title
	if f, exposed := e.feed(r); f != nil {
		h.Info = "Exposed hosts in " + c.Title
		if !exposed {
			h.Info = f.Malware.Name + " infections in " + c.Title
			h.Tags = append(h.Tags, tag{Name: fmt.Sprintf("misp-galaxy:%s=%q", galaxy(f), f.Malware.Name)})
		}
		if f.As == "" { // the name of a hidden publisher's feed may tell whose it is
			h.Info += ", feed " + f.ID
		}
		h.Orgc = organisation{"A publisher who is not named", strings.TrimPrefix(r.IdentityID(f.By()), "identity--")}
		if m := r.Member(f.Publisher); m != nil && f.As == "" {
			h.Orgc.Name = m.Name
		}
	} else if e.Feed != "" { // it is no more
		h.Info = "Infections in " + c.Title
	}
	h.Info += ", " + e.Day
	if e.Part > 0 {
		h.Info += fmt.Sprintf(" (%d)", e.Part+1)
	}
	return h
}

// feed is the event's, nil where it has none or it is no more. exposed says that the event is of what is exposed.
func (e *event) feed(r *exchange.Register) (f *exchange.Feed, exposed bool) {
	id, exposed := strings.CutSuffix(e.Feed, exposedSuffix)
	return r.Feed(id), exposed
}

// had are the tags of labels that the event had before.
func (e *event) had() (tags []tag) {
	for l := tlp.Clear; l <= tlp.Amber; l++ {
		if e.Had&(1<<l) != 0 && l != e.label() {
			tags = append(tags, tag{Name: tlpTag(l).Name, Deleted: true})
		}
	}
	return tags
}

func galaxy(f *exchange.Feed) string {
	for _, t := range f.Malware.Types {
		if g := galaxies[t]; g != "" {
			return g
		}
	}
	return "malpedia"
}

// Manifest returns the manifest of a collection's feed: its events by UUID.
func (f *Feeds) Manifest(ctx context.Context, r *exchange.Register, right policy.Read) (text []byte, err error) {
	c := right.Collection()
	l, err := f.look(ctx, r, right)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	list := make(map[string]entry)
	err = each(l, c, func(e *event) error {
		list[e.UUID] = e.head(r, c).entry
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	return json.Marshal(list)
}

// each calls of for the events of a collection, and in for the slots of each, where that is set.
func each(l *view.DerivedSnapshot, c *exchange.Collection, of func(*event) error, in func(*event, *slot) error) error {
	var e *event
	return l.Each(c.UUID+"/e", func(rest string, value []byte) error {
		if strings.Count(rest, "/") == 2 { // feed, day, part
			e = new(event)
			if err := json.Unmarshal(value, e); err != nil {
				return fmt.Errorf("%w: %w", view.ErrDamaged, err)
			}
			return of(e)
		}
		if in == nil {
			return nil
		}
		s := new(slot)
		if err := json.Unmarshal(value, s); err != nil || e == nil {
			return errors.Join(view.ErrDamaged, err)
		}
		return in(e, s)
	})
}

// File is one state of an event, ready to be written. Its owner closes it.
type File struct {
	// Tag tells it from other states.
	Tag string
	// First and Last bound the date_added of what it is made of; Count is how many attributes it has.
	First, Last int64
	Count       int

	look *view.DerivedSnapshot
	part string
	head *header
	event
	feed *exchange.Feed // of the malware
	c    *exchange.Collection
}

// Event opens the file of an event. Where there is none, the file is nil.
func (f *Feeds) Event(ctx context.Context, r *exchange.Register, right policy.Read, uuid string) (file *File, err error) {
	c := right.Collection()
	l, err := f.look(ctx, r, right)
	if err != nil {
		return nil, err
	}
	defer func() {
		if file == nil {
			err = errors.Join(err, l.Close())
		}
	}()
	part, found, err := l.Get(uuidKey(c, uuid))
	if err != nil || !found {
		return nil, err
	}
	var e event
	if found, err = get(l, string(part), &e); err != nil || !found {
		return nil, err
	}
	file = &File{look: l, part: string(part), head: e.head(r, c), event: e, c: c, First: e.First, Last: e.Last, Count: e.Attributes}
	file.head.Tags = append(file.head.Tags, e.had()...)
	if feed, exposed := e.feed(r); !exposed {
		file.feed = feed
	}
	text, err := json.Marshal(file.head)
	if err != nil {
		return nil, err
	}
	if file.feed != nil {
		text = append(text, fmt.Sprint(file.feed.Malware, file.feed.Changed.Unix())...)
	}
	file.Tag = sum(text)
	return file, nil
}

// sum names a text.
func sum(text []byte) string {
	s := md5.Sum(text) //nolint:gosec // as above
	return hex.EncodeToString(s[:])
}

// Tag names a state of what was returned as text.
func Tag(text []byte) string { return sum(text) }

// Close lets the state go.
func (f *File) Close() error { return f.look.Close() }

// Write writes the event, a slot at a time.
func (f *File) Write(w io.Writer) error {
	head, err := json.Marshal(f.head)
	if err != nil {
		return err
	}
	b := append([]byte(`{"Event":`), head[:len(head)-1]...)
	b = append(b, `,"Attribute":[`...)
	first := true
	write := func(text []byte, timestamp int64, deleted bool) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(b, text[:len(text)-1]...), `,"timestamp":"`...)
		b = append(strconv.AppendInt(b, timestamp, 10), `","distribution":"5","deleted":`...)
		b = append(strconv.AppendBool(b, deleted), `,"disable_correlation":false}`...)
	}
	add := func(text []byte, timestamp int64) { write(text, timestamp, false) }
	say := func(uuid, what string, timestamp int64, deleted bool) error {
		text, err := json.Marshal(&attribute{UUID: uuid, Type: "comment", Category: "Other", Value: what})
		write(text, timestamp, deleted)
		return err
	}
	if f.Told {
		m := maker{collection: f.c}
		what := fmt.Sprintf("%d withheld here: they are labelled TLP:AMBER+STRICT or TLP:RED, which MISP feeds do not carry. They are in the collection over TAXII.", f.Withheld)
		if err := say(m.derived("misp-withheld", f.head.UUID), what, f.Timestamp, f.Withheld == 0); err != nil {
			return err
		}
	}
	if f.feed != nil {
		m := maker{collection: f.c}
		text, err := json.Marshal(&attribute{
			UUID: m.derived("misp-attribute", f.head.UUID), Type: "malware-type", Category: "Payload installation", Value: f.feed.Malware.Name,
			Comment: strings.Join(f.feed.Malware.Aliases, ", "),
		})
		if err != nil {
			return err
		}
		add(text, f.feed.Changed.Unix())
	}
	seen := make(map[string]bool)
	err = f.look.Each(f.part+"/", func(_ string, value []byte) error {
		s := new(slot)
		if err := json.Unmarshal(value, s); err != nil {
			return fmt.Errorf("%w: %w", view.ErrDamaged, err)
		}
		for _, text := range s.Attributes {
			var a struct{ Type, Value string }
			if err := json.Unmarshal(text, &a); err != nil {
				return fmt.Errorf("%w: %w", view.ErrDamaged, err)
			}
			if seen[a.Type+" "+a.Value] { // MISP takes a value once in an event
				continue
			}
			seen[a.Type+" "+a.Value] = true
			if text, err = s.withTags(text); err != nil {
				return err
			}
			add(text, s.Timestamp)
		}
		for _, id := range s.Lost {
			if err := say(id, gone, s.Timestamp, true); err != nil {
				return err
			}
		}
		if len(b) < 32<<10 {
			return nil
		}
		_, err := w.Write(b)
		b = b[:0]
		return err
	})
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, `]}}`...))
	return err
}

// gone is what an attribute says that was withdrawn: never what it said.
const gone = "withdrawn"

// withTags adds the tags to an attribute that it has no more.
func (s *slot) withTags(text []byte) ([]byte, error) {
	if len(s.Tags) == 0 {
		return text, nil
	}
	var a attribute
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("%w: %w", view.ErrDamaged, err)
	}
	for _, name := range s.Tags {
		a.Tags = append(a.Tags, tag{Name: name, Deleted: true})
	}
	return json.Marshal(&a)
}

// Hashes is one state of hashes.csv: the MD5 of each value, and the event that it is in. Its owner closes it.
type Hashes struct {
	// Tag tells it from other states.
	Tag string

	look *view.DerivedSnapshot
	c    *exchange.Collection
}

// Hashes opens the hashes of a collection.
func (f *Feeds) Hashes(ctx context.Context, r *exchange.Register, right policy.Read) (h *Hashes, err error) {
	c := right.Collection()
	l, err := f.look(ctx, r, right)
	if err != nil {
		return nil, err
	}
	h = &Hashes{look: l, c: c}
	var state []byte
	err = each(l, c, func(e *event) error {
		state = fmt.Appendf(state, "%s %d\n", e.UUID, e.Timestamp)
		return nil
	}, nil)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	h.Tag = sum(state)
	return h, nil
}

// Close lets the state go.
func (h *Hashes) Close() error { return h.look.Close() }

// Write writes the hashes.
func (h *Hashes) Write(w io.Writer) error {
	var b bytes.Buffer
	err := each(h.look, h.c, func(*event) error { return nil }, func(e *event, s *slot) error {
		for _, v := range slices.Compact(s.Values) {
			b.WriteString(sum([]byte(v)))
			b.WriteByte(',')
			b.WriteString(e.UUID)
			b.WriteByte('\n')
		}
		if b.Len() < 32<<10 {
			return nil
		}
		_, err := b.WriteTo(w)
		return err
	})
	if err == nil {
		_, err = b.WriteTo(w)
	}
	return err
}
