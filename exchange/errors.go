package exchange

import (
	"errors"
)

// ErrKeyReused means that an idempotency key came again with other rows.
var ErrKeyReused = errors.New("the idempotency key was used for other rows")

// ErrFull means that the disk has no room for more than what is on its way already.
var ErrFull = errors.New("the exchange's disk is full")

// ErrDisk means that the disk fails, or takes very long to write: nothing is taken in until it is well again.
var ErrDisk = errors.New("the exchange's disk cannot be written")

// ErrDamaged means that the journal has lost something: nothing is taken in until the operator has repaired it.
var ErrDamaged = errors.New("the exchange has lost data and takes nothing in until its operator has repaired it")

// ErrFenced means that somebody else has written to a log that this process
// believed to own, or that an append's outcome cannot be known. The node must
// stop: its next start recovers.
var ErrFenced = errors.New("the log has another writer, or its state is unknown")

// ErrNoFeed means that the register has no such feed.
var ErrNoFeed = errors.New("no such feed")

// ErrClosed is what an exchange that is stopping answers.
var ErrClosed = errors.New("the exchange is stopping")

// ErrRecord is in the chain of every error about bytes that are not an intake
// record or observation of ours.
var ErrRecord = errors.New("damaged record")
