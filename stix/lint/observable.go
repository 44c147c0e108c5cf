package lint

import (
	"encoding/json"

	"github.com/tocsin-exchange/tocsin/stix"
)

// contributing are the properties that the id of an observable object is made of
// (STIX 2.1 sections 2.9 and 6).
var contributing = map[string][]string{
	"artifact": {"hashes", "payload_bin"}, "autonomous-system": {"number"}, "directory": {"path"}, "domain-name": {"value"},
	"email-addr": {"value"}, "email-message": {"from_ref", "subject", "body"}, "file": {"hashes", "name", "extensions", "parent_directory_ref"},
	"ipv4-addr": {"value"}, "ipv6-addr": {"value"}, "mac-addr": {"value"}, "mutex": {"name"},
	"network-traffic": {"start", "end", "src_ref", "dst_ref", "src_port", "dst_port", "protocols", "extensions"},
	"software":        {"name", "cpe", "swid", "vendor", "version"}, "url": {"value"},
	"user-account": {"account_type", "user_id", "account_login"}, "windows-registry-key": {"key", "values"},
	"x509-certificate": {"hashes", "serial_number"},
}

// derived checks that an observable object has the id that everybody gives it.
func (c *checker) derived(typ string, o map[string]any) {
	id, _ := o["id"].(string)
	made := make(map[string]any)
	for _, name := range contributing[typ] {
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
	want, err := stix.SCOID(typ, text)
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
