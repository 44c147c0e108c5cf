package register

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tocsin-exchange/tocsin/config/strict"
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// File is the register as people write it (`tocsin apply -f`) and as it is
// exported.
type File struct {
	Members     []exchange.Member   `yaml:"members,omitempty"`
	Feeds       []exchange.Feed     `yaml:"feeds,omitempty"`
	Collections []exchange.Declared `yaml:"collections,omitempty"`
	// Webhooks are URLs of members that are told when a collection grows.
	Webhooks []exchange.Webhook `yaml:"webhooks,omitempty"`
	// Own are the exchange's own addresses: they are never taken for infected.
	Own []netip.Prefix `yaml:"own,omitempty"`
	// Markings say what markings mean that are no TLP labels, each as {id, means: ignore or a label}.
	Markings []exchange.Marking `yaml:"markings,omitempty"`
	// Quarantine names the persons, each as member/name, who read what is in quarantine.
	Quarantine exchange.Names `yaml:"quarantine,omitempty"`
	// TAXIIIDs are the UUIDs of collections by name. They are made once; a file
	// that holds them brings them along to another exchange.
	TAXIIIDs map[string]string `yaml:"taxii_ids,omitempty"`
}

// Parse reads a file strictly; its error is an *Invalid with all that is wrong, each with
// its line.
func Parse(text []byte) (*File, error) {
	f := new(File)
	_, problems := strict.Parse(text, f)
	if len(problems) == 0 {
		return f, nil
	}
	wrong := new(Invalid)
	for _, p := range problems {
		wrong.Problems = append(wrong.Problems, p.String())
	}
	return nil, wrong
}

// Export returns the register as a file.
func Export(r *exchange.Register) ([]byte, error) {
	ids := make(map[string]string)
	for _, c := range r.Collections() {
		ids[c.ID] = c.UUID
	}
	return yaml.Marshal(&File{Members: r.Members, Feeds: r.Feeds, Collections: r.Declared, Webhooks: r.Webhooks, Own: r.Own, Markings: r.Markings, Quarantine: r.Quarantine, TAXIIIDs: ids})
}

// Apply brings the file into the register: what it names is added or replaced;
// with prune, what it does not name is removed. It returns what changed, a line
// each, "+", "~" or "-" first. at becomes the time of what is new or altered
// and carries none of its own.
func (f *File) Apply(r *exchange.Register, prune bool, at time.Time) (diff []string) {
	at = at.UTC().Truncate(time.Millisecond)
	r.Members = merge(r.Members, f.Members, prune, at, kind[exchange.Member]{
		name: "member", id: func(m *exchange.Member) string { return m.ID },
		fill:  fillMember,
		times: func(m *exchange.Member) (*time.Time, *time.Time) { return &m.Created, &m.Changed },
	}, &diff)
	r.Feeds = merge(r.Feeds, f.Feeds, prune, at, kind[exchange.Feed]{
		name: "feed", id: func(f *exchange.Feed) string { return f.ID },
		fill:  fillFeed,
		times: func(f *exchange.Feed) (*time.Time, *time.Time) { return &f.Created, &f.Changed },
	}, &diff)
	r.Declared = merge(r.Declared, f.Collections, prune, at, kind[exchange.Declared]{
		name: "collection", id: func(c *exchange.Declared) string { return c.ID },
		fill: func(*exchange.Declared) {},
	}, &diff)
	r.Webhooks = merge(r.Webhooks, f.Webhooks, prune, at, kind[exchange.Webhook]{
		name: "webhook", id: func(w *exchange.Webhook) string { return w.ID },
		fill:  func(w *exchange.Webhook) { w.Send = cmp.Or(w.Send, exchange.SendDoorbell) },
		times: func(w *exchange.Webhook) (*time.Time, *time.Time) { return &w.Created, &w.Changed },
	}, &diff)
	r.Markings = merge(r.Markings, f.Markings, prune, at, kind[exchange.Marking]{
		name: "marking", id: func(m *exchange.Marking) string { return m.ID },
		fill: func(*exchange.Marking) {},
	}, &diff)
	if (prune || f.Own != nil) && !slices.Equal(r.Own, f.Own) {
		diff = append(diff, fmt.Sprintf("~ own %v → %v", r.Own, f.Own))
		r.Own = f.Own
	}
	if (prune || f.Quarantine != nil) && !slices.Equal(r.Quarantine, f.Quarantine) {
		diff = append(diff, fmt.Sprintf("~ quarantine %v → %v", r.Quarantine, f.Quarantine))
		r.Quarantine = f.Quarantine
	}
	for _, name := range slices.Sorted(mapKeys(f.TAXIIIDs)) {
		if id := f.TAXIIIDs[name]; r.UUIDs[name] != id {
			diff = append(diff, fmt.Sprintf("~ collection %s: TAXII id %s", name, id))
			r.UUIDs[name] = id
		}
	}
	return diff
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// kind tells merge about one kind of entry. times is nil for entries without.
type kind[T any] struct {
	name  string
	id    func(*T) string
	fill  func(*T)
	times func(*T) (created, changed *time.Time)
}

func merge[T any](have, want []T, prune bool, at time.Time, k kind[T], diff *[]string) []T {
	if len(have)+len(want) == 0 {
		return have
	}
	out := make([]T, 0, len(have)+len(want))
	named, place := make(map[string]bool), make(map[string]int, len(have))
	for i := range have {
		place[k.id(&have[i])] = i
	}
	for i := range want {
		next := want[i]
		k.fill(&next)
		id := k.id(&next)
		named[id] = true
		old, known := place[id]
		if !known {
			stamp(&next, nil, at, k)
			*diff = append(*diff, fmt.Sprintf("+ %s %s", k.name, id))
		} else {
			stamp(&next, &have[old], at, k)
			if changes := differences(&have[old], &next); len(changes) > 0 {
				*diff = append(*diff, fmt.Sprintf("~ %s %s: %s", k.name, id, strings.Join(changes, ", ")))
			}
		}
		out = append(out, next)
	}
	for i := range have {
		id := k.id(&have[i])
		switch {
		case named[id]:
		case prune:
			*diff = append(*diff, fmt.Sprintf("- %s %s", k.name, id))
		default:
			out = append(out, have[i])
		}
	}
	return out
}

// stamp sets the times that the file leaves out.
func stamp[T any](next, old *T, at time.Time, k kind[T]) {
	if k.times == nil {
		return
	}
	created, changed := k.times(next)
	if old == nil {
		*created, *changed = cmp.Or(*created, at), cmp.Or(*changed, *created, at)
		return
	}
	wasCreated, wasChanged := k.times(old)
	*created = cmp.Or(*created, *wasCreated)
	// An exported file has the time of before in it: what differs is of now.
	differs := len(differences(old, next)) > 0
	switch {
	case differs && !changed.After(*wasChanged):
		*changed = at
	case !differs:
		*changed = *wasChanged
	}
}

// differences names the fields in which two entries differ, with their values
// where they are short.
func differences[T any](old, next *T) (list []string) {
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(next).Elem()
	for i := range a.NumField() {
		x, y := a.Field(i).Interface(), b.Field(i).Interface()
		before, after := fmt.Sprint(x), fmt.Sprint(y)
		if before == after {
			continue
		}
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("yaml"), ",")
		if name == "changed" {
			continue
		}
		if len(before)+len(after) > 100 {
			list = append(list, name)
		} else {
			list = append(list, fmt.Sprintf("%s %s → %s", name, before, after))
		}
	}
	return list
}

func fillMember(m *exchange.Member) {
	if m.Name == "" {
		m.Name = m.ID
	}
	if m.Clearance == tlp.None {
		switch m.Kind {
		case exchange.CSIRT, exchange.Publisher:
			m.Clearance = tlp.AmberStrict
		case exchange.NetworkOwner:
			m.Clearance = tlp.Amber
		default:
			m.Clearance = tlp.Green
		}
	}
	for i, c := range m.Constituency.Countries {
		m.Constituency.Countries[i] = strings.ToUpper(c)
	}
}

func fillFeed(f *exchange.Feed) {
	if f.DefaultTLP == tlp.None {
		f.DefaultTLP = tlp.Amber
	}
	if f.Profile == "" {
		f.Profile = exchange.ProfileInfection
	}
	if f.Confidence == 0 {
		f.Confidence = 85 // "high" in the scales of STIX 2.1 appendix A
	}
	if f.Operation == "" {
		f.Operation = f.ID
	}
}
