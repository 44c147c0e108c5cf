package lint

import (
	"encoding/json"

	"github.com/tocsin-exchange/tocsin/stix"
)

// derived checks that an observable object has the id that everybody gives it.
func (c *checker) derived(t *object, o map[string]any) {
	id, _ := o["id"].(string)
	made := make(map[string]any)
	for _, name := range t.made {
		v, ok := o[name]
		if !ok {
			continue
		}
		if hashes, ok := v.(map[string]any); ok && name == "hashes" {
			if v = firstHash(hashes); v == nil {
				continue
			}
		}
		made[name] = v
	}
	if len(made) == 0 {
		return
	}
	text, err := json.Marshal(made)
	if err != nil {
		return
	}
	want, err := stix.SCOID(c.typ, text)
	if err == nil && want != id {
		c.add("id", Warning, "2.9", "another id than others give this object: %s", want)
	}
}

// firstHash returns the one hash of those that an id is made of, nil where there is none.
func firstHash(hashes map[string]any) any {
	for _, name := range []string{"MD5", "SHA-1", "SHA-256", "SHA-512"} {
		if v, ok := hashes[name]; ok {
			return map[string]any{name: v}
		}
	}
	return nil
}
