package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
)

// idea is IDEA0, the format of Warden and Mentat. Each address of each source is
// a host of its own.
type idea struct{ keep bool }

// ideaKnown are the keys that are read.
const ideaKnown = " Format ID DetectTime EventTime ConnCount TLP "

type ideaEvent struct {
	Format     scalar  `json:"Format"`
	ID         scalar  `json:"ID"`
	DetectTime scalar  `json:"DetectTime"`
	EventTime  scalar  `json:"EventTime"`
	ConnCount  scalar  `json:"ConnCount"`
	TLP        marking `json:"TLP"`
	Category   scalars `json:"Category"`
	Ref        scalars `json:"Ref"`
	Source     []ideaEnd
	Target     []ideaEnd
	extra      string
	Node       []struct {
		Name scalar `json:"Name"`
	} `json:"Node"`
}

type ideaEnd struct {
	IP4      scalars `json:"IP4"`
	IP6      scalars `json:"IP6"`
	Hostname scalars `json:"Hostname"`
	Port     scalars `json:"Port"`
	Proto    scalars `json:"Proto"`
	ASN      scalars `json:"ASN"`
}

func (idea) end(*found) {}

func (f idea) value(line int, raw []byte, to *found) {
	var e ideaEvent
	err := decode(line, raw, &e, json.MatchCaseInsensitiveNames(true))
	for _, c := range e.Category {
		if err == nil && c == "Test" {
			err = rowError(line, "Category", "is marked as a test: it is no sighting")
		}
	}
	if err != nil {
		to.problem(err)
		return
	}
	more := extra{keep: f.keep}
	more.addText(raw, ideaKnown)
	e.extra = more.String()
	hosts := 0
	for i, s := range e.Source {
		for _, list := range []struct {
			name string
			of   scalars
		}{{"IP4", s.IP4}, {"IP6", s.IP6}} {
			for j, text := range list.of {
				hosts++
				e.host(line, fmt.Sprintf("Source[%d].%s[%d]", i, list.name, j), string(text), &s, len(s.IP4)+len(s.IP6) == 1).end(to)
			}
		}
	}
	if hosts == 0 {
		to.problem(rowError(line, "Source", "no address"))
	}
}

// host is one address of a source. What a source says besides is the host's only
// where it is alone there.
func (e *ideaEvent) host(line int, at, text string, s *ideaEnd, alone bool) *draft {
	d := newDraft(line)
	d.Extra = e.extra
	address, err := single(text)
	if err != nil {
		d.err = rowError(line, at, "%v", err)
		return d
	}
	d.set("ip", at, scalar(address))
	d.set("timestamp", "EventTime", cmp.Or(e.EventTime, e.DetectTime))
	if alone && len(s.Port) == 1 {
		d.set("port", "Source.Port", s.Port[0])
	}
	if alone {
		d.set("hostname", "Source.Hostname", s.Hostname.first())
	}
	if len(s.ASN) == 1 {
		d.set("asn", "Source.ASN", s.ASN[0])
	}
	for i, p := range s.Proto[:min(len(s.Proto), 2)] {
		d.set([]string{"protocol", "application"}[i], "Source.Proto", p)
	}
	if len(e.Target) > 0 {
		t := e.Target[0]
		dst, err := single(string(append(t.IP4, t.IP6...).first()))
		if err == nil {
			d.set("dst_ip", "Target[0]", scalar(dst))
		}
		d.set("dst_port", "Target[0].Port", t.Port.first())
	}
	if len(e.Node) > 0 {
		d.set("provider", "Node[0].Name", e.Node[0].Name)
	}
	for _, r := range e.Ref {
		if name, ok := strings.CutPrefix(string(r), "malid:"); ok && d.Malware == "" {
			d.set("malware", "Ref", scalar(name))
		}
	}
	d.set("id", "ID", e.ID)
	d.set("count", "ConnCount", e.ConnCount)
	d.set("tlp", "TLP", scalar(e.TLP))
	return d
}
