package exchangetest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// desk posts by itself to an exchange's journal, so that something can happen between two of its steps.
type desk struct {
	t *testing.T
	*submission.Poster
	speaks string // an identity that whoever adds speaks for
}

// steps goes between a desk and what it writes to and reads from.
type steps struct {
	submission.Log
	submission.Known
	posts  int                                             // so far
	post   func(n int) error                               // before the nth
	looked func(id string) (*record.Standing, error, bool) // in place of Standings, where true
	walks  int                                             // calls of Disclosing
}

func (s *steps) Post(p *record.Post) (uint64, error) {
	s.posts++
	if s.post != nil {
		if err := s.post(s.posts); err != nil {
			return 0, err
		}
	}
	return s.Log.Post(p)
}

func (s *steps) Standings(id string) ([]*record.Standing, error) {
	if s.looked != nil {
		if out, err, instead := s.looked(id); instead {
			return []*record.Standing{out}, err
		}
	}
	return s.Known.Standings(id)
}

func (s *steps) Disclosing(id, after string, limit int) ([]string, error) {
	s.walks++
	return s.Known.Disclosing(id, after, limit)
}

// known is what is known of an object in all collections together.
func known(v submission.Known, id string) (*record.Standing, error) {
	list, err := v.Standings(id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

func newDesk(t *testing.T, e *exchangetest.Exchange) (desk, *steps) {
	s := &steps{Log: e.Journal, Known: e.View}
	return desk{t: t, Poster: &submission.Poster{
		Log: s, View: s, Seal: record.Seal{Key: e.Register.Secret()}, Fatal: func(error) {}, Gate: new(sync.RWMutex),
	}}, s
}

// shelves are the collections of labelled that members write to.
var shelves = map[string]tlp.Level{"low": tlp.Green, "mid": tlp.Amber, "room": tlp.Red, exchange.Quarantine: tlp.Red}

func shelf(id string) (*exchange.Collection, error) {
	return &exchange.Collection{ID: id, Ceiling: shelves[id], Floor: tlp.Clear}, nil
}

func (d desk) addition(by, collection string) *submission.Addition {
	return &submission.Addition{By: by, Rules: deskRules{d.speaks, collection, by == exchange.Admin}, SpecVersions: []string{"2.0", "2.1"}}
}

// deskRules let everybody write, and speak for one identity.
type deskRules struct {
	speaks, collection string
	operator           bool
}

func (r deskRules) Relays() bool                              { return r.operator }
func (r deskRules) Speaks(id string) bool                     { return id == r.speaks && id != "" }
func (deskRules) Others(string) bool                          { return false }
func (deskRules) Hidden() []string                            { return nil }
func (deskRules) Identity() string                            { return "" }
func (deskRules) Sign(tlp.Level) (o record.Object, err error) { return o, nil }
func (deskRules) Reads(c string) bool                         { return c == "low" || c == "mid" }
func (deskRules) Readable() []string                          { return []string{"low", "mid"} }
func (deskRules) Ceiling(c string) tlp.Level                  { return shelves[c] }
func (r deskRules) Collection() (*exchange.Collection, error) { return shelf(r.collection) }

// add adds objects and returns why the last was refused, "" where it was not.
func (d desk) add(by, collection string, objects ...string) (string, error) {
	a := d.addition(by, collection)
	for _, o := range objects {
		a.Objects = append(a.Objects, []byte(o))
	}
	out, _, err := d.Add(d.t.Context(), a)
	if err != nil {
		return "", err
	}
	return out[len(out)-1].Problem, nil
}

// must adds objects that are taken.
func (d desk) must(by, collection string, objects ...string) {
	d.t.Helper()
	for _, o := range objects {
		if why, err := d.add(by, collection, o); why != "" || err != nil {
			d.t.Fatal(why, err)
		}
	}
}

var errStopped = errors.New("stopped")

// Wherever an exchange is stopped while it raises a label, the request that is made again ends it, also where
// what tells of an object comes back to it.
func TestARaiseThatWasStoppedIsEndedByTheNext(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	good, view := newDesk(t, e)
	id := func(n int) string { return fmt.Sprintf("language-content--%08d-0000-4000-8000-000000000000", n) }
	for kind, step := range map[string]int{"of something else": 1000, "of itself": 2000, "in a ring": 3000} {
		for stop := range 6 {
			base := step + stop*10
			to := map[int]string{1000: sampleID(1), 2000: id(base), 3000: id(base + 2)}[step]
			_, first := telling("language-content", base, version1, "", to)
			_, raised := telling("language-content", base, version2, amber, to)
			_, a := telling("language-content", base+2, version1, "", id(base))
			_, b := telling("language-content", base+3, version1, "", id(base+2))
			good.must("cert-at", "low", first)
			good.must("cert-at", "mid", first)
			good.must("cert-pl", "low", a, b)
			bad, s := newDesk(t, e)
			s.post = func(n int) error {
				if n > stop {
					return errStopped
				}
				return nil
			}
			if _, err := bad.add("cert-at", "mid", raised); err != nil && !errors.Is(err, errStopped) {
				t.Fatal(err)
			}
			good.must("cert-at", "mid", raised)
			for _, x := range []string{id(base), id(base + 2), id(base + 3)} {
				if list, err := view.Versions("low", x); len(list) > 0 || err != nil {
					t.Errorf("%s, stopped after %d blocks: low has %s (%v)", kind, stop, x, err)
				}
			}
		}
	}
}

// Of two raises at the same time, the higher stays.
func TestASlowRaiseLowersNothing(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	good, view := newDesk(t, e)
	rel, text := telling("relationship", 1, version1, "", sampleID(1), sampleID(2))
	good.must("cert-at", "low", sample(1, version1, green), sample(2, version1, green), text)
	slow, s := newDesk(t, e)
	looks := 0
	s.looked = func(id string) (*record.Standing, error, bool) {
		if id != rel {
			return nil, nil, false
		}
		out, err := known(view, id)
		if looks++; looks == 2 { // by then it is about to be raised to AMBER
			good.must("cert-at", "room", sample(2, version2, red))
		}
		return out, err, true
	}
	slow.must("cert-at", "mid", sample(1, version2, amber))
	if got, err := known(view, rel); err != nil || got.Label != tlp.Red {
		t.Errorf("the relationship of what is RED is %+v: %v", got, err)
	}
}

// What the operator releases tells of nothing that is higher, whenever that was raised.
func TestWhatIsReleasedDisclosesNothingHigher(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	good, view := newDesk(t, e)
	const acs = `,"object_marking_refs":["marking-definition--00000000-0000-4000-8000-00000000acac"]`
	decide := func(d desk, object string, label tlp.Level) error {
		list, err := d.ListQuarantined(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(h *submission.Quarantined) bool { return h.Object == object })
		if i < 0 {
			t.Fatal(object, "is not held")
		}
		_, err = d.Decide(context.Background(), list[i].ID, label, "admin", "because", d.addition)
		return err
	}
	sighting, text := telling("sighting", 1, version1, acs, sampleID(1))
	good.must("cert-at", "low", sample(1, version1, green))
	if why, err := good.add("cert-pl", "low", text); !strings.Contains(why, "quarantine") || err != nil {
		t.Fatal(why, err)
	}
	good.must("cert-at", "mid", sample(1, version2, amber))
	if err := decide(good, sighting, tlp.Green); !errors.Is(err, submission.ErrLabel) {
		t.Error(err)
	}
	// A relationship that comes in while the operator raises its end.
	good.must("cert-at", "low", sample(2, version1, green))
	if why, err := good.add("cert-at", "mid", sample(2, version1, unknown)); !strings.Contains(why, "quarantine") || err != nil {
		t.Fatal(why, err)
	}
	rel, text := telling("relationship", 2, version1, "", sampleID(2), sampleID(2))
	slow, s := newDesk(t, e)
	s.post = func(n int) error {
		if n == 1 {
			good.must("cert-pl", "mid", text)
			good.must("cert-pl", "low", text)
		}
		return nil
	}
	if err := decide(slow, sampleID(2), tlp.Amber); err != nil {
		t.Fatal(err)
	}
	if list, err := view.Versions("low", rel); len(list) > 0 || err != nil {
		t.Error("low has a relationship of what is AMBER:", list, err)
	}
}

// Identifiers of STIX 2.0 can be written in several ways.
func TestReferencesInOtherLettersDiscloseAsWell(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	good, view := newDesk(t, e)
	for n, ref := range []string{"Indicator--%08x-0000-4000-8000-%012d", "indicator--%08X-0000-4000-8000-%012d"} {
		at := func(version, extra string) string {
			return strings.Replace(sample(n, version, extra), sampleID(n), fmt.Sprintf("indicator--%08x-0000-4000-8000-%012d", 0xabc0+n, n), 1)
		}
		ref = fmt.Sprintf(ref, 0xabc0+n, n)
		rel := fmt.Sprintf("relationship--0000000%d-0000-4000-8000-000000000000", n)
		good.must("cert-at", "low", at(version1, green))
		good.must("cert-pl", "low", fmt.Sprintf(`{"type":"relationship","id":%q,"created":%q,"modified":%q,"relationship_type":"related-to","source_ref":%q,"target_ref":%q}`, rel, version1, version1, ref, ref))
		good.must("cert-at", "mid", at(version2, amber))
		if list, err := view.Versions("low", rel); len(list) > 0 || err != nil {
			t.Error(ref, list, err)
		}
	}
}

// What a feed has made keeps its label where somebody who speaks for its creator is refused another.
func TestWhatIsRefusedRaisesNothingThatAFeedHasMade(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	good, view := newDesk(t, e)
	e.Publish(t, "rustock", "ip,timestamp,cc,asn,port,tlp\n240.1.0.1,2026-03-19T09:00:00Z,AT,64511,4711,green\n")
	list, _ := e.Pull(t, "feed-rustock", taxiiclient.Cursor{}, taxii.Filter{})
	i := slices.IndexFunc(list, func(o string) bool { return strings.Contains(o, `"type":"malware"`) })
	malware := property(list[i], "id")[0]
	good.speaks = e.Identity("dcu")
	sighting, text := telling("sighting", 1, version1, green, malware)
	good.must("cert-pl", "low", text)
	newer := fmt.Sprintf(`{"type":"malware","spec_version":"2.1","id":%q,"created_by_ref":%q,"created":%q,"modified":"2036-01-01T00:00:00.000Z","is_family":true,"name":"x"%s}`, malware, good.speaks, version1, red)
	if why, err := good.add("dcu", "low", newer); !strings.Contains(why, "RED") || err != nil {
		t.Fatal(why, err)
	}
	if got, err := view.Versions("low", sighting); len(got) != 1 || err != nil {
		t.Error("a sighting of what is CLEAR is gone:", err)
	}
}

// However objects tell of each other, they are walked once for each that is added, not once for each pair.
func TestAddingWhatTellsOfEachOtherIsNoMoreWorkThanThat(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	for shape, of := range map[string]func(n int) []string{
		"a chain": func(n int) (list []string) {
			last := sampleID(1)
			for i := range n {
				var text string
				last, text = telling("language-content", i, version1, "", last)
				list = append(list, text)
			}
			return list
		},
		"all of all": func(n int) (list []string) {
			ids := make([]string, n)
			for i := range ids {
				ids[i] = fmt.Sprintf(`"relationship--%08d-0000-4000-8000-000000000000"`, 1000+i)
			}
			for _, id := range ids {
				list = append(list, fmt.Sprintf(`{"type":"relationship","id":%s,"created":%q,"modified":%q,"relationship_type":"related-to","source_ref":%s,"target_ref":%s,"x_refs":[%s]}`, id, version1, version1, id, id, strings.Join(ids, ",")))
			}
			return list
		},
	} {
		d, s := newDesk(t, e)
		const n = 100
		list := of(n)
		for range 2 {
			s.walks = 0
			if why, err := d.add("cert-pl", "low", list...); why != "" || err != nil {
				t.Fatal(why, err)
			}
			if s.walks > 10*n {
				t.Errorf("%s of %d objects is walked in %d steps", shape, n, s.walks)
			}
		}
	}
}

// rebuilt stops an exchange, makes its view anew, and opens it again.
func rebuilt(t *testing.T, e *exchangetest.Exchange) *exchangetest.Exchange {
	t.Helper()
	dir := e.Dir
	e.Stop(t)
	if err := node.Rebuild(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return exchangetest.Open(t, dir)
}

// A view that is made anew knows the same labels, and the same of what discloses what.
func TestARebuildKnowsTheSameLabels(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	d, _ := newDesk(t, e)
	r := rand.New(rand.NewPCG(3, 7)) //nolint:gosec // not for secrets
	id := func(n int) string { return fmt.Sprintf("relationship--%08d-0000-4000-8000-000000000000", n) }
	const objects = 25
	for i := range 400 {
		n := r.IntN(objects)
		marks := []string{"", green, amber, red, unknown}[min(r.IntN(12), 4)]
		_, text := telling("relationship", n, fmt.Sprintf("2026-02-%02dT%02d:00:00.000Z", 1+i/20, r.IntN(24)), marks, id(r.IntN(objects)), id(r.IntN(objects)))
		if _, err := d.add([]string{"cert-at", "cert-pl"}[n%2], []string{"low", "mid", "room"}[r.IntN(3)], text); err != nil {
			t.Fatal(err)
		}
	}
	known := func() (out []string) {
		for n := range objects {
			s, err := known(e.View, id(n))
			list, err2 := e.View.Disclosing(id(n), "", 1000)
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprint(n, " ", s, list))
			for c := range shelves {
				versions, err := e.View.Versions(c, id(n))
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, fmt.Sprint(c, versions))
			}
		}
		slices.Sort(out)
		return out
	}
	was := known()
	e = rebuilt(t, e)
	if d := cmp.Diff(was, known()); d != "" {
		t.Error(d)
	}
}

// A host's raised label reaches who was given it as a fallback, and whoever is of another kind by now.
func TestARaisedLabelReachesEverybodyWhoHasTheHost(t *testing.T) {
	t.Parallel()
	const register = `
members:
  - {id: cert-at, kind: csirt, clearance: amber+strict, constituency: {countries: [AT]}}
  - {id: cert-fall, kind: csirt, clearance: amber, receives: fallback, constituency: {countries: [AT]}}
  - {id: isp-one, kind: %s, clearance: amber, constituency: {%s}}
  - {id: dcu, kind: publisher, clearance: red}
feeds:
  - {id: rustock, publisher: dcu, operation: rustock, malware: {name: Rustock}, default_tlp: amber, allow_reserved: true}
`
	e := exchangetest.Start(t, fmt.Sprintf(register, "network-owner", "asns: [64599]"))
	publish := func(label string) {
		e.Publish(t, "rustock", "ip,timestamp,cc,asn,tlp\n240.1.0.1,2026-03-19T10:00:00Z,AT,64511,"+label+"\n240.1.0.2,2026-03-19T10:00:00Z,AT,64599,"+label+"\n")
	}
	hosts := func(id string) int {
		m := as(t, e, id)
		_, _, text := e.Do(t, "GET", "/exchange/collections/"+id+"/objects/?match[type]=observed-data", m.id, m.token, "", "Accept", taxii.MediaType)
		return strings.Count(text, `"type":"observed-data"`)
	}
	publish("green")
	if hosts("cert-fall") != 1 || hosts("isp-one") != 1 {
		t.Fatal(hosts("cert-fall"), hosts("isp-one"))
	}
	e.Apply(t, fmt.Sprintf(register, "network-owner", "asns: [64511, 64599]"))
	e.Apply(t, fmt.Sprintf(register, "publisher", ""))
	e.Publish(t, "rustock", "ip,timestamp,cc,asn,tlp\n240.1.0.1,2026-03-19T11:00:00Z,AT,64511,amber+strict\n240.1.0.2,2026-03-19T11:00:00Z,AT,64599,amber+strict\n")
	e.Apply(t, fmt.Sprintf(register, "network-owner", "asns: [64598]"))
	if fall, isp := hosts("cert-fall"), hosts("isp-one"); fall != 0 || isp != 0 {
		t.Errorf("cert-fall has %d hosts that are AMBER+STRICT now, isp-one %d", fall, isp)
	}
}
