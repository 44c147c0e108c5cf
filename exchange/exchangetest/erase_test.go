package exchangetest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/tocsin-exchange/tocsin/examples/rustock"
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/erasure"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// trace finds what names any of some addresses and accounts, in text or as records have it, packed or not.
type trace struct {
	t      *testing.T
	binary map[string]string // an address as records have it
	quads  map[string]bool   // IPv4 addresses, as text
	others [][]byte          // other texts
	key    age.Identity
	found  []string
}

func newTrace(t *testing.T, key age.Identity, texts ...string) *trace {
	t.Helper()
	tr := &trace{t: t, binary: make(map[string]string), quads: make(map[string]bool), key: key}
	for _, s := range texts {
		a, err := netip.ParseAddr(s)
		if err == nil {
			tr.binary[string(a.AsSlice())] = s
		}
		if err == nil && a.Is4() {
			tr.quads[s] = true
		} else {
			tr.others = append(tr.others, []byte(s))
		}
	}
	return tr
}

func (tr *trace) add(where, what string) {
	if len(tr.found) < 20 {
		tr.found = append(tr.found, where+": "+what)
	}
}

// names looks into a text, whose bytes are a record's or not: of any bytes, a million addresses are found in some gigabytes by chance.
func (tr *trace) names(where string, text []byte, records bool) {
	for i := 0; records && i < len(text); i++ {
		if n := int(text[i]); (n == 4 || n == 16) && i+n < len(text) {
			if s, is := tr.binary[string(text[i+1:i+1+n])]; is {
				tr.add(where, s+" in binary")
			}
		}
	}
	quad := func(c byte) bool { return c >= '0' && c <= '9' || c == '.' }
	for i := 0; i < len(text); i++ {
		if !quad(text[i]) {
			continue
		}
		k := i
		for k < len(text) && quad(text[k]) {
			k++
		}
		if s := string(bytes.Trim(text[i:k], ".")); tr.quads[s] {
			tr.add(where, s)
		}
		i = k
	}
	for _, s := range tr.others {
		if bytes.Contains(text, s) {
			tr.add(where, string(s))
		}
	}
}

// maxDepth is how deep what is in a file is packed: a segment has messages, and these records.
const maxDepth = 2

var magic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// in looks into a text, and into what is packed in it.
func (tr *trace) in(where string, text []byte, depth int) {
	tr.names(where, text, depth < maxDepth && !bytes.Contains(text, magic))
	for rest := text; depth > 0; {
		i := bytes.Index(rest, magic)
		if i < 0 {
			return
		}
		if r, err := zstd.NewReader(bytes.NewReader(rest[i:]), zstd.WithDecoderConcurrency(1), zstd.IgnoreChecksum(true)); err == nil {
			out, _ := io.ReadAll(r) // to where something else follows
			r.Close()
			if len(out) > 0 {
				tr.in(where, out, depth-1)
			}
		}
		rest = rest[i+len(magic):]
	}
}

// files looks into all files of a directory.
func (tr *trace) files(dir string) []string {
	tr.t.Helper()
	tr.found = nil
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "view" { // for which there is view
			return fs.SkipDir
		}
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(text, []byte("age-encryption.org/")) {
			r, err := age.Decrypt(bytes.NewReader(text), tr.key)
			if err != nil {
				return err
			}
			if text, err = io.ReadAll(r); err != nil {
				return err
			}
		}
		tr.in(strings.TrimPrefix(path, dir), text, maxDepth)
		return nil
	})
	if err != nil {
		tr.t.Fatal(err)
	}
	return tr.found
}

// view looks into what Pebble has, which is packed in its own ways.
func (tr *trace) view(dir string) []string {
	tr.t.Helper()
	tr.found = nil
	all, err := filepath.Glob(filepath.Join(dir, "view", "*", "MANIFEST-*"))
	if err != nil || len(all) == 0 {
		tr.t.Fatal("no view", err)
	}
	db, err := store.Open(filepath.Dir(all[0]), store.Options{ReadOnly: true})
	if err != nil {
		tr.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	it, err := db.NewIter(nil)
	if err != nil {
		tr.t.Fatal(err)
	}
	defer func() { _ = it.Close() }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			tr.t.Fatal(err)
		}
		where := fmt.Sprintf("view %.20q", it.Key())
		tr.names(where, it.Key(), true)
		tr.in(where, value, maxDepth)
	}
	return tr.found
}

const accounts = `
feeds:
  - {id: leaks, publisher: dcu, operation: leaks, malware: {name: Leak, types: [bot]}, default_tlp: amber, allow_reserved: true, created: 2011-03-16T00:00:00Z}
`

// What is erased is in no file any more, of the exchange or its archive, in any form; all else is as it was, for readers too; and
// a restore of a moment before erases it again.
func TestWhatIsErasedIsNowhere(t *testing.T) {
	t.Parallel()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	to, dir := t.TempDir(), t.TempDir()
	open := func(dir string) *exchangetest.Exchange {
		return exchangetest.OpenWith(t, node.Options{
			Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0",
			Archive: node.ArchiveOptions{Store: archive.Directory(to), Place: to, Every: time.Hour, Recipients: []age.Recipient{key.Recipient()}},
		})
	}
	e := open(dir)
	e.Apply(t, writable)
	e.Apply(t, accounts)
	m := as(t, e, "cert-at")
	// Two days, two sightings, a sinkhole, an address of each kind, and accounts.
	var rows strings.Builder
	rows.WriteString("timestamp,ip,asn,geo,port,dst_ip,dst_port,hostname\n")
	for day := range 2 {
		for i := range 150 {
			for k := range 1 + i%2 {
				fmt.Fprintf(&rows, "2026-01-0%dT00:%02d:%02dZ,240.1.%d.%d,64511,%s,%d,250.0.0.%d,80,\n", day+1, i%60, k, i/100, i%100+1, []string{"AT", "PL"}[i%2], 1024+i, 1+i%2)
			}
		}
	}
	rows.WriteString("2026-01-01T01:00:00Z,2001:db8:1::5,64511,AT,1024,250.0.0.1,80,\n")
	rows.WriteString("2026-01-01T01:00:00Z,240.1.0.300,64511,AT,1024,250.0.0.1,80,\n") // a problem
	e.Publish(t, "rustock", rows.String())
	e.Publish(t, "rustock", rows.String()+"2026-01-02T02:00:00Z,240.1.0.7,64511,AT,9,250.0.0.1,80,\n")
	e.PublishAs(t, "timestamp,email\n2026-01-01T00:00:00Z,victim@mail.example\n2026-01-01T00:00:00Z,other@mail.example\n", apiclient.Publication{Feed: "leaks"})
	e.Publish(t, "rustock", "timestamp,ip\n2026-01-01T00:00:00Z,10.1.2.3\n") // refused, or not: it is named in a receipt
	named := func(n int, address string) string {
		return strings.Replace(sample(n, version1, ""), "198.51.100.1", address, 1)
	}
	for n, address := range map[int]string{1: "240.1.0.7", 2: "240.1.0.70", 3: "2001:db8:1::5", 4: "198.51.100.9"} {
		if why := m.add("board", named(n, address)); why != "" {
			t.Fatal(why)
		}
	}
	e.Settled(t)
	if why := now(t, e); why.IsZero() {
		t.Fatal()
	}
	moment := time.Now()
	e.Publish(t, "rustock", hosts(120, 30, ""))
	e.Settled(t)
	erased := []string{"240.1.0.7", "240.1.0.8", "240.1.1.20", "2001:db8:1::5", "victim@mail.example", "10.1.2.3"}
	stays := []string{"240.1.0.70", "240.1.0.9", "other@mail.example", "198.51.100.9"}
	gone, kept := newTrace(t, key, erased...), newTrace(t, key, stays...)
	if len(gone.files(dir)) == 0 {
		t.Fatal("there is nothing to erase")
	}
	cursors := make(map[string]taxiiclient.Cursor) // each collection's, read in part
	before := everything(t, e)
	for c := range before {
		_, cursors[c] = e.Pull(t, c, taxiiclient.Cursor{}, taxii.Filter{})
	}
	names := func(o string) bool {
		tr := newTrace(t, key, erased...)
		tr.names("", []byte(o), false)
		return len(tr.found) > 0
	}
	code, _, text := e.Do(t, "POST", "/v1/erase?reason=ticket+4711", "admin", e.AdminToken(), `{"addresses":["240.1.0.7","240.1.0.8","240.1.1.20","2001:db8:1::5","10.1.2.3"],"accounts":["Victim@mail.example"]}`)
	if code != http.StatusOK {
		t.Fatal(code, text)
	}
	e.Settled(t)
	// At once nobody reads it any more, but for the feed's own record, which goes with the files.
	for c, list := range everything(t, e) {
		for _, o := range list {
			if names(o) && !strings.HasPrefix(c, "feed-") {
				t.Errorf("collection %s has %.90s", c, o)
			}
		}
	}
	e.Stop(t)
	e = open(dir)
	e.Settled(t)
	after := everything(t, e)
	for c, list := range after {
		for _, o := range list {
			if names(o) {
				t.Errorf("collection %s has %.90s", c, o)
			}
			if !slices.Contains(before[c], o) {
				t.Errorf("collection %s has what it had not: %.90s", c, o)
			}
		}
		hosts := erasedOf(t, before[c], names)
		for _, o := range before[c] {
			if !slices.Contains(list, o) && !hosts[o] {
				t.Errorf("collection %s lacks %.90s", c, o)
			}
		}
		// Who had read all of it is given nothing again.
		if more, _ := e.Pull(t, c, cursors[c], taxii.Filter{}); len(more) > 0 && strings.HasPrefix(c, "feed-") {
			t.Errorf("collection %s gives again %q", c, more)
		}
	}
	chains, err := e.Journal.Verify(t.Context())
	for _, c := range chains {
		if c.Problem != "" {
			t.Error(c.Collection, c.Problem)
		}
	}
	if _, e := e.Journal.VerifyAudit(t.Context()); err != nil || e != nil {
		t.Error(err, e)
	}
	if code, _, text := e.Do(t, "GET", "/readyz", "", "", ""); code != http.StatusOK {
		t.Error(code, text)
	}
	outOfArchive(t, dir)
	if found := gone.files(to); len(found) > 0 {
		t.Errorf("in the archive: %.600q", found[:min(6, len(found))])
	}
	e.Stop(t)
	if found := gone.files(to); len(found) > 0 {
		t.Errorf("in the archive: %.600q", found[:min(6, len(found))])
	}
	if found := gone.files(dir); len(found) > 0 {
		t.Errorf("in the data directory: %q", found[:min(6, len(found))])
	}
	if found := gone.view(dir); len(found) > 0 {
		t.Errorf("in the view: %q", found[:min(6, len(found))])
	}
	if found := kept.files(dir); len(found) == 0 {
		t.Error("nothing else is there either")
	}
	// Restored to a moment before.
	a, err := archive.Open(t.Context(), archive.Directory(to), []age.Identity{key})
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	if _, err := (&node.Restoring{Dir: again, Archive: a, To: moment}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := exchangetest.Open(t, again)
	for c, list := range everything(t, r) {
		if len(list) == 0 && len(after[c]) > 0 {
			t.Errorf("collection %s is empty", c)
		}
		for _, o := range list {
			if names(o) {
				t.Errorf("restored: collection %s has %.90s", c, o)
			}
		}
	}
	r.Stop(t)
	if found := slices.Concat(gone.files(again), gone.view(again)); len(found) > 0 {
		t.Errorf("restored: %q", found[:min(6, len(found))])
	}
}

// erasedOf are the objects that name what is erased, and those that refer to one of them.
func erasedOf(t *testing.T, all []string, names func(string) bool) map[string]bool {
	t.Helper()
	of, ids := make(map[string]bool), make(map[string]bool)
	for more := true; more; {
		more = false
		for _, o := range all {
			if of[o] {
				continue
			}
			h, err := stix.ParseHead([]byte(o))
			if err != nil {
				t.Fatal(err)
			}
			if names(o) || slices.ContainsFunc(h.Refs, func(r string) bool { return ids[r] }) {
				of[o], ids[h.ID], more = true, true, true
			}
		}
	}
	return of
}

// At size: of the hosts of a takedown a thousandth is erased. TOCSIN_ERASE says of how many hosts.
func TestAThousandthIsErased(t *testing.T) {
	hosts := someHosts
	if s := os.Getenv("TOCSIN_ERASE"); s != "" {
		var err error
		if hosts, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Parallel()
	}
	to, dir := t.TempDir(), t.TempDir()
	open := func() *exchangetest.Exchange {
		return exchangetest.OpenWith(t, node.Options{
			Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Archive: node.ArchiveOptions{Store: archive.Directory(to), Place: to, Every: time.Second},
		})
	}
	e := open()
	e.Apply(t, string(rustock.Register))
	operator := &apiclient.Client{Server: e.HTTPURL(), User: exchange.Admin, Token: e.AdminToken(), HTTP: taxiiclient.NewHTTP()}
	if err := operator.Do(t.Context(), "PUT", "/v1/networks", nil, rustock.Networks(), nil); err != nil {
		t.Fatal(err)
	}
	sample := rustock.NewSample(hosts)
	log := sample.Log()
	defer func() { _ = log.Close() }()
	receipt, err := operator.Publish(t.Context(), log, apiclient.Publication{Feed: rustock.Feed})
	if err != nil || receipt.Events != int64(hosts) {
		t.Fatal(err, receipt)
	}
	e.Settled(t)
	if err := e.ArchiveNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	var erased, stays []string
	i := 0
	sample.Each(func(h rustock.Host) bool {
		switch i++; i % 1000 {
		case 7:
			erased = append(erased, h.Address.String())
		case 8:
			stays = append(stays, h.Address.String())
		}
		return true
	})
	chains, err := e.Journal.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	body, err := json.Marshal(map[string]any{"addresses": erased})
	if err != nil {
		t.Fatal(err)
	}
	if code, _, text := e.Do(t, "POST", "/v1/erase?reason=asked", exchange.Admin, e.AdminToken(), string(body)); code != http.StatusOK {
		t.Fatal(code, text)
	}
	t.Logf("taken from readers in %v", time.Since(began))
	e.Stop(t)
	began = time.Now()
	e = open()
	t.Logf("started again in %v", time.Since(began))
	again, err := e.Journal.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range again {
		if c.Problem != "" || i < len(chains) && c.Objects < chains[i].Objects*9/10 {
			t.Errorf("%+v", c)
		}
	}
	outOfArchive(t, dir)
	t.Logf("out of the archive after %v", time.Since(began))
	e.Stop(t)
	gone, kept := newTrace(t, nil, erased...), newTrace(t, nil, stays...)
	if found := slices.Concat(gone.files(dir), gone.files(to), gone.view(dir)); len(found) > 0 {
		t.Errorf("%q", found)
	}
	if len(kept.files(dir)) == 0 || len(kept.files(to)) == 0 || len(kept.view(dir)) == 0 {
		t.Error("nothing else is there either")
	}
}

// outOfArchive waits until what is erased is out of the archive of the exchange on a directory.
func outOfArchive(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); ; <-time.After(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "erased.json")); errors.Is(err, fs.ErrNotExist) {
			return
		} else if time.Now().After(deadline) {
			t.Fatal("the archive was not written anew")
		}
	}
}

// An exchange that is opened without its archive, as tocsin erase does it, has it erased there all the same, once it is opened with
// it. And an order is of what there was: what comes again later stays.
func TestAnOrderIsCarriedOutInTheArchiveAndOnce(t *testing.T) {
	t.Parallel()
	to, dir := t.TempDir(), t.TempDir()
	e := archived(t, dir, to)
	e.Apply(t, writable)
	e.Publish(t, "rustock", hosts(0, 20, ""))
	e.Settled(t)
	e.Stop(t)
	order := func(e *exchangetest.Exchange, address string) *api.Erased {
		t.Helper()
		out, err := e.Erase(t.Context(), erasure.New(time.Now(), exchange.Admin, "asked", []netip.Addr{netip.MustParseAddr(address)}, nil))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	e = exchangetest.Open(t, dir)
	if out := order(e, "::ffff:240.1.0.5"); out.Events != 1 {
		t.Errorf("%+v", out)
	}
	e.Stop(t)
	exchangetest.Open(t, dir).Stop(t)
	gone := newTrace(t, nil, "240.1.0.5")
	if len(gone.files(to)) == 0 {
		t.Fatal("there is nothing to erase from the archive")
	}
	e = archived(t, dir, to)
	outOfArchive(t, dir)
	if found := slices.Concat(gone.files(to), gone.files(dir)); len(found) > 0 {
		t.Errorf("%q", found)
	}
	e.Publish(t, "rustock", hosts(4, 1, "")) // it is infected again
	order(e, "240.1.0.7")
	e.Settled(t)
	e.Stop(t)
	e = exchangetest.Open(t, dir)
	has := func(address string) bool {
		return slices.ContainsFunc(everything(t, e)["cert-at"], func(o string) bool { return strings.Contains(o, `"`+address+`"`) })
	}
	if !has("240.1.0.5") || has("240.1.0.7") {
		t.Error("what came again is gone, or what was erased is not:", has("240.1.0.5"), has("240.1.0.7"))
	}
	if _, err := e.Erase(t.Context(), erasure.New(time.Now(), exchange.Admin, "of 240.1.0.9", []netip.Addr{netip.MustParseAddr("240.1.0.9")}, nil)); err == nil {
		t.Error("a reason names what is erased")
	}
}

// Once nothing can be restored from before an order, its key is in no file any more, and what is left proves it.
func TestAnOrdersKeyIsDestroyed(t *testing.T) {
	t.Parallel()
	to, dir := t.TempDir(), t.TempDir()
	opened := func(window time.Duration) *exchangetest.Exchange {
		return exchangetest.OpenWith(t, node.Options{
			Dir: dir, HTTP: "127.0.0.1:0", RestoreWindow: window,
			Archive: node.ArchiveOptions{Store: archive.Directory(to), Place: to, Every: 50 * time.Millisecond},
		})
	}
	e := opened(time.Hour)
	e.Apply(t, writable)
	e.Publish(t, "rustock", hosts(0, 5, ""))
	order := erasure.New(time.Now(), exchange.Admin, "asked", []netip.Addr{netip.MustParseAddr("240.1.0.1")}, nil)
	key := base64.StdEncoding.EncodeToString(order.Key)
	if _, err := e.Erase(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	e.Stop(t)
	e = opened(time.Hour)
	outOfArchive(t, dir)
	e.Stop(t)
	there := newTrace(t, nil, key)
	if len(there.files(dir)) == 0 || len(there.files(to)) == 0 {
		t.Fatal("the key is not where it is looked for")
	}
	<-time.After(time.Until(order.At.Add(1100 * time.Millisecond))) // orders are of a second
	e = opened(time.Nanosecond)
	outOfArchive(t, dir)
	orders, err := e.Journal.Orders(t.Context())
	if err != nil || len(orders) != 1 || len(orders[0].Key) > 0 || len(orders[0].Hashes) != 1 || orders[0].Done.IsZero() {
		t.Errorf("%+v %v", orders, err)
	}
	e.Stop(t)
	if found := slices.Concat(there.files(dir), there.files(to)); len(found) > 0 {
		t.Errorf("%q", found)
	}
}
