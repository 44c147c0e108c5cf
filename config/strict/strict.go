// Package strict reads YAML into structs. Every key must be one of the struct's, nothing
// may stand twice, and all that is wrong is reported at once, each with its line. The time
// that it takes grows with the text's length: what nests too deep for that is refused.
package strict

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Problem is one thing that is wrong with a text.
type Problem struct {
	// Line is where, 0 where that is not known.
	Line   int
	Reason string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.Reason
	}
	return "line " + strconv.Itoa(p.Line) + ": " + p.Reason
}

// A Scalar is a list that may be written as one text as well.
type Scalar interface{ UnmarshalScalar(text string) error }

// maxNodes bounds what aliases can make of a text.
const maxNodes = 2_000_000

// maxDepth is how deep lists and mappings are within each other, in brackets or on one line,
// and maxColumn how far a line is indented: the parser's time grows with the square of them.
const (
	maxDepth  = 50
	maxColumn = 500
)

// deep returns the first line that nests too deep, 0 for none.
func deep(tokens token.Tokens) int {
	depth, entries, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, entries = t.Position.Line, 0
			if t.Position.Column > maxColumn {
				return line
			}
		}
		switch t := t.Type; {
		case t == token.SequenceStartType, t == token.MappingStartType:
			depth++
		case t == token.SequenceEndType, t == token.MappingEndType:
			depth = max(depth-1, 0)
		case t == token.SequenceEntryType, t == token.MappingKeyType:
			entries++
		}
		if depth > maxDepth || entries > maxDepth {
			return max(line, 1)
		}
	}
	return 0
}

// Parse reads a text over what is in a struct, whose fields have yaml tags. It returns the line
// of every key, as a path with dots and indices, and what is wrong.
func Parse(text []byte, to any) (lines map[string]int, problems []Problem) {
	r := reader{lines: make(map[string]int), anchors: make(map[string]ast.Node)}
	// The parser panics on some texts that are no YAML (goccy/go-yaml 1.19.2).
	defer func() {
		if why := recover(); why != nil {
			lines, problems = r.lines, []Problem{{Reason: fmt.Sprintf("this cannot be read as YAML: %v", why)}}
		}
	}()
	tokens := lexer.Tokenize(string(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	if line := deep(tokens); line > 0 {
		return r.lines, []Problem{{line, "lists and mappings are too deep within each other"}}
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return r.lines, []Problem{{Reason: strings.TrimSpace(err.Error())}}
	}
	for i, doc := range file.Docs {
		switch body := doc.Body.(type) {
		case nil, *ast.CommentGroupNode:
		default:
			if i > 0 {
				r.problem(body, "a second document")
				continue
			}
			r.value(body, "", reflect.ValueOf(to).Elem())
		}
	}
	return r.lines, r.problems
}

// reader walks over the text and the struct side by side.
type reader struct {
	lines    map[string]int
	anchors  map[string]ast.Node
	nodes    int
	problems []Problem
}

func (r *reader) problem(at ast.Node, format string, args ...any) {
	line := 0
	if t := at.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	r.problems = append(r.problems, Problem{line, fmt.Sprintf(format, args...)})
}

// resolve returns what a node stands for, nil where that is a problem.
func (r *reader) resolve(n ast.Node) ast.Node {
	for {
		if r.nodes++; r.nodes > maxNodes {
			if r.nodes == maxNodes+1 {
				r.problem(n, "more than %d values", maxNodes)
			}
			return nil
		}
		switch x := n.(type) {
		case *ast.AnchorNode:
			r.anchors[x.Name.String()] = x.Value
			n = x.Value
		case *ast.AliasNode:
			name := x.Value.String()
			if n = r.anchors[name]; n == nil {
				r.problem(x, "there is no &%s before it", name)
				return nil
			}
		case *ast.TagNode:
			n = x.Value
		case nil:
			return nil
		default:
			return n
		}
	}
}

func (r *reader) value(n ast.Node, path string, to reflect.Value) {
	at := n
	if n = r.resolve(n); n == nil {
		return
	}
	_, null := n.(*ast.NullNode)
	u, isText := to.Addr().Interface().(encoding.TextUnmarshaler)
	one, isOne := to.Addr().Interface().(Scalar)
	scalar, isScalar := n.(ast.ScalarNode)
	isScalar = isScalar && !null
	var err error
	switch {
	case isText && isScalar:
		err = u.UnmarshalText([]byte(plain(scalar)))
	case isOne && isScalar:
		err = one.UnmarshalScalar(plain(scalar))
	case isText:
		r.problem(at, "%s wants a value", path)
	case to.Kind() == reflect.Struct, to.Kind() == reflect.Map:
		r.mapping(n, path, to)
	case to.Kind() == reflect.Slice:
		r.list(n, path, to)
	case !isScalar:
		r.problem(at, "%s wants a value", path)
	default:
		err = set(to, plain(scalar))
	}
	if err != nil {
		r.problem(at, "%s: %v", path, err)
	}
}

// plain is a scalar as it is written.
func plain(s ast.ScalarNode) string {
	switch x := s.(type) {
	case *ast.StringNode:
		return x.Value
	case *ast.LiteralNode:
		return x.Value.Value
	}
	return s.GetToken().Value
}

func set(to reflect.Value, text string) error {
	switch {
	case to.Kind() == reflect.Bool:
		b := text == "true"
		if !b && text != "false" {
			return fmt.Errorf("%.60q is not true or false", text)
		}
		to.SetBool(b)
	case to.CanUint():
		n, err := strconv.ParseUint(text, 10, to.Type().Bits())
		if err != nil {
			return fmt.Errorf("%.60q is not a whole number from 0 to %d", text, uint64(1)<<to.Type().Bits()-1)
		}
		to.SetUint(n)
	case to.Kind() == reflect.String:
		to.SetString(text)
	default:
		return fmt.Errorf("%.60q cannot be read as %s", text, to.Type())
	}
	return nil
}

func (r *reader) mapping(n ast.Node, path string, to reflect.Value) {
	var entries []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		entries = m.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{m}
	case *ast.NullNode:
	default:
		if path == "" {
			path = "the file"
		}
		r.problem(n, "%s wants keys and values below it", path)
	}
	if path != "" {
		path += "."
	}
	for _, e := range entries {
		name := e.Key.String()
		if s, ok := e.Key.(ast.ScalarNode); ok {
			name = plain(s)
		}
		key := path + name
		if first := r.lines[key]; first != 0 {
			r.problem(e.Key, "%s stands twice, first on line %d", key, first)
			continue
		}
		var field reflect.Value
		if to.Kind() == reflect.Map {
			field = reflect.New(to.Type().Elem()).Elem()
		} else if field = fieldOf(to, name); !field.IsValid() {
			r.problem(e.Key, "unknown key %.100s: there are %s", key, strings.Join(names(to.Type(), path), ", "))
			continue
		}
		if t := e.Key.GetToken(); t != nil {
			r.lines[key] = t.Position.Line
		}
		r.value(e.Value, key, field)
		if to.Kind() == reflect.Map {
			if to.IsNil() {
				to.Set(reflect.MakeMap(to.Type()))
			}
			to.SetMapIndex(reflect.ValueOf(name), field)
		}
	}
}

func tag(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}

// fieldOf returns the field with a key, the zero Value where there is none.
func fieldOf(v reflect.Value, key string) reflect.Value {
	for i := range v.NumField() {
		if key != "" && tag(v.Type().Field(i)) == key {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

func names(t reflect.Type, prefix string) (list []string) {
	for i := range t.NumField() {
		if name := tag(t.Field(i)); name != "" {
			list = append(list, prefix+name)
		}
	}
	return list
}

func (r *reader) list(n ast.Node, path string, to reflect.Value) {
	switch x := n.(type) {
	case *ast.NullNode:
	case *ast.SequenceNode:
		to.Set(reflect.MakeSlice(to.Type(), len(x.Values), len(x.Values)))
		for i, v := range x.Values {
			if r.nodes > maxNodes {
				break
			}
			r.value(v, path+"["+strconv.Itoa(i)+"]", to.Index(i))
		}
	default:
		r.problem(n, "%s wants a list", path)
	}
}
