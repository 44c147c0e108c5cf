package oracle

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// silent objects raise nothing that refers to them, unless they bear a marking of their own.
func silent(it *item) bool {
	return it.kind == "identity" || it.kind == "location" || it.kind == "marking-definition" || it.kind == "extension-definition"
}

// served is the text as posted, with the label's marking put first where the label is above its TLP.
func (it *item) served() []byte {
	if it.label <= public || it.label <= it.carries {
		return []byte(it.text)
	}
	refs := []any{written[it.label]}
	refs = append(refs, list(it.fields["object_marking_refs"])...)
	return []byte(canonical(it.fields, refs))
}

// canonical is the RFC 8785 form of an object with these object_marking_refs; none of them leave the property away.
func canonical(fields map[string]any, refs []any) string {
	changed := map[string]any{}
	for name, value := range fields {
		changed[name] = value
	}
	delete(changed, "object_marking_refs")
	if len(refs) > 0 {
		changed["object_marking_refs"] = refs
	}
	text, err := json.Marshal(changed)
	if err != nil {
		panic(err)
	}
	value := jsontext.Value(text)
	if err := value.Canonicalize(); err != nil {
		panic(err)
	}
	return string(value)
}

// parse reads a posted object; it is nil where that cannot be done.
func parse(member, collection string, text []byte) *item {
	value := jsontext.Value(slices.Clone(text))
	if value.Canonicalize() != nil {
		return nil
	}
	it := &item{member: member, collection: collection, text: string(value), refs: map[string]bool{}}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	if decoder.Decode(&it.fields) != nil || it.fields == nil {
		return nil
	}
	it.id, _ = it.fields["id"].(string)
	it.kind, _ = it.fields["type"].(string)
	it.creator, _ = it.fields["created_by_ref"].(string)
	if it.id == "" || !strings.HasPrefix(it.id, it.kind+"--") {
		return nil
	}
	_, modified := it.fields["modified"]
	_, created := it.fields["created"]
	it.observable = !modified && !created
	if !it.observable {
		name := "created"
		if modified {
			name = "modified"
		}
		stamp, _ := it.fields[name].(string)
		version, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			return nil
		}
		it.version = version.UTC()
	}
	refs := slices.DeleteFunc(slices.Clone(list(it.fields["object_marking_refs"])), func(ref any) bool {
		id, _ := ref.(string)
		return levels[id] != none
	})
	it.same = canonical(it.fields, refs)
	it.collect(it.fields)
	delete(it.refs, it.id) // which says nothing
	return it
}

// collect finds what an object refers to, at any depth.
func (it *item) collect(value any) {
	for _, element := range list(value) {
		it.collect(element)
	}
	fields, _ := value.(map[string]any)
	for name, inner := range fields {
		switch {
		case name == "created_by_ref", name == "object_marking_refs", name == "marking_ref", name == "granular_markings":
			continue
		case strings.HasSuffix(name, "_ref"), strings.HasSuffix(name, "_refs"):
			for _, ref := range append(slices.Clone(list(inner)), inner) {
				if id, is := ref.(string); is {
					it.refs[id] = true
				}
			}
		}
		it.collect(inner)
	}
}

func list(value any) []any {
	elements, _ := value.([]any)
	return elements
}

// ownMarking is the highest label that an object's own markings mean.
func (o *Oracle) ownMarking(it *item) int {
	return it.marked(func(id string) int {
		label, known := o.config.Markings[id]
		if !known && !o.definitions[[2]string{it.member, id}] {
			label = unknown
		}
		return label
	})
}

// marked is the highest of an object's markings, where those that are not of TLP mean something.
func (it *item) marked(means func(id string) int) int {
	highest := none
	mark := func(value any) {
		id, _ := value.(string)
		label, known := levels[id]
		if !known {
			label = means(id)
		}
		highest = max(highest, label)
	}
	for _, ref := range list(it.fields["object_marking_refs"]) {
		mark(ref)
	}
	for _, element := range list(it.fields["granular_markings"]) {
		granular, _ := element.(map[string]any)
		if ref, marks := granular["marking_ref"]; marks { // others tell a language
			mark(ref)
		}
	}
	for _, element := range list(it.fields["labels"]) {
		label, _ := element.(string)
		label = strings.TrimPrefix(strings.ToLower(label), "misp:")
		if word, is := strings.CutPrefix(label, "tlp:"); is {
			highest = max(highest, level(word))
		}
	}
	return highest
}

const (
	tlpExtension = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
	papExtension = "extension-definition--f8d78575-edfd-406e-8e84-6162a8450f5b"
)

// defines is the TLP level that a marking-definition defines; unknown where it is none of the five, or two of them.
func defines(it *item) int {
	found := none
	add := func(value any) {
		word, _ := value.(string)
		if one := level(strings.ToLower(word)); found == none || found == one {
			found = one
		} else {
			found = unknown
		}
	}
	definition, _ := it.fields["definition"].(map[string]any)
	sort, _ := it.fields["definition_type"].(string)
	if word, has := definition["tlp"]; has || strings.EqualFold(sort, "tlp") {
		add(word)
	}
	extensions, _ := it.fields["extensions"].(map[string]any)
	if extension, has := extensions[tlpExtension].(map[string]any); has {
		add(extension["tlp_2_0"])
	}
	return found
}

// saysNothing tells whether this is a well-formed definition of a statement or PAP marking, which say nothing about who may read.
func saysNothing(it *item) bool {
	if it.kind != "marking-definition" || it.observable || defines(it) != none {
		return false
	}
	definition, _ := it.fields["definition"].(map[string]any)
	sort, _ := it.fields["definition_type"].(string)
	extensions, _ := it.fields["extensions"].(map[string]any)
	for name := range extensions {
		if name != papExtension {
			return false // it might restrict reading
		}
	}
	text := func(value any) bool { s, _ := value.(string); return s != "" }
	extension, _ := extensions[papExtension].(map[string]any)
	return sort == "statement" && text(definition["statement"]) ||
		strings.EqualFold(sort, "pap") && (text(definition["pap"]) || text(definition["PAP"])) ||
		text(extension["pap"])
}

// level is the label that a TLP word means.
func level(word string) int {
	if label, known := words[word]; known {
		return label
	}
	return unknown
}

var words = map[string]int{"clear": 1, "white": 1, "green": 2, "amber": 3, "amber+strict": 4, "red": 5}

// levels are the TLP markings.
var levels = map[string]int{
	"marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": 1,
	"marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": 1,
	"marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": 2,
	"marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": 2,
	"marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": 3,
	"marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": 3,
	"marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": 4,
	"marking-definition--826578e1-40ad-459f-bc73-ede076f81f37": 4,
	"marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": 5,
	"marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": 5,
}

// written are the TLP markings that the exchange writes.
var written = map[int]string{
	2: "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
	3: "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
	4: "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
	5: "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
}
