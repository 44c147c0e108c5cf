// Mutate changes one thing at a time in some Go files, runs the tests of the file's own package, and lists
// the changes that no test has noticed. It informs: its exit status is 0 where mutants survive.
//
//	go run ./.ci/mutate [-n 200] [-seed 1] FILE.go|DIRECTORY...
//
// The files are not touched: go test reads each mutant through -overlay. Mutants that do not compile are
// passed over. The same seed and files make the same mutants.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// mutant replaces bytes of a file.
type mutant struct {
	file       string
	line       int
	start, end int
	text       string
	was        string
}

// others are what stands in for operators, and for names.
var (
	others = map[token.Token]token.Token{
		token.EQL: token.NEQ, token.NEQ: token.EQL, token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ,
		token.GEQ: token.GTR, token.LAND: token.LOR, token.LOR: token.LAND, token.ADD: token.SUB, token.SUB: token.ADD,
	}
	names = map[string]string{"true": "false", "false": "true", "min": "max", "max": "min"}
)

// mutants lists those of a file.
func mutants(path string) (list []mutant, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, 0)
	if err != nil {
		return nil, err
	}
	add := func(from, to token.Pos, by string) {
		start, end := set.Position(from), set.Position(to)
		list = append(list, mutant{path, start.Line, start.Offset, end.Offset, by, string(text[start.Offset:end.Offset])})
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			cond := string(text[set.Position(n.Cond.Pos()).Offset:set.Position(n.Cond.End()).Offset])
			add(n.Cond.Pos(), n.Cond.End(), "!("+cond+")")
		case *ast.BinaryExpr:
			if op, ok := others[n.Op]; ok {
				add(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), op.String())
			}
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				add(n.OpPos, n.OpPos+1, "")
			}
		case *ast.Ident:
			if by, ok := names[n.Name]; ok {
				add(n.Pos(), n.End(), by)
			}
		case *ast.ExprStmt, *ast.IncDecStmt:
			add(n.Pos(), n.End(), "")
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				add(n.Pos(), n.End(), "")
			}
		case *ast.BranchStmt:
			if n.Tok == token.CONTINUE && n.Label == nil {
				add(n.Pos(), n.End(), "")
			}
		}
		return true
	})
	return list, nil
}

type fate int

const (
	noProgram fate = iota // or not tried
	dies
	survives
)

// try runs the tests of a mutant's package.
func (m *mutant) try(dir string) (fate, error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return 0, err
	}
	changed := bytes.Join([][]byte{text[:m.start], []byte(m.text), text[m.end:]}, nil)
	path := filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		return 0, err
	}
	file, err := filepath.Abs(m.file)
	if err != nil {
		return 0, err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: path}})
	if err != nil {
		return 0, err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(context.Background(), "go", "test", "-vet=off", "-count=1", "-failfast", "-timeout=60s", "-overlay="+list, "./"+filepath.Dir(m.file)).CombinedOutput()
	switch {
	case err == nil:
		return survives, nil
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return noProgram, nil
	}
	return dies, nil
}

// files lists the Go files that the arguments name, without tests.
func files(args []string) (list []string, err error) {
	for _, arg := range args {
		found := []string{arg}
		if !strings.HasSuffix(arg, ".go") {
			if found, err = filepath.Glob(filepath.Join(arg, "*.go")); err != nil {
				return nil, err
			}
		}
		for _, f := range found {
			if !strings.HasSuffix(f, "_test.go") {
				list = append(list, filepath.Clean(f))
			}
		}
	}
	return list, nil
}

func run() error {
	n, seed := flag.Int("n", 200, "how many mutants"), flag.Uint64("seed", 1, "which ones")
	flag.Parse()
	list, err := files(flag.Args())
	if err != nil {
		return err
	}
	var all []mutant
	for _, f := range list {
		of, err := mutants(f)
		if err != nil {
			return err
		}
		all = append(all, of...)
	}
	rand.New(rand.NewPCG(*seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	// They are taken in order, so that the same ones count however many are tried at a time.
	fates := make([]fate, len(all))
	next, tried := 0, 0
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		dir, err := os.MkdirTemp("", "mutate")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= len(all) || tried >= *n || failed != nil
				mu.Unlock()
				if stop {
					return
				}
				f, err := all[i].try(dir)
				mu.Lock()
				if fates[i] = f; f != noProgram {
					tried++
				}
				failed = cmp.Or(failed, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	total, dead := 0, 0
	for i, m := range all[:min(next, len(all))] {
		if total == *n || fates[i] == noProgram {
			continue
		}
		total++
		if fates[i] == dies {
			dead++
			continue
		}
		_, _ = fmt.Fprintf(os.Stdout, "%s:%d: survives: %q -> %q\n", m.file, m.line, m.was, m.text)
	}
	_, _ = fmt.Fprintf(os.Stdout, "%d of %d mutants die (%.0f%%)\n", dead, total, 100*float64(dead)/float64(max(total, 1)))
	return nil
}

func main() {
	if err := run(); err != nil {
		log.Fatal("mutate: ", err)
	}
}
