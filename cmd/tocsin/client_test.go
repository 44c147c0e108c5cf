package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The operator's token is for the exchange on the directory, and goes to no
// other server.
func TestTheOperatorsTokenStaysHere(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"admin.token": "secret\n", "address.json": `{"http":"http://127.0.0.1:1","pid":1}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		a    access
		want resolved
	}{
		{access{data: dir}, resolved{"http://127.0.0.1:1", "admin", "secret"}},
		{access{data: dir, server: "https://elsewhere.example"}, resolved{"https://elsewhere.example", "", ""}},
		{access{data: dir, server: "https://elsewhere.example", user: "admin"}, resolved{"https://elsewhere.example", "admin", ""}},
		{access{data: dir, user: "cert-at"}, resolved{"http://127.0.0.1:1", "cert-at", ""}},
	} {
		got, err := c.a.resolve()
		if err != nil || got != c.want {
			t.Errorf("%+v: %+v, %v", c.a, got, err)
		}
	}
}
