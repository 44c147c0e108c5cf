package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const rules = `package rules

func may(label, ceiling int, open bool) bool {
	if !open || label > ceiling {
		return false
	}
	return true
}
`

const tests = `package rules

import "testing"

func TestMay(t *testing.T) {
	if may(2, 1, true) || !may(1, 1, true) {
		t.Error("wrong")
	}
}
`

// Each mutant changes one thing; those that a test notices die, the others survive, and the files stay.
func TestMutantsOfAFewLines(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module rules\n\ngo 1.26\n", "rules.go": rules, "rules_test.go": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	list, err := files([]string{"."})
	if err != nil || !cmp.Equal(list, []string{"rules.go"}) {
		t.Fatal(list, err)
	}
	all, err := mutants("rules.go")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]fate)
	for _, m := range all {
		if got[m.was+" -> "+m.text], err = m.try(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]fate{
		"!open || label > ceiling -> !(!open || label > ceiling)": dies, "|| -> &&": dies, "! -> ": dies, "> -> >=": dies, "false -> true": dies, "true -> false": dies,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if text, err := os.ReadFile("rules.go"); err != nil || string(text) != rules {
		t.Error("the file has changed:", err)
	}
	m := mutant{file: "rules.go", start: len(rules), end: len(rules), text: "// nothing"}
	if f, err := m.try(t.TempDir()); f != survives || err != nil {
		t.Error("what changes nothing does not survive:", f, err)
	}
	m.text = "no Go"
	if f, err := m.try(t.TempDir()); f != noProgram || err != nil {
		t.Error("what is no program is tried:", f, err)
	}
}
