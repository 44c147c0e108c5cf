package misp

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func makerOf(profiles ...exchange.Profile) *maker {
	r := &exchange.Register{}
	for i, p := range profiles {
		r.Feeds = append(r.Feeds, exchange.Feed{ID: string(rune('f' + i)), Profile: p})
	}
	return &maker{r, &exchange.Collection{ID: "cert-at", UUID: "c0000000-0000-4000-8000-000000000000", Ceiling: tlp.Amber}}
}

// Which object of a host becomes an attribute: one of each observation, in every profile.
func TestWhichObjectOfAHostIsAnAttribute(t *testing.T) {
	m := makerOf(exchange.ProfileInfection, exchange.ProfileIndicator) // f and g
	const pattern = "[ipv4-addr:value = '240.0.0.1']"
	for name, c := range map[string]struct {
		o          object
		feed, host string
	}{
		"an observation":                         {object{Type: "observed-data", feed: "f", Value: "240.0.0.1"}, "f", "240.0.0.1"},
		"of an account":                          {object{Type: "observed-data", feed: "f", Value: "a@example.org"}, "f", exchange.AccountKey("a@example.org").String()},
		"of what is no host":                     {object{Type: "observed-data", feed: "f", Value: "x"}, "", ""},
		"without a value":                        {object{Type: "observed-data", feed: "f"}, "", ""},
		"its indicator, beside an observation":   {object{Type: "indicator", feed: "f", Pattern: pattern}, "", ""},
		"an indicator alone":                     {object{Type: "indicator", feed: "g", Pattern: pattern}, "g", "240.0.0.1"},
		"of an account ":                         {object{Type: "indicator", feed: "g", Pattern: "[email-addr:value = 'a@example.org']"}, "g", exchange.AccountKey("a@example.org").String()},
		"of two hosts":                           {object{Type: "indicator", feed: "g", Pattern: "[ipv4-addr:value = '240.0.0.1' OR ipv4-addr:value = '240.0.0.2']"}, "", ""},
		"a pattern that is none":                 {object{Type: "indicator", feed: "g", Pattern: "x"}, "", ""},
		"a host of a feed that is no more":       {object{Type: "observed-data", feed: "gone", Value: "240.0.0.1"}, "gone", "240.0.0.1"},
		"an indicator of a feed that is no more": {object{Type: "indicator", feed: "gone", Pattern: pattern}, "", ""},
		"of a member":                            {object{Type: "observed-data", Value: "240.0.0.1"}, "", "240.0.0.1"},
	} {
		feed := m.hostOn(&c.o)
		host := ""
		if c.o.address.IsValid() {
			host = c.o.address.String()
		}
		if feed != c.feed || host != c.host {
			t.Errorf("%s: of feed %q, host %q, want %q, %q", name, feed, host, c.feed, c.host)
		}
	}
}

func TestTheAttributeOfAHost(t *testing.T) {
	m := makerOf(exchange.ProfileInfection)
	full := func(evidence string, change ...func(*object)) *object {
		o, err := parse([]byte(`{"type":"observed-data","id":"observed-data--00000000-0000-4000-8000-000000000001","first_observed":"2026-03-19T00:04:07Z",` +
			`"last_observed":"2026-03-19T01:04:07.5Z","number_observed":1,"extensions":{"` + exchange.HostEvidenceID + `":` + evidence + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		o.Value = "240.0.0.1"
		for _, f := range change {
			f(o)
		}
		return o
	}
	for name, c := range map[string]struct {
		o                          *object
		typ, value, comment, first string
		tags                       []string
	}{
		"all that there can be": {
			full(`{"country":"AT","asn":64500,"malware":"rustock","provider":"p","contacts":[{"time":"2026-03-19T01:04:07.5Z","src_port":1024,"dst_ip":"240.9.9.9","dst_port":80}]}`,
				func(o *object) { o.Number = 4; o.Labels = []string{"relapse"} }),
			"ip-src|port", "240.0.0.1|1024", "AS64500, AT, rustock, seen 4 times, called 240.9.9.9:80 at 2026-03-19T01:04:07.5Z", "2026-03-19T00:04:07.000000+00:00",
			[]string{relapseTag},
		},
		"nothing":               {full(`{}`), "ip-src", "240.0.0.1", "", "2026-03-19T00:04:07.000000+00:00", nil},
		"a port that it called": {full(`{"contacts":[{"time":"t","dst_port":80}]}`), "ip-src", "240.0.0.1", "called port 80 at t", "2026-03-19T00:04:07.000000+00:00", nil},
		"an account": {
			full(`{"contacts":[{"time":"t","src_port":7}]}`, func(o *object) { o.Value = "a@example.org" }),
			"email", "a@example.org", "", "2026-03-19T00:04:07.000000+00:00", nil,
		},
		"an indicator": {
			full(`{}`, func(o *object) { o.First, o.Last, o.From = "", "", "2026-03-20T00:00:00Z" }),
			"ip-src", "240.0.0.1", "", "2026-03-20T00:00:00.000000+00:00", nil,
		},
	} {
		a, _ := m.host(c.o)
		again, _ := m.host(c.o)
		var tags []string
		for _, x := range a.Tags {
			tags = append(tags, x.Name)
		}
		if a.Type != c.typ || a.Value != c.value || a.Comment != c.comment || a.First != c.first || a.ToIDs || a.Category != "Network activity" || cmp.Diff(c.tags, tags) != "" {
			t.Errorf("%s: %+v", name, a)
		}
		if len(a.Sightings) != 1 || a.Sightings[0].Type != "0" || a.UUID != again.UUID {
			t.Errorf("%s: sightings %+v", name, a.Sightings)
		}
	}
}

func TestWhatIsCleanIsMarked(t *testing.T) {
	m := makerOf()
	last := time.Date(2026, 3, 19, 1, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		at    time.Time
		clean bool
	}{
		"never reported":              {time.Time{}, false},
		"reported before it was seen": {last.Add(-time.Second), false},
		"as it was seen":              {last, true},
		"after":                       {last.Add(time.Hour), true},
	} {
		a := attribute{Tags: []tag{{Name: relapseTag}}}
		m.markClean(&a, &object{ID: "x", Last: last.Format(time.RFC3339)}, c.at)
		want := relapseTag
		if c.clean {
			want = cleanTag
		}
		if len(a.Tags) != 1 || a.Tags[0].Name != want || len(a.Sightings) == 1 != c.clean {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestWhatAnIndicatorBecomes(t *testing.T) {
	m := makerOf()
	for pattern, c := range map[string]struct {
		types []string
		want  string // type=value, "!" where it is to be blocked
	}{
		"[ipv4-addr:value = '240.0.0.1']":                                       {[]string{"malicious-activity"}, "ip-dst=240.0.0.1!"},
		"[ipv4-addr:value = '240.0.0.2']":                                       {nil, "ip-dst=240.0.0.2"},
		"[ipv4-addr:value = '240.0.0.3']":                                       {[]string{"malicious-activity", "compromised"}, "ip-src=240.0.0.3"},
		"[ipv4-addr:value = '0.0.0.0/0']":                                       {[]string{"malicious-activity"}, "ip-dst=0.0.0.0/0"},
		"[domain-name:value = 'a.example' AND url:value = 'http://a.example/']": {[]string{"malicious-activity"}, "domain=a.example url=http://a.example/"},
		"[domain-name:value IN ('a.example', 'b.example', 'a.example')]":        {[]string{"attribution"}, "domain=a.example! domain=b.example!"},
		"[file:hashes.'SHA-256' = '" + strings.Repeat("a", 64) + "']":           {[]string{"anomalous-activity"}, "sha256=" + strings.Repeat("a", 64) + "!"},
		"[domain-name:value != 'a.example']":                                    {[]string{"malicious-activity"}, ""},
		"[domain-name:value NOT = 'a.example']":                                 {[]string{"malicious-activity"}, ""},
		"[domain-name:value LIKE '%.example']":                                  {[]string{"malicious-activity"}, ""},
		"[x-odd:value = 'a']":                                                   {[]string{"malicious-activity"}, ""},
		"[url:value = '" + strings.Repeat("a", maxValue+1) + "']":               {[]string{"malicious-activity"}, ""},
		"x": {[]string{"malicious-activity"}, ""},
	} {
		var got []string
		for _, a := range m.indicator(&object{ID: "indicator--1", Type: "indicator", Language: "stix", Pattern: pattern, Types: c.types, Name: strings.Repeat("n", 2*maxComment)}) {
			s := a.Type + "=" + a.Value
			if a.ToIDs {
				s += "!"
			}
			got = append(got, s)
			if len(a.Comment) != maxComment {
				t.Errorf("%s: a comment of %d bytes", pattern, len(a.Comment))
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%.80s: %q, want %q", pattern, got, c.want)
		}
	}
	for name, o := range map[string]object{
		"another language": {Type: "indicator", Language: "snort", Pattern: "[ipv4-addr:value = '240.0.0.1']"}, "another type": {Type: "malware", Language: "stix", Pattern: "[ipv4-addr:value = '240.0.0.1']"},
	} {
		if got := m.indicator(&o); got != nil {
			t.Error(name, got)
		}
	}
}
