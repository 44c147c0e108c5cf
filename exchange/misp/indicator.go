package misp

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/pattern"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// kind is how MISP has the values that a property of a pattern is compared with.
type kind struct{ typ, category string }

// kinds are by object type and property path (STIX 2.1 section 6), in lower case.
var kinds = map[string]kind{
	"ipv4-addr:value": {"ip-dst", "Network activity"}, "ipv6-addr:value": {"ip-dst", "Network activity"},
	"domain-name:value": {"domain", "Network activity"}, "url:value": {"url", "Network activity"},
	"email-addr:value": {"email-src", "Payload delivery"}, "mutex:name": {"mutex", "Artifacts dropped"},
	"file:name": {"filename", "Payload delivery"}, "file:hashes.md5": {"md5", "Payload delivery"},
	"file:hashes.sha-1": {"sha1", "Payload delivery"}, "file:hashes.sha-256": {"sha256", "Payload delivery"},
	"file:hashes.sha-512": {"sha512", "Payload delivery"}, "file:hashes.sha1": {"sha1", "Payload delivery"},
	"file:hashes.sha256": {"sha256", "Payload delivery"}, "file:hashes.sha512": {"sha512", "Payload delivery"},
	"network-traffic:dst_ref.value": {"ip-dst", "Network activity"}, "network-traffic:src_ref.value": {"ip-src", "Network activity"},
}

// alike are the types that MISP has for a value beside the one of kinds: a label that misp-stix writes says which is meant.
var alike = map[string][]string{"ip-dst": {"ip-src"}, "ip-src": {"ip-dst"}, "domain": {"hostname"}, "email-src": {"email-dst", "email"}, "url": {"uri", "link"}}

// fromMISP reads what misp-stix writes into labels of an indicator: misp:type, misp:category and misp:to_ids. It makes
// indicators of attributes that are to be looked for, so without the last that is what they are.
func fromMISP(labels []string) (said map[string]string) {
	for _, label := range labels {
		name, value, ok := strings.Cut(label, "=")
		if name, is := strings.CutPrefix(name, "misp:"); ok && is {
			if said == nil {
				said = map[string]string{"to_ids": "True"}
			}
			said[name] = strings.Trim(value, `"`)
		}
	}
	return said
}

// What bounds the tags that an indicator's labels become.
const (
	maxTags = 20
	maxTag  = 250
)

// tagsOf makes tags of labels, but for those of TLP, which the label has, and misp-stix's own.
func tagsOf(labels []string) (tags []tag) {
	for _, label := range labels {
		level, known := stix.LabelIn(label)
		if level != tlp.None || !known || strings.HasPrefix(label, "misp:") || label == "" || len(label) > maxTag || strings.ContainsFunc(label, unicode.IsControl) || len(tags) == maxTags {
			continue
		}
		tags = append(tags, tag{Name: label})
	}
	return tags
}

// victim is the indicator type of a machine that is to be cleaned, not to be blocked.
const victim = "compromised"

// harmful are the indicator types (STIX 2.1 section 10.6) that something is to be looked for by.
var harmful = []string{"malicious-activity", "anomalous-activity", "attribution"}

// What bounds what one indicator becomes: how many values, how long a value is, and a comment.
const (
	maxValues  = 100
	maxValue   = 4096
	maxComment = 500
)

// indicator makes an attribute of each value that an indicator's pattern says is there.
func (m *maker) indicator(o *object) (list []attribute) {
	if o.Type != "indicator" || o.Language != "stix" {
		return nil
	}
	p, err := pattern.Parse(o.Pattern)
	if err != nil {
		return nil
	}
	misp := fromMISP(o.Labels)
	p.Each(func(c *pattern.Comparison) {
		k, known := kinds[strings.ToLower(c.Path.Type+":"+path(c.Path.Steps))]
		if !known || c.Not || c.Operator != "=" && c.Operator != "IN" {
			return
		}
		for _, v := range c.Values {
			if strings.ContainsFunc(v.Value, unicode.IsControl) {
				continue
			}
			a := attribute{
				UUID: m.derived("misp-attribute", fmt.Sprint(o.ID, " ", len(list))), Type: k.typ, Category: k.category, Value: v.Value,
				Comment: o.Name[:min(len(o.Name), maxComment)], First: instant(o.From), Last: instant(o.Until),
				// What is harmful only beside something else is not to be looked for by itself.
				Tags:  tagsOf(o.Labels),
				ToIDs: !strings.Contains(o.Pattern, " AND ") && !strings.Contains(o.Pattern, "/0'") && slices.ContainsFunc(o.Types, func(t string) bool { return slices.Contains(harmful, t) }),
			}
			if misp != nil && !strings.Contains(o.Pattern, " AND ") {
				a.ToIDs = strings.EqualFold(misp["to_ids"], "true")
			}
			if t := misp["type"]; slices.Contains(alike[a.Type], t) {
				a.Type = t
			}
			if slices.Contains(o.Types, victim) {
				a.ToIDs = false
				if a.Type == "ip-dst" {
					a.Type = "ip-src"
				}
			}
			twice := slices.ContainsFunc(list, func(b attribute) bool { return a.Type == b.Type && a.Value == b.Value })
			if !twice && len(list) < maxValues && a.Value != "" && len(a.Value) <= maxValue {
				list = append(list, a)
			}
		}
	})
	return list
}

// path writes the steps of a path with dots between them.
func path(steps []pattern.Step) string {
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	return strings.Join(names, ".")
}
