package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A package that reads the view without a right that policy has made does not compile.
func TestAWayOutWithoutARightDoesNotCompile(t *testing.T) {
	t.Parallel()
	const head = `package misp

import (
	"context"

	"` + module + `exchange"
	"` + module + `exchange/policy"
	"` + module + `exchange/view"
)

var _ = policy.Readable
var _ exchange.Channel
`
	for name, c := range map[string]struct{ source, says string }{
		"with a right": {`func Fly(ctx context.Context, v *view.View, r *exchange.Register, c *exchange.Collection) (*view.Page, error) {
	return v.Page(ctx, policy.ToRead(r, exchange.As("a"), c, exchange.ChannelTAXII), view.Query{Limit: 1})
}`, ""},
		"with a name": {`func Fly(ctx context.Context, v *view.View) (*view.Page, error) {
	return v.Page(ctx, "cert-at", view.Query{Limit: 1})
}`, "does not implement policy.Read"},
		"with a right of its own": {`type right struct{}
func (right) Collection() *exchange.Collection { return &exchange.Collection{ID: "cert-at"} }
func (right) Member() string { return "a" }
func (right) Channel() exchange.Channel { return exchange.ChannelTAXII }
func (right) made() {}
func Fly(ctx context.Context, v *view.View) (*view.Page, error) {
	return v.Page(ctx, right{}, view.Query{Limit: 1})
}`, "unexported method made"},
	} {
		dir := t.TempDir()
		file, overlay := filepath.Join(dir, "pigeon.go"), filepath.Join(dir, "overlay.json")
		at, err := filepath.Abs("../../exchange/misp/pigeon.go") // where there is no such file
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(map[string]map[string]string{"Replace": {at: file}})
		if err != nil {
			t.Fatal(err)
		}
		for path, content := range map[string]string{file: head + c.source, overlay: string(text)} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, module+"exchange/misp").CombinedOutput()
		if (err == nil) != (c.says == "") || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v, want %q:\n%s", name, err, c.says, out)
		}
	}
}

// Ways out do not look at objects as those do who decide about what comes in: they compile without that.
func TestWaysOutAreBuiltWithoutWhatHasNoRight(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at, err := filepath.Abs("../../exchange/view/index/object.go")
	if err != nil {
		t.Fatal(err)
	}
	file, overlay := filepath.Join(dir, "object.go"), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {at: file}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{file: "package index\n", overlay: string(text)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := func(packages ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "go", append([]string{"build", "-overlay", overlay}, packages...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := build(module+"exchange/misp", module+"exchange/webhook", module+"exchange/api"); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	if out, err := build(module + "exchange/node"); err == nil || !strings.Contains(out, "missing method Made") {
		t.Errorf("submission is built without them: %v\n%s", err, out)
	}
}
