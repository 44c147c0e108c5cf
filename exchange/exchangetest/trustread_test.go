package exchangetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/google/go-cmp/cmp"
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/things"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// expected lists what a collection has, each as a line of id, version and what the words are.
func (w *world) expected(c string) (list []string) {
	for _, x := range w.posted.Read(c) {
		list = append(list, line(w, x.Text))
	}
	slices.Sort(list)
	return list
}

// line names an object's version, and its words.
func line(t testing.TB, raw []byte) string {
	h, err := stix.ParseHead(raw)
	if err != nil {
		t.Fatal(err)
	}
	v := jsontext.Value(slices.Clone(raw))
	if err := v.Canonicalize(); err != nil {
		t.Fatal(err)
	}
	return h.ID + " " + or(h.Modified, none) + " " + string(v)
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

const none = things.None

// linesOf are the lines of the objects of an envelope or bundle, but for the definitions that the exchange adds.
func linesOf(t testing.TB, text string) (list []string) {
	list = slices.DeleteFunc(lines(t, text), func(l string) bool { return l == "" })
	slices.Sort(list)
	return list
}

// lines has a line for each object, "" for the definition of a marking.
func lines(t testing.TB, text string) (list []string) {
	var got struct{ Objects []json.RawMessage }
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err, text)
	}
	for _, o := range got.Objects {
		l := line(t, o)
		if strings.HasPrefix(l, tlp.AmberStrict.MarkingID()) {
			l = ""
		}
		list = append(list, l)
	}
	return list
}

// named are lines without their words.
func named(lines []string) (list []string) {
	for _, l := range lines {
		f := strings.SplitN(l, " ", 3)
		list = append(list, f[0]+" "+f[1])
	}
	return list
}

// read compares what callers get of a collection, by all ways.
func (w *world) read(c string) {
	want := w.expected(c)
	for _, who := range []string{w.pick(members), w.pick(members) + "/p", w.pick([]string{exchange.Admin, exchange.Admin + "/p", ""})} {
		member, person, _ := strings.Cut(who, "/")
		may := w.o.mayRead(member, person, c, "taxii")
		for _, endpoint := range []string{"objects", "manifest"} {
			code, text := w.do("GET", "/exchange/collections/"+c+"/"+endpoint+"/?match[version]=all&match[spec_version]=2.1&limit=5000", who, "")
			switch {
			case may != (code == http.StatusOK):
				w.Errorf("%q reads %s of %s: %d, the oracle says %v", who, endpoint, c, code, may)
			case may && endpoint == "objects":
				w.same(fmt.Sprintf("%s for %q", c, who), linesOf(w, text), want)
			case may:
				w.same(fmt.Sprintf("manifest of %s for %q", c, who), versionsOf(w, text), named(want))
			}
		}
		if code, _ := w.do("GET", "/v1/collections/"+c+"/withdrawn", who, ""); may != (code == http.StatusOK) {
			w.Errorf("%q reads what was withdrawn from %s: %d", who, c, code)
		}
	}
	member := w.pick(append(slices.Clone(members), exchange.Admin))
	w.push(c, member, "events", newest(want))
	w.push(c, member, "nats", want)
	if member != exchange.Admin && w.r.IntN(3) == 0 {
		w.hook(c, member, newest(want))
	}
}

// versionsOf names the objects of a manifest, an envelope or a bundle, but for the definitions that the exchange adds.
func versionsOf(t testing.TB, text string) (list []string) {
	var got struct {
		Objects []struct{ ID, Version, Modified, Type string }
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err, text)
	}
	for _, o := range got.Objects {
		if o.ID == tlp.AmberStrict.MarkingID() {
			continue
		}
		v := o.Version + o.Modified
		if strings.HasPrefix(o.ID, "ipv4-addr") {
			v = none
		}
		list = append(list, o.ID+" "+v)
	}
	slices.Sort(list)
	return list
}

// newest are the newest versions of a sorted list: what an event stream has.
func newest(list []string) (out []string) {
	for i, v := range list {
		id, _, _ := strings.Cut(v, " ")
		if i+1 == len(list) || !strings.HasPrefix(list[i+1], id+" ") {
			out = append(out, v)
		}
	}
	return out
}

func (w *world) same(what string, got, want []string) {
	if d := cmp.Diff(want, got); d != "" && len(got)+len(want) > 0 {
		w.Errorf("%s is not what the oracle says (-want +got):\n%s", what, d)
	}
}

// push follows a collection from its start until it has what the oracle says.
func (w *world) push(c, member, way string, want []string) {
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
	defer cancel()
	mirror := make(map[string]string) // over NATS by block and position, else by id and version
	var got []string
	apply := func() error {
		if got = slices.Compact(slices.Sorted(maps.Values(mirror))); way == "events" {
			got = newest(got)
		}
		if slices.Equal(got, want) {
			return errEnough
		}
		return nil
	}
	may := w.o.mayRead(member, "", c, way)
	if may && len(want) == 0 {
		return // nothing comes
	}
	cl := client(w.e, member, w.tokens[member])
	var err error
	if way == "nats" {
		err = cl.Subscribe(ctx, c, "start", func(b *apiclient.Block) error {
			at := func(i int) string { return fmt.Sprint(b.Number, " ", i) }
			for _, o := range b.Removed {
				delete(mirror, at(o.Position))
			}
			if b.Bundle != nil {
				positions := b.Positions()
				for i, l := range lines(w, string(b.Bundle)) {
					if l != "" {
						mirror[at(positions[i])] = l
					}
				}
			}
			return apply()
		})
	} else {
		err = cl.Events(ctx, c, "", "", func(e *apiclient.Event) error {
			maps.DeleteFunc(mirror, func(v, _ string) bool {
				id, _, _ := strings.Cut(v, " ")
				return slices.Contains(e.Withdrawn, id)
			})
			if e.Bundle != nil {
				for _, l := range linesOf(w, string(e.Bundle)) {
					mirror[named([]string{l})[0]] = l
				}
			}
			return apply()
		})
	}
	var answer *apiclient.Error
	switch {
	case !may && !(errors.As(err, &answer) && answer.Status/100 == 4):
		w.Errorf("%s gets %s by %s: %v", member, c, way, err)
	case may && !errors.Is(err, errEnough):
		w.Errorf("%s by %s: %v", member, way, err)
		w.same(c+" by "+way, got, want)
	}
}

// readHosts compares what of hosts is in the collections of those who are responsible for them.
func (w *world) readHosts() {
	c := w.pick([]string{"csirt-a", "csirt-b", "owner-a", "owner-b", "unclaimed", "feed-f"})
	who := w.pick(append(slices.Clone(members), exchange.Admin, c))
	if w.tokens[who] == "" {
		who = exchange.Admin
	}
	may := w.o.mayRead(who, "", c, "taxii")
	code, text := w.do("GET", "/exchange/collections/"+c+"/objects/?match[type]=observed-data&match[version]=all&limit=5000", who, "")
	if may != (code == http.StatusOK) {
		w.Errorf("%s reads %s: %d, the oracle says %v", who, c, code, may)
	}
	if !may {
		return
	}
	got := make(map[string]int)
	for _, v := range versionsOf(w, text) {
		id, _, _ := strings.Cut(v, " ")
		got[id]++
	}
	want := make(map[string]int)
	for key, h := range w.o.hosts {
		if n := h.versions[c]; n > 0 {
			of := strings.Split(key, " ")
			asn, _ := strconv.ParseUint(of[2], 10, 32) // "" is 0
			want[w.e.HostObject("f", "observed-data", of[0], "2026-03-19", exchange.Location{Country: of[1], ASN: uint32(asn)})] = n
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		w.Errorf("hosts in %s are not what the oracle says (-want +got):\n%s", c, d)
	}
}
