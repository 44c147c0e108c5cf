package exchangetest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// mispPush pushes as MISP does: to the base, the last segment of an API root, and a collection that says it
// can be written to; with two slashes where it joins them, and a lower-case scheme.
type mispPush struct {
	*testing.T
	base, user, token string
}

func (m *mispPush) do(method, url, body string, to any) {
	m.Helper()
	req, err := http.NewRequestWithContext(m.Context(), method, url, strings.NewReader(body))
	if err != nil {
		m.Fatal(err)
	}
	req.Header.Set("Authorization", "basic "+base64.StdEncoding.EncodeToString([]byte(m.user+":"+m.token)))
	req.Header.Set("Accept", "application/taxii+json;version=2.1")
	if body != "" {
		req.Header.Set("Content-Type", "application/taxii+json;version=2.1")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		m.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 || json.Unmarshal(text, to) != nil {
		m.Fatal(method, url, res.Status, string(text), err)
	}
}

// root finds the API root and the collection of an alias.
func (m *mispPush) collection(alias string) string {
	m.Helper()
	var d taxii.Discovery
	m.do("GET", m.base+"/taxii2/", "", &d)
	for _, root := range d.APIRoots {
		var list struct {
			Collections []struct {
				ID, Alias string
				CanWrite  bool `json:"can_write"`
			}
		}
		at := m.base + "/" + path.Base(strings.TrimSuffix(root, "/"))
		m.do("GET", at+"//collections/", "", &list)
		for _, c := range list.Collections {
			if c.Alias == alias && c.CanWrite {
				return at + "//collections/" + c.ID + "/objects/"
			}
		}
	}
	m.Fatal("there is no collection to write to:", alias)
	return ""
}

// mispLabels are how the versions of MISP say a label: by a marking, or before 2026 by a label alone.
var mispLabels = map[string]string{
	"clear": `"labels":["tlp:clear"]`, "green": `"object_marking_refs":["marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"]`,
	"amber":        `"object_marking_refs":["marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"],"labels":["misp:tlp:amber"]`,
	"amber+strict": `"labels":["tlp:amber+strict","Threat-Report"]`, "red": `"object_marking_refs":["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]`,
}

// mispEventObjects are those of an event, in MISP's order: who, the report, everything unmarked, and the marking.
func mispEventObjects(n int, label string) (identity, report string, ids, objects []string) {
	who := `"created_by_ref":"identity--00000000-0000-4000-8000-0000000000aa"`
	id := func(typ string, i int) string { return fmt.Sprintf("%s--%08d-0000-4000-8000-%012d", typ, n, i) }
	at := fmt.Sprintf(`"spec_version":"2.1",%s,"created":%q,"modified":%q`, who, version1, version1)
	identity = fmt.Sprintf(`{"type":"identity","spec_version":"2.1","id":"identity--00000000-0000-4000-8000-0000000000aa","created":%q,"modified":%q,"name":"CERT.at","identity_class":"organization"}`, version1, version1)
	for i := range 50 {
		ids = append(ids, id("indicator", i))
		objects = append(objects, fmt.Sprintf(`{"type":"indicator","id":%q,%s,"pattern":"[domain-name:value = 'a%d.example']","pattern_type":"stix","pattern_version":"2.1","valid_from":"2026-01-01T00:00:00Z","indicator_types":["malicious-activity"],"labels":["misp:type=\"domain\"","misp:to_ids=\"True\""],"kill_chain_phases":[{"kill_chain_name":"misp-category","phase_name":"Network activity"}]}`, ids[i], at, i))
	}
	ids = append(ids, id("malware", 1))
	objects = append(objects, fmt.Sprintf(`{"type":"malware","id":%q,%s,"name":"Rustock","is_family":true,"labels":["misp:galaxy-name=\"Botnet\""]}`, id("malware", 1), at))
	// What relates two is in no report.
	objects = append(objects, fmt.Sprintf(`{"type":"relationship","id":%q,%s,"relationship_type":"indicates","source_ref":%q,"target_ref":%q}`, id("relationship", 1), at, ids[0], id("malware", 1)))
	text, _ := json.Marshal(ids)
	report = fmt.Sprintf(`{"type":"report","id":%q,%s,"name":"Rustock","published":%q,"report_types":["threat-report"],"object_refs":%s,%s}`, id("report", 1), at, version1, text, mispLabels[label])
	objects = append(objects, string(tlp.Amber.Definition()))
	return identity, report, append(ids, id("relationship", 1), id("report", 1)), objects
}

// envelopes cuts objects as MISP does, at a size.
func envelopes(size int, objects ...string) (list []string) {
	var part []string
	n := 0
	for _, o := range objects {
		if n+len(o) > size && len(part) > 0 {
			list, part, n = append(list, envelope(part...)), nil, 0
		}
		part, n = append(part, o), n+len(o)
	}
	return append(list, envelope(part...))
}

// An event that MISP pushes has the label that its report says, each object of it and from the start, in
// one envelope and in many; what is too high for a collection never enters it.
func TestMISPPushesAnEvent(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strict)
	at := as(t, e, "cert-at")
	m := &mispPush{t, e.HTTPURL(), at.id, at.token}
	to := m.collection("strict")
	n := 0
	for _, size := range []int{10 << 20, 2500} {
		for word := range mispLabels {
			n++
			level, err := tlp.Parse(word)
			if err != nil {
				t.Fatal(err)
			}
			identity, report, ids, objects := mispEventObjects(n, word)
			cut := envelopes(size, append([]string{identity, report}, objects...)...)
			if size == 2500 && len(cut) < 10 {
				t.Fatal(len(cut))
			}
			for _, text := range cut {
				var st taxii.Status
				m.do("POST", to, text, &st)
				if level <= tlp.AmberStrict && st.FailureCount > 0 {
					t.Errorf("%s: %+v", word, st.Failures)
				}
				err = e.View.Posted(ids, func(i int, p *record.Posted) error { // what is there by now
					if p.Label != level {
						t.Errorf("%s of an event that is %s is %s", ids[i], word, p.Label)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, id := range ids {
				if at.hasObject("strict", id) != (level <= tlp.AmberStrict) {
					t.Errorf("%s of an event that is %s: %v", id, word, level > tlp.AmberStrict)
				}
			}
			for _, text := range cut { // MISP sends all of it again with the next change
				var st taxii.Status
				if m.do("POST", to, text, &st); level <= tlp.AmberStrict && st.FailureCount > 0 {
					t.Errorf("%s again: %+v", word, st.Failures)
				}
			}
		}
	}
}

// What a report says holds for what comes after it though the report is refused, and over a restart.
func TestAReportHoldsForWhatComesLater(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at := as(t, e, "cert-at")
	_, refused, ids, objects := mispEventObjects(1, "amber")
	refused = strings.Replace(refused, `"name":"Rustock",`, "", 1) // which lint does not let in
	if why := at.add("low", refused); !strings.Contains(why, "name") {
		t.Fatal(why)
	}
	dir := e.Dir
	e.Stop(t)
	e = exchangetest.Open(t, dir)
	at.e = e
	for i, text := range objects[:3] {
		if why := at.add("low", text); !strings.Contains(why, "AMBER") {
			t.Errorf("%s: %q", ids[i], why)
		}
	}
	// It says nothing of what others send, nor of another collection.
	pl := as(t, e, "cert-pl")
	other := strings.Replace(objects[4], "00000000-0000-4000-8000-0000000000aa", "00000000-0000-4000-8000-0000000000cc", 1)
	if why := pl.add("low", other); why != "" {
		t.Error(why)
	}
}
