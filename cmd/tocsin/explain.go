package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
)

func explainCommand() *cobra.Command {
	var a access
	var event string
	var asJSON bool
	q := map[string]*string{"asn": new(string), "country": new(string), "hostname": new(string), "feed": new(string), "tlp": new(string), "day": new(string)}
	c := &cobra.Command{
		Use: "explain ADDRESS | --event ID", Short: "Say who gets an infection, who does not, and why", Args: arguments(0, 1),
		Long: `Say who gets an infection, by which key and under which rule, and who does not.

With an address: what would happen to a row of it now, on each feed. With --day:
what did happen to that address on a day. With --event: what did happen to an event,
by the name that --day shows, or to the host that a STIX object is about, by its id.

A member is told what is its own, a publisher who gets what is on its feeds.`,
		RunE: func(c *cobra.Command, args []string) error {
			query := url.Values{}
			for name, value := range q {
				if *value != "" {
					query.Set(name, *value)
				}
			}
			switch {
			case event != "" && len(args) == 0:
				query = url.Values{"event": {event}}
			case event == "" && len(args) == 1:
				query.Set("address", args[0])
			default:
				return usagef("explain wants an address, or --event")
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			var list []admission.Explanation
			if err := client.Do(c.Context(), "GET", "/v1/explain", query, nil, &list); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), list)
			}
			if len(list) == 0 {
				say(c, "nothing here is yours to see: no key of yours fits, or you were given nothing of it")
			}
			for i := range list {
				if i > 0 {
					_, _ = fmt.Fprintln(c.OutOrStdout())
				}
				if err := showExplanation(c.OutOrStdout(), &list[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringVar(q["asn"], "asn", "", "the AS number that a row would say")
	f.StringVar(q["country"], "country", "", "the country that a row would say")
	f.StringVar(q["hostname"], "hostname", "", "the host name that a row would say")
	f.StringVar(q["feed"], "feed", "", "on this feed alone")
	f.StringVar(q["tlp"], "tlp", "", "the label that a row would say")
	f.StringVar(q["day"], "day", "", "what did happen on this day: 2026-03-19 (UTC)")
	f.StringVar(&event, "event", "", "what did happen to this event, or to the host of this STIX object")
	f.BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func showExplanation(out io.Writer, x *admission.Explanation) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	host := cmp.Or(x.Account, x.Address.String())
	row := func(name, format string, args ...any) { _, _ = fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	if x.Decided != nil {
		if x.Backfill {
			row("back-fill", "%s on feed %s, given to who is responsible for it since", host, x.Feed)
		} else {
			row("event", "%s", x.Event)
		}
		row("decided", "%s, intake %d", x.Decided.Format("2006-01-02T15:04:05Z"), x.Intake)
	} else {
		row("address", "%s on feed %s, now", host, x.Feed)
	}
	place := func(p *admission.Where) string {
		s := cmp.Or(p.Country, "no country") + ", no AS number"
		if p.ASN != 0 {
			s = cmp.Or(p.Country, "no country") + ", " + exchange.FormatASN(p.ASN)
		}
		if p.Evidence != "" {
			s += " (" + p.Evidence + ")"
		}
		return s
	}
	if x.Said != nil && x.Looked != nil {
		row("publisher says", "%s", place(x.Said))
		row("networks say", "%s", place(x.Looked))
	}
	row("place", "%s", place(&x.Place))
	row("by", "register %d, networks %.12s", x.Register, cmp.Or(x.Networks, "none"))
	if x.Refused != "" {
		row("refused", "%s %s", host, x.Refused)
		return w.Flush()
	}
	row("label", "tlp:%s", x.Label)
	if x.Relapse {
		row("relapse", "it was seen again after it was reported clean")
	}
	grants := func(list []exchange.Grant) {
		for _, g := range list {
			key := "nobody is responsible for it"
			if g.Key.Kind != "" {
				key = string(g.Key.Kind) + " " + g.Key.Value
			}
			name := "withheld from"
			if g.Allow {
				name = "given to"
			}
			row(name, "%s: %s, %s", g.Collection, key, g.Rule)
		}
	}
	grants(x.Grants)
	if x.Host != nil {
		row("and the host's day", "was decided with its other events:")
		grants(x.Host)
	}
	for _, c := range x.Shadowed {
		why := c.Reason
		if c.By != "" {
			why = fmt.Sprintf("%s of %s is more specific", c.ByKey.Value, c.By)
		}
		row("passed over", "%s: %s %s, %s", c.Member, c.Key.Kind, c.Key.Value, why)
	}
	return w.Flush()
}
