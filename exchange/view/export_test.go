package view

import (
	"encoding/json"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// RightTo is the operator's right to read a collection.
func RightTo(id string) policy.Read {
	return policy.ToRead(new(exchange.Register), exchange.As(exchange.Admin), &exchange.Collection{ID: id, Ceiling: 1}, exchange.ChannelTAXII)
}

var rightTo = RightTo

// PlainRemoval reads a control block's payload that nobody has sealed.
func PlainRemoval(_ *record.Block, payload []byte) (*record.Removal, error) {
	r := new(record.Removal)
	return r, json.Unmarshal(payload, r)
}
