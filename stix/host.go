package stix

import (
	"net/netip"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tocsin-exchange/tocsin/stix/pattern"
)

// About is what an object that one infected host is packaged as tells of the host:
// its address, or the object that tells more. Created is the start of the day,
// zero for an address.
type About struct {
	Created time.Time
	Address netip.Addr
	// Account is an e-mail address, where it is about one.
	Account string
	Ref     string
}

// ParseHost reads what an object is about.
func ParseHost(raw []byte) (a About, err error) {
	var o struct {
		ID       string   `json:"id"`
		Created  string   `json:"created"`
		Value    string   `json:"value"`
		Pattern  string   `json:"pattern"`
		Refs     []string `json:"object_refs"`
		Observed []string `json:"observed_data_refs"`
		Source   string   `json:"source_ref"`
		Src      string   `json:"src_ref"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return a, objectErr("%v", err)
	}
	if o.Created != "" {
		if a.Created, err = time.Parse(time.RFC3339Nano, o.Created); err != nil {
			return a, objectErr("created: %v", err)
		}
	}
	value := o.Value
	if p, err := pattern.Parse(o.Pattern); err == nil {
		for _, value = range p.Addresses() {
			break // ours name one
		}
		for _, a.Account = range p.Emails() {
			break
		}
	}
	if strings.HasPrefix(o.ID, "email-addr--") {
		a.Account = value
	}
	a.Address, _ = netip.ParseAddr(value) // invalid where it is none
	for _, ref := range append(append(o.Refs, o.Observed...), o.Source, o.Src) {
		if a.Ref == "" {
			a.Ref = ref
		}
	}
	return a, nil
}
