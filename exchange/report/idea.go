package report

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// idea is IDEA0, the format of Warden and Mentat. Each address of each source is
// a host of its own. Keys of a source stand behind "source.", those of the first target and node behind "target." and
// "node."; what a source says besides its addresses is the host's only where it is alone there.
type idea struct{ row *row }

var ideaTable = table{
	known: []string{"format"},
	names: []names{
		{"ip", []string{ideaHost}},
		{"timestamp", []string{"eventtime", "detecttime"}},
		{"port", []string{"source.port"}},
		{"asn", []string{"source.asn"}},
		{"hostname", []string{"source.hostname"}},
		{"malware", []string{"ref: malid:"}},
		{"protocol", []string{"source.proto"}},
		{"application", []string{"source.proto[1]"}},
		{"provider", []string{"node.name"}},
		{"dst_ip", []string{"target.ip4", "target.ip6"}},
		{"dst_port", []string{"target.port"}},
		{"id", []string{"id"}},
		{"count", []string{"conncount"}},
		{labelField, []string{labelField}},
	},
	rules: []rule{
		{"category", "test", nothing, "is marked as a test: it is no sighting", ""},
		{"source.spoofed", "true", nothing, "says that the address is forged", ""},
		{"source.anonymised", "true", nothing, "says that the address is not the host's own", ""},
		{"source.imprecise", "true", nothing, "says that the address is not exactly known", ""},
		{"source.type", "originspoofed", nothing, "says that the address is forged", ""},
		{"source.type", "backscatter", nothing, "is a victim of an attack that answers", ""},
		{"source.type", "cc", nothing, "controls a botnet, and is not one of its hosts", ""},
		{"category", "vulnerable.*", exposed, "", ""},
		{"category", "malware*", infected, "", ""},
		{"category", "intrusion.*", infected, "", ""},
		{"category", "attempt.*", infected, "", ""},
		{"category", "recon.scanning", infected, "", ""},
		{"category", "abusive.spam", infected, "", ""},
		{"category", "availability.*dos", infected, "", ""},
		{"category", "information.*", infected, "", ""},
		{"category", "fraud.phishing", infected, "", ""},
		{"category", "fraud.unauthorizedusage", infected, "", ""},
		{"category", "*", nothing, "is no category of infected or exposed hosts", ""},
	},
}

const ideaHost = "source.ip4 or source.ip6"

func (idea) end(*found) {}

func (f idea) value(line int, raw []byte, to *found) {
	w := f.row
	w.clear()
	var sources jsontext.Value
	err := walkOnce(raw, func(name string, value jsontext.Value) error {
		switch strings.ToLower(name) {
		case "source":
			sources = value
			return nil
		case "target", "node":
			return each(value, func(i int, first jsontext.Value) error {
				if i > 0 || first.Kind() != '{' {
					return nil
				}
				return w.firsts(first, strings.ToLower(name)+".")
			})
		case "category":
			return each(value, func(_ int, c jsontext.Value) error { return w.value(name, c) })
		case "ref":
			return each(value, func(_ int, ref jsontext.Value) error {
				if family, ok := cutPrefixFold(string(scalarOf(ref)), "malid:"); ok {
					w.add("ref: malid:", []byte(family))
				}
				return nil
			})
		}
		return w.value(name, value)
	})
	hosts := 0
	var list []jsontext.Value
	if err == nil && sources != nil {
		list, err = members(sources)
	}
	for i, source := range list {
		s := w
		if i < len(list)-1 {
			s = w.clone()
		}
		n, wrong := s.source(line, fmt.Sprintf("Source[%d]", i), source, to)
		if hosts += n; wrong != nil {
			err = wrong
			break
		}
	}
	switch {
	case err != nil:
		to.problem(rowError(line, "", "%s", bound(err.Error())))
	case hosts == 0:
		to.problem(rowError(line, "Source", "no address"))
	}
}

// source adds the hosts of a source to the row, which has what is the same for all.
func (s *row) source(line int, at string, source jsontext.Value, to *found) (hosts int, err error) {
	if source.Kind() != '{' {
		return 0, nil
	}
	type place struct{ name, address string }
	var addresses []place
	alone := make(map[string][]jsontext.Value)
	err = walkOnce(source, func(name string, value jsontext.Value) error {
		switch lower := strings.ToLower(name); lower {
		case "ip4", "ip6":
			return each(value, func(i int, a jsontext.Value) error {
				addresses = append(addresses, place{fmt.Sprintf("%s.%s[%d]", at, name, i), string(scalarOf(a))})
				return nil
			})
		case "hostname", "port":
			return each(value, func(_ int, v jsontext.Value) error {
				alone[lower] = append(alone[lower], v)
				return nil
			})
		case "type":
			return each(value, func(_ int, v jsontext.Value) error { return s.value("source.type", v) })
		case "asn":
			return s.only("source.asn", value)
		case "proto":
			return each(value, func(i int, v jsontext.Value) error {
				return s.value([]string{"source.proto", "source.proto[1]", "-"}[min(i, 2)], v)
			})
		}
		return s.value("source."+name, value)
	})
	if err != nil {
		return 0, err
	}
	if len(addresses) == 1 {
		if list := alone["hostname"]; len(list) > 0 {
			err = s.value("source.hostname", list[0])
		}
		if list := alone["port"]; err == nil && len(list) == 1 {
			err = s.value("source.port", list[0])
		}
	}
	for i, a := range addresses {
		h := s
		if i < len(addresses)-1 {
			h = s.clone()
		}
		address, problem := single(a.address)
		if problem != nil {
			h.fail(a.name, "%v", problem)
		}
		h.place = [2]string{a.name, ideaHost}
		h.add(ideaHost, []byte(address))
		h.event(line, to)
	}
	return len(addresses), err
}

// walkOnce is walk for objects whose keys are unique in any case.
func walkOnce(raw []byte, take func(name string, value jsontext.Value) error) error {
	seen := make(map[string]bool)
	return walk(raw, func(name string, value jsontext.Value) error {
		lower := strings.ToLower(name)
		if seen[lower] {
			return fmt.Errorf("the key %.60q stands twice", name)
		}
		seen[lower] = true
		return take(name, value)
	})
}

// only takes a value, or the member of a list that has no other.
func (w *row) only(name string, value jsontext.Value) error {
	list, err := members(value)
	if err != nil || len(list) != 1 {
		return err
	}
	return w.value(name, list[0])
}

// firsts takes an object's values, and the first members of lists. An address that is a range is none.
func (w *row) firsts(raw jsontext.Value, prefix string) error {
	return walk(raw, func(name string, value jsontext.Value) error {
		return each(value, func(i int, v jsontext.Value) error {
			if i > 0 {
				return nil
			}
			if strings.EqualFold(name, "ip4") || strings.EqualFold(name, "ip6") {
				address, err := single(string(scalarOf(v)))
				if err == nil {
					w.add(prefix+name, []byte(address))
				}
				return nil
			}
			return w.value(prefix+name, v)
		})
	})
}
