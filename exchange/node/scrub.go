package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
)

// scrubEvery is how often the files of streams are read while the exchange runs, and scrubPause the pause after each.
const (
	scrubEvery = 6 * time.Hour
	scrubPause = 50 * time.Millisecond
)

// scrub reads the files of streams again and again: what lies on a disk goes bad, and nobody else looks at what nobody asks for.
func (n *Node) scrub(ctx context.Context) error {
	pause := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	look := func() (list []journal.Damage, err error) {
		known, err := n.Journal.StreamEnds(ctx)
		if err != nil {
			return nil, err
		}
		streams, err := filestore.Scan(filepath.Join(n.opt.Dir, streamsDir), func() error { return pause(scrubPause) })
		if err != nil {
			return nil, err
		}
		gone, err := n.Journal.Gone(ctx) // afterwards: what goes meanwhile is not missed
		for i := range streams {
			s := &streams[i]
			list = append(list, unreadable(s, false)...)
			if lost, ok := gone[s.Name]; ok && s.Live+lost < s.Last {
				list = append(list, journal.Damage{Stream: s.Name, What: fmt.Sprintf("lacks %d messages in its files", s.Last-lost-s.Live), To: s.Last})
			}
		}
		return append(list, shortened(known, streams, "%d were written")...), err
	}
	for ctx.Err() == nil {
		list, err := look()
		if err == nil && len(list) > 0 { // or it was being written
			var again []journal.Damage
			again, err = look()
			list = slices.DeleteFunc(list, func(d journal.Damage) bool { return !slices.Contains(again, d) })
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("the journal's files cannot be looked at", "error", err)
		}
		if err == nil && len(list) > 0 { // the next start mends it, before the broker reads it
			if err := n.damaged(list, nil); err != nil && !errors.Is(err, journal.ErrDamaged) { // what is in memory is right
				return err
			}
		}
		_ = pause(cmp.Or(n.opt.Scrub, scrubEvery)) // its error is that of ctx
	}
	return nil
}
