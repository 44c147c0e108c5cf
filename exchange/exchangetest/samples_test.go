package exchangetest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/taxii"
)

func sampleID(n int) string { return fmt.Sprintf("indicator--%08d-0000-4000-8000-%012d", n, n) }

// telling is an object of a type that tells that others are there.
func telling(typ string, n int, version, extra string, refs ...string) (id, text string) {
	id = fmt.Sprintf("%s--%08d-0000-4000-8000-000000000000", typ, n)
	how := map[string]string{
		"relationship":     `"relationship_type":"related-to","source_ref":%q,"target_ref":%q`,
		"sighting":         `"sighting_of_ref":%q`,
		"language-content": `"object_ref":%q,"contents":{"de":{"relationship_type":"gehört zu"}}`,
	}[typ]
	var ends []any
	for _, r := range refs {
		ends = append(ends, r)
	}
	return id, fmt.Sprintf(`{"type":%q,"spec_version":"2.1","id":%q,"created":%q,"modified":%q,%s%s}`, typ, id, version1, version, fmt.Sprintf(how, ends...), extra)
}

// hasObject tells whether a collection has an object.
func (m member) hasObject(collection, id string) bool {
	m.t.Helper()
	code, _, text := m.e.Do(m.t, "GET", "/exchange/collections/"+collection+"/objects/"+id+"/", m.id, m.token, "", "Accept", taxii.MediaType)
	return code == http.StatusOK && strings.Contains(text, id)
}

// strict is labelled with two collections that take AMBER+STRICT.
var strict = strings.Replace(labelled, "collections:\n", "collections:\n  - {id: strict, ceiling: amber+strict, floor: clear, readers: [cert-at], writers: [cert-at]}\n  - {id: strict2, ceiling: amber+strict, floor: clear, readers: [cert-at], writers: [cert-at]}\n", 1)

const amberStrict = `,"object_marking_refs":["marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003"]`

// rebuilt stops an exchange, makes its view anew, and opens it again.
func rebuilt(t *testing.T, e *exchangetest.Exchange) *exchangetest.Exchange {
	t.Helper()
	dir := e.Dir
	e.Stop(t)
	if err := node.Rebuild(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return exchangetest.Open(t, dir)
}

const copyrightID = "marking-definition--fa42a846-8d90-4e51-bc29-71d5b4802168"

// definition is a marking definition with a body.
func definition(id, body string) string {
	return fmt.Sprintf(`{"type":"marking-definition","spec_version":"2.1","id":%q,"created":"2017-06-01T00:00:00.000Z",%s}`, id, body)
}

const copyright = `"definition_type":"statement","definition":{"statement":"Copyright 2015-2026, Example."}`
