package admission

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Explanation says what would happen to a row on a feed, or what did happen to an
// event of it, and why.
type Explanation struct {
	// Event names the event, "" for a row that is none yet.
	Event   string     `json:"event,omitempty"`
	Feed    string     `json:"feed"`
	Address netip.Addr `json:"address"`
	// Account is the account that it is about; Address is its key then.
	Account  string     `json:"account,omitempty"`
	Observed *time.Time `json:"observed,omitempty"`
	// Intake and Decided say where the journal has it, and when it was decided.
	Intake  uint64     `json:"intake,omitempty"`
	Decided *time.Time `json:"decided,omitempty"`
	// Backfill says that it was given later, to who is responsible for the host since.
	Backfill bool `json:"backfill,omitempty"`
	// Register and Networks are the versions that decide.
	Register uint64 `json:"register,omitempty"`
	Networks string `json:"networks,omitempty"`
	// Said is where the publisher said that the address is, Looked what the networks
	// table says, and Place what counted.
	Said   *Where `json:"said,omitempty"`
	Looked *Where `json:"looked_up,omitempty"`
	Place  Where  `json:"place"`
	// Hostname is what domains are compared with.
	Hostname string `json:"hostname,omitempty"`
	// Relapse says that the host was seen again after it was reported clean.
	Relapse bool `json:"relapse,omitempty"`
	// Refused says why no row of the address is taken.
	Refused string    `json:"refused,omitempty"`
	Label   tlp.Level `json:"label,omitempty"`
	// Grants say who gets it and who does not, each with the key and the rule.
	Grants []exchange.Grant `json:"grants"`
	// Host is set where the host's whole day was decided otherwise than the event:
	// another event had a higher label, or placed it elsewhere as well.
	Host []exchange.Grant `json:"host,omitempty"`
	// Shadowed are keys that fit and did not count.
	Shadowed []exchange.ShadowedMatch `json:"passed_over,omitempty"`
}

// Where is a place with who said so.
type Where struct {
	ASN      uint32 `json:"asn,omitempty"`
	Country  string `json:"country,omitempty"`
	Evidence string `json:"evidence,omitempty"`
}

// Explain says what would happen now to a row of a feed: ErrNoFeed where there is
// no such feed.
func (a *Admission) Explain(feed string, e *exchange.Event) (*Explanation, error) {
	rules := a.rules.Load()
	if rules == nil || rules.Register.Feed(feed) == nil {
		return nil, exchange.ErrNoFeed
	}
	f := rules.Register.Feed(feed)
	x := &Explanation{
		Feed: feed, Address: e.Address, Account: e.Account, Hostname: e.Hostname, Register: rules.Register.Version, Networks: rules.Networks,
		Refused: policy.RefusedEvent(e, rules.Register, f), Label: max(e.Floor, policy.Effective(e.Label, tlp.None, f.DefaultTLP)), Grants: []exchange.Grant{},
	}
	route := rules.Router(f)
	x.place(route, e)
	place, _ := route.Locate(e)
	x.Place = Where(place)
	if x.Refused == "" {
		v := policy.Decide(rules.Register, x.Label, route.Route(e.Address, place, e.Hostname))
		if err := a.suppressNow(f, e.Address, &v); err != nil {
			return nil, err
		}
		x.Grants = v.Grants
		x.Shadowed = route.ShadowedMatches(e.Address, place, e.Hostname)
	}
	return x, nil
}

// suppressNow takes back what a feed that suppresses repeats would not give of an address now.
func (a *Admission) suppressNow(f *exchange.Feed, address netip.Addr, v *exchange.Decision) error {
	if f.Repeat == 0 {
		return nil
	}
	past, err := a.History.Snapshot(f.ID)
	if err != nil {
		return err
	}
	now := time.Now()
	h, err := past.History(address)
	if relapse := !h.Cleaned.IsZero() && !h.Relapsed; err == nil && !relapse {
		suppressRepeats(&h, v, now, time.Duration(f.Repeat))
	}
	return errors.Join(err, past.Close())
}

// place says what publisher and table know of the address.
func (x *Explanation) place(t exchange.Tables, e *exchange.Event) {
	if e.ASN != 0 || e.Country != "" {
		x.Said = &Where{ASN: e.ASN, Country: e.Country}
	}
	if p := t.Look(e.Address); p.ASN != 0 || p.Country != "" {
		x.Looked = &Where{ASN: p.ASN, Country: p.Country}
	}
}

// Happened lists what did happen to a host's events of a record, by its number in the
// journal.
func Happened(in *record.Intake, of exchange.HostDay, sequence uint64) (list []Explanation) {
	for i := range in.Observations {
		if o := &in.Observations[i]; in.Backfill && o.HostDay == of {
			at, d := in.At, &in.Decisions[o.Decision]
			list = append(list, Explanation{
				Feed: in.Feed, Address: o.Address, Account: o.Account, Observed: &o.Last, Intake: sequence, Decided: &at, Backfill: true,
				Register: in.Register, Networks: in.Networks, Place: Where(o.Location()), Label: d.Label, Grants: d.Grants,
			})
		}
	}
	for i := range in.Events {
		e := &in.Events[i]
		if e.Address != of.Address || exchange.DayOf(e.Observed) != of.Day {
			continue
		}
		observed, at := e.Observed, in.At
		d := &in.Decisions[e.Decision]
		x := Explanation{
			Event: EventName(in.Feed, &e.Event), Feed: in.Feed, Address: e.Address, Account: e.Account, Observed: &observed, Intake: sequence, Decided: &at,
			Register: in.Register, Networks: in.Networks, Place: Where(e.Location), Hostname: e.Hostname, Label: d.Label, Grants: d.Grants,
		}
		if e.ASN != 0 || e.Country != "" {
			x.Said = &Where{ASN: e.ASN, Country: e.Country}
		}
		if e.Observation >= 0 {
			x.Relapse = in.Observations[e.Observation].Relapse
			if host := in.Observations[e.Observation].Decision; host != e.Decision {
				x.Host = in.Decisions[host].Grants
			}
		}
		list = append(list, x)
	}
	return list
}

// EventName names an event for people to ask about: its feed, UTC day, address and
// identity.
func EventName(feed string, e *exchange.Event) string {
	id := e.ID()
	return strings.Join([]string{feed, exchange.DayOf(e.Observed).String(), e.Address.String(), hex.EncodeToString(id[:])}, "/")
}

// ParseEventName reads what EventName wrote.
func ParseEventName(name string) (feed string, of exchange.HostDay, id exchange.EventID, err error) {
	part := strings.Split(name, "/")
	bad := fmt.Errorf("%.120q names no event: feed/2026-03-19/address/32 hexadecimal digits does", name)
	if len(part) != 4 {
		return "", of, id, bad
	}
	day, err1 := time.Parse(time.DateOnly, part[1])
	address, err2 := netip.ParseAddr(part[2])
	sum, err3 := hex.DecodeString(part[3])
	if err1 != nil || err2 != nil || err3 != nil || len(sum) != len(id) {
		return "", of, id, bad
	}
	return part[0], exchange.HostDay{Address: address.Unmap(), Day: exchange.DayOf(day)}, exchange.EventID(sum), nil
}

// Unnumbered takes out the numbers of the record and of the versions that decided: they count what is others'.
func (x *Explanation) Unnumbered() { x.Intake, x.Register, x.Networks = 0, 0, "" }

// For is what a member may see of an explanation, nil for nothing: what is its own. Of what
// did happen it sees what it was given, because that there is more can be what a label
// hides; of what would happen, nothing on feeds that are not for it.
func (x *Explanation) For(m *exchange.Member, f *exchange.Feed) *Explanation {
	happened := x.Intake != 0
	if m == nil || !happened && (f == nil || slices.Contains(f.Exclude, m.ID) || x.Label > m.Clearance) {
		return nil
	}
	mine := func(list []exchange.Grant) (own []exchange.Grant) {
		for _, g := range list {
			if g.Collection == m.ID && (g.Allow || !happened) {
				own = append(own, g)
			}
		}
		return own
	}
	own := *x
	own.Unnumbered()
	own.Grants, own.Host, own.Shadowed = mine(x.Grants), mine(x.Host), nil
	if x.Host != nil && own.Host == nil { // the host's whole day is what decides
		return nil
	}
	for _, c := range x.Shadowed {
		if c.Member != m.ID {
			continue
		}
		if c.By != m.ID {
			c.By, c.ByKey = "", exchange.Key{}
		}
		own.Shadowed = append(own.Shadowed, c)
	}
	if own.Grants == nil && own.Host == nil && own.Shadowed == nil {
		return nil
	}
	own.Grants = append([]exchange.Grant{}, own.Grants...)
	return &own
}
