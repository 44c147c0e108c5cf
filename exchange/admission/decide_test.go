package admission_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// kept is a journal that keeps its records, beside a view that has applied none of them.
type kept struct {
	nowhere
	list    []*record.Intake
	cleaned time.Time
	unseen  bool // nothing was introduced before
}

func (k *kept) Introduced(string, record.Introduction) (time.Time, bool, error) {
	return time.Now(), !k.unseen, nil
}

func (k *kept) AppendIntake(_ context.Context, _ string, text []byte, after uint64) (record.Head, error) {
	in, err := record.DecodeIntake(text)
	k.list = append(k.list, in)
	return record.Head{Sequence: after + 1, Hash: record.IntakeHash(text)}, err
}

func (k *kept) EachIntake(_ context.Context, _ string, after uint64, each func(*record.Intake, uint64) error) error {
	for i, in := range k.list {
		if sequence := uint64(i) + 1; sequence > after {
			if err := each(in, sequence); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *kept) Applied() uint64                          { return 0 }
func (k *kept) Snapshot(string) (record.Snapshot, error) { return k, nil }
func (k *kept) History(netip.Addr) (record.AddressHistory, error) {
	return record.AddressHistory{Cleaned: k.cleaned}, nil
}

// teams is a national team, an operator of AS64500 in its country, and a feed of a publisher.
func teams() *exchange.Register {
	return &exchange.Register{
		Version: 1, IDs: exchange.NewIDs(nil),
		Members: []exchange.Member{
			{ID: "cert-at", Kind: exchange.CSIRT, Clearance: tlp.AmberStrict, Constituency: exchange.Constituency{Countries: []string{"AT"}}},
			{ID: "dcu", Kind: exchange.Publisher, Clearance: tlp.AmberStrict},
			{ID: "isp", Kind: exchange.NetworkOwner, Clearance: tlp.AmberStrict, Constituency: exchange.Constituency{ASNs: []uint32{64500}}},
		},
		Feeds: []exchange.Feed{{
			ID: "f", Publisher: "dcu", Operation: "f", Malware: exchange.Malware{Name: "F"}, DefaultTLP: tlp.Green,
			Profile: exchange.ProfileObservation, AllowReserved: true, Repeat: exchange.Window(24 * time.Hour),
		}},
	}
}

func rulesOf(r *exchange.Register) *admission.Rules {
	return &admission.Rules{Register: r, Router: func(f *exchange.Feed) exchange.Tables { return constituency.New(r.Members, nil, f) }}
}

func open(t *testing.T, k *kept) *admission.Admission {
	t.Helper()
	a := &admission.Admission{
		Removed: func(context.Context, string, uint64) error { return nil },
		Log:     k, History: k, Fatal: func(err error) { t.Error(err) }, Gate: new(sync.RWMutex),
		Packagers: packagersOf(func(*record.Intake) ([]record.Share, error) { return nil, nil }),
	}
	a.SetRules(rulesOf(teams()))
	t.Cleanup(func() {
		if err := a.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return a
}

var start = time.Date(2026, 3, 19, 0, 0, 0, 0, time.UTC)

// seen is an event of one host of the operator's, some minutes after the start of a day.
func seen(minute int, label tlp.Level) exchange.Event {
	return exchange.Event{
		Address: netip.MustParseAddr("240.0.0.1"), Observed: start.Add(time.Duration(minute) * time.Minute),
		Count: 1, Country: "AT", ASN: 64500, Label: label,
	}
}

// admit takes an event in, and says what was decided: for each collection the rule, and what it loses.
func admit(t *testing.T, a *admission.Admission, k *kept, e exchange.Event) string {
	t.Helper()
	before := len(k.list)
	p, err := a.Admit(t.Context(), &admission.Chunk{Feed: "f", Events: []exchange.Event{e}})
	if err == nil {
		err = p.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(k.list) == before {
		return fmt.Sprintf("%d rejected, %d known", p.Receipt.Rejected, p.Receipt.Duplicates)
	}
	return decided(k.list[before])
}

func decided(in *record.Intake) string {
	if len(in.Observations) == 0 {
		return "to nobody"
	}
	var list []string
	d := in.Decisions[in.Observations[0].Decision]
	for _, g := range d.Grants {
		rule := g.Rule
		if g.Allow {
			rule = "yes"
		}
		list = append(list, g.Collection+" "+rule)
	}
	for _, w := range in.Withdrawals {
		list = append(list, w.Collection+" loses it")
	}
	return fmt.Sprintf("%s: %s", d.Label, strings.Join(list, ", "))
}

func TestEachSightingOfAHostIsDecidedBesideTheOnesBefore(t *testing.T) {
	t.Parallel()
	type step struct {
		e      exchange.Event
		want   string
		change func(*exchange.Register) // before it
	}
	leave := func(r *exchange.Register) { r.Version, r.Members[2].Constituency.ASNs = 2, nil }
	floored := seen(0, tlp.Green)
	floored.Floor = tlp.AmberStrict
	unsaid := seen(0, tlp.None)
	unsaid.Floor = tlp.Red
	mine := seen(0, tlp.Green)
	for name, steps := range map[string][]step{
		"a repeat is held back": {
			{e: seen(0, tlp.Green), want: "green: cert-at yes, isp yes"},
			{e: seen(10, tlp.Green), want: "green: cert-at repeat, isp repeat"},
			{e: seen(10, tlp.Green), want: "0 rejected, 1 known"},
		},
		"a raised label is told at once": {
			{e: seen(0, tlp.Green), want: "green: cert-at yes, isp yes"},
			{e: seen(10, tlp.Amber), want: "amber: cert-at yes, isp yes"},
			{e: seen(20, tlp.Green), want: "amber: cert-at repeat, isp repeat"},
		},
		"a label above what one may have takes the day away": {
			{e: seen(0, tlp.Green), want: "green: cert-at yes, isp yes"},
			{e: seen(10, tlp.AmberStrict), want: "amber+strict: cert-at yes, isp amber-strict-stays-with-csirt, isp loses it"},
		},
		"who answers no more keeps up to AMBER": {
			{e: seen(0, tlp.Green), want: "green: cert-at yes, isp yes"},
			{e: seen(10, tlp.Amber), want: "amber: cert-at yes", change: leave},
		},
		"and nothing above": {
			{e: seen(0, tlp.Green), want: "green: cert-at yes, isp yes"},
			{e: seen(10, tlp.AmberStrict), want: "amber+strict: cert-at yes, isp loses it", change: leave},
		},
		"the row's floor counts":          {{e: floored, want: "amber+strict: cert-at yes, isp amber-strict-stays-with-csirt"}},
		"also where the row has no label": {{e: unsaid, want: "to nobody"}},
		"an address of the exchange is rejected": {{e: mine, want: "1 rejected, 0 known", change: func(r *exchange.Register) {
			r.Own = []netip.Prefix{netip.MustParsePrefix("240.0.0.0/24")}
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := new(kept)
			a := open(t, k)
			for i, s := range steps {
				if s.change != nil {
					r := teams()
					s.change(r)
					a.SetRules(rulesOf(r))
				}
				if d := cmp.Diff(s.want, admit(t, a, k, s.e)); d != "" {
					t.Errorf("step %d: %s", i+1, d)
				}
			}
		})
	}
}

// A host that was reported clean and is seen after that is told to everybody, and once.
func TestARelapseIsToldAtOnce(t *testing.T) {
	t.Parallel()
	k := &kept{cleaned: start.Add(5 * time.Minute)}
	a := open(t, k)
	for _, c := range []struct {
		minute int
		want   string
	}{{0, "green: cert-at yes, isp yes"}, {10, "green: cert-at yes, isp yes"}, {20, "green: cert-at repeat, isp repeat"}} {
		if d := cmp.Diff(c.want, admit(t, a, k, seen(c.minute, tlp.Green))); d != "" {
			t.Errorf("minute %d: %s", c.minute, d)
		}
	}
	if got := k.list[1].Observations[0].Relapse; !got {
		t.Error("it is not marked as one")
	}
}

// Back-fill gives who joins what is known of the feed's hosts, and nobody what was held back from them.
func TestBackfillGivesWhatWasNotGivenAndNotHeldBack(t *testing.T) {
	t.Parallel()
	k := new(kept)
	a := open(t, k)
	admit(t, a, k, seen(0, tlp.Green))
	if d := cmp.Diff("green: cert-at repeat, isp repeat", admit(t, a, k, seen(10, tlp.Green))); d != "" {
		t.Fatal(d)
	}
	r := teams()
	r.Version = 2
	r.Members = slices.Insert(r.Members, 1, exchange.Member{ID: "cert-eu", Kind: exchange.CSIRT, Clearance: tlp.Amber, Constituency: exchange.Constituency{Countries: []string{"AT"}}})
	a.SetRules(rulesOf(r))
	got, err := a.Backfill(t.Context(), &admission.Backfill{Feed: "f", Members: []string{"cert-at", "cert-eu", "isp"}, Version: 2})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]int64{"cert-eu": 1}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("green: cert-eu yes", decided(k.list[2])); d != "" {
		t.Error(d)
	}
}

// A receipt says where each event of its chunk went.
func TestAReceiptCountsWhereEachEventWent(t *testing.T) {
	t.Parallel()
	at := func(address string, minute int, asn uint32, country string, label tlp.Level) exchange.Event {
		return exchange.Event{
			Address: netip.MustParseAddr(address), Observed: start.Add(time.Duration(minute) * time.Minute), Count: 1, ASN: asn, Country: country,
			Label: label, Dst: netip.MustParseAddr("240.9.9.9"),
		}
	}
	k := new(kept)
	a := open(t, k)
	for _, c := range []struct {
		name   string
		events []exchange.Event
		want   exchange.Receipt
	}{
		{
			"hosts of a team, of both, of nobody, above everybody, refused, twice",
			[]exchange.Event{
				at("240.0.1.1", 0, 0, "AT", tlp.Green), at("240.0.1.2", 0, 64500, "AT", tlp.Green), at("240.0.1.3", 0, 0, "", tlp.Green),
				at("240.0.1.4", 0, 0, "AT", tlp.Red), at("127.0.0.1", 0, 0, "AT", tlp.Green), at("240.0.1.1", 0, 0, "AT", tlp.Green),
			},
			exchange.Receipt{Feed: "f", Events: 4, Rejected: 1, Duplicates: 1, Withheld: 1, Unclaimed: 1, Collections: map[string]int64{"cert-at": 2, "isp": 1}},
		},
		{
			"held back from both",
			[]exchange.Event{at("240.0.1.2", 5, 64500, "AT", tlp.Green)},
			exchange.Receipt{Feed: "f", Events: 1, Suppressed: 1, Collections: map[string]int64{}},
		},
		{
			"one of a host's day above another",
			[]exchange.Event{at("240.0.2.1", 0, 64500, "AT", tlp.Green), at("240.0.2.1", 1, 64500, "AT", tlp.AmberStrict)},
			exchange.Receipt{Feed: "f", Events: 2, Withheld: 2, Collections: map[string]int64{"cert-at": 2}},
		},
		{
			"nobody knows where the first of a host's day was",
			[]exchange.Event{at("240.0.3.1", 0, 0, "", tlp.Green), at("240.0.3.1", 1, 0, "AT", tlp.Green)},
			exchange.Receipt{Feed: "f", Events: 2, Unclaimed: 1, Collections: map[string]int64{"cert-at": 1}},
		},
		{
			"withheld before, and so again",
			[]exchange.Event{at("240.0.1.4", 0, 0, "AT", tlp.Red)},
			exchange.Receipt{Feed: "f", Duplicates: 1, Collections: map[string]int64{}},
		},
	} {
		p, err := a.Admit(t.Context(), &admission.Chunk{Feed: "f", Events: c.events})
		if err == nil {
			err = p.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := p.Receipt.Rejected; p.Receipt.ProblemsTotal != n || int64(len(p.Receipt.Problems)) != n || n > 0 && !strings.Contains(p.Receipt.Problems[0].Reason, "127.0.0.1 is no host's address") {
			t.Errorf("%s: %d rejected, and why: %+v", c.name, n, p.Receipt.Problems)
		}
		p.Receipt.Problems, p.Receipt.ProblemsTotal = nil, 0
		if d := cmp.Diff(c.want, p.Receipt); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	// What is new is said once, and an address that a host has called before is not.
	first := k.list[0].Observations
	for i, o := range first {
		if !o.New || !o.NewAddress || !o.Modified.Equal(o.Last) {
			t.Errorf("%d: %+v", i, o)
		}
	}
	if o := k.list[1].Observations[0]; o.New || o.NewAddress || !o.Modified.After(first[1].Modified) {
		t.Errorf("%+v", o)
	}
	if _, err := a.Admit(t.Context(), &admission.Chunk{Feed: "f", Events: []exchange.Event{at("240.9.9.9", 9, 0, "AT", tlp.Green)}}); err != nil {
		t.Fatal(err)
	}
	if o := k.list[len(k.list)-1].Observations[0]; !o.New || o.NewAddress {
		t.Errorf("%+v", o)
	}
}

// Which observation an event of a host's day belongs to: one for each location; an event of which nobody knows the
// location joins the latest that is given to the same members.
func TestWhichObservationAnEventJoins(t *testing.T) {
	t.Parallel()
	at := func(minute int, asn uint32, country, hostname string) exchange.Event {
		e := seen(minute, tlp.Green)
		e.ASN, e.Country, e.Hostname = asn, country, hostname
		return e
	}
	register := teams()
	register.Feeds[0].Repeat, register.Feeds[0].Keys = 0, exchange.KeyKinds()
	register.Members[0].Constituency.Domains = []string{"at"}
	for name, c := range map[string]struct {
		chunks [][]exchange.Event
		want   []string // of the last chunk: location, count, names and who is given it
	}{
		"one location": {[][]exchange.Event{{at(0, 1, "AT", ""), at(1, 1, "AT", "")}}, []string{"AT AS1 2 [] cert-at"}},
		"over chunks":  {[][]exchange.Event{{at(0, 1, "AT", "")}, {at(1, 1, "AT", "")}}, []string{"AT AS1 2 [] cert-at"}},
		"two": {
			[][]exchange.Event{{at(0, 1, "AT", ""), at(1, 64500, "AT", ""), at(2, 1, "AT", "")}},
			[]string{"AT AS1 2 [] cert-at", "AT AS64500 1 [] cert-at isp"},
		},
		"nobody knows, and nobody gets it": {[][]exchange.Event{{at(0, 1, "AT", ""), at(1, 0, "", "")}}, []string{"AT AS1 1 [] cert-at", " AS0 1 [] unclaimed"}},
		"nobody knows, and the name is the same team's": {
			[][]exchange.Event{{at(0, 1, "AT", ""), at(1, 0, "", "x.at")}}, []string{"AT AS1 2 [x.at ] cert-at"},
		},
		"in a later chunk": {[][]exchange.Event{{at(0, 1, "AT", "")}, {at(1, 0, "", "x.at")}}, []string{"AT AS1 2 [x.at ] cert-at"}},
		"the latest of two": {
			[][]exchange.Event{{at(5, 1, "AT", ""), at(3, 2, "AT", "")}, {at(1, 0, "", "x.at")}}, []string{"AT AS1 2 [x.at ] cert-at"},
		},
		"the latest of two, the other way round": {
			[][]exchange.Event{{at(3, 1, "AT", ""), at(5, 2, "AT", "")}, {at(1, 0, "", "x.at")}}, []string{"AT AS2 2 [x.at ] cert-at"},
		},
		"not where another team has it as well": {
			[][]exchange.Event{{at(0, 64500, "AT", ""), at(1, 0, "", "x.at")}}, []string{"AT AS64500 1 [] cert-at isp", " AS0 1 [x.at] cert-at"},
		},
		"the unplaced stay together": {[][]exchange.Event{{at(0, 0, "", "")}, {at(1, 0, "", "")}}, []string{" AS0 2 [] unclaimed"}},
		"a country alone is a place": {[][]exchange.Event{{at(0, 1, "AT", ""), at(1, 0, "AT", "")}}, []string{"AT AS1 1 [] cert-at", "AT AS0 1 [] cert-at"}},
	} {
		k := new(kept)
		a := open(t, k)
		a.SetRules(rulesOf(register))
		for _, events := range c.chunks {
			p, err := a.Admit(t.Context(), &admission.Chunk{Feed: "f", Events: events})
			if err == nil {
				err = p.Wait(t.Context())
			}
			if err != nil {
				t.Fatal(name, err)
			}
		}
		var got []string
		last := k.list[len(k.list)-1]
		for i := range last.Observations {
			o := &last.Observations[i]
			var to []string
			for _, g := range last.Decisions[o.Decision].Grants {
				if g.Allow {
					to = append(to, g.Collection)
				}
			}
			got = append(got, fmt.Sprintf("%s AS%d %d %v %s", o.Country, o.ASN, o.Count, o.Hostnames, strings.Join(to, " ")))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if number := uint64(len(k.list)); last.Number != number || (number > 1) != (last.Previous != "") || last.Key != "" {
			t.Errorf("%s: record %d after %q", name, last.Number, last.Previous)
		}
	}
}

// A receipt says how often publisher and table disagree, an idempotency key is kept with the record, and each of what
// collections have not had today is introduced, in order.
func TestWhatElseARecordHas(t *testing.T) {
	t.Parallel()
	k := new(kept)
	a := open(t, k)
	r := teams()
	rules := rulesOf(r)
	networks := constituency.NewNetworks([]exchange.Network{{Prefix: netip.MustParsePrefix("240.0.0.0/24"), ASN: 64500, Country: "AT"}})
	rules.Router = func(f *exchange.Feed) exchange.Tables { return constituency.New(r.Members, networks, f) }
	a.SetRules(rules)
	other := seen(1, tlp.Green)
	other.ASN = 1
	p, err := a.Admit(t.Context(), &admission.Chunk{Feed: "f", Key: "key", Hash: [32]byte{7}, Events: []exchange.Event{seen(0, tlp.Green), other}, Receipt: exchange.Receipt{Rows: 3, Rejected: 1}})
	if err == nil {
		err = p.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	in := k.list[0]
	if in.Key != "key" || in.Hash != [32]byte{7} || in.Receipt.Rows != 3 || in.Receipt.Disagreements != 1 || p.Receipt.Disagreements != 1 {
		t.Errorf("%+v", in)
	}
	k = &kept{unseen: true}
	a = open(t, k)
	admit(t, a, k, seen(0, tlp.Green))
	want := []record.Introduction{
		{Collection: "cert-at"}, {Collection: "cert-at", Topic: "AT"}, {Collection: "feed-f"}, {Collection: "feed-f", Topic: "AT"}, {Collection: "isp"}, {Collection: "isp", Topic: "AT"},
	}
	if d := cmp.Diff(want, k.list[0].Introductions); d != "" {
		t.Error(d)
	}
	admit(t, a, k, seen(9, tlp.Amber))
	if got := k.list[1].Introductions; len(got) != 0 {
		t.Errorf("introduced twice a day: %+v", got)
	}
}
