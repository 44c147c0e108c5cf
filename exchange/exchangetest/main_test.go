package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/stixtest"
	"github.com/tocsin-exchange/tocsin/taxii"
)

func TestSmoke(t *testing.T) {
	e := exchangetest.Start(t, exchangetest.Register)
	at, dcu := e.Token(t, "cert-at"), e.Token(t, "dcu")
	var rows strings.Builder
	rows.WriteString("timestamp,ip,port,asn,cc,malware,dst_ip,dst_port\n")
	for i := range 100 {
		fmt.Fprintf(&rows, "2026-03-19 00:00:%02d,240.0.0.%d,%d,1,%s,rustock,198.51.100.7,80\n", i%60, i, 40000+i, []string{"AT", "PL", "XX"}[i%3])
	}
	status, _, body := e.Do(t, "POST", "/v1/feeds/rustock/events", "dcu", dcu, rows.String())
	t.Log(status, body)
	var r exchange.Receipt
	if err := json.Unmarshal([]byte(body), &r); err != nil || r.Events != 100 || r.Collections["cert-at"] != 34 || r.Unclaimed != 33 {
		t.Fatal(err, body)
	}
	status, h, body := e.Do(t, "GET", "/exchange/collections/cert-at/objects/", "cert-at", at, "")
	t.Log(status, h, len(body))
	var env taxii.Envelope
	if err := json.Unmarshal([]byte(body), &env); err != nil {
		t.Fatal(err)
	}
	v := stixtest.New(t)
	count := map[string]int{}
	for _, o := range env.Objects {
		v.Check(t, o)
		head, err := stix.ParseHead(o)
		if err != nil {
			t.Fatal(err)
		}
		count[head.Type]++
	}
	t.Log(count)
	status, _, body = e.Do(t, "GET", "/exchange/collections/feed-rustock/manifest/?limit=3", "dcu", dcu, "")
	t.Log(status, body)
}
