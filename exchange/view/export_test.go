package view

import (
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
)

// RightTo is the operator's right to read a collection.
func RightTo(id string) policy.Read {
	return policy.ToRead(new(exchange.Register), exchange.As(exchange.Admin), &exchange.Collection{ID: id, Ceiling: 1}, exchange.ChannelTAXII)
}

var rightTo = RightTo
