package lint

import (
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// standard is the table of the standard. A line that is not indented begins something:
//
//	open NAME WORDS…          words to which others may be added; closed NAME WORDS… those that there are
//	common CLASS…             the properties that all objects of some classes have
//	sdo NAME SECTION          a type of the class sdo, sro, sco or meta; of an sco "made of" says what its identifier is made of
//	struct NAME SECTION       what stands in an object; "of TYPE" makes it an extension of this type, "only" forbids other properties
//
// Lines under it are its properties, with * where they are required, and their type; after a colon what holds between
// properties; after a hyphen common properties that it does not have. Types:
//
//	list of TYPE              at least one of them
//	ref TYPE…                 an identifier of an object of one of these types or classes; of any where none is named
//	word NAME                 a word of a list
//	integer LOW..HIGH         each bound may be missing; number likewise
//	NAME                      a struct, or a type that value.go checks
//
// Rules: "A <= B" and "A < B" of times, "any of A B" one at least ("any" of all), "one of A B" exactly one, "A needs B",
// "A=true needs B", "A=true excludes B", "always A", "should have A".
//
//go:embed standard.txt
var standard string

// object is a type of object, or of what stands in one.
type object struct {
	name, class, section string
	properties           []*property
	byName               map[string]*property
	rules                []rule
	made                 []string // what the identifier of an observable is made of
	of                   string   // the type that it extends
	only                 bool     // it has no other properties
}

type property struct {
	name     string
	required bool
	section  string
	is       *valueType
}

// valueType is the type of a property's value.
type valueType struct {
	kind      string // list, ref, word, integer, number, struct, or a name that value.go knows
	of        *valueType
	refs      []string
	words     *vocabulary
	low, high float64
	object    *object
}

// vocabulary is a list of words. Words may be added to an open one.
type vocabulary struct {
	words  []string
	closed bool
}

// rule is what holds between properties.
type rule struct {
	kind  string // <=, <, any, one, needs, excludes, always, should
	names []string
	value string // of the first property, where the rule is of one value of it
}

// table is the standard.
type table struct {
	types      map[string]*object // by type
	extensions map[string]*object // by key
	words      map[string]*vocabulary
	structs    map[string]*object
}

// theStandard is the table, read once.
var theStandard = sync.OnceValue(func() *table {
	t, err := readTable(standard)
	if err != nil {
		panic(err) // it is part of the program, and a test reads it
	}
	return t
})

// readTable reads a text as standard.txt is.
func readTable(text string) (*table, error) {
	t := &table{types: make(map[string]*object), extensions: make(map[string]*object), words: make(map[string]*vocabulary), structs: make(map[string]*object)}
	common := make(map[string]*object)
	type later struct {
		p    *property
		text []string
		line int
	}
	var open []*object
	var types []later
	without := make(map[*object][]string)
	for i, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0][0] == '#':
		case line[0] != ' ':
			var err error
			if open, err = t.begin(words, common); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
		case len(open) == 0 || len(words) < 2:
			return nil, fmt.Errorf("line %d: nothing is begun, or it says too little", i+1)
		case words[0] == ":":
			r, err := readRule(words[1:])
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			for _, o := range open {
				o.rules = append(o.rules, r)
			}
		case words[0] == "-":
			for _, o := range open {
				without[o] = append(without[o], words[1:]...)
			}
		default:
			name, required := strings.CutSuffix(words[0], "*")
			for _, o := range open {
				p := &property{name: name, required: required, section: o.section}
				o.properties = append(o.properties, p)
				types = append(types, later{p, words[1:], i + 1})
			}
		}
	}
	for _, l := range types {
		var err error
		if l.p.is, err = t.valueType(l.text); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.line, err)
		}
	}
	for _, o := range t.types {
		if c := common[o.class]; c != nil {
			o.properties = append(slices.Clone(c.properties), o.properties...)
			o.properties = slices.DeleteFunc(o.properties, func(p *property) bool { return slices.Contains(without[o], p.name) })
			o.rules = append(slices.Clone(c.rules), o.rules...)
		}
		o.index()
	}
	for _, o := range t.structs {
		o.index()
	}
	for class, o := range common { // of types that are not the standard's
		o.class = class
		o.index()
		t.structs["("+class+")"] = o
	}
	return t, nil
}

func (o *object) index() {
	o.byName = make(map[string]*property, len(o.properties))
	for _, p := range o.properties {
		o.byName[p.name] = p
	}
	for i := range o.rules {
		if r := &o.rules[i]; r.kind == "any" && r.names == nil {
			for _, p := range o.properties {
				r.names = append(r.names, p.name)
			}
		}
	}
}

// begin reads a line that begins something.
func (t *table) begin(words []string, common map[string]*object) (open []*object, err error) {
	switch head := words[0]; head {
	case "open", "closed":
		t.words[words[1]] = &vocabulary{words: words[2:], closed: head == "closed"}
		return nil, nil
	case "common":
		for _, class := range words[1:] {
			common[class] = &object{name: class, section: "3.2"}
			open = append(open, common[class])
		}
		return open, nil
	case "sdo", "sro", "sco", "meta", "struct":
		if len(words) < 3 {
			return nil, fmt.Errorf("%s wants a name and a section", head)
		}
		o := &object{class: head, name: words[1], section: words[2]}
		rest := words[3:]
		switch {
		case len(rest) > 2 && rest[0] == "made":
			o.made = rest[2:]
		case len(rest) == 2 && rest[0] == "of":
			o.of = rest[1]
			t.extensions[o.name] = o
		case len(rest) == 1 && rest[0] == "only":
			o.only = true
		case len(rest) > 0:
			return nil, fmt.Errorf("%q is not read", strings.Join(rest, " "))
		}
		if head == "struct" {
			t.structs[o.name] = o
		} else {
			t.types[o.name] = o
		}
		return []*object{o}, nil
	default:
		return nil, fmt.Errorf("%q begins nothing", head)
	}
}

// valueType reads a type.
func (t *table) valueType(words []string) (*valueType, error) {
	v := &valueType{kind: words[0], low: math.Inf(-1), high: math.Inf(1)}
	rest := words[1:]
	switch v.kind {
	case "list":
		of, err := t.valueType(rest[1:])
		v.of = of
		return v, err
	case "ref":
		v.refs = rest
		return v, nil
	case "word":
		if v.words = t.words[rest[0]]; v.words == nil {
			return nil, fmt.Errorf("there are no words %q", rest[0])
		}
		return v, nil
	case "integer", "number":
		if len(rest) == 0 {
			return v, nil
		}
		low, high, ok := strings.Cut(rest[0], "..")
		var err1, err2 error
		if low != "" {
			v.low, err1 = strconv.ParseFloat(low, 64)
		}
		if high != "" {
			v.high, err2 = strconv.ParseFloat(high, 64)
		}
		if !ok || err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%q is no pair of bounds", rest[0])
		}
		return v, nil
	case "dictionary":
		v.refs = rest
		if len(rest) > 0 {
			v.refs = rest[1:]
		}
		return v, nil
	}
	if o := t.structs[v.kind]; o != nil {
		v.kind, v.object = "struct", o
		return v, nil
	}
	if checks[v.kind] == nil && texts[v.kind] == nil {
		return nil, fmt.Errorf("there is no type %q", v.kind)
	}
	return v, nil
}

// readRule reads what follows a colon.
func readRule(words []string) (rule, error) {
	text := strings.Join(words, " ")
	switch {
	case words[0] == "any" && len(words) == 1:
		return rule{kind: "any"}, nil
	case (words[0] == "any" || words[0] == "one") && words[1] == "of":
		return rule{kind: words[0], names: words[2:]}, nil
	case words[0] == "always":
		return rule{kind: "always", names: words[1:]}, nil
	case words[0] == "should":
		return rule{kind: "should", names: words[2:]}, nil
	case len(words) == 3 && slices.Contains([]string{"<=", "<", "needs", "excludes"}, words[1]):
		first, value, _ := strings.Cut(words[0], "=")
		return rule{kind: words[1], names: []string{first, words[2]}, value: value}, nil
	}
	return rule{}, fmt.Errorf("%q is no rule", text)
}
