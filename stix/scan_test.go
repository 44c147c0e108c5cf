package stix_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/stix"
)

// FuzzScan holds the fast scanner to the strict parser: where both take a
// text, they read the same.
func FuzzScan(f *testing.F) {
	const id = `"id":"url--28bb3599-77cd-5a82-a950-b5bc3caf07c4"`
	for _, seed := range []string{
		`{"type":"url",` + id + `,"value":"a\"b\\","n":[{"id":"x"},1,"]"],"spec_version":"2.1"}`,
		`{ "modified" : "2026-01-01T00:00:00Z", "created":"2025-01-01T00:00:00Z" , "type":"url",` + id + `, "x":-1.5e3 , "created_by_ref" : "identity--1"}`,
		`{"typ\u0065":"url",` + id + `}`, `{"type":"url",` + id + `,"created":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = bytes.TrimSpace(raw)
		h, err := stix.ParseHead(raw)
		if err != nil || bytes.IndexByte(raw, '\\') >= 0 {
			stix.ScanBrief(raw) // only: no panic, no hang
			return
		}
		b, ok := stix.ScanBrief(raw)
		version := h.Modified
		if version == "" {
			version = h.Created
		}
		if !ok || string(b.Type) != h.Type || string(b.ID) != h.ID || string(b.SpecVersion) != h.SpecVersion || string(b.Version) != version && h.Modified != "" {
			t.Fatalf("scanned %q %q %q %q (%v), parsed %+v", b.Type, b.ID, b.SpecVersion, b.Version, ok, h)
		}
		n := 0
		bundle := append(append([]byte(`{"type":"bundle","objects":[`), raw...), ` , `...)
		bundle = append(append(bundle, raw...), `],"more":false}`...)
		if !stix.Scan(bundle, func(one []byte, b stix.Brief) {
			n++
			if !bytes.Equal(one, raw) || string(b.ID) != h.ID || string(b.CreatedByRef) != h.CreatedByRef {
				t.Fatalf("object %d is %q", n, one)
			}
		}) || n != 2 {
			t.Fatalf("%d objects scanned", n)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	one := `{"type":"sighting","spec_version":"2.1","id":"sighting--28bb3599-77cd-5a82-a950-b5bc3caf07c4","created_by_ref":"identity--2fce8c7c-2e49-56c7-85dd-c97cc3c1d662","created":"2026-03-19T00:00:00.000Z","modified":"2026-03-19T01:04:07.000Z","confidence":90,"object_marking_refs":["marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"],"first_seen":"2026-03-19T00:04:07.000Z","last_seen":"2026-03-19T01:04:07.000Z","count":4,"sighting_of_ref":"malware--3975d06e-cfa2-513e-860d-4a50969ef577","observed_data_refs":["observed-data--2200e4e5-c328-583d-acdb-80e28a2503dd"]}`
	bundle := []byte(`{"type":"bundle","id":"bundle--x","objects":[` + strings.Repeat(one+",", 499) + one + `]}`)
	b.SetBytes(int64(len(bundle)))
	for b.Loop() {
		n := 0
		if !stix.Scan(bundle, func([]byte, stix.Brief) { n++ }) || n != 500 {
			b.Fatal(n)
		}
	}
}
