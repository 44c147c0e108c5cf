// Package exchangetest starts a whole exchange for a test: embedded NATS,
// Pebble, HTTP, all on loopback and in a temporary directory.
package exchangetest

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/packaging"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// Register is a small register for tests: two CSIRTs, an owner below one of
// them, a publisher with the feed "rustock", and one with "strict".
const Register = `
members:
  - {id: cert-at, name: CERT.at, kind: csirt, clearance: amber+strict, constituency: {countries: [AT]}, created: 2011-03-16T00:00:00Z}
  - {id: cert-pl, name: CERT Polska, kind: csirt, clearance: amber+strict, constituency: {countries: [PL]}, created: 2011-03-16T00:00:00Z}
  - {id: isp-one, name: ISP One, kind: network-owner, clearance: amber, constituency: {asns: [64511], prefixes: ["240.1.0.0/16"]}, created: 2011-03-16T00:00:00Z}
  - {id: dcu, name: Digital Crimes Unit, kind: publisher, clearance: amber+strict, created: 2011-03-16T00:00:00Z}
feeds:
  - {id: rustock, publisher: dcu, operation: rustock, malware: {name: Rustock, types: [rootkit, bot]}, default_tlp: amber, allow_reserved: true, guidance: "https://example.org/clean-up", created: 2011-03-16T00:00:00Z}
collections:
  - {id: community, ceiling: green, readers: all}
`

// Exchange is a running exchange.
type Exchange struct {
	*node.Node
	Dir string
}

// Start starts an exchange with a register, which ends with the test.
func Start(t testing.TB, file string) *Exchange {
	t.Helper()
	e := Open(t, t.TempDir())
	e.Apply(t, file)
	return e
}

// Open starts an exchange on a directory, which ends with the test at the
// latest.
func Open(t testing.TB, dir string) *Exchange {
	t.Helper()
	return OpenWith(t, node.Options{Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0"})
}

// OpenWith starts an exchange, which ends with the test at the latest.
func OpenWith(t testing.TB, opt node.Options) *Exchange {
	t.Helper()
	if opt.Secret == nil {
		opt.Secret = []byte("the secret of tests")
	}
	n, err := node.Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	e := &Exchange{Node: n, Dir: opt.Dir}
	t.Cleanup(func() { e.Stop(t) })
	return e
}

// Reads is the operator's right to read a collection, nil where there is no such collection.
func (e *Exchange) Reads(collection string) policy.Read {
	return access.New(e.Register.Current()).Read(exchange.Caller{Member: exchange.Admin}, collection, exchange.ChannelTAXII)
}

// Identity is the identifier of the identity object that stands for a member.
func (e *Exchange) Identity(member string) string {
	return e.Register.Current().IdentityID(member)
}

// HostObject is the identifier of the object of a type that a host's day at a location is packaged as on a feed.
func (e *Exchange) HostObject(feed, typ, address, day string, at exchange.Location) string {
	d, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	r := e.Register.Current()
	of := exchange.HostDay{Address: netip.MustParseAddr(address), Day: exchange.DayOf(d)}
	return r.IDs.Of(typ, r.Feed(feed).Recipe(of.At(at), packaging.Version)...)
}

// Stop stops the exchange; a second time does nothing.
func (e *Exchange) Stop(t testing.TB) {
	t.Helper()
	if e.Node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Errorf("stop the exchange: %v", err)
	}
	e.Node = nil
}

// Apply applies a register file.
func (e *Exchange) Apply(t testing.TB, file string) {
	t.Helper()
	f, err := register.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Register.Change(t.Context(), "test", func(r *exchange.Register) error {
		f.Apply(r, false, time.Now())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Token makes a credential for a member.
func (e *Exchange) Token(t testing.TB, member string) string {
	t.Helper()
	if member == exchange.Admin {
		return e.AdminToken()
	}
	token, _, err := e.Register.NewToken(t.Context(), "test", member, exchange.Token{})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Publish publishes rows on a feed as the operator and returns the receipt.
func (e *Exchange) Publish(t testing.TB, feed, rows string) *exchange.Receipt {
	t.Helper()
	return e.PublishAs(t, rows, apiclient.Publication{Feed: feed})
}

// PublishAs is Publish with all that can be said of rows.
func (e *Exchange) PublishAs(t testing.TB, rows string, p apiclient.Publication) *exchange.Receipt {
	t.Helper()
	c := &apiclient.Client{Server: e.HTTPURL(), User: exchange.Admin, Token: e.AdminToken(), HTTP: taxiiclient.NewHTTP()}
	r, err := c.Publish(t.Context(), strings.NewReader(rows), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Pull reads a collection over TAXII from a cursor on, as the operator, and
// returns its objects and the cursor behind them. What stands at several places is returned once, as tocsin pull prints it,
// but for what hosts are made into, which stands at one.
func (e *Exchange) Pull(t testing.TB, collection string, from taxiiclient.Cursor, filter taxii.Filter) ([]string, taxiiclient.Cursor) {
	t.Helper()
	c, err := taxiiclient.New(taxiiclient.Options{Server: e.HTTPURL(), User: exchange.Admin, Token: e.AdminToken()})
	if err != nil {
		t.Fatal(err)
	}
	col, err := c.Find(t.Context(), collection)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	seen := make(map[string]bool)
	for page, err := range c.Pages(t.Context(), col, from, filter) {
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			if text := string(o); !seen[text] || OfAHost(text) {
				seen[text] = true
				list = append(list, text)
			}
		}
		from = page.After
	}
	return list, from
}

// OfAHost tells whether an object is what a host is made into, and not what that refers to.
func OfAHost(o string) bool {
	return strings.HasPrefix(o, `{"type":"observed-data"`) || strings.HasPrefix(o, `{"type":"indicator"`) || strings.HasPrefix(o, `{"type":"sighting"`)
}

// Do sends a request as a member with its token and returns status, headers
// and body. header are alternating names and values.
func (e *Exchange) Do(t testing.TB, method, path, user, token, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	return Do(t, method, e.HTTPURL()+path, user, token, body, header...)
}

// Do sends a request to any exchange.
func Do(t testing.TB, method, url, user, token, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(text)
}

// Settled waits until members that the register gives more of the past have it.
func (e *Exchange) Settled(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		p, _, err := e.Journal.Backfilled(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatal("back-filling did not end", err)
		}
		if p.Done >= e.Register.Current().Version {
			break
		}
	}
	intake, blocks, err := e.Journal.Ends(t.Context())
	if err == nil {
		err = e.View.Wait(t.Context(), intake, blocks)
	}
	if err != nil {
		t.Fatal(err)
	}
}
