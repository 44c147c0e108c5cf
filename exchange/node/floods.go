package node

import (
	"context"
	"time"
)

// floodsEvery is how often it is looked at what members send over NATS, which asks nobody before it serves them.
const floodsEvery = time.Second

// watchFloods cuts the members who send more over NATS than they may.
func (n *Node) watchFloods(ctx context.Context) error {
	var seen map[string]int64   // by connection
	var servers map[string]bool // that have answered the last time
	last := time.Now()
	for {
		select {
		case <-time.After(floodsEvery):
		case <-ctx.Done():
			return nil
		}
		list, err := n.broker.Connections()
		if err != nil {
			if ctx.Err() == nil {
				n.log.Warn("what members send over NATS cannot be read", "error", err)
			}
			continue
		}
		seconds := max(time.Since(last).Seconds(), 1)
		last = time.Now()
		now, sent, answered := make(map[string]int64, len(list)), make(map[string]int64), make(map[string]bool)
		for i := range list {
			c := &list[i]
			now[c.ID()], answered[c.Server()] = c.Sent, true
			if servers[c.Server()] { // else what it counts is of another time
				sent[c.Member] += c.Sent - seen[c.ID()]
			}
		}
		seen, servers = now, answered
		over := make(map[string]bool)
		for member, messages := range sent {
			over[member] = messages > 0 && !n.api.SentOverNATS(member, int64(float64(messages)/seconds))
		}
		if err := n.disconnect(func(member string) bool { return over[member] }); err != nil && ctx.Err() == nil {
			n.log.Warn("who sends too much over NATS cannot be cut", "error", err)
		}
	}
}
