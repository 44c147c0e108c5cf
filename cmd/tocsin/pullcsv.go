package main

import (
	"encoding/json"
	"strconv"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// row prints an observation of ours as a line of CSV, with its newest contact.
// The address is in a network-traffic or address object, whose id only its text
// gives away, so it is taken from the indicator's pattern or the address object
// that was read before; other objects print nothing.
func (o *objectWriter) row(raw []byte) error {
	var x struct {
		Type, ID, Value string
		First           string   `json:"first_observed"`
		Last            string   `json:"last_observed"`
		Number          int64    `json:"number_observed"`
		Refs            []string `json:"object_refs"`
		Markings        []string `json:"object_marking_refs"`
		Extensions      map[string]struct {
			Country, Malware string
			ASN              uint32
			Contacts         []struct {
				SrcPort uint16 `json:"src_port"`
				DstIP   string `json:"dst_ip"`
				DstPort uint16 `json:"dst_port"`
			}
		}
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	switch x.Type {
	case "ipv4-addr", "ipv6-addr", "email-addr":
		if o.addresses == nil {
			o.addresses = make(map[string]string)
		}
		o.addresses[x.ID] = x.Value
	case "observed-data":
		address := ""
		for _, ref := range x.Refs {
			if address = o.addresses[ref]; address != "" {
				break
			}
		}
		e := x.Extensions[exchange.HostEvidenceID]
		line := []string{address, x.First, x.Last, strconv.FormatInt(x.Number, 10), e.Country, number(e.ASN), e.Malware, "", "", "", ""}
		if len(e.Contacts) > 0 {
			c := e.Contacts[0]
			line[7], line[8], line[9] = number(uint32(c.SrcPort)), c.DstIP, number(uint32(c.DstPort))
		}
		for _, m := range x.Markings {
			if l, ok := tlp.FromMarking(m); ok {
				line[10] = "tlp:" + l.String()
			}
		}
		return o.csv.Write(line)
	}
	return nil
}

func number(n uint32) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}
