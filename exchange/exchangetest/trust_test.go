package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/oracle"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/things"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// stepsOfWorld is how many steps a world has; TOCSIN_TRUST_STEPS is how many there are in all, in as
// many worlds as that takes, and TOCSIN_TRUST_SEED the seed of the first: a number, or "clock" for others each
// time.
const stepsOfWorld = 120

func setting(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// Random members, collections, objects with random markings and changes of the register: what each may
// read, by each way, is what an oracle that knows none of the code says.
func TestNoByteLeavesAgainstItsLabel(t *testing.T) {
	t.Parallel()
	steps, seed := setting("TOCSIN_TRUST_STEPS", 1200), setting("TOCSIN_TRUST_SEED", 1)
	if os.Getenv("TOCSIN_TRUST_SEED") == "clock" {
		seed = uint64(time.Now().UnixNano() % 1e9)
	}
	for n := range (steps + stepsOfWorld - 1) / stepsOfWorld {
		t.Run(fmt.Sprintf("seed-%d", seed+n), func(t *testing.T) { newWorld(t, seed+n).run() })
		if t.Failed() {
			return
		}
	}
}

// world is an exchange beside what the oracle says of it.
type world struct {
	*testing.T
	things.Maker
	e       *exchangetest.Exchange
	r       *rand.Rand
	o       *parties
	posted  *oracle.Oracle
	rooms   map[string]*oracle.Collection
	made    map[string]bool   // ids of the exchange's making that members have tried
	tokens  map[string]string // by member, or member/person
	writers map[string][]string
	floor   map[string]int
	reg     *exchange.Register
	n       int
	log     []string
}

var (
	levels  = []string{"", "clear", "green", "amber", "amber+strict", "red"}
	members = []string{"csirt-a", "csirt-b", "owner-a", "owner-b", "pub", "peer"}
	rooms   = []string{"c0", "c1", "c2", "c3"}
)

func (w *world) pick(list []string) string { return list[w.r.IntN(len(list))] }

// some picks a part of a list.
func (w *world) some(list []string) (part []string) {
	for _, s := range list {
		if w.r.IntN(2) == 0 {
			part = append(part, s)
		}
	}
	return part
}

func newWorld(t *testing.T, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 7))
	w := &world{
		T: t, r: r, Maker: things.Maker{R: r}, tokens: make(map[string]string), writers: make(map[string][]string), floor: make(map[string]int), rooms: make(map[string]*oracle.Collection), made: make(map[string]bool),
		o: &parties{
			clearance: make(map[string]int), kind: make(map[string]string), ceiling: map[string]int{"unclaimed": 4, "quarantine": 5}, readers: make(map[string][]string),
			persons: make(map[string][]string), highest: make(map[string]int), hosts: make(map[string]*host),
		},
	}
	w.e = exchangetest.OpenWith(t, node.Options{Dir: t.TempDir(), HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Webhooks: hasty})
	var file strings.Builder
	speaks := make(map[string]oracle.Member)
	file.WriteString("members:\n")
	for i, m := range members {
		kind := []string{"csirt", "csirt", "network-owner", "network-owner", "publisher", "peer"}[i]
		w.o.clearance[m], w.o.kind[m] = 2+w.r.IntN(4), kind
		keys := []string{"countries: [AT]", "countries: [PL]", "asns: [64500]", "asns: [64501]", "", ""}[i]
		fmt.Fprintf(&file, "  - {id: %s, kind: %s, clearance: %s, constituency: {%s}, identities: [%s]}\n", m, kind, levels[w.o.clearance[m]], keys, things.Identity(i))
		speaks[m] = oracle.Member{Identities: []string{things.Identity(i)}}
		if i < 4 {
			w.o.readers[m] = []string{m}
		}
	}
	w.o.readers["feed-f"] = []string{"pub"}
	fmt.Fprintf(&file, "feeds:\n  - {id: f, publisher: pub, operation: f, malware: {name: F}, default_tlp: %s, allow_reserved: true, profile: observation}\ncollections:\n", levels[2+w.r.IntN(3)])
	for _, c := range rooms {
		w.room(&file, c)
	}
	var keepers []string
	for _, m := range members {
		if w.o.clearance[m] == 5 {
			keepers = append(keepers, m+"/p")
		}
	}
	w.o.persons["quarantine"] = append(w.some(keepers), "admin/p")
	fmt.Fprintf(&file, "quarantine: [%s]\n", strings.Join(w.o.persons["quarantine"], ", "))
	means := make(map[string]int)
	if level := w.r.IntN(2 * len(levels)); level < len(levels) {
		means[things.Unknown] = level
		word := levels[level]
		if level == 0 {
			word = exchange.MarkingIgnore
		}
		fmt.Fprintf(&file, "markings:\n  - {id: %s, means: %s}\n", things.Unknown, word)
	}
	w.posted = oracle.New(oracle.Config{Members: speaks, Collections: w.rooms, Markings: means, Made: w.made})
	w.e.Apply(t, file.String())
	w.reg = w.e.Register.Current()
	w.derive()
	for _, m := range append(slices.Clone(members), exchange.Admin) {
		w.tokens[m] = w.e.Token(t, m)
		token, _, err := w.e.Register.NewToken(t.Context(), "test", m, exchange.Token{Name: "person", Person: "p"})
		if err != nil {
			t.Fatal(err)
		}
		w.tokens[m+"/p"] = token
	}
	w.log = append(w.log, file.String())
	return w
}

// derive sets the ceilings that follow from clearances.
func (w *world) derive() {
	for _, m := range members[:4] {
		w.o.ceiling[m] = min(w.o.clearance[m], 4)
	}
	w.o.ceiling["feed-f"] = min(w.o.clearance["pub"], 4)
	for c := range w.rooms {
		w.readers(c)
	}
}

// room makes a collection that members write to.
func (w *world) room(file *strings.Builder, c string) {
	ceiling := 1 + w.r.IntN(5)
	w.o.ceiling[c], w.floor[c] = ceiling, 1+w.r.IntN(ceiling)
	w.writers[c] = []string{"all"}
	if w.r.IntN(2) == 0 {
		w.writers[c] = append(w.some(members), "peer")
	}
	fmt.Fprintf(file, "  - {id: %s, ceiling: %s, floor: %s, writers: [%s]", c, levels[ceiling], levels[w.floor[c]], strings.Join(w.writers[c], ", "))
	var cleared, persons []string
	for _, m := range members {
		if w.o.clearance[m] >= ceiling {
			cleared, persons = append(cleared, m), append(persons, m+"/p")
		}
	}
	w.rooms[c] = &oracle.Collection{Ceiling: ceiling, Floor: w.floor[c], Writers: all(w.writers[c])}
	if ceiling == 5 {
		w.o.persons[c] = append(w.some(persons), "admin/p")
		fmt.Fprintf(file, ", persons: [%s]}\n", strings.Join(w.o.persons[c], ", "))
		return
	}
	w.o.readers[c] = append(w.some(cleared), []string{"all"}[:w.r.IntN(2)]...)
	w.readers(c)
	fmt.Fprintf(file, ", readers: [%s]}\n", strings.Join(w.o.readers[c], ", "))
}

// readers tells the oracle who reads a room.
func (w *world) readers(c string) {
	w.rooms[c].Readers = slices.DeleteFunc(all(w.o.readers[c]), func(m string) bool { return !w.o.mayRead(m, "", c, "taxii") })
}

// all spells out who is meant.
func all(list []string) []string {
	if slices.Contains(list, "all") {
		return slices.Clone(members)
	}
	return slices.Clone(list)
}

func (w *world) run() {
	for range stepsOfWorld {
		switch k := w.r.IntN(20); {
		case k < 7:
			w.submit()
		case k < 11:
			w.publish()
		case k < 12:
			w.change()
		case k < 13:
			w.remove()
		case k < 18:
			w.read(w.pick(rooms))
		default:
			w.readHosts()
		}
		if w.Failed() {
			w.Log(strings.Join(w.log, "\n"))
			return
		}
	}
	for _, c := range rooms {
		w.read(c)
	}
	if w.Failed() {
		w.Log(strings.Join(w.log, "\n"))
	}
}

func (w *world) note(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

// do sends a request as a member, or as member/person.
func (w *world) do(method, path, who, body string) (int, string) {
	member, _, _ := strings.Cut(who, "/")
	header := []string{"Accept", taxii.MediaType}
	if method == "POST" && strings.HasPrefix(path, "/exchange/") {
		header = append(header, "Content-Type", taxii.MediaType)
	}
	code, _, text := w.e.Do(w, method, path, member, w.tokens[who], body, header...)
	return code, text
}

// submit posts some objects and compares what became of each.
func (w *world) submit() {
	member, c := w.pick(append(slices.Clone(members), exchange.Admin)), w.pick(rooms)
	var list []*things.Thing
	var texts []string
	var raws [][]byte
	for range 1 + w.r.IntN(4) {
		x := w.Thing()
		if w.r.IntN(8) == 0 && (x.Type == "indicator" || x.Type == "observed-data") { // what a feed makes, or will
			x.ID = w.e.HostObject("f", x.Type, fmt.Sprintf("240.0.0.%d", w.r.IntN(9)), "2026-03-19", exchange.Location{Country: w.pick([]string{"AT", "PL", ""})})
			w.made[x.ID] = true
		}
		text := w.Text(x, func() (list [][]byte) {
			for _, o := range w.posted.Read(w.pick(append(slices.Clone(rooms), c))) {
				list = append(list, o.Text)
			}
			return list
		})
		list, texts, raws = append(list, x), append(texts, text), append(raws, []byte(text))
	}
	w.note("%s posts to %s: %s", member, c, strings.Join(texts, "\n    "))
	code, text := w.do("POST", "/exchange/collections/"+c+"/objects/", member, envelope(texts...))
	may := member == exchange.Admin || slices.Contains(w.rooms[c].Writers, member)
	if !may {
		if code == http.StatusAccepted {
			w.Errorf("%s may not write to %s: %d %s", member, c, code, text)
		}
		return
	}
	var st taxii.Status
	if err := json.Unmarshal([]byte(text), &st); err != nil || code != http.StatusAccepted {
		w.Fatalf("%d %s", code, text)
	}
	want := w.posted.Post(member, c, raws, time.Now())
	w.grow()
	var said, got []string
	for i, x := range list {
		said = append(said, fmt.Sprint(x.ID, " ", want[i]))
	}
	for _, d := range st.Successes {
		got = append(got, fmt.Sprint(d.ID, " ", oracle.Taken))
	}
	for _, d := range append(st.Pendings, st.Failures...) {
		v := oracle.Refused
		if strings.Contains(d.Message, "in quarantine") {
			v = oracle.Waiting
		}
		got = append(got, fmt.Sprint(d.ID, " ", v))
	}
	slices.Sort(said)
	slices.Sort(got)
	if d := cmp.Diff(said, got); d != "" {
		w.Errorf("what became of them is not what the oracle says (-want +got):\n%s%s", d, text)
	}
}

// grow notes the highest label that every collection has had.
func (w *world) grow() {
	for _, c := range rooms {
		for _, x := range w.posted.Read(c) {
			w.o.highest[c] = max(w.o.highest[c], x.Label)
		}
	}
}

// remove deletes an object.
func (w *world) remove() {
	member, c, x := w.pick(append(slices.Clone(members), exchange.Admin)), w.pick(rooms), w.Thing()
	may := member == exchange.Admin && w.o.ceiling[c] < 5 || slices.Contains(w.rooms[c].Writers, member) && w.o.mayRead(member, "", c, "taxii")
	w.note("%s deletes %s from %s", member, x.ID, c)
	code, text := w.do("DELETE", "/exchange/collections/"+c+"/objects/"+x.ID+"/?match[version]=all", member, "")
	want := http.StatusForbidden
	if may {
		switch ok, found := w.posted.Delete(member, c, x.ID); {
		case !found:
			want = http.StatusNotFound
		case ok:
			want = http.StatusOK
		}
	}
	if code != want && (may || code/100 != 4) {
		w.Errorf("%d, the oracle says %d: %s", code, want, text)
	}
}

// publish publishes an event of a host.
func (w *world) publish() {
	n := w.r.IntN(9)
	address := fmt.Sprintf("240.0.0.%d", n)
	if w.r.IntN(3) == 0 { // a host is seen elsewhere now and then
		n = w.r.IntN(9)
	}
	cc, asn := []string{"AT", "PL", ""}[n%3], []string{"64500", "64501", ""}[n/3]
	key := address + " " + cc + " " + asn
	h := w.o.hosts[key]
	if h == nil {
		h = &host{versions: make(map[string]int)}
		if h.csirt = map[string]string{"AT": "csirt-a", "PL": "csirt-b"}[cc]; asn != "" {
			h.owner = map[string]string{"64500": "owner-a", "64501": "owner-b"}[asn]
		}
		w.o.hosts[key] = h
	}
	w.n++
	label := w.pick([]string{"", "clear", "green", "amber", "amber", "amber+strict", "red"})
	at := time.Date(2026, 3, 19, 0, 0, 0, 0, time.UTC).Add(time.Duration(w.n) * time.Minute)
	rows := fmt.Sprintf("ip,timestamp,cc,asn,tlp\n%s,%s,%s,%s,%s\n", address, at.Format(time.RFC3339), cc, asn, label)
	w.note("event %s", strings.TrimSpace(rows))
	w.e.Publish(w, "f", rows)
	if label == "" {
		label = w.reg.Feeds[0].DefaultTLP.String()
	}
	w.o.sighted(h, "f", words[label])
}

// change changes the register: a clearance or a ceiling.
func (w *world) change() {
	level := 1 + w.r.IntN(5)
	if w.r.IntN(2) == 0 {
		c := w.pick(rooms)
		if (level == 5) != (w.o.ceiling[c] == 5) || level < w.floor[c] {
			return
		}
		_, err := w.e.Register.Change(w.Context(), "test", func(r *exchange.Register) error {
			for i := range r.Declared {
				if r.Declared[i].ID == c {
					_ = r.Declared[i].Ceiling.UnmarshalText([]byte(levels[level])) // it is one
				}
			}
			return nil
		})
		w.note("ceiling of %s: %s: %v", c, levels[level], err)
		if err == nil && w.o.highest[c] > level {
			w.Errorf("%s holds %s and its ceiling is %s now", c, levels[w.o.highest[c]], levels[level])
		}
		if err == nil {
			w.o.ceiling[c], w.rooms[c].Ceiling = level, level
			w.readers(c)
		}
		return
	}
	m := w.pick(members)
	_, err := w.e.Register.Change(w.Context(), "test", func(r *exchange.Register) error {
		_ = r.Member(m).Clearance.UnmarshalText([]byte(levels[level]))
		return nil
	})
	w.note("clearance of %s: %s: %v", m, levels[level], err)
	if err != nil {
		return
	}
	w.o.clearance[m] = level
	w.derive()
	for c, have := range w.o.highest {
		if have > w.o.ceiling[c] {
			w.Errorf("%s holds %s, above its ceiling %s", c, levels[have], levels[w.o.ceiling[c]])
		}
	}
	for _, c := range rooms {
		if slices.Contains(w.o.readers[c], m) && level < w.o.ceiling[c] || slices.Contains(w.o.persons[c], m+"/p") && level < 5 {
			w.Errorf("%s reads %s and is cleared for %s only", m, c, levels[level])
		}
	}
}
