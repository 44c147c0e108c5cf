// Package stixtest checks objects against the JSON schemas that OASIS publishes
// for STIX 2.1. It is for tests. The schemas are data beside the project; where
// they are not there, Validator returns nil and its Check does nothing.
package stixtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// base is the $id under which the schemas refer to each other.
const base = "http://raw.githubusercontent.com/oasis-open/cti-stix2-json-schemas/stix2.1/schemas/"

// Validator holds the compiled schemas by object type.
type Validator struct{ byType map[string]*jsonschema.Schema }

var load = sync.OnceValues(func() (*Validator, error) {
	dir := os.Getenv("TOCSIN_STIX_SCHEMAS")
	if dir == "" {
		dir = search()
	}
	if dir == "" {
		return nil, nil
	}
	c := jsonschema.NewCompiler()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.json"))
	if err != nil {
		return nil, err
	}
	types := make(map[string]string)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(dir, f)
		if err != nil {
			return nil, err
		}
		url := base + filepath.ToSlash(rel)
		if err := c.AddResource(url, doc); err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		if folder := filepath.Base(filepath.Dir(f)); folder != "common" ||
			name == "marking-definition" || name == "extension-definition" || name == "bundle" || name == "language-content" {
			types[name] = url
		}
	}
	v := &Validator{byType: make(map[string]*jsonschema.Schema)}
	for name, url := range types {
		if v.byType[name], err = c.Compile(url); err != nil {
			return nil, err
		}
	}
	return v, nil
})

// search looks for shared/schemas beside one of the folders above.
func search() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		try := filepath.Join(dir, "shared", "schemas", "schemas")
		if _, err := os.Stat(try); err == nil {
			return try
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// New returns the validator, or nil where there are no schemas. With
// TOCSIN_REQUIRE_SCHEMAS set, their absence fails the test.
func New(t testing.TB) *Validator {
	t.Helper()
	v, err := load()
	if err != nil {
		t.Fatalf("compile the STIX schemas: %v", err)
	}
	if v == nil && os.Getenv("TOCSIN_REQUIRE_SCHEMAS") != "" {
		t.Fatal("the STIX schemas are not there, and TOCSIN_REQUIRE_SCHEMAS is set")
	}
	return v
}

// Check reports an object that does not fit the schema of its type, or whose
// type has none.
func (v *Validator) Check(t testing.TB, raw []byte) {
	t.Helper()
	if v == nil {
		return
	}
	if err := v.Validate(raw); err != nil {
		t.Errorf("%s\n%v", raw, err)
	}
}

// Validate says in what an object does not fit the schema of its type.
func (v *Validator) Validate(raw []byte) error {
	var head struct{ Type string }
	if err := json.Unmarshal(raw, &head); err != nil {
		return err
	}
	schema := v.byType[head.Type]
	if schema == nil {
		return fmt.Errorf("no schema for type %q", head.Type)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}
