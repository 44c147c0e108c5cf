package record

import "time"

// Message is a message of one of the exchange's streams, as it is stored.
type Message struct {
	Sequence uint64
	Subject  string
	// Header is in the form in which NATS has it on the wire (EncodeHeader), empty for none.
	Header, Data []byte
	// Time is when the stream took it, in nanoseconds since 1970. Nothing is ordered by it.
	Time int64
}

// Checkpoint is a moment that an exchange can be restored to: how far each stream was. What collections hold at it was taken in
// by the intake records up to it.
type Checkpoint struct {
	// Number counts an archive's checkpoints from 1; ID is random, and tells two that have one number from each other.
	Number uint64    `json:"number"`
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	// Ends are the last sequences by the streams' names.
	Ends map[string]uint64 `json:"ends"`
	// Delivered is up to which intake record each feed had been delivered, Backfilled how far back-filling was.
	Delivered  map[string]uint64 `json:"delivered,omitempty"`
	Backfilled BackfillPosition  `json:"backfilled"`
}

// Restart says that an exchange was restored: what it had taken in since To is taken back.
type Restart struct {
	// Generation counts them from 2 on: the first is the exchange as it began.
	Generation int       `json:"generation"`
	To         time.Time `json:"to"`
	At         time.Time `json:"at"`
	// Ends are the last sequences that each stream had then. What records before say of later ones is void.
	Ends map[string]uint64 `json:"ends"`
	// Last is the date_added of the last object of each collection that has blocks.
	Last map[string]time.Time `json:"last,omitempty"`
}

// Lost tells whether a reader who stands behind an instant in a collection has read what the restore has taken back. Point is
// where it goes on from.
func (r *Restart) Lost(collection string, after time.Time) (point time.Time, lost bool) {
	point, known := r.Last[collection]
	if !known { // a feed's own, whose stamps are those of its records, or one that had nothing
		point = r.To
	}
	return point, after.After(point) && !after.After(r.At)
}
