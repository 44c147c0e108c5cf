package exchangetest_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
)

// A feed is compressed for who reads that, and each form is a file of its own.
func TestMISPFeedsAreCompressed(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	e.Publish(t, "rustock", "ip,timestamp,cc,asn\n240.1.0.1,2026-03-19T09:00:00Z,AT,64511\n")
	at := as(t, e, "cert-at")
	m := &misp{member: at, collection: "cert-at"}
	files := []string{"manifest.json", "hashes.csv"}
	for id := range m.manifest() {
		files = append(files, id+".json")
	}
	for _, file := range files {
		path := "/misp/cert-at/" + file
		_, plain, want := e.Do(t, "GET", path, at.id, at.token, "", "Accept-Encoding", "identity, gzip;q=0")
		_, h, text := e.Do(t, "GET", path, at.id, at.token, "", "Accept-Encoding", "deflate, gzip;q=1.0")
		z, err := gzip.NewReader(strings.NewReader(text))
		if err != nil || h.Get("Content-Encoding") != "gzip" || plain.Get("Content-Encoding") != "" || h.Get("ETag") == plain.Get("ETag") {
			t.Fatal(file, err, h, plain)
		}
		if got, err := io.ReadAll(z); err != nil || string(got) != want {
			t.Error(file, err, string(got))
		}
		if code, _, _ := e.Do(t, "GET", path, at.id, at.token, "", "Accept-Encoding", "gzip", "If-None-Match", h.Get("ETag")); code != http.StatusNotModified {
			t.Error(file, code)
		}
	}
}

func TestMISPGetsIndicatorsOfMembers(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	add := func(n int, version, pattern, extra string) {
		t.Helper()
		text := strings.Replace(sample(n, version, extra), "[ipv4-addr:value = '198.51.100.1']", pattern, 1)
		if why := at.add("mid", text); why != "" {
			t.Fatal(why)
		}
	}
	add(1, version1, "[domain-name:value = 'evil.example']", green+`,"indicator_types":["malicious-activity"]`)
	add(2, version1, "[url:value = 'https://evil.example/a|b'] OR [file:hashes.'SHA-256' = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']", amber+`,"indicator_types":["benign"]`)
	add(3, version1, "[ipv4-addr:value IN ('198.51.100.7', '198.51.100.8')]", `,"indicator_types":["compromised"]`)
	add(4, version1, "[ipv4-addr:value != '198.51.100.9']", green)
	add(5, version1, "[domain-name:value = 'evil.example']", green+`,"indicator_types":["malicious-activity"]`) // once more
	add(6, version1, "[url:value = 'https://long.example/"+strings.Repeat("x", 5000)+"']", green)
	m := &misp{member: pl, collection: "mid"}
	got := make(map[string]string)
	look := func() map[string]string {
		clear(got)
		for id := range m.manifest() {
			for _, a := range m.event(id).Attribute {
				if a.Deleted {
					continue
				}
				got[a.Value] = fmt.Sprint(a.Type, " ", *a.ToIDs, " ", a.Tag[0].Name)
			}
		}
		return got
	}
	want := map[string]string{
		"evil.example": "domain true tlp:green", "https://evil.example/a|b": "url false tlp:amber",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": "sha256 false tlp:amber",
		"198.51.100.7": "ip-src false tlp:clear", "198.51.100.8": "ip-src false tlp:clear",
	}
	if d := cmp.Diff(want, look()); d != "" {
		t.Fatal(d)
	}
	add(1, version2, "[domain-name:value = 'worse.example']", green+`,"revoked":false`)
	want["worse.example"] = "domain false tlp:green"
	if d := cmp.Diff(want, look()); d != "" {
		t.Error(d)
	}
	add(3, version2, "[ipv4-addr:value IN ('198.51.100.7', '198.51.100.8')]", `,"revoked":true`)
	if code, _, text := e.Do(t, "DELETE", "/exchange/collections/mid/objects/"+sampleID(2)+"/", at.id, at.token, ""); code != http.StatusOK {
		t.Fatal(code, text)
	}
	// What misp-stix makes of an attribute says what it was, and labels become tags.
	add(7, version1, "[network-traffic:src_ref.value = '198.51.100.70']", `,"labels":["misp:type=\"ip-src\"","misp:to_ids=\"False\"","PAP:AMBER","campaign:x"]`)
	add(8, version1, "[domain-name:value = 'mail.example']", `,"labels":["misp:type=\"hostname\"","misp:category=\"Network activity\""]`)
	clear(want)
	want["198.51.100.70"], want["mail.example"] = "ip-src false tlp:clear", "hostname true tlp:clear"
	for id := range m.manifest() {
		for _, a := range m.event(id).Attribute {
			if a.Value == "198.51.100.70" && !(slices.Contains(a.Tag, mispTag{"PAP:AMBER", false}) && slices.Contains(a.Tag, mispTag{"campaign:x", false}) && len(a.Tag) == 3) {
				t.Errorf("%+v", a)
			}
		}
	}
	want["evil.example"] = "domain true tlp:green" // of the other
	want["worse.example"] = "domain false tlp:green"
	if d := cmp.Diff(want, look()); d != "" {
		t.Error(d)
	}
}

// A day with more than MISP likes in one event is cut, and a change touches one part.
func TestALargeDayIsCutIntoEvents(t *testing.T) { // alone: it measures memory
	e := exchangetest.Start(t, labelled)
	var rows strings.Builder
	rows.WriteString("ip,timestamp,cc,asn\n")
	hosts := int(setting("TOCSIN_MISP_HOSTS", 25_000))
	for n := range hosts {
		fmt.Fprintf(&rows, "240.%d.%d.%d,2026-03-19T09:00:00Z,AT,64511\n", 1+n/62_500, n/250%250, n%250)
	}
	e.Publish(t, "rustock", rows.String())
	m := &misp{member: as(t, e, "isp-one"), collection: "isp-one"}
	before := m.manifest()
	seen := make(map[string]bool)
	for id := range before {
		for _, a := range m.event(id).Attribute {
			seen[a.Value] = true
		}
	}
	if len(before) != (hosts+9998)/9999 || len(seen) != hosts+1 {
		t.Fatal(len(before), len(seen))
	}
	// Many who stop in the middle of it hold no event in memory. All is on disk before that is measured: to write it
	// there takes memory as well.
	e.Stop(t)
	e = exchangetest.Open(t, e.Dir)
	m.e = e
	live := func() int64 {
		runtime.GC()
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	slow := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if tcp, ok := c.(*net.TCPConn); ok {
			err = errors.Join(err, tcp.SetReadBuffer(4096))
		}
		return c, err
	}}
	each := (60 + len(before) - 1) / len(before) // so that what they would hold stands out from what the process holds anyhow
	size, began := int64(0), 0
	m.tags = nil
	for id := range before {
		_, text := m.get(id + ".json")
		size += int64(each * len(text))
	}
	was := live()
	for id := range before {
		for range each {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.HTTPURL()+"/misp/isp-one/"+id+".json", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth(m.id, m.token)
			res, err := slow.RoundTrip(req)
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatal(res, err)
			}
			began++
			defer func() { _ = res.Body.Close() }()
		}
	}
	held := live() - was
	t.Logf("%d requests of %d MiB in all hold %d MiB", began, size>>20, held>>20)
	if held > size/4 {
		t.Errorf("%d MiB are held of %d", held>>20, size>>20)
	}
	e.Publish(t, "rustock", "ip,timestamp,cc,asn\n240.1.0.7,2026-03-19T10:00:00Z,AT,64511\n")
	changed := 0
	for id, at := range m.manifest() {
		if before[id] != at {
			changed++
		}
	}
	if changed != 1 {
		t.Error(changed, "events have changed")
	}
}
