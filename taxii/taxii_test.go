package taxii_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/taxii"
)

func TestAcceptableTakesWhatClientsSend(t *testing.T) {
	for _, ok := range []string{
		"", "*/*", "application/taxii+json", "application/taxii+json;version=2.1", `application/taxii+json; version="2.1"`,
		"APPLICATION/TAXII+JSON ; Version=2.1", "text/html, application/taxii+json;q=0.5", "application/*", "application/json",
		"application/vnd.oasis.taxii+json; version=2.0, application/taxii+json;version=2.1",
	} {
		if err := taxii.Acceptable([]string{ok}); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{
		"text/html", "application/taxii+json;version=2.0", "application/vnd.oasis.taxii+json; version=2.0",
		"application/taxii+json;q=0", "nonsense", "application/taxii+json;version=3.0",
	} {
		err := taxii.Acceptable([]string{bad})
		var e *taxii.Error
		if !errors.As(err, &e) || e.Status() != 406 {
			t.Errorf("%q: %v", bad, err)
		} else if strings.Contains(bad, "2.0") && !strings.Contains(e.Error(), "2.1") {
			t.Errorf("%q: %v does not say what is spoken", bad, err)
		}
	}
}

func TestParseFilter(t *testing.T) {
	at := time.Date(2026, 3, 19, 0, 4, 7, 0, time.UTC)
	q, err := url.ParseQuery("added_after=2026-03-19T00:04:07Z&limit=7&next=abc&match[id]=a,b&match[type]=indicator&match[version]=first,2026-03-19T00:04:07.000001Z&match[spec_version]=2.1&match[other]=x&colour=blue")
	if err != nil {
		t.Fatal(err)
	}
	f, err := taxii.ParseFilter(q)
	if err != nil {
		t.Fatal(err)
	}
	want := taxii.Filter{
		AddedAfter: at, Limit: 7, Next: "abc", IDs: []string{"a", "b"}, Types: []string{"indicator"}, SpecVersions: []string{"2.1"},
		Versions: []taxii.VersionFilter{{Keyword: "first"}, {At: at.Add(time.Microsecond)}}, Match: map[string][]string{"other": {"x"}},
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Error(d)
	}
	back, err := taxii.ParseFilter(f.Query())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, back); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{
		"limit=0", "limit=-1", "limit=x", "limit=1&limit=2", "limit=", "limit=99999999999999999999", "added_after=yesterday",
		"added_after=2026-03-19T00:04:07Z&added_after=2026-03-19T00:04:07Z", "match[type]=a&match[type]=b", "match[version]=all,first",
		"match[version]=newest", "next=", "match[id]=" + strings.Repeat("a,", 1001),
	} {
		q, err := url.ParseQuery(bad)
		if err != nil {
			t.Fatal(err)
		}
		var e *taxii.Error
		if _, err := taxii.ParseFilter(q); !errors.As(err, &e) || e.Status() != 400 {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
}

func TestTimesAreWrittenWithSixDigits(t *testing.T) {
	for in, want := range map[string]string{
		"2026-03-19T00:04:07Z": "2026-03-19T00:04:07.000000Z", "2026-03-19T01:04:07.1234567+01:00": "2026-03-19T00:04:07.123456Z",
	} {
		got, err := taxii.ParseTime(in)
		if err != nil || taxii.FormatTime(got) != want {
			t.Errorf("%s: %s, %v", in, taxii.FormatTime(got), err)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add("added_after=2026-03-19T00:04:07Z&limit=7&match[version]=first,all")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		filter, err := taxii.ParseFilter(q)
		var e *taxii.Error
		if err != nil {
			if !errors.As(err, &e) || e.Status() != 400 {
				t.Fatal(err)
			}
			return
		}
		if _, err := taxii.ParseFilter(filter.Query()); err != nil {
			t.Fatalf("%s became %s: %v", query, filter.Query().Encode(), err)
		}
		_ = taxii.Acceptable([]string{query})
	})
}
