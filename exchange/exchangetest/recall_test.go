package exchangetest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// What a publisher recalls leaves all who were given it; what others have said of the same host stays; and it can come again.
func TestARecallTakesBackWhatWasPublished(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	isp, at := as(t, e, "isp-one"), as(t, e, "cert-at")
	const head = "ip,timestamp,cc,asn,port\n"
	right := head + "240.1.0.1,2026-03-19T09:00:00Z,AT,64511,1001\n240.1.0.2,2026-03-19T09:00:00Z,AT,64511,1002\n"
	wrong := head + "240.1.0.1,2026-03-19T10:00:00Z,AT,64511,2001\n240.1.0.3,2026-03-19T10:00:00Z,AT,64511,2003\n240.200.0.4,2026-03-19T10:00:00Z,,,2004\n"
	publish := func(rows string) *exchange.Receipt {
		return e.PublishAs(t, rows, apiclient.Publication{Feed: "rustock"})
	}
	has := func(m member, address string) string { // how often it was seen, "" where it is not there
		objects, _ := e.Pull(t, m.id, taxiiclient.Cursor{}, taxii.Filter{})
		for _, row := range strings.Split(asCSV(t, objects), "\n") {
			if cells := strings.Split(row, ","); cells[0] == address {
				return "there"
			}
		}
		return ""
	}
	count := func(m member, address string) (n int) {
		objects, _ := e.Pull(t, m.id, taxiiclient.Cursor{}, taxii.Filter{})
		for _, row := range strings.Split(asCSV(t, objects), "\n") {
			if strings.HasPrefix(row, address+",") {
				n++
			}
		}
		return n
	}
	publish(right)
	bad := publish(wrong)
	if count(isp, "240.1.0.1") != 2 || has(at, "240.1.0.3") == "" || bad.Events != 3 || bad.Unclaimed != 1 {
		t.Fatalf("%+v", bad)
	}
	// Nobody else may, and a dry run does nothing.
	if code, _, text := e.Do(t, "POST", "/v1/feeds/rustock/recall?reason=x", at.id, at.token, wrong); code == http.StatusOK {
		t.Error(text)
	}
	dry := e.PublishAs(t, wrong, apiclient.Publication{Feed: "rustock", Recall: "wrong day", DryRun: true})
	if dry.Events != 3 || has(at, "240.1.0.3") == "" {
		t.Errorf("%+v", dry)
	}
	r := e.PublishAs(t, wrong+"240.1.0.9,2026-03-19T10:00:00Z,AT,64511,1\n", apiclient.Publication{Feed: "rustock", Recall: "wrong day"})
	if r.Events != 3 || r.Rejected != 1 || r.Collections["cert-at"] != 2 || r.Collections["isp-one"] != 2 || r.Collections[exchange.Unclaimed] != 1 {
		t.Errorf("%+v", r)
	}
	check := func(when string) {
		t.Helper()
		for _, m := range []member{isp, at} {
			if has(m, "240.1.0.3") != "" || count(m, "240.1.0.1") != 1 || has(m, "240.1.0.2") == "" {
				t.Errorf("%s, %s: %d of the first, %q of the third", when, m.id, count(m, "240.1.0.1"), has(m, "240.1.0.3"))
			}
		}
		objects, _ := e.Pull(t, exchange.Unclaimed, taxiiclient.Cursor{}, taxii.Filter{})
		if slices.ContainsFunc(objects, func(o string) bool { return strings.Contains(o, "240.200.0.4") }) {
			t.Error(when, "unclaimed still has what was recalled")
		}
	}
	check("recalled")
	_, _, text := e.Do(t, "GET", "/v1/collections/isp-one/withdrawn", isp.id, isp.token, "")
	if !strings.Contains(text, "observed-data--") {
		t.Error(text)
	}
	waitFor(t, "the audit", func() bool {
		_, _, text := e.Do(t, "GET", "/v1/audit", exchange.Admin, e.AdminToken(), "")
		return strings.Contains(text, `"recalled"`) && strings.Contains(text, "hosts that the publisher has recalled: wrong day")
	})
	// A second time there is nothing; after a start it is the same.
	if r := e.PublishAs(t, wrong, apiclient.Publication{Feed: "rustock", Recall: "once more"}); r.Events != 0 || r.Rejected != 3 {
		t.Errorf("%+v", r)
	}
	whole(t, e, "isp-one")
	e.Stop(t)
	e = exchangetest.Open(t, e.Dir)
	check("after a start")
	// It was right after all: the same file is taken again, though its pieces were sent before.
	if r := publish(wrong); r.Events != 3 || r.Duplicates != 0 {
		t.Errorf("%+v", r)
	}
	if has(at, "240.1.0.3") == "" || count(isp, "240.1.0.1") != 2 {
		t.Error("what was published again is not there")
	}
	if r := publish(right); r.Events != 0 || r.Duplicates != 2 {
		t.Errorf("%+v", r)
	}
	// By its receipt.
	again := publish(head + "240.1.0.7,2026-03-19T11:00:00Z,AT,64511,1\n")
	c := &apiclient.Client{Server: e.HTTPURL(), User: exchange.Admin, Token: e.AdminToken(), HTTP: taxiiclient.NewHTTP()}
	p := apiclient.Publication{Feed: "rustock", Recall: "a test", Receipt: again.Receipts[0]}
	if r, err := c.Recall(t.Context(), p); err != nil || r.Events != 1 || has(at, "240.1.0.7") != "" {
		t.Errorf("%v %+v", err, r)
	}
	p.Receipt = "00000000-0000-4000-8000-000000000000"
	if r, err := c.Recall(t.Context(), p); err == nil {
		t.Errorf("%+v", r)
	}
	whole(t, e, "cert-at")
}

// What was recalled was given: the audit still says to whom. What is left is as if the rest had never been said, and the right
// team keeps what is its own.
func TestARecallLeavesWhatIsRight(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	const head = "ip,timestamp,cc,port,malware,first_seen\n"
	recall := func(rows string) *exchange.Receipt {
		return e.PublishAs(t, head+rows, apiclient.Publication{Feed: "rustock", Recall: "wrong"})
	}
	rowsOf := func(m member, address string) (list []string) {
		objects, _ := e.Pull(t, m.id, taxiiclient.Cursor{}, taxii.Filter{})
		for _, row := range strings.Split(asCSV(t, objects), "\n") {
			if strings.HasPrefix(row, address+",") {
				list = append(list, row)
			}
		}
		return list
	}
	// The wrong country: the right team keeps it.
	right, wrong := "240.162.0.1,2026-11-24 00:00:00,AT,1,,\n", "240.162.0.1,2026-11-24 00:00:00,PL,1,,\n"
	e.Publish(t, "rustock", head+right)
	e.Publish(t, "rustock", head+wrong)
	if r := recall(wrong); r.Events != 1 || len(rowsOf(at, "240.162.0.1")) != 1 || len(rowsOf(pl, "240.162.0.1")) != 0 {
		t.Errorf("%+v %v %v", r, rowsOf(at, "240.162.0.1"), rowsOf(pl, "240.162.0.1"))
	}
	// Again with the same words, after it was published again.
	e.Publish(t, "rustock", head+wrong)
	if r := recall(wrong); r.Events != 1 || len(rowsOf(pl, "240.162.0.1")) != 0 {
		t.Errorf("the second time: %+v", r)
	}
	// What only the recalled row said goes with it.
	e.Publish(t, "rustock", head+"240.162.0.2,2026-11-24 05:00:00,AT,1,rustock,2026-11-24 03:00:00\n")
	bad := "240.162.0.2,2026-11-24 06:00:00,AT,2,wrongware,2026-11-24 01:00:00\n"
	e.Publish(t, "rustock", head+bad)
	recall(bad)
	if rows := rowsOf(at, "240.162.0.2"); len(rows) != 1 || !strings.Contains(rows[0], "rustock") || !strings.Contains(rows[0], "2026-11-24T03:00:00") || strings.Contains(rows[0], "wrongware") {
		t.Error(rows)
	}
	// What was withheld is forgotten as well.
	held := "ip,timestamp,cc,tlp\n240.162.0.3,2026-11-24 05:00:00,PL,red\n"
	if r := e.Publish(t, "rustock", held); r.Withheld != 1 {
		t.Fatalf("%+v", r)
	}
	if r := e.PublishAs(t, held, apiclient.Publication{Feed: "rustock", Recall: "wrong"}); r.Events != 1 || r.Rejected != 0 {
		t.Errorf("%+v", r)
	}
	if r := e.Publish(t, "rustock", held); r.Events != 1 {
		t.Errorf("%+v", r)
	}
	// Who was given what was recalled can be told.
	waitFor(t, "who was given it", func() bool {
		_, _, text := e.Do(t, "GET", "/v1/audit/given?address=240.162.0.1", exchange.Admin, e.AdminToken(), "")
		return strings.Contains(text, "cert-pl") && strings.Contains(text, "cert-at")
	})
	whole(t, e, "cert-at")
}
