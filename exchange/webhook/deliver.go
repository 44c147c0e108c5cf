package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// What a delivery is of at most: a doorbell of so many objects, a bundle of so many and so many bytes.
const (
	perDoorbell   = 5000
	doorbellBytes = 4 << 20
	perBundle     = 500
	bundleBytes   = 192 << 10 // and as much again of what was there before
	perWithdrawal = 100
)

// kind is what a delivery is.
type kind int

const (
	nothing kind = iota // only the place changes
	doorbell
	bundle
)

// delivery is the next part of a collection, as it is sent.
type delivery struct {
	kind  kind
	again bool // it is of a dead letter
	// after is where it starts, reached the place behind it; from and to are the date_added of its first and
	// last object, count how many they are, and withheld how many more may not leave so.
	after, reached, from, to time.Time
	count, withheld          int
	more                     bool
	// ids are the objects whose labels have to hold when it goes out, intake and blocks what the view held when
	// it was made.
	ids            []string
	intake, blocks uint64
	// round tells deliveries that are made again from those of before.
	round  int
	body   []byte
	header http.Header
	id     string
}

// Doorbell is what a doorbell says, in the form that Standard Webhooks advises.
type Doorbell struct {
	// Type is collection.grown, collection.withdrawn or ping.
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      Rung      `json:"data"`
}

// Rung is what a doorbell rings for.
type Rung struct {
	Webhook    string `json:"webhook"`
	Collection string `json:"collection,omitempty"`
	TAXIIID    string `json:"taxii_id,omitempty"`
	// AddedAfter is what to ask TAXII for, From and To are the date_added of the first and the last object.
	AddedAfter string `json:"added_after,omitempty"`
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	Count      int    `json:"count"`
	// Withheld counts those of which nothing leaves by a webhook, because of their label.
	Withheld int  `json:"withheld,omitempty"`
	More     bool `json:"more,omitempty"`
}

// due is the next delivery: of what is new, if fresh says that it may be sent, or of a dead letter that is to be
// sent again, if there is one, in turns; nil where there is neither.
func (h *hook) due(ctx context.Context, r *inForce, right policy.Read, st *State, letter *Letter, fresh bool) (d *delivery, err error) {
	h.reads.Lock()
	defer h.reads.Unlock()
	if fresh && (letter == nil || !st.Turn) {
		if d, err = h.next(ctx, r, right, part{after: st.After, until: h.View.Stats(right.Collection().ID).Last}); d != nil || err != nil {
			return d, err
		}
	}
	if letter == nil {
		return nil, nil //nolint:nilnil // nothing is due
	}
	of := part{after: letter.After, until: letter.To, again: true, round: letter.Round}
	if d, err = h.next(ctx, r, right, of); d == nil && err == nil { // what it was of is gone
		d = &delivery{after: of.after, reached: of.until, again: true}
	}
	return d, err
}

// part is a part of a collection: what was added behind an instant, until another.
type part struct {
	after, until time.Time
	again        bool
	round        int
}

// next is the delivery of a part's beginning.
func (h *hook) next(ctx context.Context, r *inForce, right policy.Read, of part) (*delivery, error) {
	c := right.Collection()
	d := &delivery{after: of.after, again: of.again, round: of.round, intake: h.View.Applied(), blocks: h.View.AppliedBlocks()}
	gone, err := h.View.Withdrawn(right, of.after, perWithdrawal)
	if err != nil {
		return nil, err
	}
	if of.again {
		gone = slices.DeleteFunc(gone, func(w view.Withdrawal) bool { return w.At.After(of.until) })
	}
	q := view.Query{After: of.after, Limit: perDoorbell, Bytes: doorbellBytes}
	if h.Send == exchange.SendBundle {
		q.Limit, q.Bytes = perBundle, bundleBytes
	}
	p, err := h.View.Page(ctx, right, q)
	if err != nil {
		return nil, err
	}
	if len(gone) > 0 && (p.Count == 0 || !p.First.Before(gone[0].At)) {
		h.withdrawn(d, c, p, gone)
		return d, nil
	}
	if len(gone) > 0 { // what left comes after what was there before it
		of.until = earlier(of.until, gone[0].At.Add(-time.Microsecond))
	}
	if d.reached = of.until; p.More && p.Reached.Before(of.until) { // which may be far ahead of the page's last object
		d.reached, d.more = p.Reached, true
	}
	if !d.reached.After(d.after) {
		return nil, nil //nolint:nilnil // nothing is due
	}
	return d, h.grown(ctx, d, r, right, p)
}

// withdrawn rings for what has left the collection before anything came.
func (h *hook) withdrawn(d *delivery, c *exchange.Collection, p *view.Page, gone []view.Withdrawal) {
	d.kind, d.from = doorbell, gone[0].At
	for _, w := range gone {
		if p.Count > 0 && w.At.After(p.First) {
			break
		}
		d.to, d.reached, d.count = w.At, w.At, d.count+len(w.IDs)
	}
	h.ring(d, "collection.withdrawn", c)
}

// grown makes a delivery of a page's objects, as far as it reaches and they may leave.
func (h *hook) grown(ctx context.Context, d *delivery, r *inForce, right policy.Read, p *view.Page) error {
	c := right.Collection()
	raws, err := p.Objects()
	if err != nil {
		return err
	}
	n, added := len(raws), p.Added()
	for ; n > 0 && added[n-1].After(d.reached); n-- {
	}
	leaving := h.leaving(r, c, raws[:n])
	var objects [][]byte
	for i, leaves := range leaving.out {
		at := added[i]
		if !leaves {
			d.withheld++
			continue
		}
		if d.from.IsZero() {
			d.from = at
		}
		d.to = at
		objects = append(objects, raws[i])
		b, _ := stix.ScanBrief(raws[i])
		d.ids = append(d.ids, string(b.ID))
	}
	d.count = len(objects)
	if h.Send == exchange.SendBundle {
		before, err := h.referred(ctx, right, leaving.refs)
		if err != nil {
			return err
		}
		objects = append(before, objects...)
	}
	size := 0
	for _, raw := range objects {
		size += len(raw)
	}
	switch {
	case d.count+d.withheld == 0:
	// What is larger than a bundle may be has to be fetched.
	case d.count == 0 || h.Send == exchange.SendDoorbell || size > 2*bundleBytes:
		d.kind, d.ids = doorbell, nil
		if d.count == 0 {
			d.to = d.reached
		}
		h.ring(d, "collection.grown", c)
	default:
		slices.Sort(d.ids)
		d.ids = slices.Compact(d.ids)
		d.kind, d.count = bundle, len(objects)
		h.pack(d, c, objects)
	}
	return nil
}

// holds returns errStale where not all that is in a delivery may still leave.
func (h *hook) holds(ctx context.Context, d *delivery) error {
	r := h.force.Load()
	right := r.may(&h.Webhook)
	if right == nil {
		return errStale
	}
	if h.View.Applied() == d.intake && h.View.AppliedBlocks() == d.blocks {
		return nil
	}
	for part := range slices.Chunk(d.ids, perBundle) {
		p, err := h.View.Page(ctx, right, view.Query{IDs: part, Limit: len(part)})
		if err != nil {
			return err
		}
		raws, err := p.Objects()
		if err != nil {
			return err
		}
		leaving := h.leaving(r, right.Collection(), raws)
		if p.Count < len(part) || slices.Contains(leaving.out, false) {
			return errStale
		}
	}
	return nil
}

// leaving is which of some objects may leave by the webhook, and what those refer to that is not among
// them, where that may have been withheld before.
type leaving struct {
	out  []bool
	refs []string
}

// leaving decides which objects may leave. An address carries no label: it leaves with what leaves and
// refers to it.
func (h *hook) leaving(r *inForce, c *exchange.Collection, objects [][]byte) leaving {
	l := leaving{out: make([]bool, len(objects))}
	to := policy.Recipient{Clearance: r.Member(h.Member).Clearance}
	if policy.Permits(c.Ceiling, exchange.ChannelWebhook, to) { // which no label in there is above
		for i := range l.out {
			l.out[i] = true
		}
		return l
	}
	with, bare := make(map[string]bool), make(map[string]int)
	for i, raw := range objects {
		head, err := stix.ParseHead(raw)
		if err != nil {
			continue
		}
		label := policy.LabelOf(c, raw)
		if l.out[i] = policy.Permits(label, exchange.ChannelWebhook, to); l.out[i] {
			for _, ref := range head.Refs {
				with[ref] = true
			}
		} else if label == tlp.None {
			bare[head.ID] = i
		}
	}
	for ref := range with {
		if i, here := bare[ref]; here {
			l.out[i] = true
		} else {
			l.refs = append(l.refs, ref)
		}
	}
	slices.Sort(l.refs)
	return l
}

// referred returns those of some objects that carry no label: addresses that came before, maybe beside
// what did not leave.
func (h *hook) referred(ctx context.Context, right policy.Read, ids []string) (list [][]byte, err error) {
	for part := range slices.Chunk(ids, perBundle) {
		p, err := h.View.Page(ctx, right, view.Query{IDs: part, Limit: len(part)})
		if err != nil {
			return nil, err
		}
		raws, err := p.Objects()
		if err != nil {
			return nil, err
		}
		for _, raw := range raws {
			if policy.LabelOf(right.Collection(), raw) == tlp.None {
				list = append(list, raw)
			}
		}
	}
	return list, nil
}

// ring makes a doorbell of a delivery.
func (h *hook) ring(d *delivery, typ string, c *exchange.Collection) {
	rung := Rung{Webhook: h.ID, Count: d.count, Withheld: d.withheld, More: d.more}
	if c != nil {
		rung.Collection, rung.TAXIIID = c.ID, c.UUID
		rung.AddedAfter, rung.From, rung.To = timestamp(d.after), timestamp(d.from), timestamp(d.to)
	}
	d.body, _ = json.Marshal(Doorbell{Type: typ, Timestamp: time.Now().UTC().Truncate(time.Millisecond), Data: rung}) // texts and numbers only
	d.header = http.Header{"Content-Type": {"application/json"}}
	d.id = h.name(typ, d, c)
}

func (h *hook) ping() *delivery {
	d := &delivery{kind: doorbell, reached: time.Now()}
	h.ring(d, "ping", nil)
	return d
}

// pack makes a bundle of a delivery.
func (h *hook) pack(d *delivery, c *exchange.Collection, objects [][]byte) {
	d.id = h.name("bundle", d, c)
	b := stix.AppendBundleOpen(nil, stix.DerivedID("bundle", "webhook", d.id))
	for i, raw := range objects {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, raw...)
	}
	d.body = stix.AppendBundleClose(b)
	d.header = http.Header{"Content-Type": {"application/stix+json;version=2.1"}}
	for name, value := range map[string]string{
		"Tocsin-Webhook": h.ID, "Tocsin-Collection": c.ID, "Tocsin-From": timestamp(d.from), "Tocsin-To": timestamp(d.to),
		"Tocsin-Count": strconv.Itoa(d.count), "Tocsin-Withheld": strconv.Itoa(d.withheld),
	} {
		d.header.Set(name, value)
	}
}

// name tells deliveries apart; who gets one twice sees it by that.
func (h *hook) name(typ string, d *delivery, c *exchange.Collection) string {
	of := ""
	if c != nil {
		of = c.UUID
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%s\n%d\n%d\n%d\n%d\n%d", typ, h.ID, h.Created.UnixMicro(), of, d.after.UnixMicro(), d.reached.UnixMicro(), d.count, d.withheld, d.round))
	return "msg_" + hex.EncodeToString(sum[:16])
}

func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return taxii.FormatTime(t)
}
