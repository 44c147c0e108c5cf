package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"reflect"
	"strings"
)

// Describe writes the file's reference: every key with its default, and the
// comment that stands on its field in this package. It is itself a file that
// Parse reads.
func Describe(w io.Writer) error {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", source, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("describe the configuration: %w", err)
	}
	comments := make(map[string]string) // by type.field
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			t := s.(*ast.TypeSpec)
			st, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range st.Fields.List {
				comments[t.Name.Name+"."+f.Names[0].Name] = f.Doc.Text()
			}
		}
	}
	var b strings.Builder
	describe(&b, reflect.ValueOf(Default()), "", comments)
	_, err = io.WriteString(w, b.String())
	return err
}

func describe(b *strings.Builder, v reflect.Value, indent string, comments map[string]string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if indent == "" && i > 0 {
			b.WriteByte('\n')
		}
		for line := range strings.Lines(comments[v.Type().Name()+"."+f.Name]) {
			fmt.Fprintf(b, "%s# %s", indent, line)
		}
		if f.Type.Kind() == reflect.Struct {
			fmt.Fprintf(b, "%s%s:\n", indent, f.Tag.Get("yaml"))
			describe(b, v.Field(i), indent+"  ", comments)
			continue
		}
		value := fmt.Sprint(v.Field(i).Interface())
		if f.Type.Kind() == reflect.String {
			value = fmt.Sprintf("%q", value)
		}
		fmt.Fprintf(b, "%s%s: %s\n", indent, f.Tag.Get("yaml"), strings.ToLower(value[:1])+value[1:])
	}
}
