package register

import (
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// leastRetention is the shortest time that anything is kept: a day's host is complete when the day is over, and members have to have
// read it.
const leastRetention = exchange.Window(48 * time.Hour)

func (c *checker) retention(of string, w exchange.Window) {
	if w > 0 && w < leastRetention {
		c.add("%s: retention: what is taken in is kept for %v at least", of, leastRetention)
	}
}
