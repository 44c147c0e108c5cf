package taxii_test

import (
	"bytes"
	"encoding/json"
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
		"match[version]=newest", "match[id]=" + strings.Repeat("a,", 1001),
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

// What a server sends of sections 3 to 5 is there after it was read and written.
func TestResourcesKeepEveryProperty(t *testing.T) {
	for _, c := range []struct {
		into any
		text string
	}{
		{&taxii.Discovery{}, `{"title":"t","description":"d","contact":"c","default":"/a/","api_roots":["/a/"]}`},
		{&taxii.APIRoot{}, `{"title":"t","description":"d","versions":["application/taxii+json;version=2.1"],"max_content_length":1}`},
		{&taxii.Status{}, `{"id":"i","status":"pending","request_timestamp":"r","total_count":3,"success_count":1,"successes":[{"id":"a","version":"v","message":"m"}],` +
			`"failure_count":1,"failures":[{"id":"b","version":"v"}],"pending_count":1,"pendings":[{"id":"c","version":"v"}]}`},
		{&taxii.Collections{}, `{"collections":[{"id":"i","title":"t","description":"d","alias":"a","can_read":true,"can_write":false,"media_types":["m"]}]}`},
		{&taxii.Manifest{}, `{"more":true,"next":"n","objects":[{"id":"i","date_added":"d","version":"v","media_type":"m"}]}`},
		{&taxii.Envelope{}, `{"more":true,"next":"n","objects":[{"type":"x"}]}`},
		{&taxii.Versions{}, `{"more":true,"next":"n","versions":["v"]}`},
		{&taxii.Error{}, `{"title":"t","description":"d","error_id":"i","error_code":"c","http_status":"400","external_details":"u","details":{"a":1}}`},
	} {
		if err := json.Unmarshal([]byte(c.text), c.into); err != nil {
			t.Fatal(err)
		}
		if back, err := json.Marshal(c.into); err != nil || string(back) != c.text {
			t.Errorf("%T: %s, want %s: %v", c.into, back, c.text, err)
		}
	}
}

func TestSplitEnvelope(t *testing.T) {
	for text, want := range map[string]string{
		`{"objects":[{"a":"]}"},[1,{"b":"\\\""}] , "x" ,7, nope]}`:          `{"a":"]}"}|[1,{"b":"\\\""}]|"x"|7|nope`,
		"\xef\xbb\xbf {\"id\":{\"objects\":[1]},\n\"objects\" : [ {} ] }\n": "{}",
		`{}`: "", `{"objects":[]}`: "", `{"more":true}`: "",
		`{"objects":[{]}`: "!", `{"objects":[}]}`: "!", `{"objects":[1,]}`: "!", `{"objects":[,1]}`: "!", `{"objects":[1 2]}`: "!",
		`{"objects":[1]`: "!", `{"objects":["]}`: "!", `{"objects":[1]}x`: "!", `{"objects":[1],"objects":[2]}`: "!", `{objects:[1]}`: "!",
		`{"objects":{}}`: "!", `[]`: "!", ``: "!", `{"a":1 "objects":[]}`: "!", `{"a":`: "!", `{"objects":[1,2,3,4,5,6]}`: "!",
	} {
		list, err := taxii.SplitEnvelope([]byte(text), 5)
		got := string(bytes.Join(list, []byte("|")))
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%s: %s, want %s (%v)", text, got, want, err)
		}
	}
}

// However deep something nests, it is one object, and costs no stack.
func TestSplitEnvelopeOfADeepObject(t *testing.T) {
	deep := strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20)
	list, err := taxii.SplitEnvelope([]byte(`{"objects":[`+deep+`,{}]}`), 5)
	if err != nil || len(list) != 2 || string(list[0]) != deep {
		t.Error(len(list), err)
	}
}
