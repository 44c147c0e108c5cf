package view_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
)

// A reader beside a writer that gives objects versions, and takes them again, has each object once, in order.
func TestPagesBesideAWriter(t *testing.T) {
	const ids, blocks, readers = 60, 1500, 4
	v := (&world{cache: 1 << 16, epoch: 200}).open(t, t.TempDir())
	defer func() { _ = v.Close(context.Background()) }()
	w := &besideWriter{v: v, r: rand.New(rand.NewPCG(1, 2)), versions: make([][]int, ids), added: 1}
	for id := range ids {
		if err := w.add(id); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	var all sync.WaitGroup
	for n := range readers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 7))
			for {
				q, want := besideQuery(r, ids)
				p, err := v.Page(t.Context(), rightTo("a"), q)
				if err == nil {
					err = eachOnce(p, q.Facts, want)
				}
				if err != nil {
					t.Errorf("%+v: %v", q, err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range blocks {
		var err error
		if id := w.r.IntN(ids); w.r.IntN(3) == 0 && len(w.versions[id]) > 1 {
			err = w.remove(id)
		} else {
			err = w.add(id, (id+1)%ids, (id+w.r.IntN(ids))%ids)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	all.Wait()
}

// besideWriter gives objects versions, and takes some of them.
type besideWriter struct {
	v        *view.View
	r        *rand.Rand
	versions [][]int // of each object, those that are there
	last     int     // the last version of any
	blocks   uint64
	added    int64
}

func (w *besideWriter) apply(b *record.Block) error {
	w.blocks++
	b.Collection, b.Number, b.Sequence, b.AddedFirst = "a", w.blocks, w.blocks, time.UnixMicro(w.added)
	w.added += int64(b.Count) + w.r.Int64N(3)
	return w.v.ApplyBlock(b)
}

func (w *besideWriter) add(list ...int) error {
	var texts []string
	for _, id := range list {
		w.last++
		o := object{id: id, version: w.last}
		w.versions[id] = append(w.versions[id], w.last)
		texts = append(texts, fmt.Sprintf(`{"type":"%s","spec_version":"2.1","id":"%s","created":"2026-01-01T00:00:00.000Z","modified":"%s","y":"%s"}`,
			o.typ(), o.name(), o.at().Format("2006-01-02T15:04:05.000Z"), strings.Repeat("y", w.r.IntN(9000))))
	}
	return w.apply(&record.Block{Count: len(list), Payload: []byte(`{"objects":[` + strings.Join(texts, ",") + `]}`), Feed: "f"})
}

// remove deletes one of the versions of an object that has others.
func (w *besideWriter) remove(id int) error {
	i := w.r.IntN(len(w.versions[id]))
	text, err := json.Marshal(record.Removal{Versions: []record.Version{object{id: id, version: w.versions[id][i]}.named()}})
	if err != nil {
		return err
	}
	w.versions[id] = append(w.versions[id][:i:i], w.versions[id][i+1:]...)
	return w.apply(&record.Block{Count: 1, Control: record.ControlDelete, Payload: text})
}

// besideQuery is a query for latest versions, and of how many objects of so many there are some.
func besideQuery(r *rand.Rand, ids int) (q view.Query, want int) {
	q = view.Query{Limit: 1000, Facts: r.IntN(2) == 0}
	if r.IntN(4) == 0 {
		q.SpecVersions = []string{"2.1"}
	}
	switch r.IntN(3) {
	case 0:
		return q, ids
	case 1:
		q.Types = [][]string{{"indicator"}, {"x-own", "sighting"}}[r.IntN(2)]
		return q, len(q.Types) * ids / 4
	}
	for id := range 1 + r.IntN(ids) {
		q.IDs = append(q.IDs, object{id: id, version: 1}.name())
	}
	return q, len(q.IDs)
}

// eachOnce tells what is wrong with a page that should have so many objects.
func eachOnce(p *view.Page, facts bool, want int) error {
	seen := map[string]bool{}
	if facts {
		for f, err := range p.Facts() {
			if err != nil {
				return err
			}
			seen[string(f.ID.AppendTo(nil))] = true
		}
	} else {
		texts, err := p.Objects()
		if err != nil {
			return err
		}
		for _, text := range texts {
			brief, _ := stix.ScanBrief(text)
			if !json.Valid(text) {
				return fmt.Errorf("%.100q is not JSON", text)
			}
			seen[string(brief.ID)] = true
		}
	}
	last := time.Time{}
	for _, at := range p.Added() {
		if !at.After(last) {
			return fmt.Errorf("%v behind %v", at, last)
		}
		last = at
	}
	if len(seen) != want || p.Count != want {
		return fmt.Errorf("%d objects, %d different ones, not %d", p.Count, len(seen), want)
	}
	return nil
}
