package submission_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/oracle"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/things"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// town is who there is, as the oracle has it.
type town struct {
	members []string
	config  oracle.Config
}

// citizen is a member's request to a collection.
type citizen struct {
	*town
	member, collection string
}

func (c citizen) Relays() bool           { return c.member == exchange.Admin }
func (c citizen) Derived(id string) bool { return c.config.Made[id] }
func (c citizen) Speaks(id string) bool {
	return slices.Contains(c.config.Members[c.member].Identities, id)
}
func (c citizen) Reads(collection string) bool { return slices.Contains(c.Readable(), collection) }
func (c citizen) Others(id string) bool {
	return slices.ContainsFunc(c.members, func(m string) bool {
		return m != c.member && !c.config.Members[m].Hidden && slices.Contains(c.config.Members[m].Identities, id)
	})
}

func (c citizen) Marking(id string) (tlp.Level, bool) {
	means, known := c.config.Markings[id]
	return tlp.Level(means), known
}

func (c citizen) Readable() (list []string) {
	for id, x := range c.config.Collections {
		if c.member == exchange.Admin || slices.Contains(x.Readers, c.member) {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}

func (c citizen) Members() []string {
	all := append([]string{c.member}, slices.DeleteFunc(slices.Clone(c.members), func(m string) bool { return m == c.member })...)
	if c.member != exchange.Admin {
		all = append(all, exchange.Admin)
	}
	return all
}

func (c citizen) Ceiling(collection string) tlp.Level {
	if x := c.config.Collections[collection]; x != nil {
		return tlp.Level(x.Ceiling)
	}
	return tlp.None
}

func (c citizen) Collection() (*exchange.Collection, error) {
	x := c.config.Collections[c.collection]
	if x == nil {
		return nil, taxiiserver.ErrNotFound
	}
	if c.member != exchange.Admin && !slices.Contains(x.Writers, c.member) {
		return nil, taxiiserver.ErrForbidden
	}
	return &exchange.Collection{ID: c.collection, Ceiling: tlp.Level(x.Ceiling), Floor: tlp.Level(x.Floor)}, nil
}

// trial is what becomes of random requests beside what the oracle says.
type trial struct {
	*town
	things.Maker
	t    *testing.T
	s    *shelf
	p    *submission.Poster
	o    *oracle.Oracle
	took map[string]bool // collections that something was taken out of, and not said to be out
	size map[string]int64
	log  []string
}

func newTrial(t *testing.T, seed uint64) *trial {
	r := rand.New(rand.NewPCG(seed, 5))
	x := &trial{t: t, Maker: things.Maker{R: r}, s: new(shelf), took: make(map[string]bool), size: make(map[string]int64)}
	x.town = &town{members: []string{"a", "b", "c", "d"}, config: oracle.Config{Members: make(map[string]oracle.Member), Collections: make(map[string]*oracle.Collection)}}
	for i, m := range x.members {
		x.config.Members[m] = oracle.Member{Identities: []string{things.Identity(i)}, Hidden: m == "d"}
	}
	some := func() (list []string) {
		for _, m := range x.members {
			if r.IntN(3) > 0 {
				list = append(list, m)
			}
		}
		return list
	}
	for _, c := range []string{"c0", "c1", "c2"} {
		ceiling := 1 + r.IntN(5)
		x.config.Collections[c] = &oracle.Collection{Ceiling: ceiling, Floor: 1 + r.IntN(ceiling), Readers: some(), Writers: some()}
	}
	if r.IntN(2) == 0 {
		x.config.Markings = map[string]int{things.Unknown: r.IntN(6)}
	}
	if r.IntN(2) == 0 {
		x.config.Made = map[string]bool{itemID("indicator", 3): true, itemID("observed-data", 2): true, itemID("report", 1): true}
	}
	x.o = oracle.New(x.config)
	seal := record.Seal{Key: []byte("key")}
	x.p = &submission.Poster{
		Log: x.s, View: x.s, Seal: seal, Gate: new(sync.RWMutex), Fatal: func(err error) { t.Fatal(err) },
		Removed: func(_ context.Context, c string, sequence uint64) error {
			if sequence != x.s.sequence && sequence == 0 {
				t.Errorf("it waits for block %d of %s", sequence, c)
			}
			delete(x.took, c)
			return nil
		},
		Stands: func(member string, bytes int64) { x.size[member] += bytes },
	}
	x.s.beforePost = func(p *record.Post) {
		if p.Control != "" && p.Share.Collection != exchange.Quarantine {
			x.took[p.Share.Collection] = true
		}
	}
	return x
}

func (x *trial) one(list []string) string { return list[x.R.IntN(len(list))] }

func (x *trial) note(format string, args ...any) { x.log = append(x.log, fmt.Sprintf(format, args...)) }

func (x *trial) step() {
	member, c := x.one(append(slices.Clone(x.members), exchange.Admin)), x.one([]string{"c0", "c1", "c2"})
	as := citizen{x.town, member, c}
	_, may := as.Collection()
	if x.R.IntN(8) == 0 {
		x.remove(as, may)
		return
	}
	var raws [][]byte
	var ids []string
	for range 1 + x.R.IntN(4) {
		y := x.Thing()
		raw := x.Text(y, func() (list [][]byte) {
			for _, o := range x.o.Read(x.one([]string{"c0", "c1", "c2", c})) {
				list = append(list, o.Text)
			}
			return list
		})
		raws, ids = append(raws, []byte(raw)), append(ids, y.ID)
	}
	x.note("%s posts to %s: %s", member, c, bytes.Join(raws, []byte("\n    ")))
	results, _, err := x.p.Add(x.t.Context(), &submission.Request{By: member, Rules: as, SpecVersions: []string{"2.1"}, Objects: raws})
	if (err != nil) != (may != nil) {
		x.t.Errorf("%v, want %v", err, may)
	}
	if err != nil {
		return
	}
	want := x.o.Post(member, c, raws, time.Now())
	for i, r := range results {
		got := oracle.Taken
		switch {
		case r.Held, r.Waits != "":
			got = oracle.Waiting
		case r.Problem != "":
			got = oracle.Refused
		}
		if got != want[i] {
			x.t.Errorf("%s is %v, the oracle says %v: %s", ids[i], got, want[i], r.Problem)
		}
	}
}

func (x *trial) remove(as citizen, may error) {
	id := x.Thing().ID
	x.note("%s deletes %s from %s", as.member, id, as.collection)
	_, err := x.p.Delete(x.t.Context(), &submission.Request{By: as.member, Rules: as}, id, func(all []record.Version) []record.Version { return all })
	if may != nil {
		if err == nil {
			x.t.Error("who may not write deletes")
		}
		return
	}
	ok, found := x.o.Delete(as.member, as.collection, id)
	var want error
	switch {
	case !found:
		want = submission.ErrNoVersion
	case !ok:
		want = submission.ErrNotOwn
	}
	if err != want {
		x.t.Errorf("deleting is %v, the oracle says %v", err, want)
	}
}

// check compares what stands, and what is left behind.
func (x *trial) check() {
	stands := make(map[string]int64)
	for c := range x.config.Collections {
		var got, want []string
		for _, b := range x.s.books {
			if b.Collection != c || b.gone || b.Remembered {
				continue
			}
			for _, m := range append(slices.Clone(x.members), exchange.Admin) {
				if x.p.Seal.Is(b.By, m) {
					stands[m] += int64(len(b.raw))
				}
			}
			if !b.own {
				got = append(got, canonical(b.raw))
			}
		}
		for _, o := range x.o.Read(c) {
			want = append(want, canonical(o.Text))
		}
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			x.t.Errorf("%s is not what the oracle says (-want +got): %s", c, d)
		}
	}
	if len(x.took) > 0 {
		x.t.Errorf("something was taken out of %v, and it was not seen to it that it is gone", x.took)
	}
	for id := range x.s.texts {
		if strings.HasPrefix(id, "again-") {
			x.t.Errorf("%s is not finished", id)
		}
	}
	for m, bytes := range x.size {
		if !x.s.raised && bytes != stands[m] { // what is marked anew has another size
			x.t.Errorf("objects of %d bytes stand for %s, and %d are counted", stands[m], m, bytes)
		}
	}
}

func canonical(raw []byte) string {
	v := jsontext.Value(slices.Clone(raw))
	if err := v.Canonicalize(); err != nil {
		return err.Error()
	}
	return string(v)
}

// Random requests of members, beside the oracle of the rules: what becomes of each object, and what stands then.
func TestRequestsAreDecidedAsTheOracleSays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		x := newTrial(t, seed)
		for range 40 {
			x.step()
			if x.check(); t.Failed() {
				t.Fatalf("seed %d: %+v\n%s", seed, show(x.config), strings.Join(x.log, "\n"))
			}
		}
	}
}

func show(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}
