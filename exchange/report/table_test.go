package report_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/report"
)

// told reads a source and tells in a few words what it says: its events, then what was rejected, then what is noted, then
// what is not read.
func told(t *testing.T, source string, opt report.Options) (list []string) {
	t.Helper()
	rd, err := report.NewReader(strings.NewReader(source), opt)
	if err != nil {
		return []string{"refused: " + err.Error()}
	}
	var after []string
	for {
		var e exchange.Event
		err := rd.Next(&e)
		var row *report.RowError
		if errors.As(err, &row) {
			after = append(after, "rejected "+row.Error())
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return append(list, "refused: "+err.Error())
		}
		text := e.Address.String()
		if e.Account != "" {
			text = e.Account
		}
		if e.Port != 0 {
			text += fmt.Sprint(":", e.Port)
		}
		if e.ASN != 0 {
			text += fmt.Sprint(" AS", e.ASN)
		}
		for _, s := range []string{e.Country, e.Hostname, e.Malware, e.Protocol, e.Provider} {
			if s != "" {
				text += " " + s
			}
		}
		if e.Dst.IsValid() {
			text += fmt.Sprintf(" > %s:%d", e.Dst, e.DstPort)
		}
		if e.Count > 1 {
			text += fmt.Sprint(" x", e.Count)
		}
		if e.Exposed != "" {
			text += " exposed " + e.Exposed
		}
		if !e.First.IsZero() {
			text += " since " + e.First.Format(time.TimeOnly)
		}
		list = append(list, text+" @"+e.Observed.Format("2006-01-02 15:04:05.999"))
	}
	notes, unread := rd.Noted()
	for _, n := range notes {
		after = append(after, "note "+n.String())
	}
	if len(unread) > 0 {
		after = append(after, "unread "+strings.Join(unread, " "))
	}
	return append(list, after...)
}

const day = " @2026-03-19 00:00:00"

// What real files of all formats mean: who is infected, who is not, and what is said of what is not read.
func TestWhatRealFilesMean(t *testing.T) {
	const at = "2026-03-19T00:00:00Z"
	mq := func(more string) string {
		return `{"source.ip":"240.0.0.1","time.source":"` + at + `"` + more + "}"
	}
	n6 := func(category, more string) string {
		return `{"id":"0","source":"s","restriction":"public","confidence":"low","category":"` + category + `","time":"` + at + `","address":[{"ip":"240.0.0.1"}]` + more + "}"
	}
	idea := func(category, source string) string {
		return `{"Format":"IDEA0","ID":"1","DetectTime":"` + at + `","Category":["` + category + `"],"Source":[` + source + `]}`
	}
	xarf := func(version, kind, more string) string {
		c, typ, _ := strings.Cut(kind, "/")
		return fmt.Sprintf(`{%s"report_id":"1","reporter":{"org":"o"},"timestamp":%q,"source_identifier":"240.0.0.1","category":%q,"type":%q%s}`, version, at, c, typ, more)
	}
	const v4 = `"xarf_version":"4.2.0",`
	plain := func(head, row string) string {
		return "timestamp,ip," + head + "\n2026-03-19 00:00:00,240.0.0.1," + row + "\n"
	}
	scan := "timestamp,severity,ip,protocol,port,asn,geo,tag\n2026-03-19 00:00:00,high,240.0.0.1,tcp,3389,7,AT,rdp\n"
	event := "timestamp,severity,src_ip,src_port,src_asn,src_geo,infection,family,tag\n2026-03-19 00:00:00,high,240.0.0.1,1024,7,AT,,mirai,x\n"
	const shadowserverUnread = "unread severity"
	for name, c := range map[string]struct {
		source string
		opt    report.Options
		want   []string
	}{
		"the documented name before an alias": {
			"time,timestamp,address,ip,source_port,port,country,cc\n2001-01-01 00:00:00,2026-03-19 00:00:00,240.0.0.9,240.0.0.1,9,1,DE,AT\n",
			report.Options{},
			[]string{"240.0.0.1:1 AT" + day},
		},
		"src_ before both": {
			"timestamp,ip,src_ip,port,src_port,geo,src_geo\n2026-03-19 00:00:00,240.0.0.9,240.0.0.1,9,1,DE,AT\n",
			report.Options{},
			[]string{"240.0.0.1:1 AT" + day},
		},
		"scan_ddos_middlebox": {"timestamp,severity,ip,port,source_port,asn,geo\n2026-03-19 00:00:00,high,240.0.0.1,80,9,7,AT\n", report.Options{Name: "2026-03-19-scan_ddos_middlebox-x.csv"}, []string{"240.0.0.1:80 AS7 AT exposed scan_ddos_middlebox" + day, shadowserverUnread}},
		"spam_url":            {"timestamp,severity,ip,src_ip,asn,src_asn\n2026-03-19 00:00:00,high,240.0.0.1,240.0.0.9,7,9\n", report.Options{Name: "2026-03-19-spam_url-x.csv"}, []string{"240.0.0.1 AS7" + day, "unread severity src_ip src_asn"}},
		"an empty cell":       {event, report.Options{}, []string{"240.0.0.1:1024 AS7 AT mirai" + day, shadowserverUnread}},
		"a referer that is not there": {
			"timestamp,ip,http_referer_ip,asn,http_referer_asn\n2026-03-19 00:00:00,240.0.0.1,,7,\n2026-03-19 00:00:00,240.0.0.9,240.0.0.2,9,8\n",
			report.Options{},
			[]string{"240.0.0.1 AS7" + day, "240.0.0.2 AS8" + day},
		},
		"codes of no country": {
			"timestamp,ip,cc\n" + strings.Join(func() (rows []string) {
				for _, cc := range strings.Fields("ZZ XX AP EU UK EL A1 A2 O1 T1 at") {
					rows = append(rows, "2026-03-19 00:00:00,240.0.0.1,"+cc)
				}
				return rows
			}(), "\n"),
			report.Options{},
			[]string{
				"240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1 GB" + day, "240.0.0.1 GR" + day, "240.0.0.1" + day, "240.0.0.1" + day,
				"240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1 AT" + day,
				`note line 6, cc: is read as GB, which is the country's code ("UK")`, `note line 7, cc: is read as GR, which is the country's code ("EL")`,
			},
		},
		"optional fields that are wrong": {
			plain("protocol,asn,dst_ip,count,provider,port", strings.Repeat("p", 35)+",N/A,10.0.0,0,M\xfcller,70000") + "2026-03-19 00:00:00,240.0.0.2,tcp,-,,\"1,000\",x,\n",
			report.Options{},
			[]string{
				"240.0.0.1" + day, "240.0.0.2 tcp x" + day,
				`note line 2, port: is not a port (0 to 65535): left out ("70000")`, `note line 2, asn: is not an AS number: left out ("N/A"), in 2 rows`,
				`note line 2, protocol: is longer than 32 bytes: left out ("ppppppppppppppppppppppppppppppppppp")`, `note line 2, provider: is not UTF-8: left out`, `note line 2, dst_ip: is not an IP address: left out ("10.0.0")`,
				`note line 2, count: is not a count (1 to 1000000000000): left out ("0"), in 2 rows`,
			},
		},
		"AS numbers":                   {"timestamp,ip,asn\n2026-03-19 00:00:00,240.0.0.1,AS1.10\n2026-03-19 00:00:00,240.0.0.1,65535\n2026-03-19 00:00:00,240.0.0.1,4294967295\n", report.Options{}, []string{"240.0.0.1 AS65546" + day, "240.0.0.1" + day, "240.0.0.1" + day}},
		"names":                        {"timestamp,ip,hostname\n2026-03-19 00:00:00,240.0.0.1,Bücher.Example.\n2026-03-19 00:00:00,240.0.0.1,.example.net\n2026-03-19 00:00:00,240.0.0.1,10.0.0.1:8080\n2026-03-19 00:00:00,240.0.0.1,a b.at\n2026-03-19 00:00:00,240.0.0.1,10.0.0.1\n", report.Options{}, []string{"240.0.0.1 xn--bcher-kva.example" + day, "240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1" + day, `note line 3, hostname: is not a host's name: left out (".example.net"), in 4 rows`}},
		"times":                        {"timestamp,ip\n" + strings.Join([]string{"2026-03-19T01:00:00+0100", "2026-03-19 01:00:00+01", "2026-03-19 00:00:00 UTC", "2026-03-19t00:00:00z", "2026-03-18 23:59:60", "1773878400", "1773878400000", "2026-03-19 00:00:00.5"}, ",240.0.0.1\n") + ",240.0.0.1\n", report.Options{}, []string{"240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1" + day, "240.0.0.1" + day + ".5"}},
		"NUL bytes":                    {"timestamp,ip,provider\n2026-03-19 00:00:00,240.0.0.1,a\x00b\n", report.Options{}, []string{"240.0.0.1 ab" + day, "note line 2: holds NUL bytes, which are left out"}},
		"NUL in JSON":                  {`{"ip":"240.0.0.1","timestamp":"` + at + `","provider":"a\u0000b"}`, report.Options{}, []string{"240.0.0.1 ab" + day, "note line 1, provider: holds NUL bytes, which are left out"}},
		"a comma at the end":           {"timestamp,ip,\n2026-03-19 00:00:00,240.0.0.1,\n2026-03-19 00:00:00,240.0.0.2\n", report.Options{}, []string{"240.0.0.1" + day, "240.0.0.2" + day}},
		"CR alone":                     {"timestamp,ip\r2026-03-19 00:00:00,240.0.0.1\r2026-03-19 00:00:00,240.0.0.2\r", report.Options{}, []string{"240.0.0.1" + day, "240.0.0.2" + day}},
		"no rows":                      {"timestamp,ip\n", report.Options{}, []string{"note line 1: there are no rows under the header line"}},
		"sep=":                         {"sep=;\ntimestamp;ip\n2026-03-19 00:00:00;240.0.0.1\n", report.Options{}, []string{"240.0.0.1" + day}},
		"a column not read, twice":     {"timestamp,ip,type,type\n2026-03-19 00:00:00,240.0.0.1,a,b\n", report.Options{}, []string{"240.0.0.1" + day, "unread type type"}},
		"a delimiter in a quoted name": {"timestamp;\"a, b\";ip\n2026-03-19 00:00:00;x;240.0.0.1\n", report.Options{}, []string{"240.0.0.1" + day, "unread a, b"}},
		"columns that are not read":    {"timestamp,ip,srcport,as\n2026-03-19 00:00:00,240.0.0.1,1,2\n", report.Options{}, []string{"240.0.0.1" + day, "unread srcport as"}},
		"a column that is not there":   {"timestamp,ip\n2026-03-19 00:00:00,240.0.0.1\n", report.Options{Map: map[string]string{"nosuch": "port"}}, []string{`refused: line 1: --map names the column "nosuch", which is not there; the header is: timestamp,ip`}},
		"a column without a name":      {"timestamp,ip,port,,severity\n2026-03-19 00:00:00,240.0.0.1,3389,not a word,high\n", report.Options{Name: "2026-03-19-scan_rdp-example.csv"}, []string{"240.0.0.1:3389 exposed scan_rdp" + day, "unread  severity"}},
		"shadowserver, exposed":        {scan, report.Options{Name: "2026-03-19-scan_rdp-example.csv"}, []string{"240.0.0.1:3389 AS7 AT tcp exposed scan_rdp" + day, shadowserverUnread}},
		"shadowserver, without a name": {scan, report.Options{}, []string{"240.0.0.1:3389 AS7 AT tcp exposed scan" + day, shadowserverUnread}},
		"shadowserver, a webshell":     {strings.Replace(scan, ",rdp", ",exchange;webshell", 1), report.Options{Name: "2026-03-19-scan_exchange-example.csv"}, []string{"240.0.0.1:3389 AS7 AT tcp" + day, shadowserverUnread}},
		"shadowserver, victims":        {event, report.Options{Name: "2026-03-19-event4_honeypot_ddos_amp-example.csv"}, []string{"refused: line 1: event4_honeypot_ddos_amp is of victims of attacks"}},
		"shadowserver, targets":        {event, report.Options{Name: "2026-03-19-event4_honeypot_ddos_target-x.csv"}, []string{"refused: line 1: event4_honeypot_ddos_target is of victims of attacks"}},
		"shadowserver, a sandbox":      {event, report.Options{Name: "2026-03-19-sandbox_conn-example.csv"}, []string{"refused: line 1: sandbox_conn is of what malware called in a sandbox"}},
		"shadowserver, an old header": {
			"timestamp,ip,protocol,port,hostname,tag,asn,geo,region,city\n2026-03-19 00:00:00,240.0.0.1,tcp,3389,,rdp,7,AT,,\n",
			report.Options{Name: "2026-03-19-scan_rdp-example.csv"},
			[]string{"240.0.0.1:3389 AS7 AT tcp exposed scan_rdp" + day, "unread region city"},
		},
		"shadowserver, victims by an old header":        {"timestamp,ip,protocol,port,asn,geo\n2026-03-19 00:00:00,240.0.0.1,udp,53,7,AT\n", report.Options{Name: "2026-03-19-ddos_amplification-x.csv"}, []string{"refused: line 1: ddos_amplification is of victims of attacks"}},
		"shadowserver, by format":                       {"timestamp,ip,protocol,port,tag,asn,geo\n2026-03-19 00:00:00,240.0.0.1,tcp,3389,rdp,7,AT\n", report.Options{Format: report.Shadowserver}, []string{"240.0.0.1:3389 AS7 AT tcp exposed scan" + day}},
		"shadowserver, a type that is not known":        {"timestamp,ip,severity,geo\n2026-03-19 00:00:00,240.0.0.1,high,AT\n", report.Options{Name: "2026-03-19-something_new-x.csv"}, []string{"refused: line 1: something_new is a type of report that is not known here, and its columns do not tell what it is of"}},
		"a new type that has the shape of a sinkhole's": {event, report.Options{Name: "2026-03-19-event9_new-x.csv"}, []string{"240.0.0.1:1024 AS7 AT mirai" + day, shadowserverUnread}},
		"a severity of one's own":                       {"timestamp,severity,ip,port,cc\n2026-03-19 00:00:00,low,240.0.0.1,1,AT\n", report.Options{}, []string{"240.0.0.1:1 AT" + day, "unread severity"}},
		"intelmq's columns with a severity":             {"timestamp,severity,ip,cc,classification.type\n2026-03-19 00:00:00,low,240.0.0.1,AT,ddos\n", report.Options{}, []string{`rejected line 2, classification.type: "ddos" is of a victim of an attack`, "unread severity"}},
		"intelmq, not determined":                       {mq(`,"classification.type":"other"`), report.Options{}, []string{`rejected line 1, classification.type: "other" is no type of infected or exposed hosts, and the event names no malware`}},
		"intelmq, not determined but malware":           {mq(`,"classification.type":"other","malware.name":"mirai"`), report.Options{}, []string{"240.0.0.1 mirai" + day}},
		"n6, a category of one's own":                   {n6("whitelist", ""), report.Options{}, []string{`rejected line 1, category: "whitelist" is no category of infected or exposed hosts`, "unread confidence"}},
		"stix, what was called alone": {
			bundle(addressObject(1, "240.0.0.1", ""), addressObject(2, "240.0.0.2", ""), traffic(3, 1, 2, 80), observed(4, "", stixID("ipv4-addr", 2), stixID("network-traffic", 3))),
			report.Options{},
			[]string{"rejected line 4, object_refs: no host among what it refers to: no address, or only such as were called"},
		},
		"stix, traffic both ways": {
			bundle(addressObject(1, "240.0.0.1", ""), addressObject(2, "240.0.0.2", ""), traffic(3, 1, 2, 80), traffic(5, 2, 1, 81), observed(4, "", stixID("ipv4-addr", 1), stixID("ipv4-addr", 2), stixID("network-traffic", 3), stixID("network-traffic", 5))),
			report.Options{},
			[]string{"240.0.0.1:80 tcp > 240.0.0.2:0" + day, "240.0.0.2:81 tcp > 240.0.0.1:0" + day},
		},
		"n6, hostname of a destination": {n6("scanning", `,"fqdn":"honeypot.example.at"`), report.Options{}, []string{"240.0.0.1 s" + day, "unread confidence"}},
		"n6, delisted":                  {n6("bots", `,"status":"delisted"`), report.Options{}, []string{`rejected line 1, status: "delisted" takes an entry off a list: it is no sighting`, "unread confidence"}},
		"n6, vulnerable":                {n6("vulnerable", `,"name":"open-rdp"`), report.Options{}, []string{"240.0.0.1 open-rdp s exposed open-rdp" + day, "unread confidence"}},
		"intelmq, a test":               {mq(`,"classification.type":"test"`), report.Options{}, []string{`rejected line 1, classification.type: "test" is a test`}},
		"intelmq, a victim":             {mq(`,"classification.type":"ddos"`), report.Options{}, []string{`rejected line 1, classification.type: "ddos" is of a victim of an attack`}},
		"intelmq, who takes part":       {mq(`,"classification.type":"ddos","classification.identifier":"ddos-participant"`), report.Options{}, []string{"240.0.0.1" + day}},
		"intelmq, a resolver":           {mq(`,"classification.type":"other","classification.identifier":"sinkhole-dns"`), report.Options{}, []string{`rejected line 1, classification.identifier: "sinkhole-dns" is of a resolver, never the infected host`}},
		"intelmq, exposed":              {mq(`,"classification":{"type":"vulnerable-system","identifier":"open-ldap"}`), report.Options{}, []string{"240.0.0.1 exposed open-ldap" + day}},
		"intelmq, a name":               {mq(`,"source.fqdn":"a.example"`), report.Options{}, []string{"240.0.0.1 a.example" + day}},
		"intelmq, time of observation":  {`{"source.ip":"240.0.0.1","time.observation":"` + at + `"}`, report.Options{}, []string{"240.0.0.1" + day, "note line 1, time.observation: is when it was collected, and counts where there is no time of the event"}},
		"keys in any case":              {`{"IP":"240.0.0.1","Timestamp":"` + at + `"}`, report.Options{}, []string{"240.0.0.1" + day}},
		"idea, forged":                  {idea("Malware", `{"IP4":["240.0.0.1"],"Spoofed":true}`), report.Options{}, []string{`rejected line 1, source.spoofed: "true" says that the address is forged`}},
		"idea, not the address":         {idea("Malware", `{"IP4":["240.0.0.1"],"Anonymised":true},{"IP4":["240.0.0.2"],"Imprecise":true}`), report.Options{}, []string{`rejected line 1, source.anonymised: "true" says that the address is not the host's own`, `rejected line 1, source.imprecise: "true" says that the address is not exactly known`}},
		"idea, who answers":             {idea("Availability.DDoS", `{"IP4":["240.0.0.1"],"Type":["Backscatter"]},{"IP4":["240.0.0.1"],"Type":["OriginSpoofed"]}`), report.Options{}, []string{`rejected line 1, source.type: "Backscatter" is a victim of an attack that answers`, `rejected line 1, source.type: "OriginSpoofed" says that the address is forged`}},
		"idea, C2 and client":           {idea("Intrusion.Botnet", `{"IP4":["240.0.0.9"],"Type":["CC"]},{"IP4":["240.0.0.1"],"Type":["Botnet"]}`), report.Options{}, []string{"240.0.0.1" + day, `rejected line 1, source.type: "CC" controls a botnet, and is not one of its hosts`}},
		"idea, a count":                 {strings.Replace(idea("Malware", `{"IP4":["240.0.0.1"]}`), `"ID"`, `"ConnCount":20.0,"ID"`, 1), report.Options{}, []string{"240.0.0.1 x20" + day}},
		"xarf, a crawler":               {xarf(v4, "connection/infected_host", `,"bot_type":"search_engine"`), report.Options{}, []string{`rejected line 1, bot_type: "search_engine" is a crawler, and not infected`}},
		"xarf, a server":                {xarf(v4, "infrastructure/compromised_server", ""), report.Options{}, []string{"240.0.0.1 o" + day}},
		"xarf, content":                 {xarf(v4, "content/remote_compromise", ""), report.Options{}, []string{"240.0.0.1 o" + day}},
		"xarf, exposed":                 {xarf(v4, "vulnerability/open_service", ""), report.Options{}, []string{"240.0.0.1 o exposed open_service" + day}},
		"xarf, no version":              {xarf("", "messaging/spam", ""), report.Options{Format: report.XARF}, []string{`rejected line 1, xarf_version: is missing: XARF version 4 is read`}},
		"xarf, version 3":               {`{"Version":"3","ReporterInfo":{},"Report":{}}`, report.Options{Format: report.XARF}, []string{`rejected line 1, xarf_version: "3" is not read: version 4 is`, "unread "}},
		"misp, what is not read":        {`{"Event":{"info":"x","timestamp":"1773878400","Attribute":[{"type":"ip-src","value":"240.0.0.1"},{"type":"md5","value":"x"},{"type":"md5","value":"y"}]}}`, report.Options{}, []string{"240.0.0.1" + day, "note line 1, md5: attributes of this type are not read, in 2 rows"}},
		"misp, since when":              {`{"Event":{"info":"x","timestamp":"1773878400","Attribute":[{"type":"ip-src","value":"240.0.0.1","first_seen":"2026-03-18T22:00:00Z","last_seen":"` + at + `"}]}}`, report.Options{}, []string{"240.0.0.1 since 22:00:00" + day}},
		"stix, as misp-stix has an ip-src": {
			bundle(strings.Replace(indicatorOf(1, "240.0.0.1", ""), "ipv4-addr:value", "network-traffic:src_ref.value", 1)),
			report.Options{},
			[]string{"240.0.0.1" + day},
		},
		"stix, 2.0": {
			`{"type":"bundle","id":"bundle--99999999-0000-4000-8000-000000000000","spec_version":"2.0","objects":[{"type":"observed-data","id":"` + stixID("observed-data", 1) + `","created":"2026-03-01T00:00:00.000Z","modified":"2026-03-01T00:00:00.000Z",` +
				`"first_observed":"2026-03-18T22:00:00Z","last_observed":"` + at + `","number_observed":7,"objects":{"0":{"type":"ipv4-addr","value":"240.0.0.1"},"1":{"type":"ipv4-addr","value":"240.0.0.9"},"2":{"type":"network-traffic","src_ref":"0","dst_ref":"1","src_port":1024,"protocols":["tcp"]}}}]}`,
			report.Options{},
			[]string{"240.0.0.1:1024 tcp > 240.0.0.9:0 x7 since 22:00:00" + day},
		},
		"stix, nothing in it": {
			bundle(object("campaign", 1, modified+`"name":"C"`), object("campaign", 2, modified+`"name":"D"`)),
			report.Options{},
			[]string{"rejected line 1: nothing is read from these STIX objects: hosts are in observed-data, or in indicators of compromise, and there are none", "note line 1, campaign: objects of this type are not read, in 2 rows"},
		},
		"stix, a victim that others call": {
			bundle(addressObject(1, "240.0.0.1", ""), addressObject(2, "240.0.0.2", ""), traffic(3, 2, 1, 80), observed(4, "", stixID("ipv4-addr", 1))),
			report.Options{},
			[]string{"240.0.0.1" + day},
		},
		"stix, traffic of another observation": {
			bundle(addressObject(1, "240.0.0.1", ""), traffic(2, 1, 0, 1111), traffic(3, 1, 0, 2222), observed(4, "", stixID("ipv4-addr", 1), stixID("network-traffic", 3)),
				observed(5, "", stixID("ipv4-addr", 1), stixID("network-traffic", 2))),
			report.Options{},
			[]string{"240.0.0.1:2222 tcp" + day, "240.0.0.1:1111 tcp" + day},
		},
	} {
		got := told(t, c.source, c.opt)
		for i := range got { // ids are of no interest here
			if strings.HasPrefix(got[i], "unread ") && strings.HasPrefix(c.want[len(c.want)-1], "unread ") && c.want[len(c.want)-1] == "unread " {
				got[i] = "unread "
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func traffic(n, src, dst, port int) string {
	more := ""
	if dst != 0 {
		more = fmt.Sprintf(`,"dst_ref":%q`, stixID("ipv4-addr", dst))
	}
	return fmt.Sprintf(`{"type":"network-traffic","spec_version":"2.1","id":%q,"src_ref":%q%s,"src_port":%d,"protocols":["tcp"]}`, stixID("network-traffic", n), stixID("ipv4-addr", src), more, port)
}

// An event that is sent on as a line of JSON is the event that it was.
func TestEventsAreWrittenAsTheyAreRead(t *testing.T) {
	source := bundle(addressObject(1, "240.0.0.1", ""), strings.Replace(observed(2, "", stixID("ipv4-addr", 1)), `"first_observed":"2026-03-19`, `"first_observed":"2026-03-18`, 1))
	whole := told(t, source, report.Options{})
	c, err := report.NewCutter(strings.NewReader(source), report.Options{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Next()
	if err != nil || !json.Valid(p.Data) {
		t.Fatal(err, string(p.Data))
	}
	if d := cmp.Diff(whole, told(t, string(p.Data), report.Options{Format: c.Sent})); d != "" {
		t.Error(d)
	}
}
